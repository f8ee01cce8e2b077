"""Where points are computed: processes and threads of this machine, a real Dask cluster and a real Ray, both on loopback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sim.backends import BACKENDS, run_all
from sim.sweep import Axis, Point, points, sweep
from traces.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
SMALL = """
model: llama-3.1-8b
fleet: {gpu: h200, gpus: 1}
workload: [{name: chat, trace: azure-2023-conv, rate: 4/s, requests: 50, slo: {ttft: 500ms, tpot: 30ms}}]
"""
GRID = [*points([Axis("workload.chat.rate", ("2/s", "4/s", "8/s"))], [0, 1]), Point(("policy=none",), 0)]

needs_dask = pytest.mark.skipif(find_spec("distributed") is None, reason="dask[distributed] is not installed")
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")
third_party = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
SEVERAL = [
    "loky",
    "threads",
    pytest.param("dask", marks=[needs_dask, *third_party]),
    pytest.param("ray", marks=[needs_ray, *third_party]),
]


class Span(NamedTuple):
    """When a task ran, on the clock that all processes share, and where."""

    began: float
    ended: float
    pid: int


def doze(seconds: float) -> Span:
    began = time.monotonic()
    time.sleep(seconds)
    return Span(began, time.monotonic(), os.getpid())


def die(seconds: float) -> None:
    os._exit(1)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


@pytest.fixture
def expected(small: Path, tmp_path: Path) -> bytes:
    sweep(small, GRID, jobs=1).write(tmp_path / "expected")
    return (tmp_path / "expected").read_bytes()


@pytest.mark.parametrize("backend", SEVERAL)
def test_every_backend_gives_the_same_table(small: Path, tmp_path: Path, expected: bytes, backend: str) -> None:
    seen = []
    result = sweep(small, GRID, backend=backend, jobs=2, cache=tmp_path / "cache", watch=seen.append)
    assert list(result.faults.values()) == [1], result.faults  # of a seventh point, which cannot be run
    result.write(tmp_path / "found")
    assert (tmp_path / "found").read_bytes() == expected
    assert seen[-1].ran == 6
    again = sweep(small, GRID, jobs=1, cache=tmp_path / "cache")
    assert [item.cached for item in again.results] == [True] * 6 + [False]


@needs_dask
@pytest.mark.filterwarnings("ignore")
def test_a_running_dask_cluster_is_used_and_left_running(small: Path, tmp_path: Path, expected: bytes) -> None:
    from distributed import Client, LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster:
        sweep(small, GRID, backend="dask", cluster=cluster.scheduler_address).write(tmp_path / "found")
        with Client(cluster.scheduler_address) as client:
            assert len(client.nthreads()) == 1
    assert (tmp_path / "found").read_bytes() == expected


@pytest.fixture
def ray_cluster() -> Iterator[str]:
    """Address of a Ray of another process."""
    program = """
import ray, sys
here = ray.init(address="local", num_cpus=1, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
print(here.address_info["gcs_address"], flush=True)
sys.stdin.read()
"""
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(timeout=60)
        process.stdout.close()


@needs_ray
@pytest.mark.filterwarnings("ignore")
def test_a_running_ray_cluster_is_used_and_left_running(small: Path, tmp_path: Path, expected: bytes, ray_cluster: str) -> None:
    import ray

    sweep(small, GRID, backend="ray", cluster=ray_cluster).write(tmp_path / "found")
    assert (tmp_path / "found").read_bytes() == expected
    assert not ray.is_initialized()
    ray.init(address=ray_cluster, log_to_driver=False, logging_level="ERROR")
    assert ray.cluster_resources()["CPU"] == 1
    ray.shutdown()


@pytest.mark.parametrize("backend", SEVERAL)
def test_results_come_as_they_are_done_and_leaving_early_stops_the_rest(backend: str) -> None:
    """The first is slow, and many more are waiting when we leave."""
    began = time.monotonic()
    with closing(run_all(doze, [5.0, *[0.01] * 20, *[5.0] * 20], backend=backend, jobs=2)) as results:
        early = [next(results)[0] for _ in range(3)]
    assert 0 not in early
    assert time.monotonic() - began < 50  # all of it takes 52 s; that much may pass before a cluster is up and down again


def test_two_workers_are_kept_busy() -> None:
    """By the clock, tasks cover more than 80 % of the time of both workers from the first to the last."""
    list(run_all(doze, [0.01] * 4, jobs=2))  # the workers start
    spans = [span for _, span in run_all(doze, [0.1] * 20, jobs=2)]
    assert len({span.pid for span in spans}) == 2
    whole = max(span.ended for span in spans) - min(span.began for span in spans)
    assert sum(span.ended - span.began for span in spans) > 0.8 * 2 * whole


def test_one_job_runs_in_this_process() -> None:
    assert {span.pid for _, span in run_all(doze, [0.0, 0.0], jobs=1)} == {os.getpid()}


@pytest.mark.filterwarnings("ignore:A worker stopped:UserWarning")
def test_a_worker_that_dies_is_told_in_a_line() -> None:
    with pytest.raises(InputError, match="workers: one died at its work; what is done stays cached: use fewer --jobs"):
        list(run_all(die, [0.0] * 4, jobs=2))
    assert len(list(run_all(doze, [0.0] * 4, jobs=2))) == 4


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the children of a process are read from Linux's /proc")
def test_workers_do_not_outlive_a_parent_that_was_killed() -> None:
    program = (
        "from sim.backends import run_all; from tests.sim.test_backends import doze; list(run_all(doze, [0.05] * 9999, jobs=2))"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, start_new_session=True)
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        deadline = time.monotonic() + 60
        while len(children.read_text().split()) < 3 and time.monotonic() < deadline:  # two workers and a tracker of resources
            time.sleep(0.05)
        time.sleep(0.5)  # the workers begin to work
        process.kill()
        process.wait()
        gone = False
        while not gone and time.monotonic() < deadline + 60:
            try:
                os.killpg(process.pid, 0)
                time.sleep(0.05)
            except ProcessLookupError:
                gone = True
        assert gone
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_workers_with_other_code_are_refused(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.sweep.hash_code", iter(["here", "there", "there"]).__next__)
    (fault,) = sweep(small, [Point((), 0)], jobs=1).faults
    assert "they run other code than this process" in fault


def test_nothing_to_do_starts_nothing() -> None:
    for backend in BACKENDS:
        if backend in ("loky", "threads") or find_spec({"dask": "distributed", "ray": "ray"}[backend]):
            assert list(run_all(doze, [], backend=backend)) == []


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"backend": "spark"}, "use one of loky, threads, dask, ray"),
        ({"jobs": 0}, "use 1 or more"),
        ({"cluster": "tcp://127.0.0.1:1"}, "add --backend dask or --backend ray"),
    ],
)
def test_what_cannot_be_meant_is_refused(small: Path, options: dict[str, Any], fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        sweep(small, GRID, **options)


def test_a_backend_that_is_not_installed_is_told_how_to_get(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.backends._installed", lambda package: False)
    with pytest.raises(InputError, match="--backend ray: is not installed; pip install ray"):
        sweep(small, GRID, backend="ray")


@needs_dask
@pytest.mark.filterwarnings("ignore")
def test_a_dask_cluster_that_does_not_answer_is_told(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.backends._CONNECT_S", 1)
    with pytest.raises(InputError, match="no Dask scheduler answers there"):
        sweep(small, GRID, backend="dask", cluster="tcp://127.0.0.1:1")
