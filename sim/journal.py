"""What a run leaves behind while it runs: flat arrays, one row per request and one per batch, and no Python object per row."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from struct import Struct
from typing import Any

import numpy as np

from sim.request import Request

_STEP_ROW = Struct("=hiddqiqidiiqii")
STEP_ROW = np.dtype(
    [
        ("engine", "i2"),
        ("steps", "i4"),
        ("start_s", "f8"),
        ("end_s", "f8"),
        ("kv_blocks", "i8"),
        ("verify_tokens", "i4"),
        ("step", "i8"),
        ("prefill_tokens", "i4"),
        ("prefill_attention", "f8"),
        ("prefill_seqs", "i4"),
        ("decode_seqs", "i4"),
        ("decode_context", "i8"),
        ("running", "i4"),
        ("waiting", "i4"),
    ]
)
"""A batch: ``steps`` > 1 for a leap, whose prefill fields are 0; ``decode_context`` is that of the first step."""

COMPLETED, SHED, UNFINISHED, FAILED = range(4)
"""Codes of ``traces.record.OUTCOMES``."""


class Journal:
    """Rows of ``requests`` requests, by id, and of all batches. NaN and −1 mean "did not happen"."""

    def __init__(self, requests: int) -> None:
        nan = array("d", [float("nan")])
        self.arrival_s = nan * requests
        self.first_scheduled_s = nan * requests
        self.first_token_s = nan * requests
        self.last_token_s = nan * requests
        self.engine = array("h", [-1]) * requests
        self.generated = array("i", [0]) * requests
        self.cached = array("i", [0]) * requests
        self.preemptions = array("i", [0]) * requests
        self.drafted = array("i", [0]) * requests
        self.accepted = array("i", [0]) * requests
        self.outcome = array("b", [UNFINISHED]) * requests
        self.run_first = array("q", [-1]) * requests
        """First step of the last unbroken run of tokens; ``run_last`` its last."""
        self.run_last = array("q", [-1]) * requests
        self.broken: list[tuple[int, int, int, int]] = []
        """Earlier unbroken runs: (request, engine, first step, last step); those of one request in the order in which they came."""
        self._steps = bytearray()

    def steps(
        self, engine: int, steps: int, start_s: float, end_s: float, batch: Sequence[Any], kv_blocks: int, verify_tokens: int = 0
    ) -> None:
        """One batch. ``batch`` is the engine's: step; prefill tokens, attention, chunks; decode seqs, context; running, waiting."""
        self._steps += _STEP_ROW.pack(engine, steps, start_s, end_s, kv_blocks, verify_tokens, *batch)

    def step_rows(self) -> np.ndarray:
        """All batches, in the order in which they ended; dtype ``STEP_ROW``."""
        return np.frombuffer(self._steps, STEP_ROW)

    def forget_steps(self) -> None:
        """Give the batches' memory back; ``step_rows`` is empty from now on."""
        self._steps = bytearray()

    def broken_runs(self, engine: int, runs: Sequence[tuple[Request, int, int]]) -> None:
        self.broken += [(request.id, engine, first, last) for request, first, last in runs]

    def completed(self, request: Request, engine: int, now_s: float, step: int) -> None:
        """``request`` emitted its last token in ``step``, which ended now."""
        row = request.id
        self._progress(request, engine)
        self.generated[row] = request.true_output_tokens
        self.last_token_s[row] = now_s
        self.run_first[row] = request.segment_from
        self.run_last[row] = step
        self.outcome[row] = COMPLETED

    def shed(self, request: Request) -> None:
        self._progress(request, -1)
        self.generated[request.id] = request.generated_tokens
        self.outcome[request.id] = SHED

    def lost(self, request: Request, engine: int) -> None:
        """``request`` was on ``engine`` as it failed."""
        self.engine[request.id] = engine

    def unfinished(self, request: Request, engine: int, step: int) -> None:
        """``request`` is still on ``engine`` (−1: in the router) when the run ends after ``step``."""
        row = request.id
        self._progress(request, engine)
        self.generated[row] = request.generated_tokens
        if request.seated and request.segment_from <= step:  # else its first token was still to come
            self.run_first[row] = request.segment_from
            self.run_last[row] = step

    def failed(self, request: Request, engine: int) -> None:
        """``request`` is given up, having lost its last engine."""
        row = request.id
        self._progress(request, engine)
        self.generated[row] = request.generated_tokens
        self.outcome[row] = FAILED

    def _progress(self, request: Request, engine: int) -> None:
        row = request.id
        self.arrival_s[row] = request.arrival_s
        if engine >= 0:
            self.engine[row] = engine
        if request.first_scheduled_s is not None:
            self.first_scheduled_s[row] = request.first_scheduled_s
        if request.first_token_s is not None:
            self.first_token_s[row] = request.first_token_s
        if request.cached_tokens:
            self.cached[row] = request.cached_tokens
        if request.preemptions:
            self.preemptions[row] = request.preemptions
        if request.drafted_tokens:
            self.drafted[row] = request.drafted_tokens
            self.accepted[row] = request.accepted_tokens
