"""TwinServe's parts one by one, on the common workload: ``python -m pytest benchmarks``; not part of ``make test``.

For figures beside other simulators see ``benchmarks.peers``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.simulators import ROOT
from benchmarks.workload import common_workload, write_mooncake
from sim.run import simulate
from traces.metrics import summarise
from traces.readers import read
from traces.record import Record
from traces.scenario import Scenario, load_scenario

REQUESTS = 10_000


@pytest.fixture(scope="session")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The common workload for 8 engines as Mooncake JSONL."""
    path = tmp_path_factory.mktemp("workload") / "trace.jsonl"
    write_mooncake(common_workload(REQUESTS, engines=8), path)
    return path


@pytest.fixture(scope="session")
def record(trace: Path) -> Record:
    return simulate(_scenario(trace, gpus=8))


def _scenario(trace: Path, gpus: int, **fields: Any) -> Scenario:
    """``gpus`` engines; the trace's rate is set to 4 requests/s on each."""
    path = trace.with_name("scenario.yaml")
    entry = {"name": "bench", "trace": {"file": str(trace), "format": "mooncake"}, "rate": f"{4 * gpus}/s"}
    document = {"model": "llama-3.1-8b", "fleet": {"gpu": "h200", "gpus": gpus}, "workload": [entry], "policy": "vllm"}
    path.write_text(json.dumps({**document, **fields}))
    return load_scenario(path)


@pytest.mark.parametrize("gpus", [1, 8, 64])
def test_a_run(benchmark: Any, trace: Path, gpus: int) -> None:
    """Reading the trace, the event loop and making the tables, by size of the fleet."""
    scenario = _scenario(trace, gpus)
    record = benchmark(simulate, scenario)
    assert set(record.requests["outcome"].to_pylist()) == {"completed"}


def test_a_run_without_leaps(benchmark: Any, trace: Path) -> None:
    """Every engine step is an event: what leaps save."""
    record = benchmark.pedantic(simulate, [_scenario(trace, 8, sim={"leap": False})], rounds=3)
    assert record.requests.num_rows == REQUESTS


@pytest.mark.parametrize("router", ["round-robin", "vllm", "join-shortest-queue", "power-of-two", "lmetric", "prefix-affinity"])
def test_a_router_in_front_of_64_engines(benchmark: Any, trace: Path, router: str) -> None:
    record = benchmark.pedantic(simulate, [_scenario(trace, 64, policy={"router": router})], rounds=3)
    assert record.requests.num_rows == REQUESTS


def test_a_run_with_every_decision_logged(benchmark: Any, trace: Path) -> None:
    record = benchmark.pedantic(simulate, [_scenario(trace, 8, decisions="full")], rounds=3)
    assert record.requests.num_rows == REQUESTS


def test_reading_a_trace(benchmark: Any, trace: Path) -> None:
    assert len(benchmark(read, trace, "mooncake")) == REQUESTS


def test_writing_a_record(benchmark: Any, record: Record, tmp_path: Path) -> None:
    benchmark(record.write, tmp_path / "record")


def test_metrics(benchmark: Any, record: Record) -> None:
    benchmark(summarise, record)


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"]], ids=" ".join)
def test_help(benchmark: Any, arguments: list[str]) -> None:
    """The whole process: what a user waits for at the prompt."""
    command = [sys.executable, "-m", "twinserve", *arguments]
    benchmark.pedantic(subprocess.run, [command], {"cwd": ROOT, "stdout": subprocess.DEVNULL, "check": True}, rounds=5)
