"""Fixtures that every room's tests share."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure() -> None:
    """A shell without job control starts background jobs deaf to Ctrl-C, and they pass that on; tests press it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real traces and measurements that lies beside the checkout on the maintainers' machines."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no data folder beside the checkout ({SHARED_DATA.parent.name}/{SHARED_DATA.name})")
    return SHARED_DATA
