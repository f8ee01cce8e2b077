"""What is asked of a fleet at present, from counters of what has come."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from policies.placement import Demand
from policies.types import Arrivals, FleetView


class Rates:
    """The demand over the last ``window_s``, from the counters at two looks. ``look`` at every call, ``demand`` when it is wanted.

    Offline work has no rate: whatever is left over serves it.

    Source: MaverIQ looks at the load of the last 120 s.
    """

    __slots__ = ("_looks", "window_s")

    def __init__(self, window_s: float) -> None:
        self.window_s = window_s
        self._looks: deque[tuple[float, dict[tuple[str, str], Arrivals]]] = deque()

    def look(self, fleet: FleetView) -> None:
        counts = {(each.model, each.tier): each for each in fleet.arrivals}
        if self._looks and self._looks[-1][0] == fleet.now_s:
            self._looks.pop()
        self._looks.append((fleet.now_s, counts))
        while len(self._looks) > 2 and self._looks[1][0] <= fleet.now_s - self.window_s:
            self._looks.popleft()

    def demand(self, fleet: FleetView) -> Sequence[Demand]:
        """One per model and tier of which anything has ever come; empty before there are two looks."""
        if len(self._looks) < 2:
            return ()
        (then_s, before), (now_s, counts) = self._looks[0], self._looks[-1]
        found = []
        for key, total in counts.items():
            past = before.get(key)
            new = total.requests - (past.requests if past else 0)
            since = past if past and new else None  # lengths of old where nothing new has come
            requests = total.requests - (since.requests if since else 0)
            found.append(
                Demand(
                    model=total.model,
                    tier=total.tier,
                    slo=total.slo,
                    rate_per_s=None if total.offline else new / (now_s - then_s),
                    prompt_tokens=(total.prompt_tokens - (since.prompt_tokens if since else 0)) / requests,
                    output_tokens=(total.expected_output_tokens - (since.expected_output_tokens if since else 0.0)) / requests,
                    offline=total.offline,
                    intent=fleet.intents.get(total.model),
                )
            )
        return found
