"""Asking a policy on behalf of an engine that must not suffer from it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

LONGEST_REST = 1024
"""Steps for which a policy that fails again and again is not asked, at most."""

_Answer = TypeVar("_Answer")


class Overrun(BaseException):
    """A policy thinks for too long. Not an ``Exception``, so that no policy catches it."""


class Guard:
    """Asks a policy, and does without it where it fails: where it raises, or takes longer than ``deadline_s``.

    A fault is told to ``on_fault`` in one line, and the policy has a rest of 1 step, or 2, 4, … for faults in a row. On a process's
    main thread a policy is interrupted at its deadline; elsewhere an answer that comes too late is thrown away.
    """

    def __init__(self, name: str, deadline_s: float | None, on_fault: Callable[[str], None]) -> None:
        self._name = name
        self._deadline_s = deadline_s
        self._on_fault = on_fault
        self._in_a_row = 0
        self._rests_until = 0
        self._interrupts = deadline_s is not None and threading.current_thread() is threading.main_thread()
        if self._interrupts:
            signal.signal(signal.SIGALRM, _overrun)

    def ask(self, step: int, question: Callable[[], _Answer]) -> _Answer | None:
        """What ``question`` returns, which asks the policy and checks its answer; ``None`` if that is not to be had in ``step``."""
        if step < self._rests_until:
            return None
        try:
            answer = self._timed(question)
        except Overrun:
            self._failed(step, f"took longer than its deadline of {1e3 * (self._deadline_s or 0):g} ms")
        except Exception as error:  # whatever a policy raises must not take the engine down
            self._failed(step, f"raised {type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no text'}")
        else:
            self._in_a_row = 0
            return answer
        return None

    def _timed(self, question: Callable[[], _Answer]) -> _Answer:
        deadline = self._deadline_s
        if deadline is None:
            return question()
        if self._interrupts:
            signal.setitimer(signal.ITIMER_REAL, deadline)
            try:
                return question()
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0.0)
        began = time.perf_counter()
        answer = question()
        if time.perf_counter() - began > deadline:
            raise Overrun
        return answer

    def _failed(self, step: int, what: str) -> None:
        self._rests_until = step + min(1 << self._in_a_row, LONGEST_REST)
        self._in_a_row += 1
        self._on_fault(f"{self._name} {what}; the engine did as it does without it")


def _overrun(_: int, __: FrameType | None) -> None:
    raise Overrun
