"""A scenario becomes requests: whose, when, how long and under which promise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policies.types import SLO
from traces.build import Built, build_workload
from traces.errors import InputError
from traces.scenario import Scenario, load_scenario

GALLERY = Path(__file__).parents[2] / "traces" / "gallery"

FIXED = {"prompt_tokens": 100, "output_tokens": 10}


def scenario(*entries: dict[str, Any], **rest: Any) -> Scenario:
    """A scenario with these workload entries, named a, b, … unless they have names."""
    named = [{"name": "abc"[i], "trace": FIXED, **entry} for i, entry in enumerate(entries)]
    return Scenario.model_validate(
        {"model": "llama-3.1-8b", "fleet": {"gpu": "h200", "gpus": 1}, "workload": named, "seed": 1} | rest
    )


def build(*entries: dict[str, Any], **rest: Any) -> Built:
    return build_workload(scenario(*entries, **rest))


@pytest.fixture
def trace(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Writes a trace of (arrival, prompt, output) rows and returns the scenario's words for it."""

    def trace(*rows: tuple[float, int, int], **more: Any) -> dict[str, Any]:
        path = tmp_path / "trace.csv"
        path.write_text("arrival_s,prompt_tokens,output_tokens\n" + "".join(f"{a},{p},{o}\n" for a, p, o in rows))
        return {"file": str(path), "format": "table", **more}

    return trace


# --- arrivals ---------------------------------------------------------------------------------------------------------


def test_synthetic_requests_arrive_as_poisson_at_the_rate_until_the_duration() -> None:
    workload = build({"rate": "50/s"}, duration="100s").workload
    gaps = np.diff(workload.arrival_s)
    assert len(workload) == pytest.approx(5000, rel=0.06)
    assert workload.arrival_s[-1] < 100
    assert gaps.std() / gaps.mean() == pytest.approx(1, abs=0.06)
    assert set(workload.prompt_tokens) == {100}
    assert set(workload.output_tokens) == {10}


def test_whichever_of_requests_and_duration_comes_first_ends_the_arrivals() -> None:
    assert len(build({"rate": "50/s", "requests": 20}, duration="100s").workload) == 20
    assert len(build({"rate": "1/s", "requests": 1000, "arrivals": "even"}, duration="10s").workload) == 10


@pytest.mark.parametrize(
    ("arrivals", "cv"), [("poisson", 1.0), ("even", 0.0), ({"gamma": {"cv": 2}}, 2.0), ({"weibull": {"cv": 0.5}}, 0.5)]
)
@pytest.mark.parametrize("trace", [FIXED, "azure-2023-conv"], ids=["fixed", "built-in"])
def test_the_arrival_process_sets_the_burstiness(arrivals: object, cv: float, trace: object) -> None:
    gaps = np.diff(build({"trace": trace, "rate": "10/s", "requests": 8000, "arrivals": arrivals}).workload.arrival_s)
    assert 1 / gaps.mean() == pytest.approx(10, rel=0.1)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.1, abs=1e-9)


def test_rates_can_follow_on_off_periods_and_profiles() -> None:
    varying = {"varying": {"profile": [1, 3], "step": "50s"}}
    times = build({"rate": "20/s", "arrivals": varying}, duration="100s").workload.arrival_s
    assert (times >= 50).sum() / (times < 50).sum() == pytest.approx(3, rel=0.15)
    onoff = {"onoff": {"on": "1s", "off": "9s"}}
    counts = np.histogram(build({"rate": "20/s", "arrivals": onoff}, duration="500s").workload.arrival_s, bins=500)[0]
    assert counts.var() / counts.mean() > 5


def test_lengths_follow_their_distributions() -> None:
    lengths = {
        "prompt_tokens": {"lognormal": {"mean": 1050, "sigma": 0.6, "min": 32, "max": 3000}},
        "output_tokens": {"uniform": {"min": 3, "max": 5}},
    }
    workload = build({"trace": lengths, "rate": "4/s", "requests": 20_000}).workload
    assert workload.prompt_tokens.min() >= 32
    assert workload.prompt_tokens.max() == 3000
    assert np.median(workload.prompt_tokens) == pytest.approx(1050 / np.exp(0.18), rel=0.03)
    assert set(workload.output_tokens) == {3, 4, 5}


def test_a_built_in_workload_comes_at_its_own_rate_or_at_the_one_given() -> None:
    assert build({"trace": "azure-2023-conv"}, duration="20min").workload.mean_rate == pytest.approx(5.5, rel=0.25)
    at_rate = build({"trace": "azure-2023-conv", "rate": "12/s"}, duration="20min").workload
    assert at_rate.mean_rate == pytest.approx(12, rel=0.1)
    assert len(build({"trace": "azure-2023-conv", "requests": 30}).workload) == 30


def test_a_list_of_lengths_needs_to_be_told_when_requests_come() -> None:
    with pytest.raises(ValueError, match="breaks rules"):
        scenario({"trace": "arxiv-summarization"}, duration="1min")
    assert len(build({"trace": "arxiv-summarization", "rate": "10/s", "requests": 30}).workload) == 30


def test_an_offline_backlog_is_all_there_from_the_start() -> None:
    workload = build({"trace": "arxiv-summarization", "offline": True, "backlog": 50}).workload
    assert len(workload) == 50
    assert set(workload.arrival_s) == {0.0}
    assert workload.classes[0].offline
    assert len(set(workload.prompt_tokens)) > 40


# --- recorded traces --------------------------------------------------------------------------------------------------

ROWS = [(10.0 * i, 100 + i, 10 + i) for i in range(10)]


def test_a_recorded_trace_keeps_its_times_and_lengths(trace: Callable[..., dict[str, str]]) -> None:
    workload = build({"trace": trace(*ROWS)}).workload
    assert workload.arrival_s.tolist() == [row[0] for row in ROWS]
    assert workload.prompt_tokens.tolist() == [row[1] for row in ROWS]
    assert workload.output_tokens.tolist() == [row[2] for row in ROWS]


def test_a_rate_stretches_the_recorded_times(trace: Callable[..., dict[str, str]]) -> None:
    workload = build({"trace": trace(*ROWS), "rate": "1/s"}).workload
    assert workload.arrival_s.tolist() == pytest.approx(list(range(10)))


def test_a_recorded_trace_is_cut_by_slice_number_and_duration(trace: Callable[..., dict[str, str]]) -> None:
    assert build({"trace": trace(*ROWS, start="20s", end="60s")}).workload.arrival_s.tolist() == [0, 10, 20, 30]
    assert len(build({"trace": trace(*ROWS), "requests": 3}).workload) == 3
    assert len(build({"trace": trace(*ROWS)}, duration="45s").workload) == 5


def test_a_recorded_trace_can_be_thinned_with_the_scenarios_seed(trace: Callable[..., dict[str, str]]) -> None:
    words = trace(*[(float(i), 1, 1) for i in range(1000)], thin="30%")
    kept = [build({"trace": words}, seed=seed).workload.arrival_s.tolist() for seed in (1, 1, 2)]
    assert len(kept[0]) == pytest.approx(300, abs=60)
    assert kept[0] == kept[1] != kept[2]


def test_a_recorded_trace_can_lend_its_lengths_to_another_arrival_process(trace: Callable[..., dict[str, str]]) -> None:
    workload = build({"trace": trace(*ROWS), "rate": "2/s", "arrivals": "even"}).workload
    assert workload.arrival_s.tolist() == [i / 2 for i in range(10)]
    assert workload.prompt_tokens.tolist() == [row[1] for row in ROWS]


# --- closed loops -----------------------------------------------------------------------------------------------------


def test_a_closed_loop_lists_its_requests_in_order_and_tells_the_concurrency(trace: Callable[..., dict[str, str]]) -> None:
    built = build({"rate": "1/s", "requests": 5}, {"trace": trace(*ROWS), "load": {"concurrency": 4}})
    loop = [klass.name for klass in built.workload.classes].index("b")
    assert built.concurrency == {loop: 4}
    rows = built.workload.klass == loop
    assert set(built.workload.arrival_s[rows]) == {0.0}
    assert built.workload.prompt_tokens[rows].tolist() == [row[1] for row in ROWS]
    assert build({"rate": "1/s", "requests": 5}).concurrency == {}


def test_a_generated_closed_loop_has_as_many_requests_as_asked_for() -> None:
    built = build({"load": {"concurrency": 64}, "requests": 100}, {"trace": "sharegpt", "load": {"concurrency": 2}, "requests": 7})
    assert len(built.workload) == 107
    assert sorted(built.concurrency.values()) == [2, 64]


# --- promises ---------------------------------------------------------------------------------------------------------


def test_an_entry_is_a_class_with_its_promise() -> None:
    (klass,) = build({"rate": "1/s", "requests": 3, "slo": {"ttft": "500ms", "tpot": "30ms"}}).workload.classes
    assert (klass.name, klass.tier, klass.model, klass.offline) == ("a", "a", "llama-3.1-8b", False)
    assert klass.slo == SLO(ttft_s=0.5, tpot_s=0.03)
    assert klass.expected_output_tokens == pytest.approx(10)


def test_a_mix_deals_out_tiers_by_share() -> None:
    mix = [{"share": "60%", "tier": "tight", "slo": {"ttft": 0.3}}, {"share": "40%", "tier": "loose", "slo": {"e2e": "1min"}}]
    workload = build({"rate": "10/s", "requests": 5000, "slo_mix": mix, "expected_output_tokens": 80}).workload
    assert [(k.name, k.tier, k.expected_output_tokens) for k in workload.classes] == [
        ("a/tight", "tight", 80),
        ("a/loose", "loose", 80),
    ]
    assert [k.slo for k in workload.classes] == [SLO(ttft_s=0.3), SLO(e2e_s=60.0)]
    assert (workload.klass == 0).mean() == pytest.approx(0.6, abs=0.03)


def test_entries_are_superposed_by_arrival() -> None:
    workload = build({"rate": "5/s", "requests": 50}, {"rate": "5/s", "requests": 50}).workload
    assert (np.diff(workload.arrival_s) >= 0).all()
    assert np.bincount(workload.klass).tolist() == [50, 50]


# --- common random numbers --------------------------------------------------------------------------------------------


def test_the_same_scenario_gives_the_same_requests_and_another_seed_others() -> None:
    entry = {"trace": "azure-2023-conv", "rate": "5/s", "requests": 100}
    first, same, other = (build(entry, seed=seed).workload for seed in (1, 1, 2))
    assert first.arrival_s.tolist() == same.arrival_s.tolist() != other.arrival_s.tolist()
    assert first.prompt_tokens.tolist() == same.prompt_tokens.tolist() != other.prompt_tokens.tolist()


def test_an_entry_keeps_its_requests_whatever_stands_beside_it() -> None:
    entry = {"name": "mine", "trace": "azure-2023-conv", "rate": "5/s", "requests": 100}
    alone = build(entry).workload
    beside = build({"rate": "9/s", "requests": 30}, entry).workload
    mine = beside.take(beside.klass == [k.name for k in beside.classes].index("mine"))
    assert mine.arrival_s.tolist() == alone.arrival_s.tolist()
    assert mine.prompt_tokens.tolist() == alone.prompt_tokens.tolist()


def test_two_entries_of_the_same_trace_are_not_copies_of_each_other() -> None:
    entry = {"trace": "azure-2023-conv", "rate": "5/s", "requests": 100}
    workload = build(entry, entry).workload
    first, second = (workload.take(workload.klass == code) for code in (0, 1))
    assert first.prompt_tokens.tolist() != second.prompt_tokens.tolist()
    assert not set(first.arrival_s) & set(second.arrival_s)


# --- the context window -----------------------------------------------------------------------------------------------

SHORT = {"max_model_len": 1000}


def test_a_prompt_that_does_not_fit_the_context_window_is_refused_by_row(trace: Callable[..., dict[str, str]]) -> None:
    words = trace((0, 999, 1), (1, 1000, 1), (2, 5, 5), (3, 2000, 5))
    with pytest.raises(InputError) as refusal:
        build({"trace": words}, engine=SHORT)
    (fault,) = refusal.value.faults
    assert fault.startswith(
        "workload a: row 1: a prompt of 1000 tokens and 1 more does not fit the context window of 1000 tokens; "
    )
    assert "truncate: true" in fault


def test_truncated_prompts_leave_room_for_their_output(trace: Callable[..., dict[str, str]]) -> None:
    workload = build({"trace": trace((0, 5000, 10), (1, 5, 5), (2, 1000, 3000)), "truncate": True}, engine=SHORT).workload
    assert workload.prompt_tokens.tolist() == [990, 5, 1]
    assert workload.output_tokens.tolist() == [10, 5, 999]
    assert any("2 prompts cut" in note for note in workload.source["notes"])


def test_outputs_end_at_the_context_window_as_vllm_ends_them(trace: Callable[..., dict[str, str]]) -> None:
    workload = build({"trace": trace((0, 900, 200), (1, 5, 5))}, engine=SHORT).workload
    assert workload.output_tokens.tolist() == [100, 5]
    assert any("1 outputs end at the context window" in note for note in workload.source["notes"])


def test_truncation_drops_the_prefix_blocks_that_were_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(
        '{"timestamp": 0, "input_length": 1500, "output_length": 12, "hash_ids": [1, 2, 3]}\n'
        '{"timestamp": 9, "input_length": 600, "output_length": 12, "hash_ids": [1, 9]}\n'
    )
    workload = build({"trace": {"file": str(path), "format": "mooncake"}, "truncate": True}, engine=SHORT).workload
    assert workload.prompt_tokens.tolist() == [988, 600]
    assert [workload.blocks_of(i).tolist() for i in range(2)] == [[1, 2], [1, 9]]


def test_a_request_that_no_engine_has_kv_memory_for_is_refused() -> None:
    with pytest.raises(InputError, match=r"110 tokens does not fit the 96 KV tokens .*; raise engine.num_gpu_blocks_override"):
        build({"rate": "1/s", "requests": 2}, engine={"num_gpu_blocks_override": 6})


# --- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "rest", "text"),
    [
        ({"rate": "1/h"}, {"duration": "1s", "seed": 3}, "no request arrives"),
        ({"rate": "1/h", "trace": "azure-2023-conv", "arrivals": "poisson"}, {"duration": "1s", "seed": 3}, "no request arrives"),
        ({"trace": {"file": "none.csv"}}, {}, "none.csv"),
    ],
)
def test_what_goes_wrong_names_the_entry(entry: dict[str, Any], rest: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError) as refusal:
        build(entry, **rest)
    (fault,) = refusal.value.faults
    assert fault.startswith("workload a: ")
    assert text in fault
    assert ";" in fault


# --- the gallery ------------------------------------------------------------------------------------------------------


def test_the_demo_builds_without_a_file() -> None:
    workload = build_workload(load_scenario(GALLERY / "demo.yaml")).workload
    assert workload.mean_rate == pytest.approx(130, rel=0.1)


def test_the_file_example_builds_from_the_real_trace(shared_data: Path) -> None:
    trace = shared_data / "traces" / "azure2023" / "AzureLLMInferenceTrace_conv.first40min.csv.gz"
    workload = build_workload(load_scenario(GALLERY / "azure-2023-file.yaml", [f"workload.chat.trace.file={trace}"])).workload
    assert len(workload) > 10_000
    assert (workload.klass == 0).mean() == pytest.approx(0.3, abs=0.02)
