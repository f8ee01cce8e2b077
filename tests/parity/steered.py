"""vLLM's scheduler with our plug-in on top, driven without a model and without time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from policies.protocols import Batcher
from policies.types import EngineView
from replay.clock import VirtualClock
from replay.journal import Step
from replay.vllm_scheduler import SteeredAsyncScheduler, SteeredScheduler
from replay.vllm_views import LiveEngine
from replay.wire import KEY, Left, Settings
from tests.parity import vllm_side
from tests.parity.vllm_side import VLLMSide


class Heard:
    """A report that keeps what it is told."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.gone: list[Left] = []
        self.faults: list[str] = []
        self.states = 0

    def step(self, step: Step) -> None:
        self.steps.append(step)

    def left(self, left: Left) -> None:
        self.gone.append(left)

    def fault(self, text: str) -> None:
        self.faults.append(text)

    def state(self, view: EngineView) -> None:
        self.states += 1

    def close(self) -> None:
        pass


class SteeredSide(VLLMSide):
    """``VLLMSide`` whose scheduler asks a batcher."""

    def __init__(self, model: Path, batcher: Batcher, *, deadline_s: float | None = None, **knobs: Any) -> None:
        plain = vllm_side.Scheduler, vllm_side.AsyncScheduler
        vllm_side.Scheduler, vllm_side.AsyncScheduler = SteeredScheduler, SteeredAsyncScheduler
        try:
            super().__init__(model, **knobs)
        finally:
            vllm_side.Scheduler, vllm_side.AsyncScheduler = plain
        self.heard = Heard()
        settings = Settings("e0", 0, "m", batcher="scripted", deadline_s=deadline_s)
        self.scheduler.steer(settings, batcher, VirtualClock(), self.heard)

        enqueue = self.scheduler.add_request

        def tell(request: Any) -> None:
            told = {"id": int(request.request_id), "model": "m", "tier": "t", "offline": False, "slo": [1.0, 0.1, None]}
            request.sampling_params.extra_args = {KEY: json.dumps({**told, "arrival_s": 0.0, "expected_output_tokens": 9.0})}
            enqueue(request)

        self.scheduler.add_request = tell

    @property
    def view(self) -> LiveEngine:
        return self.scheduler.view

    def schedule(self) -> vllm_side.Step:
        step = super().schedule()
        if not step.scheduled:
            self._under_way.pop()
        return step
