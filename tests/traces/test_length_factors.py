"""Prompts and outputs multiplied, to ask what if they were longer or shorter."""

import numpy as np
import pytest

from traces.build import build_workload
from traces.errors import InputError
from traces.scenario import load_scenario

SCENARIO = """
model: llama-3.1-8b
fleet: {gpu: h200, gpus: 1}
workload: [{name: chat, rate: 20/s, trace: TRACE, slo: {tpot: 30ms}}]
duration: 60s
"""


@pytest.fixture(params=["azure-2023-conv", "mooncake-conversation", "{prompt_tokens: 100, output_tokens: 10}"])
def file(tmp_path, request):
    path = tmp_path / "chat.yaml"
    path.write_text(SCENARIO.replace("TRACE", request.param))
    return path


def work(file, *sets):
    return build_workload(load_scenario(file, sets)).workload


def test_lengths_are_multiplied_and_arrivals_stay(file):
    base, more = work(file), work(file, "workload.chat.prompt_factor=0.5", "workload.chat.output_factor=1.5")
    assert np.array_equal(base.arrival_s, more.arrival_s)
    assert more.prompt_tokens.sum() == pytest.approx(base.prompt_tokens.sum() / 2, rel=0.01)
    assert more.output_tokens.sum() == pytest.approx(base.output_tokens.sum() * 1.5, rel=0.01)
    assert more.classes[0].expected_output_tokens == pytest.approx(1.5 * base.classes[0].expected_output_tokens)
    assert more.prompt_tokens.min() >= 1


def test_prefix_blocks_end_with_a_shorter_prompt(file):
    base, less = work(file), work(file, "workload.chat.prompt_factor=0.5")
    if base.block_offsets is None:
        assert less.block_offsets is None
        return
    counts, kept = np.diff(base.block_offsets), np.diff(less.block_offsets)
    assert (kept <= counts).all()
    assert (kept <= -(-less.prompt_tokens // less.block_tokens)).all()
    assert kept.sum() < counts.sum()


def test_a_factor_is_positive(file):
    with pytest.raises(InputError, match="prompt_factor"):
        load_scenario(file, ("workload.chat.prompt_factor=0",))
