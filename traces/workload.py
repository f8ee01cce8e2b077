"""The canonical request table: every reader and generator makes one, every world consumes one.

| column          | dtype   | unit and meaning                                                                              |
|-----------------|---------|-----------------------------------------------------------------------------------------------|
| `arrival_s`     | float64 | seconds since the workload's start, finite, ≥ 0, non-decreasing                               |
| `prompt_tokens` | int32   | tokens of the prompt, ≥ 1                                                                     |
| `output_tokens` | int32   | tokens generated, the first included, ≥ 1; the truth, which only worlds read                  |
| `klass`         | int16   | index into `classes`: model, tier, SLO and online/offline are properties of the class         |
| `session`       | int64   | conversation or client that the request belongs to, -1 = none                                 |
| `block_offsets` | int64   | n + 1 offsets into `block_ids`: request i's prefix blocks are `block_ids[o[i]:o[i+1]]`        |
| `block_ids`     | int64   | content ids of consecutive prompt blocks of `block_tokens` tokens; equal ids = equal content  |
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from policies.types import SLO
from traces.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class RequestClass:
    """What requests of one kind share.

    ``expected_output_tokens``: the prior that policies are told, never a request's truth. ``priority``: of vLLM's priority policy,
    smaller first.
    """

    name: str = "default"
    tier: str = "default"
    model: str = ""
    offline: bool = False
    slo: SLO = field(default_factory=SLO)
    expected_output_tokens: float = 256.0
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Workload:
    """A request table (see the module's text for its columns) with where it came from.

    ``source``: plain JSON-able provenance: name, file, sha256, licence, seed, and under ``notes`` the list of what readers and
    transforms did to it, in the user's words ("jitter inside 3-second ticks on").
    """

    arrival_s: NDArray[np.float64]
    prompt_tokens: NDArray[np.int32]
    output_tokens: NDArray[np.int32]
    klass: NDArray[np.int16]
    classes: tuple[RequestClass, ...] = (RequestClass(),)
    session: NDArray[np.int64] | None = None
    block_offsets: NDArray[np.int64] | None = None
    block_ids: NDArray[np.int64] | None = None
    block_tokens: int = 0
    source: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def make(cls, arrival_s: Any, prompt_tokens: Any, output_tokens: Any, *, klass: Any = None, **rest: Any) -> Workload:
        """Build from anything array-like; checks every rule of the table.

        Raises:
            InputError: a column has the wrong length, NaN, a negative or zero token count, or unsorted arrivals.
        """
        where = str(rest.get("source", {}).get("name", "workload"))
        arrival = np.ascontiguousarray(arrival_s, dtype=np.float64)
        n = len(arrival)
        prompt = _tokens(prompt_tokens, "prompt_tokens", n, where)
        output = _tokens(output_tokens, "output_tokens", n, where)
        if n == 0:
            raise InputError(f"{where}: 0 requests; nothing can be run from an empty workload")
        if not np.isfinite(arrival).all():
            row = int(np.flatnonzero(~np.isfinite(arrival))[0])
            raise InputError(f"{where}: row {row}: arrival time is {arrival[row]}; every request needs a finite arrival time")
        if arrival[0] < 0:
            raise InputError(f"{where}: row 0: arrival time {arrival[0]} is negative; times count from the workload's start")
        if (steps := np.diff(arrival)).size and steps.min() < 0:
            row = int(np.flatnonzero(steps < 0)[0]) + 1
            raise InputError(
                f"{where}: row {row}: arrives at {arrival[row]:g} s, before the row above it ({arrival[row - 1]:g} s); "
                "sort the rows by arrival"
            )
        codes = np.zeros(n, np.int16) if klass is None else np.ascontiguousarray(klass, dtype=np.int16)
        return cls(arrival, prompt, output, codes, **rest)

    def __len__(self) -> int:
        return len(self.arrival_s)

    @property
    def duration_s(self) -> float:
        """First to last arrival."""
        return float(self.arrival_s[-1] - self.arrival_s[0])

    @property
    def mean_rate(self) -> float:
        """Arrivals per second; ``inf`` when all arrive at once."""
        return (len(self) - 1) / self.duration_s if self.duration_s > 0 else float("inf")

    def blocks_of(self, i: int) -> NDArray[np.int64]:
        """Content ids of request ``i``'s prefix blocks; empty when the workload tells none."""
        if self.block_ids is None or self.block_offsets is None:
            return np.empty(0, np.int64)
        return self.block_ids[self.block_offsets[i] : self.block_offsets[i + 1]]

    def take(self, rows: NDArray[Any]) -> Workload:
        """The given rows, in the given order (indices or a mask). Arrivals are not shifted."""
        index = np.flatnonzero(rows) if rows.dtype == bool else np.asarray(rows, np.int64)
        offsets, ids = self.block_offsets, self.block_ids
        if offsets is not None and ids is not None:
            counts = np.diff(offsets)[index]
            new = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
            within = np.arange(new[-1]) - np.repeat(new[:-1], counts)
            ids = ids[np.repeat(offsets[:-1][index], counts) + within]
            offsets = new
        return dataclasses.replace(
            self,
            arrival_s=self.arrival_s[index],
            prompt_tokens=self.prompt_tokens[index],
            output_tokens=self.output_tokens[index],
            klass=self.klass[index],
            session=None if self.session is None else self.session[index],
            block_offsets=offsets,
            block_ids=ids,
        )

    def noted(self, note: str) -> Workload:
        """The same workload with one more line in its provenance."""
        return dataclasses.replace(self, source={**self.source, "notes": [*self.source.get("notes", []), note]})

    def to_frame(self) -> pd.DataFrame:
        """One row per request, classes spelled out; prefix blocks as lists."""
        import pandas as pd

        classes = self.classes
        frame = pd.DataFrame(
            {
                "arrival_s": self.arrival_s,
                "prompt_tokens": self.prompt_tokens,
                "output_tokens": self.output_tokens,
                "class": pd.Categorical.from_codes(self.klass.tolist(), pd.Index([c.name for c in classes])),
                "session": -1 if self.session is None else self.session,
            }
        )
        if self.block_ids is not None:
            frame["block_ids"] = [self.blocks_of(i).tolist() for i in range(len(self))]
        return frame


def _tokens(values: Any, column: str, n: int, where: str) -> NDArray[np.int32]:
    array = np.asarray(values)
    if len(array) != n:
        raise InputError(f"{where}: {column} has {len(array)} rows where arrival_s has {n}; every request needs both")
    bad = ~(np.isfinite(array.astype(np.float64)) & (array.astype(np.float64) >= 1))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(f"{where}: row {row}: {column} is {array[row]}; token counts are whole numbers of at least 1")
    return np.ascontiguousarray(array, dtype=np.int32)
