"""A tier's engines in the order of their load, without a look at each of them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from heapq import heapify, heappop, heappush

from policies.polyserve.tiers import budget_s
from policies.types import EngineView, Role


def load(engine: EngineView) -> int:
    """Unfinished requests: the load of the gradient, which the paper leaves undefined."""
    return engine.running_count + engine.waiting_count


class Gradient:
    """Engines by load, the fullest first and equals in the fleet's order; those that are full are left out.

    Only the router sends requests, so an engine's load rises by what the router says (``sent``) and falls by itself. A heap of the
    last known loads is therefore corrected where it is wrong only from its top on, and a top that is right is the fullest.

    An engine that is said to be ``full`` is left out until a request has left it; of those alone, the counts are read in each turn.
    """

    __slots__ = ("_full", "_heap", "_known")

    def __init__(self, places: Sequence[int], engines: Sequence[EngineView], full: dict[str, int]) -> None:
        """``places``: of the tier's engines among ``engines``. ``full``: load of those that were said to be full, by id."""
        loads = {place: load(engines[place]) for place in places}
        self._full = {place: full[engines[place].id] for place in places if engines[place].id in full}
        self._known = {place: now for place, now in loads.items() if place not in self._full}
        self._heap = [(-now, place) for place, now in self._known.items()]
        heapify(self._heap)

    def fullest_first(self, engines: Sequence[EngineView], full: dict[str, int]) -> Generator[int]:
        """Places of the engines that are not full, as ``engines`` are now. Exhaust or close it before the next turn."""
        for place in [place for place, then in self._full.items() if load(engines[place]) < then]:
            del self._full[place]
            full.pop(engines[place].id, None)
            self._enter(place, load(engines[place]))
        heap, known = self._heap, self._known
        seen: dict[int, int] = {}
        try:
            while heap:
                believed, place = heap[0]
                if known.get(place) != -believed or place in seen:  # outdated
                    heappop(heap)
                    continue
                now = load(engines[place])
                heappop(heap)
                if now != -believed:
                    self._enter(place, now)
                    continue
                seen[place] = now
                yield place
        finally:
            for place, now in seen.items():
                if known.get(place) == now:
                    heappush(heap, (-now, place))

    def _enter(self, place: int, now: int) -> None:
        self._known[place] = now
        heappush(self._heap, (-now, place))

    def sent(self, place: int) -> None:
        """The engine gets one more request."""
        self._enter(place, self._known[place] + 1)

    def is_full(self, place: int) -> int:
        """Leave the engine out. Returns its load."""
        now = self._full[place] = self._known.pop(place)
        return now


class Gradients:
    """The gradients of all tiers, set up anew when the fleet's engines are others than before."""

    __slots__ = ("_engines", "_full", "_gradients", "_tiers", "prefill_apart")

    def __init__(self) -> None:
        self.prefill_apart = False
        """Whether some of the engines compute prompts and decode nothing."""
        self._engines: Sequence[EngineView] = ()
        self._full: dict[str, int] = {}
        self._gradients: dict[tuple[str, str | None], Gradient] = {}
        self._tiers: dict[str, list[tuple[float, str]]] = {}

    def see(self, engines: Sequence[EngineView]) -> None:
        """The engines as they are now. The same sequence holds the same engines in the same tiers."""
        if engines is self._engines:
            return
        places: dict[tuple[str, str | None], list[int]] = {}
        for place, engine in enumerate(engines):
            places.setdefault((engine.model, engine.tier), []).append(place)
        self._engines = engines
        self.prefill_apart = any(engine.role is Role.PREFILL for engine in engines)
        self._gradients = {group: Gradient(members, engines, self._full) for group, members in places.items()}
        self._tiers = {}
        for model, tier in places:
            if tier is not None:
                self._tiers.setdefault(model, []).append((budget_s(tier), tier))
        for tiers in self._tiers.values():
            tiers.sort()

    def tighter(self, model: str, than_s: float) -> list[tuple[float, str]]:
        """Budget and name of the tiers with a smaller budget that have engines, the tightest first."""
        return [(budget, tier) for budget, tier in self._tiers.get(model, ()) if budget < than_s]

    def fullest(self, model: str, tier: str | None, takes: Callable[[EngineView], bool | None]) -> EngineView | None:
        """The fullest engine that ``takes`` one more request, which it is then taken to be sent; ``None`` = it is full."""
        gradient = self._gradients.get((model, tier))
        if gradient is None:
            return None
        engines, full = self._engines, self._full
        found, crammed = None, []
        for place in (turn := gradient.fullest_first(engines, full)):
            answer = takes(engines[place])
            if answer:
                found = place
                break
            if answer is None and tier is not None:  # an engine of no tier is judged by each request's own budget
                crammed.append(place)
        turn.close()
        for place in crammed:
            full[engines[place].id] = gradient.is_full(place)
        if found is None:
            return None
        gradient.sent(found)
        return engines[found]
