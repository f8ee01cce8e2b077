"""One engine: a SimPy process that carries out its scheduler's batches in time, in leaps where nothing can change.

A leap is a run of decode steps that the scheduler would plan alike: until the next completion, full KV memory, the end of the
plan's validity, or a stimulus from outside. When its steps end is told by ``sim.leap``.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from policies.decisions import StepPlan
from policies.latency import LatencyModel, StepShape
from policies.protocols import Batcher
from policies.types import EngineState
from sim.journal import Journal
from sim.kernel import STEP_END, STEP_START, Bell, Kernel
from sim.leap import LeapClock
from sim.noise import CHUNK, StepNoise
from sim.request import Request
from sim.scheduler import Scheduler
from sim.sharing import SharedGPU
from sim.site import HERE, Site
from sim.steptime import StepTime

if TYPE_CHECKING:
    from sim.roles import PrefillEngine

IDLE_POLL_S = 1e-3
"""vLLM's engine loop sleeps this long when a plan leaves every request out."""


class Listener(Protocol):
    """Who is told what an engine has done."""

    def on_finished(self, engine: Engine, requests: Sequence[Request]) -> None: ...
    def on_prefilled(self, engine: PrefillEngine, requests: Sequence[Request]) -> None: ...


class Engine:
    """A live engine, and a ``StepView`` of itself at the present moment."""

    __slots__ = (
        "_aborting",
        "_batch",
        "_batch_start_s",
        "_believed",
        "_bell",
        "_clock",
        "_kernel",
        "_listener",
        "_plan",
        "_plan_expires",
        "_steps",
        "_woken",
        "batcher",
        "block_tokens",
        "gpu",
        "id",
        "index",
        "journal",
        "kv_tokens_capacity",
        "latency",
        "leap",
        "max_batched_tokens",
        "max_seqs",
        "model",
        "noise",
        "pending_prefill_tokens",
        "role",
        "running_count",
        "scheduler",
        "site",
        "state",
        "steptime",
        "tier",
        "waiting_count",
    )

    def __init__(
        self,
        kernel: Kernel,
        index: int,
        *,
        model: str,
        scheduler: Scheduler,
        steptime: StepTime,
        latency: LatencyModel,
        batcher: Batcher,
        noise: StepNoise,
        journal: Journal,
        listener: Listener,
        leap: bool = True,
        site: Site = HERE,
    ) -> None:
        self.id = f"e{index}"
        self.index = index
        self.model = model
        self.site = site
        self.role = site.role
        self.tier = site.tier
        self.state = EngineState.ACTIVE
        self.scheduler = scheduler
        self.steptime = steptime
        self.latency = latency
        self.batcher = batcher
        self.noise = noise
        self.journal = journal
        self.gpu: SharedGPU | None = None
        """Where it has others beside it."""
        self.leap = leap and site.seat.share == 1
        self.running_count = self.waiting_count = self.pending_prefill_tokens = 0
        """As the scheduler has them; plain slots because routers read them of every engine, and written only when they change."""
        self.max_seqs = scheduler.limits.max_num_seqs
        self.max_batched_tokens = scheduler.limits.max_num_batched_tokens
        self.block_tokens = scheduler.kv.block_tokens
        self.kv_tokens_capacity = scheduler.kv.total * scheduler.kv.block_tokens
        self._kernel = kernel
        self._listener = listener
        self._plan: StepPlan | None = None
        self._plan_expires = 0.0
        self._steps = 0
        """Steps of the batch in flight; 0 when idle."""
        self._aborting: list[Request] = []
        """Requests to be dropped when the step under way ends."""
        self._woken = False
        self._batch: tuple[Any, ...] = ()
        self._batch_start_s = 0.0
        self._believed = (-1, 0.0)
        """A step of the batch in flight, and when it ends, as is believed."""
        self._clock = LeapClock(noise)
        scheduler.step_now = self._step_now
        self._bell = kernel.bell()
        kernel.start(self._life())

    def enqueue(self, request: Request) -> None:
        """Take a request; it can be part of the first step that starts at or after the present moment."""
        self.scheduler.add(request)
        self.waiting_count += 1
        self.pending_prefill_tokens += request.goal
        self.wake()

    def abort(self, request: Request) -> None:
        """Drop a request, at once or at the end of the step under way, unless it completes there. Nobody is told."""
        self._aborting.append(request)
        if self._steps:
            self.wake()
        else:
            self._drop()

    def _drop(self) -> None:
        for request in self._aborting:
            if request in self.scheduler.running or request in self.scheduler.waiting:
                self.scheduler.abort(request)
        self._aborting = []
        self._plan_expires = 0.0
        self._count()

    def wake(self) -> None:
        """Something has changed from outside: let the next step be planned anew, and start as soon as it can."""
        self._plan_expires = 0.0
        now = self._kernel._now
        if not self._steps:
            if not self._woken:
                self._woken = True
                self._kernel.ring_at(self._bell, now, STEP_START)
        elif self._steps > 1:
            start = self.scheduler.step
            boundary = max(start + 1, self._clock.first_end_at_or_after(now, start, start + self._steps, self._batch_start_s))
            if boundary - start < self._steps:
                self._steps = boundary - start
                self._bell = self._kernel.moved(self._bell, self._clock.end_of(boundary), STEP_END)

    # --- the process --------------------------------------------------------------------------------------------------

    def _life(self) -> Generator[Bell, Any, None]:
        kernel = self._kernel
        while True:
            yield self._bell
            if self._steps:
                self._end_batch()
                if not kernel.instant_over:
                    self._woken = True
                    kernel.ring_at(self._bell, kernel._now, STEP_START)
                    continue
            self._woken = False
            self._begin_batch()

    def _begin_batch(self) -> None:
        kernel, scheduler = self._kernel, self.scheduler
        now = kernel._now
        step = scheduler.step
        plan = self._plan
        if plan is None or step >= self._plan_expires:
            if not scheduler.waiting and not scheduler.running and not scheduler.remote:
                return
            plan = self._plan = self.batcher.plan(self)
            scheduler.changes.told()
            self._plan_expires = step + plan.valid_steps
        busy = scheduler.schedule(plan)
        if scheduler.chunks or scheduler.preempted or len(scheduler.running) != self.running_count:
            self._count()
        if not busy:
            if (scheduler.waiting or scheduler.running) and not self.leased:  # the end of a lease wakes it
                self._plan_expires = 0.0
                self._woken = True
                kernel.ring_at(self._bell, now + IDLE_POLL_S, STEP_START)
            return
        if scheduler.broken:
            self._note_broken_runs()
        noise = self.noise
        if step // CHUNK != noise.chunk:
            noise.load(step)
        seqs, context = scheduler.decode_seqs, scheduler.decode_context
        if scheduler.chunks:
            at = step % CHUNK
            mean = self.steptime.seconds(
                scheduler.prefill_tokens, scheduler.prefill_attention, len(scheduler.chunks), seqs, context
            )
            end = now + mean * (noise.first[at + 1] - noise.first[at])
            for request, _ in scheduler.chunks:
                if request.first_scheduled_s is None:
                    request.first_scheduled_s = now
            self._clock.composition = -1
            self._steps = 1
        else:
            at, clock = step % CHUNK, self._clock
            if scheduler.composition != clock.composition or at == 0:
                per_context = self.steptime.decode_per_context[seqs]
                alpha = self.steptime.decode_fixed[seqs] + per_context * context
                clock.anchor(step, now, scheduler.composition, alpha, per_context * seqs)
            steps = 1
            if self.leap:
                steps = min(scheduler.horizon(), CHUNK - at)
                if step + steps > self._plan_expires:
                    steps = int(self._plan_expires) - step
            self._steps = steps
            end = clock.end_of(step + steps)
        self._batch_start_s = now
        self._believed = (-1, 0.0)
        self._batch = (
            step,
            scheduler.prefill_tokens,
            scheduler.prefill_attention,
            len(scheduler.chunks),
            seqs,
            context,
            self.running_count,
            self.waiting_count,
        )
        if self.gpu is not None:
            end = now + self.gpu.slowdown(self) * (end - now)
            self._clock.composition = -1  # the next step has an anchor of its own
        kernel.ring_at(self._bell, end, STEP_END)

    def _end_batch(self) -> None:
        scheduler = self.scheduler
        now = self._kernel._now
        steps = self._steps
        self._steps = 0
        scheduler.advance(steps)
        if scheduler.chunks or scheduler.finished:
            self._count()
        self.journal.steps(self.index, steps, self._batch_start_s, now, self._batch, scheduler.kv.used)
        if self._aborting:
            self._drop()
        if scheduler.started or scheduler.finished:
            self._plan_expires = 0.0
            for request in scheduler.started:
                request.first_token_s = now
            if scheduler.finished:
                last = scheduler.step - 1
                for request in scheduler.finished:
                    self.journal.completed(request, self.index, now, last)
                self._listener.on_finished(self, scheduler.finished)

    def _count(self) -> None:
        scheduler = self.scheduler
        self.running_count = len(scheduler.running)
        self.waiting_count = len(scheduler.waiting)
        self.pending_prefill_tokens = scheduler.pending_prefill_tokens

    def _note_broken_runs(self) -> None:
        self.journal.broken_runs(self.index, self.scheduler.broken)
        self.scheduler.broken = []

    def close(self) -> None:
        """The run is over: enter in the journal the steps that are done and the requests that are not."""
        self._settle()
        self._note_broken_runs()
        scheduler = self.scheduler
        for request in (*scheduler.running, *scheduler.waiting, *scheduler.remote):
            self.journal.unfinished(request, self.index, scheduler.step - 1)

    def fail(self) -> list[Request]:
        """Lose everything but the steps that are done. Returns the requests that were here, in order, ready to start over."""
        self._settle()
        lost = self.scheduler.clear()
        self._note_broken_runs()
        self._bell = self._kernel.silenced(self._bell)
        self._woken = False
        self._plan, self._plan_expires = None, 0.0
        self._clock.composition = -1
        self._count()
        return lost

    def _settle(self) -> None:
        """Carry out the steps of the batch in flight that are done; drop the rest."""
        scheduler = self.scheduler
        done = self._step_now() - scheduler.step
        if done:
            end = self._clock.end_of(scheduler.step + done)
            scheduler.advance(done)
            self.journal.steps(self.index, done, self._batch_start_s, end, self._batch, scheduler.kv.used)
        self._steps = 0

    @property
    def leased(self) -> Sequence[Request]:
        """Requests that have left, and whose KV is still here."""
        return ()

    @property
    def at_work(self) -> bool:
        """A step is under way."""
        return self._steps > 0

    @property
    def empty(self) -> bool:
        """Nothing is here: no request, and no KV that another engine is to read."""
        scheduler = self.scheduler
        return not (scheduler.running or scheduler.waiting or scheduler.remote or self.leased)

    def _step_now(self) -> int:
        """Steps done at the present moment, those that end right now included."""
        step = self.scheduler.step
        if self._steps <= 1:
            return step
        now, clock = self._kernel._now, self._clock
        count = clock.first_end_at_or_after(now, step, step + self._steps, self._batch_start_s)
        return count if clock.end_of(count) == now else max(count - 1, step)

    # --- EngineView ---------------------------------------------------------------------------------------------------

    @property
    def now_s(self) -> float:
        return self._kernel._now

    @property
    def as_of_s(self) -> float:
        return self._kernel._now

    @property
    def step(self) -> int:
        return self._step_now()

    @property
    def step_ends_s(self) -> float:
        """Start of the step in progress plus what is believed of its duration."""
        if not self._steps:
            return self._kernel._now
        step = self._step_now()
        known, end_s = self._believed
        if known != step:
            first, prefill_tokens, prefill_attention, chunks, seqs, context, _, _ = self._batch
            start_s = self._clock.end_of(step) if step > first else self._batch_start_s
            shape = StepShape(prefill_tokens, prefill_attention, chunks, seqs, context + seqs * (step - first))
            end_s = start_s + self.latency.seconds(shape)
            self._believed = step, end_s
        return max(self._kernel._now, end_s)

    @property
    def running(self) -> Sequence[Request]:
        return tuple(self.scheduler.running)

    @property
    def waiting(self) -> Sequence[Request]:
        return (*self.scheduler.waiting, *self.scheduler.remote)

    @property
    def arrived(self) -> Sequence[Request]:
        return self.scheduler.changes.arrived

    @property
    def departed(self) -> Sequence[int]:
        return self.scheduler.changes.departed

    @property
    def kv_tokens_used(self) -> int:
        kv = self.scheduler.kv
        used = kv.used
        if self._steps > 1:
            step = self.scheduler.step
            used += kv.demand(step + 1, self._step_now() - step)
        return used * kv.block_tokens
