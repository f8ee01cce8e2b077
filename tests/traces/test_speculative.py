"""The `engine.speculative:` part of a scenario, and what does not go with it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from traces.scenario import Scenario

BASE = {"method": "eagle3", "num_speculative_tokens": 3, "acceptance": ["73%", 0.71, 0.68]}


KNOWN = "eagle3/llama-3.1-8b/mt-bench"
TREES = {"method": "eagle3", "num_speculative_tokens": 3, "drafter": KNOWN, "tree_width": 2}


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
        ({"speculative": {**BASE, "drafter": KNOWN}}, "give one of the two"),
        ({"speculative": {**BASE, "acceptance": None}}, "give one of the two"),
        ({"speculative": {**BASE, "tree_width": 2}}, "name a `drafter`, or set 1"),
        ({"speculative": TREES, "async_scheduling": True}, "plans steps before there are drafts to choose from"),
        ({"speculative": {**TREES, "drafter": {"code": KNOWN}}}, "names none for `chat`"),
        ({"speculative": {**TREES, "drafter": "eagle3/llama-3.1-8b/mtbench"}}, "there is no drafter"),
    ],
)
def test_what_vllm_refuses_is_refused(engine: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError) as caught:
        scenario(**engine)
    assert fault in str(caught.value.errors())


def test_a_drafter_is_one_for_all_or_one_for_each_entry_and_an_arm_has_its_entrys() -> None:
    everyone = scenario(speculative=TREES).engine.speculative
    each = scenario(speculative={**TREES, "drafter": {"chat": KNOWN, "other": "adaserve/qwen2.5-32b"}}).engine.speculative
    assert everyone is not None
    assert each is not None
    assert everyone.drafter_of("chat") == each.drafter_of("chat") == each.drafter_of("chat/premium") == KNOWN
    assert each.drafter_of("other") == "adaserve/qwen2.5-32b"
