"""What HyGen learns while it serves: how long steps took, whether its predictor still holds, and whether online users are served.

The paper's budget is fixed by a profiling run; here it can also follow what is observed (``Governor``), and offline work is taken
off the engine as soon as a limit is crossed (``Failsafe``). Both go by the times of the engine's own steps: from the call that
planned a step to the call that plans the next.
"""

from __future__ import annotations

from collections.abc import Iterable

from policies.hygen.predictor import Drift
from policies.hygen.seen import Seen
from policies.types import StepView

_FEWEST = 64


class Stopwatch:
    """Times the steps of an engine that is never idle between two plans; others are not timed."""

    __slots__ = ("_growth_s", "_now_s", "_predicted_s", "_ran", "_step")

    def __init__(self) -> None:
        self._ran: frozenset[int] = frozenset()
        self._step = 0
        self._now_s = self._predicted_s = self._growth_s = 0.0

    def start(self, engine: StepView, ran: Iterable[int], predicted_s: float, growth_s: float) -> None:
        """A plan begins: who runs in it, and what a step of it is predicted to take, and each next one more."""
        ahead = engine.step_ends_s > engine.now_s  # planned while another step runs: its time is not the time to the next call
        self._ran = frozenset() if ahead else frozenset(ran)
        self._step, self._now_s = engine.step, engine.now_s
        self._predicted_s, self._growth_s = predicted_s, growth_s

    def stop(self, engine: StepView, running: Iterable[Seen]) -> Timed | None:
        """The steps since ``start``; ``None`` where the engine may have been idle, or something else was carried out."""
        steps = engine.step - self._step
        if steps < 1 or not self._predicted_s or not any(request.id in self._ran for request in running):
            return None
        measured_s = (engine.now_s - self._now_s) / steps
        return Timed(steps, self._predicted_s + self._growth_s * (steps - 1) / 2, measured_s)


class Timed:
    """``steps`` alike, and the seconds that one of them was predicted to take and took, on average."""

    __slots__ = ("measured_s", "predicted_s", "steps")

    def __init__(self, steps: int, predicted_s: float, measured_s: float) -> None:
        self.steps, self.predicted_s, self.measured_s = steps, predicted_s, measured_s


class Failsafe:
    """Says when offline work must go, and why.

    It goes when the predictor has drifted, and comes back once the predictor is scaled to the steps since: a new fit to so few
    steps, with no offline work in them, would say nothing of others. It goes when the share of online events within their
    objectives (gaps between tokens, first tokens; the latest few hundred) falls under ``attainment``, and comes back when it
    is ``guard`` higher.
    """

    __slots__ = ("_drift", "_drifted", "_guard", "_held", "_served", "_since", "_spread", "attainment")

    _MEMORY = 1 / 300

    def __init__(self, spread: float, attainment: float, guard: float) -> None:
        self._spread = spread
        self.attainment = attainment
        self._guard = guard
        self._drift = Drift(spread)
        self._drifted = False
        self._since: list[float] = []
        self._served = 1.0
        self._held = True

    def step(self, timed: Timed) -> None:
        """Take a step's prediction and measurement."""
        if self._drifted:
            self._since.append(timed.measured_s / timed.predicted_s)
        else:
            self._drifted = self._drift.observe(timed.predicted_s, timed.measured_s)

    def online(self, within: bool) -> None:
        """An online request got a token within its objective, or not."""
        self._served += self._MEMORY * (within - self._served)
        back = min(1 - self._MEMORY, self.attainment + self._guard)
        self._held = self._served >= (self.attainment if self._held else back)

    @property
    def reason(self) -> str:
        """Why offline work is off; empty while it is not."""
        if self._drifted:
            return "offline off: step times are not those that were predicted"
        return "" if self._held else "offline off: online requests miss their objectives"

    def correction(self) -> float | None:
        """After a drift, once enough steps have been seen since: the factor by which predictions are to be scaled."""
        if len(self._since) < _FEWEST:
            return None
        factor = sorted(self._since)[len(self._since) // 2]
        self._since = []
        self._drift, self._drifted = Drift(self._spread), False
        return factor


class Governor:
    """Moves the latency budget so that at most 1 % of the gaps between online tokens exceed ``objective_s``.

    Up by 3 % while that holds with ``guard`` of the objective to spare, down by 15 % when it does not; a decision per ``_WINDOW``
    gaps.
    """

    __slots__ = ("_beyond", "_gaps", "_guard", "_near", "budget_s", "objective_s")

    _WINDOW = 2_000
    _RARE = 0.01

    def __init__(self, objective_s: float, budget_s: float, guard: float) -> None:
        self.objective_s = objective_s
        self.budget_s = min(budget_s, objective_s)
        self._guard = guard
        self._gaps = self._beyond = self._near = 0

    def gaps(self, seconds: float, number: int) -> None:
        """So many gaps of ``seconds`` each."""
        self._gaps += number
        self._beyond += number * (seconds > self.objective_s)
        self._near += number * (seconds > self.objective_s * (1 - self._guard))
        if self._beyond > self._RARE * self._WINDOW:
            self._decide(0.85)
        elif self._gaps >= self._WINDOW:
            self._decide(1.03 if self._near <= self._RARE * self._gaps else 1.0)

    def _decide(self, factor: float) -> None:
        self.budget_s = min(self.budget_s * factor, self.objective_s)
        self._gaps = self._beyond = self._near = 0
