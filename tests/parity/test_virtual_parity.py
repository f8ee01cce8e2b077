"""The simulator against vLLM's own scheduler in virtual time, over whole traces: TTFT, TPOT and every decision of every request."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from policies.redecide import redecide_record
from policies.registry import names
from replay.run import replay
from sim.run import simulate
from tests.parity.replaying import VIRTUAL, scenario, shared_prefix_trace
from traces.agreement import agreement
from traces.record import Record


def both(folder: Path, *sets: str, views: bool = True) -> tuple[Record, Record]:
    """vLLM's record and the simulator's, which must agree; decided again, both logs give the same decisions.

    ``views``: also in what the policies saw, not only in what came of it.
    """
    loaded = scenario(VIRTUAL, folder, *sets)
    real, simulated = replay(loaded), simulate(loaded)
    found = agreement(real, simulated)
    assert found.decided
    assert (found if views else replace(found, decisions=0)).equal, found
    assert real.manifest["sound"]
    assert not real.manifest["warnings"]
    for record in (real, simulated):
        assert redecide_record(record.manifest, record.decisions or ()).same
    return real, simulated


ASYNC = "engine.async_scheduling=on"
DRAFTS = "engine.speculative={method: eagle, num_speculative_tokens: 8, acceptance: 0.7, draft_time: 500us}"
PIPELINED = ["fleet.gpus=4", "fleet.pipeline_parallel=2"]
"""hygen-star goes by when the step under way ends, which a scheduler cannot know of a batch between two stages."""
SPECULATORS = [name for name in names("speculator") if name != "none"]


def total(record: Record, column: str) -> int:
    return sum(record.requests.column(column).to_pylist())


@pytest.mark.parametrize("router", names("router"))
def test_every_router_sees_and_decides_the_same(router: str, tmp_path: Path) -> None:
    both(tmp_path, f"policy.router={router}")


@pytest.mark.parametrize("batcher", names("batcher"))
@pytest.mark.parametrize("caching", ["on", "off"])
def test_every_batcher_sees_and_decides_the_same_while_memory_runs_out(batcher: str, caching: str, tmp_path: Path) -> None:
    real, _ = both(tmp_path, f"policy.batcher={batcher}", f"engine.enable_prefix_caching={caching}", "fleet.gpus=1")
    assert total(real, "preemptions") > (10 if batcher in ("vllm", "sarathi", "polyserve") else 2)  # others keep memory free


@pytest.mark.parametrize(
    "knobs",
    [
        ["engine.scheduling_policy=priority"],
        ["engine.watermark=0.1", "engine.scheduler_reserve_full_isl=off"],
        ["engine.long_prefill_token_threshold=100"],
        ["engine.enable_chunked_prefill=off", "engine.max_num_batched_tokens=3000", "engine.max_model_len=3000"],
        ["engine.max_num_seqs=4", "policy.batcher.sarathi.chunk_tokens=64"],
    ],
    ids=lambda knobs: knobs[0].removeprefix("engine."),
)
def test_every_knob_means_the_same(knobs: list[str], tmp_path: Path) -> None:
    both(tmp_path, *knobs)


@pytest.mark.parametrize("router", ["join-shortest-queue", "lmetric", "prefix-affinity"])
def test_an_old_view_of_the_engines_is_equally_old(router: str, tmp_path: Path) -> None:
    both(tmp_path, "sim.observe=70ms", f"policy.router={router}")


def test_what_is_unfinished_at_the_end_is_so_in_both(tmp_path: Path) -> None:
    real, _ = both(tmp_path, "drain=200ms")
    assert "unfinished" in real.requests.column("outcome").to_pylist()


@pytest.mark.parametrize("blocks", [600, 4000])
def test_prompts_that_share_content_hit_alike(blocks: int, tmp_path: Path) -> None:
    trace = shared_prefix_trace(tmp_path / "trace.jsonl")
    sets = [f"workload=[{{name: chat, trace: {{file: {trace}, format: mooncake}}, slo: {{ttft: 1s, tpot: 30ms}}}}]"]
    real, _ = both(tmp_path, *sets, f"engine.num_gpu_blocks_override={blocks}", "policy.router=prefix-affinity", "duration=5s")
    assert total(real, "cached_tokens") > 0.2 * total(real, "prompt_tokens")


@pytest.mark.parametrize("ahead", [[], [ASYNC]], ids=["sync", "async"])
@pytest.mark.parametrize("speculator", SPECULATORS)
@pytest.mark.parametrize("batcher", ["vllm", "sarathi"])
def test_every_speculator_has_the_same_drafts_accepted_at_the_same_time(
    batcher: str, speculator: str, ahead: list[str], tmp_path: Path
) -> None:
    policies = [f"policy.batcher={batcher}", f"policy.speculator={speculator}"]
    real, _ = both(tmp_path, DRAFTS, *ahead, *policies, views=False)
    assert total(real, "drafted_tokens") > total(real, "accepted_tokens") > 0


SCALED = ["fleet.gpus=4", "fleet.parked=2", "fleet.start_up=300ms", "duration=4s", "engine.num_gpu_blocks_override=600"]
TARGET = "{target-load: {target: 8, period_s: 0.2, stabilisation_s: 0.3}}"
FAULTS = ["{events: [{engine: e0, at: 1s, for: 500ms}, {engine: e1, at: 1.2s}]}", "{mtbf: 1s, mttr: 300ms, retries: 1}"]


@pytest.mark.parametrize("scaler", names("scaler"))
def test_every_scaler_sees_and_does_the_same(scaler: str, tmp_path: Path) -> None:
    router = f"policy.router={'polyserve' if scaler == 'polyserve' else 'least-loaded'}"
    chosen = TARGET if scaler == "target-load" else scaler
    real, simulated = both(tmp_path, *SCALED, f"policy.scaler={chosen}", router, "sim.observe=70ms")
    assert stages(real) == stages(simulated)
    if scaler == "target-load":
        assert {"parked", "starting", "draining"} <= {state for _, _, state in stages(real)}


@pytest.mark.parametrize("ahead", [[], [ASYNC]], ids=["sync", "async"])
@pytest.mark.parametrize("faults", FAULTS, ids=["listed", "random"])
def test_engines_fail_alike_and_requests_start_over_alike(faults: str, ahead: list[str], tmp_path: Path) -> None:
    real, simulated = both(tmp_path, *SCALED, "fleet.parked=0", f"faults={faults}", *ahead, views=not ahead)
    assert stages(real) == stages(simulated)
    assert real.manifest["faults"] == simulated.manifest["faults"]
    assert real.manifest["faults"]["retried"] > 5


def stages(record: Record) -> list[tuple[float, str, str]]:
    rows = record.fleet.to_pydict()
    return sorted(zip((round(time, 6) for time in rows["time_s"]), rows["engine"], rows["state"], strict=True))


def test_steps_planned_ahead_take_the_same_time(tmp_path: Path) -> None:
    real, _ = both(tmp_path, ASYNC, "fleet.gpus=1", views=False)
    assert total(real, "preemptions") > 10


@pytest.mark.parametrize("batcher", [name for name in names("batcher") if name != "hygen-star"])
def test_every_batcher_fills_a_pipeline_of_two_stages_alike(batcher: str, tmp_path: Path) -> None:
    real, _ = both(tmp_path, *PIPELINED, f"policy.batcher={batcher}", views=False)
    assert total(real, "output_tokens") > 1_000


@pytest.mark.parametrize("batcher", ["vllm", "polyserve"])
def test_a_pipeline_whose_steps_are_planned_ahead_takes_the_same_time(batcher: str, tmp_path: Path) -> None:
    real, _ = both(tmp_path, *PIPELINED, ASYNC, f"policy.batcher={batcher}", views=False)
    assert total(real, "output_tokens") > 1_000


@pytest.mark.parametrize("knob", [ASYNC, DRAFTS], ids=["async", "drafts"])
def test_policies_see_the_same_where_steps_overlap_or_verify_drafts(knob: str, tmp_path: Path) -> None:
    both(tmp_path, knob)
