"""What decodes bring along into a step where the engine speculates: draft tokens, which a batcher plans before they are chosen."""

from __future__ import annotations

from collections.abc import Sequence

from policies.types import RequestView, StepView


class DraftWatch:
    """Draft tokens of one decode in the next step, and the tokens that it yields, by those of the latest steps.

    A moving mean over plans, of online and of offline decodes apart: a speculator treats them differently.
    """

    __slots__ = ("_before", "_step", "offline", "online", "yielded")

    _LATEST = 0.25

    def __init__(self) -> None:
        self.online = self.offline = 0.0
        self.yielded = 1.0
        """Tokens that an online decode gets from a step."""
        self._before: dict[int, tuple[int, int]] = {}
        self._step = 0

    def look(self, engine: StepView, running: Sequence[RequestView]) -> None:
        """See what has been drafted and generated since the last look."""
        steps, self._step = engine.step - self._step, engine.step
        now = {r.id: (r.drafted_tokens, r.generated_tokens) for r in running if r.generated_tokens}
        if steps > 0 and self._before:
            for offline in (False, True):
                gains = [
                    (now[r.id][0] - self._before[r.id][0], now[r.id][1] - self._before[r.id][1])
                    for r in running
                    if r.offline == offline and r.id in now and r.id in self._before
                ]
                served = [(drafted, generated) for drafted, generated in gains if generated]
                if served:
                    self._learn(offline, *(sum(column) / len(served) / steps for column in zip(*served, strict=True)))
        self._before = now

    def _learn(self, offline: bool, drafted: float, generated: float) -> None:
        if offline:
            self.offline += self._LATEST * (drafted - self.offline)
        else:
            self.online += self._LATEST * (drafted - self.online)
            self.yielded += self._LATEST * (generated - self.yielded)
