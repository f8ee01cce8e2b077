"""What a run leaves behind while it runs: its requests, the steps of its engines, and what became of the engines."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

import numpy as np

from policies.types import EngineState
from replay.request import Request

_ROW = Struct("=hqddidiiqiiiq")
STEP_ROW = np.dtype(
    [
        ("engine", "i2"),
        ("step", "i8"),
        ("start_s", "f8"),
        ("end_s", "f8"),
        ("prefill_tokens", "i4"),
        ("prefill_attention", "f8"),
        ("prefill_seqs", "i4"),
        ("decode_tokens", "i4"),
        ("decode_context", "i8"),
        ("spec_tokens", "i4"),
        ("running", "i4"),
        ("waiting", "i4"),
        ("kv_tokens_used", "i8"),
    ]
)


class Step(NamedTuple):
    """One engine step; the columns of ``traces.tables.STEPS``."""

    step: int
    start_s: float
    end_s: float
    prefill_tokens: int
    prefill_attention: float
    prefill_seqs: int
    decode_tokens: int
    decode_context: int
    spec_tokens: int
    running: int
    waiting: int
    kv_tokens_used: int


class Stage(NamedTuple):
    """An engine is in ``state`` from ``time_s`` on; ``released`` once it is gone."""

    time_s: float
    engine: int
    state: EngineState | str


class Journal:
    """Every offered request, by arrival; every step, by end; every change of an engine's state."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.stages: list[Stage] = []
        self.faults: dict[str, int] = {}
        """What went wrong without ending the run, in words for the record's warnings, and how often."""
        self.settled: set[int] = set()
        """Requests, by id, of which an engine's log has told."""
        self._steps = bytearray()

    def offered(self, request: Request) -> None:
        self.requests.append(request)

    def step(self, engine: int, step: Step) -> None:
        """``engine``: its index."""
        self._steps += _ROW.pack(engine, *step)

    def stage(self, time_s: float, engine: int, state: EngineState | str) -> None:
        self.stages.append(Stage(time_s, engine, state))

    def fault(self, text: str, times: int = 1) -> None:
        self.faults[text] = self.faults.get(text, 0) + times

    def step_rows(self) -> np.ndarray:
        """All steps; dtype ``STEP_ROW``."""
        return np.frombuffer(self._steps, STEP_ROW)
