"""Sweeps: axes, points, one tidy table, and a cache that a kill cannot hurt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from policies.routers import RoundRobin
from sim.sweep import Axis, Point, Progress, SweepResult, parse_axis, points, points_of, run_point, sweep
from traces.errors import InputError
from traces.intervals import Estimate
from traces.pooling import combined, pooled

ROOT = Path(__file__).resolve().parents[2]
SMALL = """
model: llama-3.1-8b
fleet: {gpu: h200, gpus: 2}
workload:
  - {name: chat, trace: azure-2023-conv, rate: 4/s, requests: 100, slo: {ttft: 500ms, tpot: 30ms}}
  - {name: code, trace: azure-2023-code, rate: 2/s, requests: 50, slo: {ttft: 500ms, tpot: 30ms}}
"""
RATES = Axis("workload.chat.rate", ("4/s", "8/s", "40/s"))


class Broken(RoundRobin):
    """A router with a mistake."""

    def route(self, request: Any, fleet: Any) -> Any:
        return 1 // 0


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


# --- axes and points --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ("4/s..40/s:4", ("4/s", "16/s", "28/s", "40/s")),
        ("4..40/s:2", ("4/s", "40/s")),
        ("1..64:7log", ("1", "2", "4", "8", "16", "32", "64")),
        ("10%..50%:3", ("10%", "30%", "50%")),
        ("40..4:2", ("40", "4")),
        ("-1..1:3", ("-1", "0", "1")),
        ("2..8:3,16", ("2", "5", "8", "16")),
        ("vllm, sarathi", ("vllm", "sarathi")),
        ("{router: random, batcher: {sarathi: {}}},vllm", ("{router: random, batcher: {sarathi: {}}}", "vllm")),
        ("../a.csv,../b.csv", ("../a.csv", "../b.csv")),
        ("'a,b',c", ("'a,b'", "c")),
    ],
)
def test_an_axis_is_a_list_or_a_range(written: str, values: tuple[str, ...]) -> None:
    assert parse_axis(f"some.key={written}") == Axis("some.key", values)


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ("rate", "names no values"),
        ("rate=", "names no values"),
        ("rate=4..40", "does not say how many values; write 4..40:8"),
        ("rate=1ms..2s:3", "mixes the units ms and s"),
        ("rate=0..4:3log", "leave out `log`"),
        ("rate=4..40:1", "ask for 2 to"),
        ("rate=4..4:3", "begins where it ends"),
        ("rate=a,,b", "has an empty value"),
    ],
)
def test_a_badly_written_axis_is_refused_with_a_remedy(written: str, fault: str) -> None:
    with pytest.raises(InputError, match=f"--vary rate.*{fault}"):
        parse_axis(written)


def test_points_are_all_combinations_with_seeds_fastest() -> None:
    grid = points([Axis("a", ("1", "2")), Axis("b", ("x",))], [7, 8])
    assert grid == [Point(("a=1", "b=x"), 7), Point(("a=1", "b=x"), 8), Point(("a=2", "b=x"), 7), Point(("a=2", "b=x"), 8)]


def test_an_axis_given_twice_or_the_seed_is_refused() -> None:
    with pytest.raises(InputError, match="a: is given twice"):
        points([Axis("a", ("1",)), Axis("a", ("2",))], [0])
    with pytest.raises(InputError, match="say how many with --seeds"):
        points([Axis("seed", ("1",))], [0])


def test_the_file_may_say_what_is_varied_and_the_command_line_overrules_it(small: Path) -> None:
    small.write_text(
        SMALL + "seed: 3\nsweep:\n  vary: {workload.chat.rate: 4/s..8/s:2, policy: [vllm, {router: random}]}\n  seeds: 2\n"
    )
    grid = points_of(small, [], None)
    assert len(grid) == 8
    assert grid[-1] == Point(("workload.chat.rate=8/s", 'policy={"router": "random"}'), 4)
    assert points_of(small, ["fleet.gpus=1,2"], 1) == [Point(("fleet.gpus=1",), 3), Point(("fleet.gpus=2",), 3)]


def test_trace_files_of_a_sweep_lie_beside_the_scenario(small: Path) -> None:
    small.write_text(SMALL + "sweep: {vary: {workload.chat.trace.file: [a.csv]}}\n")
    (point,) = points_of(small, [], None)
    assert point.sets == (f'workload.chat.trace.file="{small.parent / "a.csv"}"',)


@pytest.mark.parametrize("value", ["os:system", '{router: "os\\x3asystem"}', "{router: {os:system: {}}}"])
def test_a_sweep_in_a_file_cannot_name_a_class_to_import(small: Path, value: str) -> None:
    small.write_text(SMALL + f"sweep: {{vary: {{policy: ['{value}']}}}}\n")
    with pytest.raises(InputError, match=r"small.yaml:7: sweep\.vary: policy: a file cannot name a class to import"):
        points_of(small, [], None)


def test_nothing_to_vary_is_refused(small: Path) -> None:
    with pytest.raises(InputError, match="nothing is varied; give --vary"):
        points_of(small, [], None)


# --- results ----------------------------------------------------------------------------------------------------------


def test_results_do_not_depend_on_the_workers(small: Path, tmp_path: Path) -> None:
    grid = [*points([RATES], [0, 1]), Point(("workload.chat.rate=soon",), 0)]
    written = []
    for name, backend, jobs in (("one", "loky", 1), ("two", "loky", 2), ("threads", "threads", 2)):
        sweep(small, grid, backend=backend, jobs=jobs).write(tmp_path / name)
        written.append((tmp_path / name).read_bytes())
    assert written[0] == written[1] == written[2]


def test_the_table_is_tidy_and_tells_what_run_tells(small: Path) -> None:
    frame = sweep(small, points([RATES], [0, 1]), jobs=1).frame()
    assert frame.columns.tolist() == [
        "workload.chat.rate", "seed", "group", "metric", "value", "lo", "hi", "n", "note", "fault", "point",
    ]  # fmt: skip
    assert not frame.duplicated(["workload.chat.rate", "seed", "group", "metric"]).any()
    assert frame["workload.chat.rate"].unique().tolist() == [4.0, 8.0, 40.0]
    assert set(frame["group"]) == {"all", "chat", "code"}
    assert frame.groupby(["workload.chat.rate", "seed"])["point"].nunique().eq(1).all()
    row = frame[
        (frame["workload.chat.rate"] == 8) & (frame["seed"] == 1) & (frame["metric"] == "ttft_s.p50") & (frame["group"] == "chat")
    ]
    alone = run_point(small, ["workload.chat.rate=8/s", "seed=1"])["tiers"]["chat"]
    assert row[["value", "lo", "hi", "n"]].iloc[0].tolist() == [alone[f"ttft_s.p50{part}"] for part in ("", ".lo", ".hi", ".n")]


def test_columns_of_axes_hold_numbers_or_texts(small: Path) -> None:
    axes = [Axis("policy", ("vllm", "sarathi")), Axis("fleet.gpus", ("1", "2")), Axis("sim.noise", ("off", "2%"))]
    frame = sweep(small, points(axes, [0]), jobs=1).frame()
    assert frame["fleet.gpus"].dtype == "int64"
    assert frame["sim.noise"].unique().tolist() == ["off", "0.02"]
    assert frame["policy"].unique().tolist() == ["vllm", "sarathi"]


def test_a_point_that_fails_is_a_row_and_stops_no_other(small: Path, tmp_path: Path) -> None:
    axis = Axis("policy.router", ("random", "randum", f"{__name__}:Broken"))
    result = sweep(small, points([axis], [0]), jobs=1, cache=tmp_path / "cache")
    frame = result.frame().set_index("policy.router")
    assert frame.loc["random", "metric"].tolist().count("attainment") == 3
    assert frame.loc["randum", "metric"] == "fault"
    assert "did you mean 'random'?" in frame.loc["randum", "fault"]
    assert "ZeroDivisionError" in frame.loc[f"{__name__}:Broken", "fault"]
    assert "test_sweep.py:" in frame.loc[f"{__name__}:Broken", "fault"]
    assert len(result.faults) == 2
    assert pd.isna(frame.loc["randum", "value"])


def test_warnings_of_a_run_are_in_the_table(small: Path) -> None:
    frame = sweep(small, [Point(("workload.chat.requests=20", "workload.code.requests=20"), 0)], jobs=1).frame()
    row = frame[frame["metric"] == "warnings"].iloc[0]
    assert row["value"] >= 1
    assert "too few for a p99" in row["note"]


def test_equal_points_run_once(small: Path) -> None:
    ran: list[Progress] = []
    grid = points([Axis("workload.chat.rate", ("4/s", "240/min"))], [0])
    result = sweep(small, grid, jobs=1, watch=ran.append)
    assert ran[-1].ran == 1
    assert ran[-1].done == ran[-1].total == 2
    assert result.results[0].text == result.results[1].text


def test_a_file_that_cannot_be_written_is_named(small: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        SweepResult(()).write(tmp_path / "small.yaml" / "x.parquet")


# --- the cache --------------------------------------------------------------------------------------------------------


def test_points_are_run_once_and_then_cached(small: Path, tmp_path: Path) -> None:
    grid, cache = points([RATES], [0, 1]), tmp_path / "cache"
    first = sweep(small, grid[:4], jobs=1, cache=cache)
    seen: list[Progress] = []
    second = sweep(small, grid, jobs=1, cache=cache, watch=seen.append)
    assert [result.cached for result in first.results] == [False] * 4
    assert [result.cached for result in second.results] == [True] * 4 + [False] * 2
    assert seen[-1].ran == 2
    pd.testing.assert_frame_equal(second.frame(), sweep(small, grid, jobs=1).frame())


def test_a_cached_point_has_the_name_of_the_scenario_that_asks(small: Path, tmp_path: Path) -> None:
    sweep(small, [Point((), 0)], jobs=1, cache=tmp_path / "cache")
    other = small.rename(tmp_path / "other.yaml")
    (result,) = sweep(other, [Point((), 0)], jobs=1, cache=tmp_path / "cache").results
    assert result.cached
    assert result.summary()["scenario"] == "other"


def test_a_cache_that_fills_up_does_not_end_the_sweep(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sim.pointcache.PointCache.put", full)
    result = sweep(small, points([RATES], [0]), jobs=1, cache=tmp_path / "cache")
    assert not result.faults
    assert result.warnings == ("results are no longer kept in the cache: No space left on device",)


def test_a_killed_sweep_goes_on_where_it_was(small: Path, tmp_path: Path) -> None:
    """SIGKILL to the command and its workers at once, in the middle of their work."""
    cache, seeds, rate = tmp_path / "cache", 40, "workload.chat.requests=2000"
    command = [sys.executable, "-m", "twinserve", "sweep", str(small), "--seeds", str(seeds), "--set", rate]
    command += ["--jobs", "2", "--cache", str(cache)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while len(list(cache.rglob("*.zst"))) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = len(list(cache.rglob("*.json.zst")))
    assert 4 <= done < seeds
    seen: list[Progress] = []
    result = sweep(small, points([], range(seeds)), sets=[rate], jobs=2, cache=cache, watch=seen.append)
    assert seen[-1].ran == seeds - done
    assert sum(item.cached for item in result.results) == done
    assert not result.faults


# --- cost -------------------------------------------------------------------------------------------------------------


def test_a_point_costs_little_more_than_its_run(small: Path, tmp_path: Path) -> None:
    """Reading, hashing, storing and collecting, against a run of 150 requests: by the best of several, on whatever machine."""

    def seconds(work: Any) -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    grid = points([], range(10))
    sweep(small, grid[:2], jobs=1)
    bare = min(seconds(lambda: [run_point(small, [f"seed={p.seed}"]) for p in grid]) for _ in range(3))
    whole = min(seconds(lambda folder=tmp_path / str(i): sweep(small, grid, jobs=1, cache=folder)) for i in range(3))
    assert whole < 2 * bare


# --- several seeds in one ---------------------------------------------------------------------------------------------


def test_pooled_intervals_hold() -> None:
    """95 % intervals of 2 to 20 runs contain the truth in 92 to 98 of 100 cases, within three standard errors of 2,000 cases."""
    rng = np.random.default_rng(1)
    for runs in (2, 3, 4, 8, 20):
        values = rng.normal(10, 1, (2000, runs))
        found = [pooled("e2e_s.mean", [Estimate(v, v - 1.96, v + 1.96, 100) for v in row]) for row in values.tolist()]
        coverage = np.mean([e.lo is not None and e.hi is not None and e.lo <= 10 <= e.hi for e in found])
        assert 0.935 <= coverage <= 0.965, runs


def test_runs_that_know_too_little_of_themselves_are_judged_by_their_spread() -> None:
    apart = [Estimate(v, v - 0.01, v + 0.01, 100) for v in (8.0, 9.0, 10.0, 11.0)]
    found = pooled("e2e_s.mean", apart)
    assert found.lo is not None
    assert found.lo < 8.5
    assert combined(apart).lo == pytest.approx(9.5 - 0.005)


def test_pooled_shares_stay_shares_and_agreement_is_not_certainty() -> None:
    all_met = [Estimate(1.0, 0.98, 1.0, 200)] * 4
    assert pooled("attainment", all_met) == Estimate(1.0, pytest.approx(0.99), 1.0, 800)
    mixed = [Estimate(v, v - 0.02, 1.0, 200) for v in (1.0, 1.0, 1.0, 0.98)]
    assert pooled("attainment", mixed).hi == 1.0


def test_a_run_that_does_not_know_makes_the_whole_unknown() -> None:
    found = pooled("ttft_s.p99", [Estimate(1.0, 0.9, 1.1, 5), Estimate(None)])
    assert found.value is None
    assert found.note == "unknown in 1 of 2 runs"
