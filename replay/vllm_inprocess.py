"""Real vLLM engines in this very process, stepped in turn by hand: no server, no socket, no other process between a decision and
its effect. For tests of decisions; engines wait for each other, so latencies are those of one busy device. Time is the wall's, or
that of the core that does the work (``replay.clock``), so that latencies can be tested beside other work.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from vllm import EngineArgs, SamplingParams
from vllm.config import KVTransferConfig
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.llm_engine import LLMEngine

from policies.protocols import Batcher, Speculator
from policies.types import EngineState, Role
from replay.clock import CoreClock, WallClock
from replay.engine import Listener
from replay.fleet import Fleet
from replay.journal import Journal
from replay.knobs import engine_arguments, vocabulary
from replay.load import Load, lag_allowed_s
from replay.manifest import Facts
from replay.prompts import Prompts
from replay.report import DirectReport
from replay.request import Request
from replay.vllm_llvmlite import mend
from replay.vllm_scheduler import SteeredScheduler
from replay.vllm_views import LiveEngine, Viewed
from replay.wire import KEY, Left, Settings, settle, told
from replay.world import Watch, World
from traces.errors import InputError

_LONGEST_WAIT_S = 0.005


class InProcessEngine(Viewed):
    """One ``LLMEngine``. ``step`` is one step of it."""

    def __init__(
        self,
        clock: WallClock,
        arguments: EngineArgs,
        settings: Settings,
        batcher: Batcher,
        speculator: Speculator,
        *,
        prompts: Prompts,
        journal: Journal,
        listener: Listener,
    ) -> None:
        self.id = settings.engine
        self.index = settings.index
        self.model = settings.model
        self.role = Role(settings.role)
        self._clock = clock
        self._prompts = prompts
        self._listener = listener
        self._requests: dict[int, Request] = {}
        self._inner: dict[int, str] = {}
        """vLLM's own id of each request."""
        mend()
        self._engine = LLMEngine.from_engine_args(arguments)
        self._scheduler = self._engine.engine_core.engine_core.scheduler
        self._scheduler.steer(settings, batcher, clock, DirectReport(journal, self.index, self._left), speculator)

    @property
    def view(self) -> LiveEngine:
        view: LiveEngine = self._scheduler.view
        return view

    @property
    def empty(self) -> bool:
        return not self._requests

    def submit(self, request: Request) -> None:
        self._requests[request.id] = request
        sampling = SamplingParams(
            temperature=0.0,
            max_tokens=1 if self.role is Role.PREFILL else request.true_output_tokens - request.generated_tokens,
            ignore_eos=True,
            detokenize=False,
            output_kind=RequestOutputKind.DELTA,
            extra_args={KEY: told(request)},
        )
        prompt = {"prompt_token_ids": self._prompts.known(request)}
        self._inner[request.id] = self._engine.add_request(str(request.id), prompt, sampling, priority=request.priority)

    def step(self) -> None:
        """One step of vLLM's. Whatever it raises is the end of this engine, not of the run."""
        try:
            outputs = self._engine.step()
        except Exception as error:
            self._fail(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no text'}")
            return
        now = self._clock.now()
        done = []
        for output in outputs:
            request = self._requests.get(int(output.request_id))
            if request is not None:
                request.answer.extend(output.outputs[0].token_ids)
                self._listener.on_token(request, len(output.outputs[0].token_ids), now)
                if output.finished:
                    done.append(self._forget(request))
        for request in done:
            if request.generated_tokens < request.true_output_tokens:
                self._listener.on_prefilled(request, now)
            else:
                self._listener.on_finished(request, now)

    def abort(self, request: Request) -> None:
        if request.id in self._requests:
            self._engine.abort_request([self._inner[request.id]], internal=True)
            self._forget(request)

    def lose(self) -> Sequence[Request]:
        waiting = {request.id for request in self.view.waiting}
        lost = sorted(self._requests.values(), key=lambda request: request.id in waiting)
        for request in lost:
            self.abort(request)
        self._scheduler.lose()
        return lost

    def close(self) -> None:
        for request in list(self._requests.values()):
            self.abort(request)
        self._engine.engine_core.shutdown()

    def _forget(self, request: Request) -> Request:
        del self._inner[request.id]
        return self._requests.pop(request.id)

    def _fail(self, why: str) -> None:
        self.state = EngineState.FAILED
        lost = list(self._requests.values())
        self._requests.clear()
        self._inner.clear()
        self._listener.on_state(self)
        for request in lost:
            self._listener.on_failed(request, self._clock.now(), why)

    def _left(self, left: Left) -> None:
        request = self._requests.get(left.id)
        if request is not None:
            settle(request, left)


def run_in_process(world: World, folder: Path, watch: Watch | None) -> Facts:
    """Start the pools' engines one after the other, and play the scenario on them.

    Raises:
        InputError: an engine knob that the device does not allow, or a core's clock where more than one thread works.
    """
    clock = CoreClock() if world.choice.clock == "core" else WallClock()
    fleet = world.fleet(clock, observe_s=world.scenario.sim.observe_s)
    prompts = world.prompts(min(vocabulary(pool, world.choice) for pool in world.scenario.pools))
    engines = []
    for index, pool in enumerate(world.pools):
        arguments = engine_arguments(pool, world.choice, world.scenario.seed, folder)
        if (transfer := arguments.get("kv_transfer_config")) is not None:
            arguments["kv_transfer_config"] = KVTransferConfig(**transfer)
        arguments |= {"async_scheduling": False, "scheduler_cls": SteeredScheduler, "disable_log_stats": True}
        engines.append(
            InProcessEngine(
                clock,
                EngineArgs(**arguments),
                world.settings(index),
                world.batcher(f"e{index}"),
                world.speculator(f"e{index}"),
                prompts=prompts,
                journal=world.journal,
                listener=fleet,
            )
        )
    if world.choice.clock == "core":
        _refuse_threads()
    load = Load(clock, world.workload, fleet.dispatch, concurrency=world.built.concurrency, until_s=world.until_s)
    fleet.on_done = load.on_done
    clock.restart()
    world.set_going(fleet, engines, clock)
    load.start()
    stopped = _play(world, clock, fleet, load, engines, watch)
    end_s = clock.now()
    knobs = {engine.id: engine.view.size for engine in engines}
    fleet.close()
    return Facts("in-process", knobs, end_s, partial=stopped, lag_s=load.lag_s, unsound=_unsound(world, load))


def _play(world: World, clock: WallClock, fleet: Fleet, load: Load, engines: list[InProcessEngine], watch: Watch | None) -> bool:
    """Until everything is done, the time is over or the user has had enough; whether it was the last."""
    try:
        while clock.now() < world.end_s and not (load.exhausted and fleet.done == fleet.offered):
            clock.act()
            busy = [engine for engine in engines if not engine.empty]
            for engine in busy:
                engine.step()
            if not busy:
                clock.wait(min(max(clock.next_s - clock.now(), 0.0), _LONGEST_WAIT_S))
            if watch is not None:
                watch(world.progress(clock, fleet))
    except KeyboardInterrupt:
        return True
    return False


def one_thread_works() -> bool:
    """Whether vLLM's work in this process is all done by the thread that asks for it, so that a core's clock tells how long."""
    return not torch.cuda.is_available() and torch.get_num_threads() == 1


def _refuse_threads() -> None:
    if not one_thread_works():
        raise InputError(
            f"replay.clock: `core` times one thread that does all the work, and here a GPU or {torch.get_num_threads()} threads do "
            "it; set the environment variable OMP_NUM_THREADS=1, or write `clock: wall`"
        )


def _unsound(world: World, load: Load) -> list[str]:
    if not len(load.lag_s):
        return []
    p99, allowed = float(np.quantile(np.asarray(load.lag_s), 0.99)), lag_allowed_s(world.workload.classes)
    if p99 <= allowed:
        return []
    return [
        f"requests were sent late (99th percentile {1e3 * p99:.1f} ms, {1e3 * allowed:.1f} ms allowed): engines share this process"
    ]
