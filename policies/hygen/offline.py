"""In which order offline requests are taken: shared prefixes together, but no one forgotten (arXiv 2501.14808, §4.4)."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

from policies.types import RequestView

_Place = tuple[tuple[int, ...], float, int]


class OfflineQueue:
    """Waiting offline requests in two orders: by prefix, and by age.

    Prefix order is that of a depth-first walk of the trie of the prompts' prefix blocks, which is their lexicographic order: a
    sorted list says the same as the paper's trie. ``sharing`` of the picks follow it (prefix-sharing maximisation, PSM); the
    others take the oldest, evenly spread (PSM-fair). 1 is pure PSM, 0 first come, first served.

    Starvation bound: with ``sharing`` < 1, a request that has k older ones before it is among the next
    ⌈(k + 1) / (1 − sharing)⌉ picks, whatever arrives meanwhile.
    """

    __slots__ = ("_by_age", "_by_prefix", "_picks", "_places", "sharing")

    def __init__(self, *, sharing: float = 0.5) -> None:
        if not 0 <= sharing <= 1:
            raise ValueError(f"sharing is {sharing}; it is a share of the picks, from 0 to 1")
        self.sharing = sharing
        self._by_prefix: list[_Place] = []
        self._by_age: list[tuple[float, int]] = []
        self._places: dict[int, _Place] = {}
        self._picks = 0

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, request_id: int) -> bool:
        return request_id in self._places

    @property
    def picked(self) -> int:
        """Picks so far; who was picked, came back and was picked again counts twice."""
        return self._picks

    def add(self, request: RequestView) -> None:
        """Queue a request; one that is there already stays where it is."""
        if request.id not in self._places:
            place = self._places[request.id] = (tuple(request.prefix_blocks), request.arrival_s, request.id)
            insort(self._by_prefix, place)
            insort(self._by_age, place[1:])

    def remove(self, request_id: int) -> None:
        """Forget a request, if it is there."""
        place = self._places.pop(request_id, None)
        if place is not None:
            del self._by_prefix[bisect_left(self._by_prefix, place)]
            del self._by_age[bisect_left(self._by_age, place[1:])]

    def taken(self, request_id: int) -> None:
        """A request was admitted: it counts as a pick, if it was there."""
        if request_id in self._places:
            self._picks += 1
            self.remove(request_id)

    def peek(self) -> Iterator[int]:
        """Ids in the order in which they would be picked if nothing arrived; nothing is removed."""
        prefix = iter(self._by_prefix)
        age = iter(self._by_age)
        given: set[int] = set()
        for pick in range(self._picks, self._picks + len(self._places)):
            if self._takes_oldest(pick):
                chosen = next(i for _, i in age if i not in given)
            else:
                chosen = next(i for _, _, i in prefix if i not in given)
            given.add(chosen)
            yield chosen

    def pick(self) -> int:
        """Remove the next request and return its id.

        Raises:
            IndexError: the queue is empty.
        """
        chosen = self._by_age[0][1] if self._takes_oldest(self._picks) else self._by_prefix[0][2]
        self._picks += 1
        self.remove(chosen)
        return chosen

    def _takes_oldest(self, pick: int) -> bool:
        fair = 1 - self.sharing
        return int((pick + 1) * fair + 1e-9) > int(pick * fair + 1e-9)
