"""A call in a process of its own: whatever becomes of it, this process lives, and nothing that it started stays."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from traces.errors import InputError

T = TypeVar("T")

_STOP_S = 10.0
_PRELOADED = ("figures.tuning.preloaded",)


def in_own_process(function: Callable[[T], Any], given: T, *, limit_s: float) -> tuple[Any, str]:
    """(result, "") or (``None``, why there is none): it raised, was killed, or took more than ``limit_s`` and was ended.

    Processes are forked from one that has imported vLLM once and done nothing else, so that a trial does not pay for the import.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_call, args=(function, given, there))
    process.start()
    there.close()
    try:
        if not here.poll(limit_s):
            return None, f"time-out: not done after {limit_s:g} s"
        told, failure = here.recv()
        return told, failure
    except EOFError:
        process.join(_STOP_S)
        code = process.exitcode
        how = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
        return None, f"crash: the process died ({how})"
    finally:
        here.close()
        _end(process)


def _end(process: Any) -> None:
    """Asked first, so that servers are stopped, then killed with all that it started."""
    process.join(0.5)
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.is_alive():
            os.kill(process.pid, number)
            process.join(_STOP_S)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.close()


def _call(function: Callable[[T], Any], given: T, told: Connection) -> None:
    os.setsid()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(1))
    try:
        told.send((function(given), ""))
    except InputError as error:
        told.send((None, f"crash: {error.faults[0]}"))
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        told.send((None, f"crash: {text[:300]}"))
    finally:
        told.close()
        os._exit(0)  # an engine's threads need not be waited for
