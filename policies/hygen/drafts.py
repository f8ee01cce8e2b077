"""What decodes bring along into a step where the engine speculates: draft tokens, which a batcher plans before they are chosen."""

from __future__ import annotations

from collections.abc import Sequence

from policies.types import RequestView, StepView


class DraftWatch:
    """Draft tokens of one decode in the next step, and the tokens that it yields, by those of the latest steps; and the seconds
    that drafting them takes, by how much longer steps lately took than their tokens tell.

    Moving means over plans, of online and of offline decodes apart: a speculator treats them differently.
    """

    __slots__ = ("_before", "_drafting_s", "_foreseen", "_learnt", "_seen", "_step", "offline", "online", "yielded")

    _LATEST = 0.25
    _SETTLED = 16
    """Steps with drafts after which they are foreseen."""

    def __init__(self) -> None:
        self.online = self.offline = 0.0
        self.yielded = 1.0
        """Tokens that an online decode gets from a step."""
        self._before: dict[int, tuple[int, int]] = {}
        self._step = 0
        self._drafting_s = 0.0
        self._learnt = 0
        self._foreseen = self._seen = False

    @property
    def expected(self) -> tuple[int, int]:
        """Draft tokens that an online and an offline decode bring along into the next step."""
        return round(self.online), round(self.offline)

    @property
    def drafting_s(self) -> float:
        """Seconds of the next step in which the drafter runs."""
        return self._drafting_s if any(self.expected) else 0.0

    def took(self, late_s: float) -> bool:
        """What was looked at last took so much longer than predicted. Whether that says something of the prediction: drafts were
        foreseen, and for long enough, or there were none and none foreseen.
        """
        if not (self._seen and self._foreseen):
            return self._seen == self._foreseen
        self._drafting_s = max(0.0, self._drafting_s + self._LATEST * late_s)
        self._learnt += 1
        return self._learnt > self._SETTLED

    def look(self, engine: StepView, running: Sequence[RequestView]) -> None:
        """See what has been drafted and generated since the last look."""
        self._foreseen, self._seen = any(self.expected), False
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
                    self._seen = self._seen or any(drafted for drafted, _ in served)
                    self._learn(offline, *(sum(column) / len(served) / steps for column in zip(*served, strict=True)))
        self._before = now

    def _learn(self, offline: bool, drafted: float, generated: float) -> None:
        if offline:
            self.offline += self._LATEST * (drafted - self.offline)
        else:
            self.online += self._LATEST * (drafted - self.online)
            self.yielded += self._LATEST * (generated - self.yielded)
