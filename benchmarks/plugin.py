"""What the scheduler plug-in costs per engine step, without a model: run it where vLLM is installed.

    python -m benchmarks.plugin

CPU time of this thread, so that a busy machine matters less: of vLLM's own ``schedule`` and ``update_from_output``, and of what the
plug-in adds to them (planning, composition, reporting to a file, and its state to a socket every 100 ms), means over the steps of a
steady decode batch.
"""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import fmean
from typing import Any

os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")

from policies import registry
from policies.decisions import StepPlan
from policies.latency import FingerprintLatency, StepShape
from policies.protocols import Batcher
from policies.types import EngineView
from replay.clock import WallClock
from replay.report import FileReport
from replay.wire import Settings
from traces.fingerprints import load_fingerprint

BATCHES = (64, 256)
STEPS = 300
WARM_UP = 30
PROMPT = 500
OWN_WORK = ("_takes_off", "_lands")


class AsksEveryStep:
    """The least that a policy bound by a latency budget does: a new plan in each step."""

    def plan(self, engine: EngineView) -> StepPlan:
        return StepPlan(engine.max_batched_tokens, valid_steps=1)


class ReadsEveryRequest(AsksEveryStep):
    """Looks at the progress and the objective of each running request as well."""

    def plan(self, engine: EngineView) -> StepPlan:
        slack = sum(request.generated_tokens for request in engine.running if request.slo.tpot_s is not None)
        return StepPlan(engine.max_batched_tokens if slack >= 0 else 0, valid_steps=1)


BATCHERS: dict[str, Callable[[], Batcher]] = {
    "vllm, whose plan stands": lambda: registry.build("batcher", "vllm", {}, 0),
    "a policy that plans every step": AsksEveryStep,
    "one that reads every request": ReadsEveryRequest,
}


def timed(owner: Any, name: str, spent: list[float]) -> None:
    """Make ``owner.name`` add the CPU time of each call to ``spent[-1]``."""
    function = getattr(owner, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        began = time.thread_time()
        try:
            return function(*args, **kwargs)
        finally:
            spent[-1] += time.thread_time() - began

    setattr(owner, name, call)


def cost(model: Path, make: Callable[[], Batcher], batch: int) -> tuple[float, float]:
    """Seconds per step of the plug-in's own work, and of all scheduling, itself included."""
    from tests.parity.steered import SteeredSide

    with tempfile.TemporaryDirectory() as folder:
        ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        ear.bind(f"{folder}/socket")
        ear.setblocking(False)
        side = SteeredSide(model, make(), max_seqs=batch, budget=16384, block=16, blocks=batch * 60)
        settings = Settings("e0", 0, "m", observe_s=0.1, deadline_s=0.05, log=f"{folder}/log", socket=f"{folder}/socket")
        side.scheduler.steer(settings, make(), WallClock(), FileReport(settings))
        for id in range(batch):
            side.add(id, range(PROMPT), STEPS + 10)
        own, everything = [0.0], [0.0]
        for name in OWN_WORK:
            timed(side.scheduler, name, own)
        timed(side.scheduler._planner, "plan", own)
        timed(side.scheduler, "schedule", everything)
        timed(side.scheduler, "update_from_output", everything)
        for _ in range(STEPS):
            own.append(0.0)
            everything.append(0.0)
            side.schedule()
            side.advance()
            with suppress(BlockingIOError):
                ear.recv(1 << 20)
        ear.close()
        return fmean(own[WARM_UP:]), fmean(everything[WARM_UP:])


def main() -> None:
    from tests.parity.vllm_side import write_model

    latency = FingerprintLatency(load_fingerprint("llama-3.1-8b", "h200", 1))
    with tempfile.TemporaryDirectory() as folder:
        model = write_model(Path(folder))
        for batch in BATCHES:
            step_s = latency.seconds(StepShape(decode_seqs=batch, decode_context=batch * PROMPT))
            print(f"batch {batch}; a step of llama-3.1-8b on an H200 takes {1e3 * step_s:.2f} ms (fingerprint)")
            for name, make in BATCHERS.items():
                own, everything = cost(model, make, batch)
                print(
                    f"  {name}: plug-in {1e6 * own:.0f} µs ({own / step_s:.1%} of that step, {own / 0.010:.1%} of 10 ms); "
                    f"with vLLM's own scheduling {1e6 * everything:.0f} µs"
                )


if __name__ == "__main__":
    main()
