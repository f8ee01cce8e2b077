"""Step times of vLLM engines in this process, over the grid of ``replay.samples``.

Several engines are probed in turn, probe by probe, so that whatever the machine does meanwhile it does to all of them. An engine
on a CPU that works in one thread is timed by the core that this thread has had: neighbours that take it away for a while are no
part of a step.
"""

from __future__ import annotations

import gc
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import vllm
from vllm import EngineArgs, SamplingParams
from vllm.v1.engine.llm_engine import LLMEngine

from policies.batchers import VLLM
from policies.latency import StepShape
from replay.clock import CoreClock, WallClock
from replay.journal import Journal
from replay.knobs import engine_arguments, vocabulary
from replay.prompts import Prompts
from replay.report import DirectReport
from replay.samples import Probe, Room, Sample, grid
from replay.vllm_inprocess import one_thread_works
from replay.vllm_llvmlite import mend
from replay.vllm_model import truncation
from replay.vllm_scheduler import SteeredScheduler
from replay.wire import Left, Settings
from traces.scenario.pools import EnginePool
from traces.scenario.replay import Replay
from traces.workload import Workload

_PAUSE_S = 0.003
"""A shorter pause between two steps is the engine's own work, and belongs to the step before it."""


@dataclass(frozen=True, slots=True)
class Measured:
    """``complete``: every probe of every round was run before the time was over."""

    samples: list[Sample]
    about: dict[str, Any]
    complete: bool


def measure(
    pool: EnginePool, choice: Replay, layers: Sequence[int], folder: Path, *, seconds: float, rounds: int = 5, seed: int = 0
) -> list[Measured]:
    """Start the pool's engine once for each number of ``layers`` (the model's first ones), probe them all, and stop them.

    Without prefix caching, whose hits would leave nothing to compute, and without asynchronous scheduling, so that a step's time is
    its own. What warms up is not counted; no probe is begun after ``seconds``. Engines take turns forwards and backwards, so that
    none always follows another.
    """
    arguments = engine_arguments(pool, choice, seed, folder) | {
        "async_scheduling": False,
        "scheduler_cls": SteeredScheduler,
        "disable_log_stats": True,
        "enable_prefix_caching": False,
    }
    vocab = vocabulary(pool, choice)
    benches: list[_Bench] = []
    try:
        benches.extend(
            _Bench(EngineArgs(**(arguments | {"hf_overrides": dict(truncation(count))})), vocab, count) for count in layers
        )
        began = time.monotonic()
        probes = list(grid(benches[0].room))
        for bench in benches:
            for probe in probes:
                if probe.kind == "prefill":
                    bench.run(probe)
        samples: list[list[Sample]] = [[] for _ in benches]
        complete = True
        for turn in range(rounds * len(probes)):
            if time.monotonic() - began > seconds:
                complete = False
                break
            places = range(len(benches)) if turn % 2 else reversed(range(len(benches)))
            for place in places:
                samples[place] += benches[place].run(probes[turn % len(probes)])
        return [Measured(found, bench.about, complete) for found, bench in zip(samples, benches, strict=True)]
    finally:
        for bench in benches:
            bench.close()


class _Bench:
    """An engine, and the steps that it takes."""

    def __init__(self, arguments: EngineArgs, vocab: int, layers: int) -> None:
        self._layers = layers
        self._prompts = Prompts(Workload.make([0.0], [1], [1]), vocab, 0)
        self._journal = Journal()
        self._taken = 0
        self._number = 0
        began = time.monotonic()
        mend()
        self._engine = LLMEngine.from_engine_args(arguments)
        start_s = time.monotonic() - began
        scheduler = self._engine.engine_core.engine_core.scheduler
        report = DirectReport(self._journal, 0, _ignore)
        cuda = torch.cuda.is_available()
        clock = CoreClock() if one_thread_works() else WallClock()
        scheduler.steer(Settings("e0", 0, "measured"), VLLM(), clock, report)
        view = scheduler.view
        window = int(self._engine.model_config.max_model_len)
        self.room = Room(view.max_batched_tokens, view.max_seqs, window, view.kv_tokens_capacity)
        self.about = {
            "vllm": vllm.__version__,
            "torch": torch.__version__,
            "device": torch.cuda.get_device_name(0) if cuda else platform.processor() or platform.machine(),
            "layers": layers,
            "start_s": start_s,
            **view.size,
        }

    def run(self, probe: Probe) -> list[Sample]:
        """The steps of one probe."""
        for request in probe.requests:
            self._send(*request)
        later = list(probe.later)
        view = self._engine.engine_core.engine_core.scheduler.view
        while self._engine.has_unfinished_requests():
            self._engine.step()
            if later and not view.pending_prefill_tokens:
                for request in later:
                    self._send(*request)
                later = []
        return self._new_samples(probe.kind)

    def _send(self, prompt: int, output: int) -> None:
        self._number += 1
        sampling = SamplingParams(temperature=0.0, max_tokens=output, ignore_eos=True, detokenize=False)
        ids = self._prompts.of(self._number, prompt)
        self._engine.add_request(str(self._number), {"prompt_token_ids": ids}, sampling)

    def _new_samples(self, kind: str) -> list[Sample]:
        rows = self._journal.step_rows()[self._taken :].tolist()
        self._taken += len(rows)
        found = []
        for row, following in [*pairwise(rows), (rows[-1], None)]:
            _, _, start, end, tokens, attention, chunks, seqs, context, verified, *_ = row
            pause = 0.0 if following is None else following[2] - end
            seconds = end - start + (pause if pause < _PAUSE_S else 0.0)
            found.append(Sample(kind, self._layers, StepShape(tokens, attention, chunks, seqs, context, verified), seconds))
        return found

    def close(self) -> None:
        self._engine.engine_core.shutdown()
        del self._engine
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _ignore(_: Left) -> None:
    pass
