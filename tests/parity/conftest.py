"""Parity with real vLLM. These tests need the `cpu` extra (`make parity` sets it up); without vLLM they are skipped, visibly."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks import priority

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; small models are slower on more threads

REASON = "vLLM is not installed in this environment; `make parity` makes one that has it"

collect_ignore_glob = [] if find_spec("vllm") else ["test_*_parity.py"]


def pytest_configure(config: pytest.Config) -> None:
    """Where parity is the purpose of the run, its absence is a failure, not a skip."""
    if os.environ.get("TWINSERVE_PARITY") == "required" and find_spec("vllm") is None:
        raise pytest.UsageError(REASON)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder that vLLM accepts."""
    from tests.parity.vllm_side import write_model

    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def ahead_of_others() -> Iterator[None]:
    """For tests that measure time."""
    with priority.ahead_of_others():
        yield
