"""The `engine.speculative:` part of a scenario, and what does not go with it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from traces.scenario import Scenario

BASE = {"method": "eagle3", "num_speculative_tokens": 3, "acceptance": ["73%", 0.71, 0.68]}


def scenario(**engine: Any) -> Scenario:
    return Scenario.model_validate(
        {
            "model": "llama-3.1-8b",
            "fleet": {"gpu": "h200", "gpus": 1},
            "workload": [{"name": "chat", "trace": {"prompt_tokens": 100, "output_tokens": 10}, "rate": "1/s", "requests": 2}],
            "engine": engine,
        }
    )


def test_rates_are_one_per_place_or_one_for_all() -> None:
    part = scenario(speculative=BASE).engine.speculative
    assert part is not None
    assert part.acceptance == (0.73, 0.71, 0.68)
    alone = scenario(speculative={**BASE, "acceptance": 0.8}).engine.speculative
    assert alone is not None
    assert alone.acceptance == (0.8,)


@pytest.mark.parametrize(
    ("engine", "fault"),
    [
        ({"speculative": {**BASE, "acceptance": [0.7, 0.6]}}, "has 2 rates, and chains have 3 tokens"),
        ({"speculative": {**BASE, "acceptance": 1.5}}, "is more than the whole"),
        ({"speculative": BASE, "long_prefill_token_threshold": 2}, "no more than num_speculative_tokens"),
        ({"speculative": {**BASE, "method": "ngram"}, "async_scheduling": True}, "does not go with ngram drafts"),
    ],
)
def test_what_vllm_refuses_is_refused(engine: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError) as caught:
        scenario(**engine)
    assert fault in str(caught.value.errors())
