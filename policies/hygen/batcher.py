"""HyGen's scheduler: online requests first, offline ones in the room that they leave (arXiv 2501.14808, §4.4)."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Literal, get_args

from policies.decisions import StepPlan
from policies.hygen.drafts import DraftWatch
from policies.hygen.lines import Lines
from policies.hygen.predictor import FEATURES, Predictor
from policies.hygen.seen import Seen
from policies.hygen.step import UNBOUNDED, Step
from policies.hygen.watch import Failsafe, Governor, Stopwatch
from policies.types import RequestView, StepView

Stage = Literal["observe", "shadow", "share", "full"]


class HyGen:
    """Serves online requests first, and gives offline ones what a step's latency budget, token budget and KV memory leave.

    Online work is never held back: its decodes, its prefills and those of its requests that wait come first, up to
    ``chunk_tokens``. Then offline decodes, prefills and waiting requests are added, as long as the step is predicted to end within
    ``budget_s``; so does a step without online work, as a request may come while it runs. Where online requests need memory
    or seats, offline ones are preempted, the last admitted first.

    Where the engine speculates, a decode is planned with as many draft tokens as decodes lately brought along, and a step with what
    drafting lately took, so that drafts, prefill chunks and offline work share the one budget.

    The predictor is linear in a step's tokens; without ``weights`` it is fitted to what the engine's latency model says. Where
    steps turn out otherwise, or online requests miss their objectives, offline work is off until that is over; the plan's reason
    says so.

    Args:
        budget_s: seconds that a step with offline work may take, as predicted; found by profiling (figures/hygen).
        chunk_tokens: tokens per step at most; more only where more requests decode.
        sharing: share of the offline picks that follow shared prefixes; the others take the oldest. 0 is first come, first served.
        keep_state: an offline decode that does not fit sits out with its KV; off, it is preempted and computed again.
        headroom: share of KV memory and seats that offline requests are not admitted to.
        stage: of a roll-out. observe: no offline work, steps are timed; shadow: what would be done is only told in the reason;
            share: within ``share`` of the tokens; full.
        share: of a step's tokens that offline work may have in the stage of that name.
        objective_s: 99 of 100 gaps between online tokens are to be within it; the budget follows what is observed. 0: it is fixed.
        guard: how far from a limit, as a share of it, the budget is left alone and offline work stays off.
        attainment: share of online tokens within their objectives below which offline work is off. 0: whatever the share.
        spread: relative error of predictions of which half, if it lasts, is still no drift (a line cannot follow every bend of a
            step time curve). 0: drift is not watched.
        weights: of the predictor, in the order 1, S_p, S_d, S_p², S_d², N_p, N_d, as fitted to measured steps.

    Source: Sun et al., HyGen, NeurIPS '25, arXiv 2501.14808; §4.2 to §4.4. The online variant and the roll-out are not the paper's.
    """

    __slots__ = (
        "_awaiting_first",
        "_budget_s",
        "_drafts",
        "_failsafe",
        "_governor",
        "_lines",
        "_predictor",
        "_watch",
        "chunk_tokens",
        "headroom",
        "keep_state",
        "share",
        "stage",
    )

    def __init__(
        self,
        *,
        budget_s: float = 0.03,
        chunk_tokens: int = 512,
        sharing: float = 0.5,
        keep_state: bool = True,
        headroom: float = 0.05,
        stage: str = "full",
        share: float = 0.25,
        objective_s: float = 0.0,
        guard: float = 0.1,
        attainment: float = 0.0,
        spread: float = 0.2,
        weights: Sequence[float] = (),
    ) -> None:
        if not budget_s > 0 or chunk_tokens < 1:
            raise ValueError(f"budget_s is {budget_s} and chunk_tokens {chunk_tokens}; both must be above 0")
        for name, value in (("headroom", headroom), ("share", share), ("guard", guard), ("attainment", attainment)):
            if not 0 <= value < 1:
                raise ValueError(f"{name} is {value}; it is a share, from 0 to below 1")
        if stage not in get_args(Stage):
            raise ValueError(f"stage is {stage!r}; it is one of {', '.join(get_args(Stage))}")
        if objective_s < 0 or spread < 0:
            raise ValueError(f"objective_s is {objective_s} and spread {spread}; neither is below 0")
        if weights and len(weights) != len(FEATURES):
            raise ValueError(f"{len(weights)} weights; there are {len(FEATURES)}, of {', '.join(FEATURES)}")
        self.chunk_tokens = chunk_tokens
        self.keep_state = keep_state
        self.headroom = headroom
        self.stage = stage
        self.share = share
        self._budget_s = budget_s
        self._lines = Lines(sharing)
        self._predictor = Predictor(tuple(map(float, weights))) if weights else None
        self._watch = Stopwatch()
        self._drafts = DraftWatch()
        self._failsafe = Failsafe(spread or inf, attainment, guard)
        self._governor = Governor(objective_s, budget_s, guard) if objective_s else None
        self._awaiting_first: dict[int, None] = {}

    def plan(self, engine: StepView) -> StepPlan:
        running = engine.running
        self._lines.hear(engine)
        seen = [Seen(request) for request in running]
        predictor = self._learn(engine, running, seen)
        online = [request for request in seen if not request.offline]
        offline = [request for request in seen if request.offline]
        step = Step(
            engine,
            predictor,
            max(self.chunk_tokens, len(running)),
            self.headroom,
            keep_state=self.keep_state,
            drafts=self._drafts.expected,
            drafting_s=self._drafts.drafting_s,
        )
        step.take_online(online, self._lines)
        reason = ""
        if self.stage in ("observe", "shadow"):
            reason = "offline only observed" if self.stage == "observe" else self._shadow(step, offline)
            step.leave_out(offline)
        elif (online or self._lines.online_count) and (reason := self._failsafe.reason):
            step.leave_out(offline)
        else:
            step.make_room(offline)
            if not step.preempt:
                step.take_offline(offline, self._lines, self.room_s(step), self._offline_tokens(step), self.quota(engine.now_s))
            reason = "offline preempted for online" if step.preempt else "online first, offline within the budget"
        plan = step.plan(seen, online, offline, reason, self.room_s(step))
        ran = (request.id for request in seen)
        self._watch.start(engine, ran, step.filling.seconds, step.filling.growth_s)
        return plan

    @property
    def budget_s(self) -> float:
        """The latency budget as it is now."""
        return self._budget_s if self._governor is None else self._governor.budget_s

    def room_s(self, step: Step) -> float:
        """Seconds that this step may take with offline work in it."""
        return self.budget_s

    def quota(self, now_s: float) -> int:
        """Offline requests that may be admitted now."""
        return UNBOUNDED

    def _offline_tokens(self, step: Step) -> int:
        most = step.filling.left
        return most if self.stage == "full" else min(most, int(self.share * step.budget))

    def _shadow(self, step: Step, offline: Sequence[Seen]) -> str:
        would = step.copy()
        would.take_offline(offline, self._lines, self.budget_s, would.filling.left)
        return "in shadow: offline work would be done" if would.offline_served else "in shadow: no room for offline work"

    def _learn(self, engine: StepView, running: Sequence[RequestView], seen: Sequence[Seen]) -> Predictor:
        if self._predictor is None:
            seqs = min(engine.max_seqs, 256)
            context = max(1, min(4096, engine.kv_tokens_capacity // seqs))
            self._predictor = Predictor.believed(engine.latency, tokens=self.chunk_tokens, seqs=seqs, context=context)
        timed = self._watch.stop(engine, seen)
        self._drafts.look(engine, seen)
        if timed is not None:
            if self._drafts.took(timed.measured_s - timed.predicted_s):
                self._failsafe.step(timed)
            gap_s = timed.measured_s / max(self._drafts.yielded, 1.0)
            if self._governor is not None:
                decoding = sum(1 for now in seen if not now.offline and now.generated > 1)
                self._governor.gaps(gap_s, decoding * timed.steps)
            if self._failsafe.attainment:
                self._note_gaps(running, gap_s)
        if self._failsafe.attainment:
            self._note_first_tokens(running)
        if (factor := self._failsafe.correction()) is not None:
            self._predictor = self._predictor.scaled(factor)
        return self._predictor

    def _note_gaps(self, running: Sequence[RequestView], gap_s: float) -> None:
        for request in running:
            if not request.offline and request.generated_tokens > 1 and request.slo.tpot_s is not None:
                self._failsafe.online(gap_s <= request.slo.tpot_s)

    def _note_first_tokens(self, running: Sequence[RequestView]) -> None:
        for request in running:
            if request.offline or request.slo.ttft_s is None:
                continue
            if request.first_token_s is None:
                self._awaiting_first[request.id] = None
            elif request.id in self._awaiting_first:
                del self._awaiting_first[request.id]
                self._failsafe.online(request.first_token_s - request.arrival_s <= request.slo.ttft_s)
