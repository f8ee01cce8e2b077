"""What vLLM-Spec's engine could be like, and how far from the paper it would be then."""

from __future__ import annotations

from pathlib import Path

import pytest

from figures.adaserve.differences.speculation import (
    BY_CATEGORY,
    CHECKED,
    EXPANSION_S,
    SAME,
    TRIED,
    Engine,
    rows,
)
from figures.adaserve.settings import DEPLOYMENTS, QWEN, SPEC, Deployment
from policies.drafting.known import DRAFTERS
from policies.latency import FingerprintLatency, StepShape
from tests.figures.adaserve.test_figures import Invented
from traces.fingerprints import read_fingerprint
from traces.scenario import load_scenario


def seconds(engine: Engine, deployment: Deployment, k: int, step: StepShape, folder: Path) -> float:
    file = next(value for value in engine.sets(deployment, k, folder) if value.startswith("fleet.fingerprint="))
    return FingerprintLatency(read_fingerprint(Path(file.partition("=")[2]))).seconds(step)


def test_batch_expansion_reads_the_kv_once_more_for_every_draft_token(tmp_path: Path) -> None:
    """64 requests of 400 tokens; 131 KB per token of KV on each of two GPUs that read 2.04 TB/s."""
    step = StepShape(decode_seqs=64, decode_context=64 * 400, verify_tokens=64 * 8)
    more = seconds(Engine(kv_reads=True), QWEN, 8, step, tmp_path) - seconds(SAME, QWEN, 8, step, tmp_path)
    assert more == pytest.approx(8 * 64 * 400 * 131_072 / 2.039e12)
    assert more == pytest.approx(13.2e-3, rel=0.01)


def test_scored_tokens_steps_and_prompts_take_what_is_added(tmp_path: Path) -> None:
    step = StepShape(decode_seqs=10, decode_context=1000, verify_tokens=40)
    before = seconds(SAME, QWEN, 4, step, tmp_path)
    assert seconds(Engine(row_s=EXPANSION_S), QWEN, 4, step, tmp_path) - before == pytest.approx(50 * EXPANSION_S)
    assert seconds(Engine(step_s=0.02), QWEN, 4, step, tmp_path) - before == pytest.approx(0.02)
    prompts = StepShape(prefill_tokens=300, prefill_seqs=2)
    both = [seconds(engine, QWEN, 4, prompts, tmp_path) for engine in (SAME, Engine(prompt_s=4e-3))]
    assert both[1] - both[0] == pytest.approx(8e-3)


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda each: each.key)
@pytest.mark.parametrize("k", SPEC)
def test_drafters_by_category_accept_in_the_mean_about_what_the_figure_has(deployment: Deployment, k: int) -> None:
    """Over verifications, of which a request has the more the less it is accepted; 60 % of the requests are coding."""
    code, text = (DRAFTERS[name].kinds[0].accepted(k) for name in BY_CATEGORY[deployment.key])
    often = (0.6 / (1 + code), 0.4 / (1 + text))
    mean = (often[0] * code + often[1] * text) / sum(often)
    (told,) = DRAFTERS[f"adaserve/{deployment.setting.target}/by-token"].kinds
    assert mean == pytest.approx(told.accepted(k), rel=0.1)
    assert code > text


def test_every_row_tries_something_and_llamas_are_among_them() -> None:
    engines = [engine for *_, engine in TRIED]
    assert len(set(engines)) == len(engines)
    assert engines[0] == SAME == Engine()
    assert set(CHECKED) <= set(engines)


@pytest.mark.parametrize("engine", [engine for *_, engine in TRIED])
def test_every_run_is_a_scenario(engine: Engine, tmp_path: Path) -> None:
    for k in SPEC:
        load_scenario(QWEN.scenario, engine.sets(QWEN, k, tmp_path))


def test_both_deployments_have_a_table(tmp_path: Path, shared_data: Path) -> None:
    lines = list(rows(Invented(), tmp_path))  # type: ignore[arg-type]
    assert len(lines) == (3 + len(TRIED)) + (3 + len(CHECKED))
    assert all(line.count("|") == 10 for line in lines if line)
