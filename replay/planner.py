"""A batcher inside an engine: its plan is kept for as long as it stands, and checked before it is carried out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from policies.decisions import StepPlan
from policies.protocols import Batcher
from policies.types import StepView
from replay.guard import Guard


class Planner:
    """Keeps a plan, and asks for the next one. Where the batcher fails, the plan is ``own``: that of the engine without it.

    ``told``: called when the batcher has planned, so that what it was shown is no news any more.
    """

    def __init__(self, batcher: Batcher, own: StepPlan, guard: Guard, told: Callable[[], None] = lambda: None) -> None:
        self._batcher = batcher
        self._own = own
        self._guard = guard
        self._told = told
        self._plan = own
        self._expires = 0.0

    def plan(self, view: StepView, step: int) -> StepPlan:
        """The plan for ``step``, the steps that are planned before it."""
        if step < self._expires:
            return self._plan
        plan = self._guard.ask(step, lambda: self._checked(view))
        if plan is None:
            return self._own
        self._told()
        self._plan = plan
        self._expires = step + plan.valid_steps
        return plan

    def expire(self) -> None:
        """Something happened that ends every plan: a request came, finished or had its first token."""
        self._expires = 0.0

    def _checked(self, view: StepView) -> StepPlan:
        plan = self._batcher.plan(view)
        if plan is not self._plan:
            _check(plan)
        return plan


def _check(plan: StepPlan) -> None:
    """That a plan can be carried out; what it says of requests that are gone does no harm."""
    if not isinstance(plan, StepPlan):
        raise TypeError(f"answered {plan!r}, which is no StepPlan")
    if not isinstance(plan.token_budget, int) or plan.token_budget < 0:
        raise ValueError(f"a token budget of {plan.token_budget!r}")
    if not plan.valid_steps >= 1:
        raise ValueError(f"a plan valid for {plan.valid_steps!r} steps")
    if plan.order is not None and not isinstance(plan.order, Sequence):
        raise TypeError("an order that is no sequence")
    if plan.admit is not None and not isinstance(plan.admit, Sequence):
        raise TypeError("requests to admit that are no sequence")
    if not isinstance(plan.preempt, Sequence):
        raise TypeError("requests to preempt that are no sequence")
    if plan.caps is not None:
        if not isinstance(plan.caps, Mapping):
            raise TypeError("caps that are no mapping")
        if any(not isinstance(cap, int) or cap < 0 for cap in plan.caps.values()):
            raise ValueError("a cap that is not a number of tokens")
