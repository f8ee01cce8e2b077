"""The scheduler plug-in: vLLM's own scheduler, asking a ``Batcher`` how to fill each step.

``--scheduler-cls replay.vllm_scheduler.SteeredScheduler`` (``SteeredAsyncScheduler`` with asynchronous scheduling), and the
``replay.wire.Settings`` under ``twinserve`` in ``--additional-config``. vLLM 0.26 to 0.32.

A plan sets the step's budget; what else it says, ``replay.vllm_plan`` carries out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.request import RequestStatus

from policies import registry
from policies.decisions import StepPlan
from policies.drafting.acceptance import Acceptance
from policies.fingerprint import Fingerprint
from policies.latency import FingerprintLatency, StepShape
from policies.protocols import Batcher, Speculator
from policies.types import Role
from policies.views import NOT_HELD
from replay.clock import Clock, WallClock
from replay.drafting import Chooser
from replay.guard import Guard
from replay.journal import Step
from replay.planner import Planner
from replay.report import FileReport, Report
from replay.vllm_drafts import follow_law, forget, note_probabilities, probabilities
from replay.vllm_plan import CarriesOut
from replay.vllm_views import LiveEngine, LiveRequest, live, told_of, watch
from replay.wire import KEY, Left, Settings, Told


class _InFlight:
    """A step between ``schedule`` and ``update_from_output``."""

    __slots__ = ("chunks", "running", "scheduled_s", "shape", "waiting")

    def __init__(self, scheduled_s: float, shape: StepShape, chunks: Sequence[Any], running: int, waiting: int) -> None:
        self.scheduled_s = scheduled_s
        self.shape = shape
        self.chunks = chunks
        self.running = running
        self.waiting = waiting


class Steered(CarriesOut):
    """Mixin over a vLLM scheduler. Until ``steer`` is called, by settings or by hand, it changes nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._planner: Planner | None = None
        settings = (self.vllm_config.additional_config or {}).get(KEY)
        if settings is not None:
            self._steer_by(Settings.from_dict(settings))

    def _steer_by(self, settings: Settings) -> None:
        """In a process of its own: by the wall clock, reporting to a file and a socket."""
        report = FileReport(settings)
        batcher: Batcher = registry.build("batcher", settings.batcher, settings.params, settings.seed)
        speculator: Speculator = registry.build("speculator", settings.speculator, settings.speculator_params, settings.seed)
        if (log := report.decisions) is not None:
            batcher = log.batcher(settings.engine, batcher)
            speculator = log.speculator(settings.engine, speculator)
        self.steer(settings, batcher, WallClock(), report, speculator)

    def steer(
        self, settings: Settings, batcher: Batcher, clock: Clock, report: Report, speculator: Speculator | None = None
    ) -> None:
        """Ask ``batcher``, and where there are drafts ``speculator``, from now on. Called before the first request."""
        latency = NOT_HELD if settings.fingerprint is None else FingerprintLatency(Fingerprint.from_dict(settings.fingerprint))
        self._clock = clock
        self._report = report
        self._observe_s = settings.observe_s
        self._told_s = -float("inf")
        self._strangers = 0
        self._get_ready()
        self._flights: deque[_InFlight] = deque()
        self._stale: list[Any] = []
        """Preempted requests that steps in flight may still give tokens."""
        self._ended_s = 0.0
        self._first_due: dict[str, Any] = {}
        """Requests without a token yet, by vLLM's id."""
        self.view = view = LiveEngine(
            self, clock.now, id=settings.engine, model=settings.model, role=Role(settings.role), tier=settings.tier, latency=latency
        )
        own = StepPlan(view.max_batched_tokens, reason="vLLM's own plan")
        guard = Guard(f"batcher {settings.batcher}", settings.deadline_s, report.fault)
        self._planner = Planner(batcher, own, guard, view.changes.told)
        self._chooser: Chooser | None = None
        self.view.draft_s = settings.draft_s
        self.drafted = 0
        """Draft tokens per request in the step that was planned last, at most."""
        if speculator is not None and self.num_spec_tokens:
            guard = Guard(f"speculator {settings.speculator}", settings.deadline_s, report.fault)
            believed = Acceptance(settings.seed, settings.acceptance or (1.0,))
            self._chooser = Chooser(
                speculator, self.num_spec_tokens, believed, guard, ahead=self.asynchronous, told=self._probabilities
            )
            if settings.probabilities:
                note_probabilities()
        self._law: Acceptance | None = None
        if self.num_spec_tokens and settings.synthetic:
            self._law = Acceptance(settings.seed, settings.acceptance)

    def _probabilities(self, id: int) -> Sequence[float]:
        """Those with which the drafter proposed the newest draft tokens of a request, where they are noted."""
        return probabilities(self._by_id[id].request_id)

    @property
    def asynchronous(self) -> bool:
        """A step is planned, and drafts are given room in it, before the tokens of the one before it are known."""
        return isinstance(self, AsyncScheduler)

    @property
    def plans_ahead(self) -> bool:
        """Steps are planned while others are under way: the next one of a request, or in a pipeline those of others."""
        return self.asynchronous or bool(self.use_pp)

    @property
    def planned_shape(self) -> StepShape:
        """Of the step that was planned last, which must not be empty."""
        return self._flights[-1].shape

    # --- requests come and go -----------------------------------------------------------------------------------------

    def add_request(self, request: Any) -> None:
        if self._planner is not None and request.request_id not in self.requests:
            view = watch(request, self._told(request), ahead=self.plans_ahead)
            self._by_id[view.id] = request
            self._pend(view, 0 if view.handed_over(self.view.role) else request.num_tokens)
            self._wait(view)
            if not view.told.given_tokens:
                self._first_due[request.request_id] = request
            self._planner.expire()
            if self._law is not None:
                follow_law(request, self._law)
        super().add_request(request)

    def _told(self, request: Any) -> Told:
        text = told_of(request)
        if text is None:
            self._strangers += 1
            return Told.stranger(self._strangers, self.view.model, self._clock.now())
        told = Told.read(text)
        if told.epoch_s is not None and isinstance(self._clock, WallClock):
            self._clock.epoch_s = told.epoch_s
        return told

    def _free_request(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        if self._planner is not None:
            self._planner.expire()
            self._first_due.pop(request.request_id, None)
            view = live(request)
            self._pend(view, 0)
            self._wait_no_more(view)
            self._by_id.pop(view.id, None)
            forget(request.request_id)
            numbers = view.cached_tokens, view.preemptions, view.drafted_tokens, view.accepted_tokens
            self._report.left(Left(view.id, view.first_scheduled_s, *numbers))
        return super()._free_request(request, *args, **kwargs)

    def _preempt_request(self, request: Any, *args: Any, **kwargs: Any) -> None:
        super()._preempt_request(request, *args, **kwargs)
        if self._planner is not None:
            view = live(request)
            view.decoding = False
            self._pend(view, request.num_tokens)
            self._wait(view)
            if request.num_in_flight_tokens:
                self._stale.append(request)

    def _wait(self, view: LiveRequest) -> None:
        view.waits = True
        self.view.changes.came(view)

    def _wait_no_more(self, view: LiveRequest) -> None:
        if view.waits:
            view.waits = False
            self.view.changes.went(view)

    def _pend(self, view: LiveRequest, tokens: int) -> None:
        self.view.pending_prefill_tokens += tokens - view.pending
        view.pending = tokens

    # --- a step -------------------------------------------------------------------------------------------------------

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        planner = self._planner
        if planner is None or not (self.running or self.get_request_counts()[1]):
            return super().schedule(*args, **kwargs)
        planned = self.view.step + len(self._flights)
        self._clock.hold()
        try:
            plan = planner.plan(self.view, planned)
            if self._chooser is not None:
                self.view.token_budget = min(plan.token_budget, self.view.max_batched_tokens)
                self._draft(self._chooser, planned, plan.caps or {})
        finally:
            self._clock.go_on()
        self.max_num_scheduled_tokens = min(plan.token_budget, self.view.max_batched_tokens)
        if plan.preempt or plan.order is not None or plan.caps is not None or plan.admit is not None:
            output = self._schedule_by(plan, args, kwargs)
        else:
            output = super().schedule(*args, **kwargs)
        if output.num_scheduled_tokens:
            self._takes_off(output)
        else:
            planner.expire()
        return output

    def _draft(self, chooser: Chooser, planned: int, caps: Mapping[int, int]) -> None:
        """Trim the chains of draft tokens to what the speculator wants to have verified."""
        views = [(live(request), request) for request in self.running]
        decoding = {view.id: request for view, request in views if view.decoding and caps.get(view.id, 1)}
        self.drafted = 0
        if decoding:
            self.drafted, verified = chooser.choose(self.view, planned, list(decoding))
            for id, tokens in verified.items():
                if len(decoding[id].spec_token_ids) > tokens:
                    decoding[id].spec_token_ids = decoding[id].spec_token_ids[:tokens]

    def _takes_off(self, output: Any) -> None:
        """vLLM has scheduled a step: what it is made of."""
        now = self._clock.now()
        requests = self.requests
        admitted = [data.req_id for data in output.scheduled_new_reqs]
        admitted += output.scheduled_cached_reqs.resumed_req_ids
        for id in admitted:
            request = requests[id]
            view = live(request)
            found = request.num_computed_tokens - output.num_scheduled_tokens[id]
            view.decoding = False
            self._wait_no_more(view)
            if view.first_scheduled_s is None:
                view.first_scheduled_s = now
            if not (request.num_preemptions or view.handed_over(self.view.role)):  # else it is another engine's KV
                view.cached_tokens = found
            self._pend(view, request.num_tokens - found)
        chunks = []
        tokens = seqs = context = 0
        drafts = output.scheduled_spec_decode_tokens
        attention = 0.0
        for id, scheduled in output.num_scheduled_tokens.items():
            request = requests[id]
            view = request.twinserve
            before = request.num_computed_tokens - scheduled
            if view.decoding:
                seqs += 1
                context += before + scheduled  # KV of this step is read too
            else:
                own = scheduled - len(drafts.get(id, ()))
                tokens += own
                attention += own * (before + 0.5 * own)
                chunks.append(request)
                view.decoding = not request.is_prefill_chunk
                if self.plans_ahead:
                    self._pend(view, _left(request))
        verified = sum(map(len, drafts.values())) if drafts else 0
        shape = StepShape(tokens, attention, len(chunks), seqs, context, verified)
        if not self._flights:
            self.view.shape, self.view.started_s = shape, now
        self._flights.append(_InFlight(now, shape, chunks, len(self.running), self.get_request_counts()[1]))

    def update_from_output(self, scheduler_output: Any, model_runner_output: Any) -> Any:
        if self._planner is not None and scheduler_output.scheduled_spec_decode_tokens:
            self._count_drafts(scheduler_output.scheduled_spec_decode_tokens, model_runner_output)
        result = super().update_from_output(scheduler_output, model_runner_output)
        if self._planner is not None and scheduler_output.num_scheduled_tokens:
            self._lands()
        return result

    def _count_drafts(self, drafts: Any, model_runner_output: Any) -> None:
        for id, chain in drafts.items():
            request = self.requests.get(id)
            sampled = model_runner_output.sampled_token_ids[model_runner_output.req_id_to_index[id]]
            if request is not None and len(sampled):
                live(request).drafted_tokens += len(chain)
                live(request).accepted_tokens += len(sampled) - 1

    def _lands(self) -> None:
        """The oldest step in flight is over."""
        now, view, flight = self._clock.now(), self.view, self._flights.popleft()
        for request in flight.chunks:
            if request.request_id in self.requests and request.num_computed_tokens:  # still here, and not preempted meanwhile
                self._pend(live(request), _left(request))
        for request in self._stale:
            if request.request_id in self.requests and not request.num_computed_tokens:
                self._pend(live(request), request.num_tokens)
        self._stale = [request for request in self._stale if request.num_in_flight_tokens]
        started = [id for id, request in self._first_due.items() if request.num_output_tokens]
        for id in started:
            live(self._first_due.pop(id)).first_token_s = now
        if started and self._planner is not None:
            self._planner.expire()
        shape = flight.shape
        start_s = max(flight.scheduled_s, self._ended_s)
        row = Step(view.step, start_s, now, *shape, flight.running, flight.waiting, view.kv_tokens_used)
        self._ended_s = now
        view.step += 1
        view.shape, view.started_s = (self._flights[0].shape, now) if self._flights else (None, now)
        self._report.step(row)
        if now - self._told_s >= self._observe_s or not self.requests:
            self._told_s = now
            self._report.state(view)

    def lose(self) -> None:
        """The engine is broken: all requests and KV are gone, and no step is under way."""
        self.finish_requests(None, RequestStatus.FINISHED_ABORTED)
        self._flights.clear()
        self._stale = []
        self.view.shape = None
        self.reset_prefix_cache()

    def shutdown(self) -> None:
        if self._planner is not None:
            self._report.close()
        super().shutdown()


def _left(request: Any) -> int:
    """Tokens still to be prefilled once the steps in flight are over."""
    return 0 if live(request).decoding else int(request.num_tokens - request.num_computed_tokens)


class SteeredScheduler(Steered, Scheduler):  # type: ignore[misc]
    """For synchronous scheduling."""


class SteeredAsyncScheduler(Steered, AsyncScheduler):  # type: ignore[misc]
    """For asynchronous scheduling: a step is planned while the one before it runs."""
