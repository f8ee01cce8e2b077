"""How vLLM's own scheduler carries out a plan that says more than a budget.

Mechanism stays vLLM's: a plan sorts the queues, caps tokens per request, and names requests to preempt and those that may be
admitted; then ``super().schedule()`` does the rest, on a queue of those who may. A cap of 0 leaves a running request its KV, and
holds a waiting one back without blocking those behind it. As in any step of vLLM's that preempts, nothing is admitted in a step for
which a plan preempts. Where a plan names whom to admit, a step costs no more for a long queue.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from vllm.v1.core.sched.request_queue import SchedulingPolicy
from vllm.v1.request import RequestStatus

from policies.decisions import StepPlan
from replay.vllm_queue import Line, Shown
from replay.vllm_views import live

_IN_LINE = (RequestStatus.WAITING, RequestStatus.PREEMPTED)

_Base: Any = object
"""Whatever the mixin is mixed into."""


class CarriesOut(_Base):  # type: ignore[misc]
    """Mixin over a vLLM scheduler, all of whose requests ``replay.vllm_views.watch`` has seen."""

    need_mamba_block_aligned_split: bool
    waiting: Any

    def _get_ready(self) -> None:
        """Called before the first request."""
        self._by_id: dict[int, Any] = {}
        """Requests by the ids that batchers know."""
        self._caps: Mapping[int, int] | None = None
        self._aligned = self.need_mamba_block_aligned_split
        if self.policy == SchedulingPolicy.FCFS:
            self.waiting = Line(self.waiting)

    def _schedule_by(self, plan: StepPlan, args: Any, kwargs: Any) -> Any:
        """A step whose plan says more than a budget."""
        preempted = self._preempt(plan.preempt)
        caps = plan.caps or {}
        line = self.waiting
        shown = self._candidates(plan, caps)
        if preempted:
            shown = ()
        if shown is not line:
            self.waiting = Shown(shown, len(line) - len(shown))
        self._caps, self.need_mamba_block_aligned_split = caps, bool(caps) or self._aligned
        try:
            return super().schedule(*args, **kwargs)
        finally:
            self._caps, self.need_mamba_block_aligned_split = None, self._aligned
            if shown is not line:
                self._back_in_line(line, shown)

    def _candidates(self, plan: StepPlan, caps: Mapping[int, int]) -> Any:
        """The waiting requests that may be admitted, in order; the queue itself where they are all of it."""
        line: Any = self.waiting
        if plan.order is not None:
            rank = {id: place for place, id in enumerate(plan.order)}
            self.running.sort(key=lambda request: rank.get(live(request).id, len(rank)))
            if plan.admit is None:
                line = sorted(line, key=lambda request: rank.get(live(request).id, len(rank)))
                if isinstance(self.waiting, Line):
                    self.waiting.sort(line)
        if plan.admit is not None:
            self._unskip()
            named = (self._by_id[id] for id in dict.fromkeys(plan.admit) if id in self._by_id)
            line = [request for request in named if request.status in _IN_LINE and not request.num_computed_tokens]
        if any(cap == 0 and id in self._by_id for id, cap in caps.items()):
            line = [request for request in line if caps.get(live(request).id) != 0]
        return line

    def _unskip(self) -> None:
        """Up to 0.30 requests that cannot start yet have a queue of their own, which goes before the other: back into line."""
        for request in reversed(skipped := list(getattr(self, "skipped_waiting", ()))):
            self.waiting.prepend_request(request)
        if skipped:
            self.skipped_waiting.remove_requests(skipped)

    def _preempt(self, ids: Sequence[int]) -> bool:
        there = (self._by_id[id] for id in dict.fromkeys(ids) if id in self._by_id)
        victims = [request for request in there if not live(request).waits]
        for request in victims:
            self.running.remove(request)
            self._preempt_request(request, time.monotonic())
        return bool(victims)

    def _back_in_line(self, line: Any, shown: Sequence[Any]) -> None:
        """The queue after a step that saw only those ``shown``: without the admitted ones, and with newly preempted ones first."""
        known = set(shown)
        fresh = [request for request in self.waiting if request not in known]
        elsewhere = set(getattr(self, "skipped_waiting", ()))
        line.remove_requests([r for r in shown if r.status == RequestStatus.RUNNING or r in elsewhere])
        line.prepend_requests(reversed(fresh))
        self.waiting = line

    def _mamba_block_aligned_split(self, request: Any, num_new_tokens: int, *args: Any, **kwargs: Any) -> int:
        """The one hook of all versions that bounds the tokens of a request, running or waiting; on only while there are caps."""
        if self._planner is not None and self._caps:
            num_new_tokens = min(num_new_tokens, self._caps.get(live(request).id, num_new_tokens))
            if not self._aligned:
                return num_new_tokens
        return int(super()._mamba_block_aligned_split(request, num_new_tokens, *args, **kwargs))
