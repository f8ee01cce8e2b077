"""What decodes bring along into a step where the engine speculates: draft tokens, which a batcher plans before they are chosen."""

from __future__ import annotations

from collections.abc import Sequence

from policies.hygen.seen import Seen
from policies.types import StepView


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
        self._before: dict[int, Seen] = {}
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

    def look(self, engine: StepView, running: Sequence[Seen]) -> None:
        """See what has been drafted and generated since the last look."""
        self._foreseen, self._seen = any(self.expected), False
        steps, self._step = engine.step - self._step, engine.step
        before, self._before = self._before, {request.id: request for request in running if request.generated}
        if steps <= 0 or not before:
            return
        served = {False: [0, 0, 0], True: [0, 0, 0]}  # online and offline: requests, tokens drafted and generated
        for request in self._before.values():
            then = before.get(request.id)
            if then is not None and request.generated != then.generated:
                sums = served[request.offline]
                sums[0] += 1
                sums[1] += request.drafted - then.drafted
                sums[2] += request.generated - then.generated
        for offline, (requests, drafted, generated) in served.items():
            if requests:
                self._seen = self._seen or drafted > 0
                self._learn(offline, drafted / requests / steps, generated / requests / steps)

    def _learn(self, offline: bool, drafted: float, generated: float) -> None:
        if offline:
            self.offline += self._LATEST * (drafted - self.offline)
        else:
            self.online += self._LATEST * (drafted - self.online)
            self.yielded += self._LATEST * (generated - self.yielded)
