"""Where the points of a sweep are computed: processes of this machine (joblib's loky), threads, a Dask cluster or a Ray cluster.

Every backend gives results as they come, so that each can be stored at once, and stops its work when it is no longer listened to.
"""

from __future__ import annotations

import itertools
import os
import threading
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from functools import cache
from importlib import import_module
from typing import Any, TypeVar

from traces.errors import InputError

T = TypeVar("T")
R = TypeVar("R")

LOCAL = ("loky", "threads")
BACKENDS = (*LOCAL, "dask", "ray")
_CONNECT_S = 20
_AHEAD = 2
"""Tasks per worker that are under way or wait at it, so that none waits for us."""


def check(backend: str, jobs: int | None, cluster: str | None) -> None:
    """Refuses what cannot be meant, before any work is done.

    Raises:
        InputError: unknown backend, one that is not installed, no workers, or a cluster for a backend that has none.
    """
    if backend not in BACKENDS:
        raise InputError(f"--backend {backend}: is not known; use one of {', '.join(BACKENDS)}")
    if jobs is not None and jobs < 1:
        raise InputError(f"--jobs {jobs}: is no number of workers; use 1 or more")
    if cluster is not None and backend in LOCAL:
        raise InputError(f"--cluster {cluster}: the backend {backend} runs on this machine; add --backend dask or --backend ray")
    package = {"dask": "distributed", "ray": "ray"}.get(backend)
    if package is not None and not _installed(package):
        remedy = "pip install 'dask[distributed]'" if backend == "dask" else "pip install ray"
        raise InputError(f"--backend {backend}: is not installed; {remedy}")


def run_all(
    function: Callable[[T], R], tasks: Sequence[T], *, backend: str = "loky", jobs: int | None = None, cluster: str | None = None
) -> Generator[tuple[int, R], None, None]:
    """Each task's index and result, as they are done. ``function`` must not raise, and be importable where it runs.

    ``jobs``: workers (default: a local one per core, or all that the cluster has). ``cluster``: address of a running one; without
    it, Dask and Ray start one on this machine and shut it down at the end. One job on this machine runs in this process.

    Raises:
        InputError: as ``check``; the cluster cannot be reached, or a worker died.
    """
    check(backend, jobs, cluster)
    if not tasks:
        return
    if backend == "dask":
        yield from _dask(function, tasks, jobs, cluster)
    elif backend == "ray":
        yield from _ray(function, tasks, jobs, cluster)
    else:
        yield from _joblib(function, tasks, "loky" if backend == "loky" else "threading", jobs)


def local_jobs() -> int:
    """Cores of this machine that this process may use."""
    import joblib

    return int(joblib.cpu_count())


def workers(backend: str, jobs: int | None, tasks: int) -> int | None:
    """``jobs``, but on this machine no more of them than there are tasks; ``None`` = all that a cluster has."""
    if backend not in LOCAL or (jobs is not None and jobs < 1):
        return jobs
    return min(jobs or local_jobs(), max(1, tasks))


def _installed(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None


def _joblib(function: Callable[[T], R], tasks: Sequence[T], backend: str, jobs: int | None) -> Generator[tuple[int, R], None, None]:
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    pool = Parallel(
        n_jobs=jobs or local_jobs(),
        backend=backend,
        batch_size=1,  # a batch would keep results that are ready to be stored
        pre_dispatch=f"{_AHEAD} * n_jobs",
        return_as="generator_unordered",
    )
    results = pool(delayed(_numbered)(function, i, task, os.getpid()) for i, task in enumerate(tasks))
    try:
        for result in results:  # noqa: UP028 (`yield from` would close it without the filter below)
            yield result
    except TerminatedWorkerError:
        raise _died("use fewer --jobs if memory ran out") from None
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that tasks are cancelled is what is wanted
            results.close()


def _numbered(function: Callable[[T], R], index: int, task: T, parent: int) -> tuple[int, R]:
    if os.getpid() != parent:
        _end_with(parent)
    return index, function(task)


@cache
def _end_with(parent: int) -> None:
    """Ends this worker within a second of its parent, which a kill gives no time to end its workers; loky's would wait for ever."""

    def watch() -> None:
        while os.getppid() == parent:
            threading.Event().wait(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _dask(
    function: Callable[[T], R], tasks: Sequence[T], jobs: int | None, cluster: str | None
) -> Generator[tuple[int, R], None, None]:
    distributed: Any = import_module("distributed")
    with ExitStack() as stack:
        address: Any = cluster
        if cluster is None:
            here = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
            address = stack.enter_context(distributed.LocalCluster(n_workers=jobs or local_jobs(), threads_per_worker=1, **here))
        try:
            client = stack.enter_context(distributed.Client(address, timeout=_CONNECT_S))
        except (OSError, ValueError) as error:
            raise _unreachable(cluster, "Dask scheduler", error) from None
        under_way: dict[Any, int] = {}
        stack.callback(lambda: client.cancel(list(under_way)))
        waiting = iter(enumerate(tasks))
        limit = jobs if jobs and cluster else _AHEAD * max(1, sum(client.nthreads().values()))
        done = distributed.as_completed(with_results=True, raise_errors=False)

        def submit(count: int) -> None:
            for index, task in itertools.islice(waiting, count):
                future = client.submit(function, task, pure=False)
                under_way[future] = index
                done.add(future)

        submit(limit)
        while under_way:
            future, result = next(done)
            if future.status != "finished":
                fault = result[1] if isinstance(result, tuple) else result
                died = isinstance(fault, distributed.KilledWorker)
                raise _died("give the workers more memory") if died else _broken("dask", fault)
            yield under_way.pop(future), result
            future.release()
            submit(1)


def _ray(
    function: Callable[[T], R], tasks: Sequence[T], jobs: int | None, cluster: str | None
) -> Generator[tuple[int, R], None, None]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a simulator does not call home
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # nor does it hide GPUs from what else runs here
    ray: Any = import_module("ray")
    with ExitStack() as stack:
        if not ray.is_initialized():
            here = {"num_cpus": jobs or local_jobs(), "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
            try:
                ray.init(address=cluster or "local", log_to_driver=False, logging_level="ERROR", **({} if cluster else here))
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise _unreachable(cluster, "Ray cluster", error) from None
            stack.callback(ray.shutdown)
        remote = ray.remote(num_cpus=1)(function)
        under_way: dict[Any, int] = {}
        stack.callback(lambda: [ray.cancel(reference, force=True) for reference in under_way])
        waiting = iter(enumerate(tasks))
        limit = jobs if jobs and cluster else _AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))

        def submit(count: int) -> None:
            for index, task in itertools.islice(waiting, count):
                under_way[remote.remote(task)] = index

        submit(limit)
        while under_way:
            (reference,), _ = ray.wait(list(under_way), num_returns=1)
            index = under_way.pop(reference)
            try:
                result = ray.get(reference)
            except ray.exceptions.RayError as error:
                died = isinstance(error, ray.exceptions.WorkerCrashedError | ray.exceptions.OutOfMemoryError)
                raise (_died("give the workers more memory") if died else _broken("ray", error)) from None
            yield index, result
            submit(1)


def _died(remedy: str) -> InputError:
    return InputError(f"workers: one died at its work; what is done stays cached: {remedy}, and run the same command again")


def _unreachable(cluster: str | None, what: str, error: Exception) -> InputError:
    if cluster is None:
        return InputError(f"--backend: no {what} could be started here ({_first_line(error)}); use --backend loky")
    return InputError(f"--cluster {cluster}: no {what} answers there ({_first_line(error)}); check the address")


def _broken(backend: str, error: object) -> InputError:
    return InputError(f"--backend {backend}: {_first_line(error)}; see the workers' logs")


def _first_line(error: object) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
