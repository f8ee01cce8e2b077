"""An engine that verifies draft tokens, or plans steps before earlier ones have ended: vLLM's batch queue, without leaps.

The loop is ``EngineCore.step_with_batch_queue`` of ``vllm/v1/engine/core.py`` (0.32): plan a step whenever the queue has room, end
the oldest when it has none. Planned steps pass the pipeline's stages one after another; a plan that comes out empty takes its place
in the queue but no time. Without pipeline parallelism there is one stage, and with asynchronous scheduling a step is planned the
moment the one before it starts.

A batch keeps a stage busy for the stage's share of the model's layers, and the last one for head, sampling and drafting as well.
All stages together take as long as the whole model on one stage's GPUs, with the hops between stages, so that a lone request gains
nothing; a full pipeline ends a batch whenever its slowest stage is done with one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from policies.decisions import StepPlan
from policies.latency import StepShape
from sim.batch import Batch
from sim.engine import IDLE_POLL_S, Engine
from sim.kernel import STEP_END, STEP_START, Bell
from sim.noise import CHUNK
from sim.request import Request
from sim.speculation import Speculation
from sim.stepwise import StepwiseScheduler


@dataclass(slots=True)
class _Planned:
    """A batch in the queue. ``step`` is −1 where it is empty. ``row``: what the journal wants of it."""

    batch: Batch
    step: int
    start_s: float
    end_s: float
    row: tuple[Any, ...]


class PipelinedEngine(Engine):
    """``layers``: of the model on each stage. It is a ``DraftView`` of itself where there is ``speculation``."""

    __slots__ = (
        "_done",
        "_ending",
        "_executed",
        "_free_s",
        "_planned",
        "_queue",
        "_shares",
        "_speculation",
        "token_budget",
    )

    scheduler: StepwiseScheduler  # type: ignore[assignment]

    def __init__(
        self,
        *args: Any,
        scheduler: StepwiseScheduler,
        layers: Sequence[int] = (1,),
        speculation: Speculation | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, scheduler=scheduler, **kwargs)  # type: ignore[arg-type]
        self._speculation = speculation
        self.token_budget = self.max_batched_tokens
        self._queue: deque[_Planned] = deque()
        self._shares = [share / sum(layers) for share in layers]
        self._free_s = [0.0] * len(layers)
        """When each stage is done with what has been planned."""
        self._planned = self._done = 0
        """Steps."""
        self._ending = False
        """The bell that is set rings for the end of the oldest batch; otherwise, if ``_woken``, for another plan."""
        self._executed = False
        """The last plan was not empty."""

    def wake(self) -> None:
        self._plan_expires = 0.0
        if not self._woken and not self._ending:
            self._plan_at(self._kernel._now)

    def abort(self, request: Request) -> None:
        """Drop a request; what steps under way give it is lost."""
        self.scheduler.abort(request)
        self._note_run(request)
        self._count()
        self.wake()

    # --- the process --------------------------------------------------------------------------------------------------

    def _life(self) -> Generator[Bell, Any, None]:
        kernel = self._kernel
        while True:
            yield self._bell
            if self._ending:
                self._ending = False
                self._end_oldest()
                if not self._executed and self.scheduler.has_work:
                    self._plan_at(kernel._now + IDLE_POLL_S)
                    continue
                if not kernel.instant_over:
                    self._plan_at(kernel._now)
                    continue
            self._woken = False
            self._fill()

    def _plan_at(self, time: float) -> None:
        self._woken = True
        self._kernel.ring_at(self._bell, time, STEP_START)

    def _fill(self) -> None:
        """Plan steps until the queue is full or there is something to wait for."""
        scheduler, queue = self.scheduler, self._queue
        batches = scheduler.limits.batches
        while scheduler.has_work or queue:
            self._executed = False
            if scheduler.has_work:
                queue.append(self._plan_batch())
                self._executed = queue[-1].step >= 0
                if len(queue) < batches and (self._executed or scheduler.has_work):
                    if self._executed:
                        continue
                    self._plan_at(self._kernel._now + IDLE_POLL_S)
                    return
            if queue[0].step >= 0:
                self._ending = True
                self._kernel.ring_at(self._bell, queue[0].end_s, STEP_END)
                return
            queue.popleft()
            if not self._executed and scheduler.has_work:
                self._plan_at(self._kernel._now + IDLE_POLL_S)
                return

    def _plan_batch(self) -> _Planned:
        scheduler = self.scheduler
        plan = self._plan
        if plan is None or (self._planned >= self._plan_expires and (scheduler.running or scheduler.waiting)):
            plan = self._plan = self.batcher.plan(self)
            scheduler.changes.told()
            self._plan_expires = self._planned + plan.valid_steps
        drafting_s = 0.0 if self._speculation is None else self._draft(self._speculation, plan)
        batch = scheduler.schedule(plan)
        self._count()
        now = self._kernel._now
        if not batch.tokens:
            return _Planned(batch, -1, now, now, ())
        step = self._planned
        self._planned += 1
        for request in batch.tokens:
            if request.first_scheduled_s is None:
                request.first_scheduled_s = now
        factor = self._factor(step)
        head_s = self.steptime.sampled(batch.prefill_seqs + batch.decode_seqs + batch.verify_tokens)
        layers_s = self.steptime.seconds(*_shape(batch)) - head_s
        # A step that was planned before a token is known waits for it at the first stage.
        fed = max(now, *(request.flight.known_s for request in batch.tokens))
        start, end = self._pass(fed, layers_s * factor, (head_s + drafting_s) * factor)
        for request in batch.sampled:
            request.flight.known_s = end
        row = (
            step,
            batch.prefill_tokens,
            batch.prefill_attention,
            batch.prefill_seqs,
            batch.decode_seqs,
            batch.decode_context,
            self.running_count,
            self.waiting_count,
        )
        return _Planned(batch, step, start, end, row)

    def _pass(self, fed: float, layers_s: float, head_s: float) -> tuple[float, float]:
        """Send a batch through the stages, each free at its time: when it starts and ends. ``head_s``: on the last stage."""
        free = self._free_s
        start = at = max(fed, free[0])
        for stage, share in enumerate(self._shares):
            at = max(at, free[stage]) + share * layers_s
            free[stage] = at
        free[-1] = at = at + head_s
        return start, at

    def _factor(self, step: int) -> float:
        noise, at = self.noise, step % CHUNK
        if step // CHUNK != noise.chunk:
            noise.load(step)
        return noise.first[at + 1] - noise.first[at]

    def _end_oldest(self) -> None:
        planned = self._queue.popleft()
        now, step = self._kernel._now, planned.step
        self._done = step + 1
        for request, tokens in self.scheduler.settle(planned.batch, self._accept):
            self._emitted(request, step, tokens)
        self._count()
        used = self.scheduler.kv.used
        self.journal.steps(self.index, 1, planned.start_s, now, planned.row, used, planned.batch.verify_tokens)
        for request in self.scheduler.started:
            request.first_token_s = now
        if self.scheduler.started or self.scheduler.finished:
            self._plan_expires = 0.0
        if self.scheduler.finished:
            for request in self.scheduler.finished:
                self.journal.completed(request, self.index, now, step)
            self._listener.on_finished(self, self.scheduler.finished)

    # --- speculation --------------------------------------------------------------------------------------------------

    def _draft(self, speculation: Speculation, plan: StepPlan) -> float:
        """Let the speculator choose the draft tokens of the next step; the seconds that drafting takes."""
        self.token_budget = min(plan.token_budget, self.max_batched_tokens)
        caps = plan.caps or {}
        decoding = [r for r in self.scheduler.running if not r.flight.prefilling and caps.get(r.id, 1)]
        if not decoding:
            return 0.0
        passes, verified = speculation.choose(self, decoding)
        for request in decoding:
            self.scheduler.propose(request, verified.get(request.id, 0))
        return passes * speculation.draft_s

    def _accept(self, request: Request, drafts: int) -> int:
        assert self._speculation is not None
        return self._speculation.accepted(request, drafts)

    # --- what is left behind ------------------------------------------------------------------------------------------

    def _emitted(self, request: Request, step: int, tokens: int) -> None:
        """A request got tokens in a step: the last of them goes on with the run of those before it, or begins one."""
        flight = request.flight
        if tokens > 1 or flight.last_step != step - 1:
            self._note_run(request)
            for _ in range(tokens - 1):
                self.journal.broken_runs(self.index, [(request, step, step)])
            request.segment_from = step
        flight.last_step = step

    def _note_run(self, request: Request) -> None:
        if request.flight.last_step >= 0:
            self.journal.broken_runs(self.index, [(request, request.segment_from, request.flight.last_step)])
            request.flight.last_step = -1

    def _settle(self) -> None:
        """Drop the steps under way, and enter in the journal what the requests have."""
        for request in (*self.scheduler.running, *self.scheduler.waiting):
            self._note_run(request)
        self._queue.clear()
        self._ending = False

    def close(self) -> None:
        self._settle()
        for request in (*self.scheduler.running, *self.scheduler.waiting):
            self.journal.unfinished(request, self.index, -1)

    def fail(self) -> list[Request]:
        self._settle()
        lost = self.scheduler.clear()
        self._bell = self._kernel.silenced(self._bell)
        self._woken = False
        self._plan, self._plan_expires = None, 0.0
        self._free_s = [0.0] * len(self._free_s)
        self._planned = self._done
        self._count()
        return lost

    # --- EngineView ---------------------------------------------------------------------------------------------------

    @property
    def draft_s(self) -> float:
        return 0.0 if self._speculation is None else self._speculation.draft_s

    def _step_now(self) -> int:
        return self._done

    @property
    def step_ends_s(self) -> float:
        """When the oldest step under way ends, as far as is believed."""
        now = self._kernel._now
        if not self._queue or self._queue[0].step < 0:
            return now
        shape, stages = _shape(self._queue[0].batch), self.steptime.fingerprint.terms.stages
        if stages > 1:  # the fingerprint takes the decodes that it is told of to be spread over as many batches
            shape = shape._replace(
                decode_seqs=stages * shape.decode_seqs,
                decode_context=stages * shape.decode_context,
                verify_tokens=stages * shape.verify_tokens,
            )
        return max(now, self._queue[0].start_s + self.latency.seconds(shape))

    @property
    def kv_tokens_used(self) -> int:
        return self.scheduler.kv.used * self.block_tokens


def _shape(batch: Batch) -> StepShape:
    return StepShape(
        batch.prefill_tokens,
        batch.prefill_attention,
        batch.prefill_seqs,
        batch.decode_seqs,
        batch.decode_context,
        batch.verify_tokens,
    )
