"""The checks that every request of every format passes, and the columns that are left afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from traces.arrow import column_of, numbers, valid
from traces.errors import InputError
from traces.readers.arrow import block_lists
from traces.readers.files import TraceFile
from traces.readers.records import Field
from traces.workload import RequestClass, Workload

if TYPE_CHECKING:
    import pyarrow as pa

_MAX_TOKENS = np.iinfo(np.int32).max
_NANOSECONDS = 1_000_000_000


class Place(Protocol):
    """Where a batch of rows stands in its file."""

    def locate(self, row: int) -> str: ...


@dataclass(slots=True)
class Rows:
    """Requests in the file's order. ``arrival``: float64 in the file's unit, or int64 nanoseconds; ``failed``: rows left out.
    ``outside``: rows left out because they lie outside of the span that is wanted.

    ``integers``: further int64 columns by role, -1 where the file has no value.
    """

    arrival: NDArray[Any]
    prompt: NDArray[np.int32]
    output: NDArray[np.int32]
    integers: dict[str, NDArray[np.int64]]
    block_counts: NDArray[np.int64] | None
    block_ids: NDArray[np.int64] | None
    failed: int
    outside: int = 0

    @property
    def failure_notes(self) -> list[str]:
        """The provenance note on failed requests; none where there are none."""
        total = self.failed + len(self.arrival) + self.outside
        return [f"{self.failed:,} of {total:,} requests have 0 tokens (failures) and are left out"] if self.failed else []

    def workload(
        self,
        *,
        per_s: float = 1.0,
        from_first: bool = True,
        session: NDArray[np.int64] | None = None,
        klass: NDArray[np.int16] | None = None,
        classes: tuple[RequestClass, ...] = (RequestClass(),),
        block_tokens: int = 0,
        notes: Iterable[str] = (),
    ) -> Workload:
        """The table, sorted by arrival.

        ``per_s``: units of a float arrival in a second. ``from_first``: time counts from the first arrival, whatever the origin.
        """
        exact = self.arrival.dtype == np.int64
        origin = self.arrival.min() if from_first or exact else 0
        arrival_s = (self.arrival - origin) / _NANOSECONDS if exact else (self.arrival - origin) / per_s
        offsets = None if self.block_counts is None else np.concatenate([[0], np.cumsum(self.block_counts)])
        workload = Workload(
            np.ascontiguousarray(arrival_s, np.float64),
            self.prompt,
            self.output,
            np.zeros(len(self.prompt), np.int16) if klass is None else klass,
            classes,
            session,
            offsets,
            self.block_ids,
            block_tokens if self.block_ids is not None else 0,
            {"notes": [*self.failure_notes, *notes]},
        )
        if len(arrival_s) > 1 and np.diff(arrival_s).min() < 0:
            return workload.take(np.argsort(arrival_s, kind="stable")).noted("requests sorted by arrival")
        return workload


@dataclass(slots=True)
class Collector:
    """Checks batches of rows as they come and keeps compact columns.

    ``fields``: role → field; the roles `arrival`, `prompt` and `output` are needed, `blocks` holds lists of block ids, and any
    other integer role is kept as a column. ``sort``: unsorted arrivals are accepted. ``drop_failed``: requests with 0 tokens are
    left out and counted. ``non_negative``: arrivals below 0 are refused. ``per_s``: units of float arrivals in a second; where it
    is given, and the file sorted, requests outside of the span that is wanted of the file take no memory. The first request and
    some others stay, so that time counts from where it would, and the end is known.
    """

    file: TraceFile
    fields: Mapping[str, Field]
    sort: bool = False
    drop_failed: bool = True
    non_negative: bool = False
    per_s: float | None = None
    _first: Any = None
    _last: Any = None
    _failed: int = 0
    _outside: int = 0
    _parts: dict[str, list[NDArray[Any]]] = field(default_factory=dict)

    def collect(self, batches: Iterable[tuple[Place, pa.Table]]) -> Rows:
        """Raises InputError: a fault in a row, named with its line, or no row at all."""
        for place, table in batches:
            if len(table):
                self._add(place, table)
        columns = {role: np.concatenate(self._parts.pop(role)) for role in list(self._parts)}
        if not len(columns.get("arrival", ())):
            reason = f"all {self._failed:,} have 0 tokens" if self._failed else "there is no record below the header"
            raise InputError(f"{self.file.where}: 0 requests ({reason}); nothing can be run from an empty trace")
        known = {"arrival", "prompt", "output", "blocks", "block_counts"}
        return Rows(
            columns["arrival"],
            columns["prompt"],
            columns["output"],
            {role: values for role, values in columns.items() if role not in known},
            columns.get("block_counts"),
            columns.get("blocks"),
            self._failed,
            self._outside,
        )

    def _add(self, place: Place, table: pa.Table) -> None:
        arrival = self._arrivals(place, table["arrival"])
        prompt, output = (self._tokens(place, table[role], self.fields[role].name) for role in ("prompt", "output"))
        failed = (prompt == 0) | (output == 0)
        if failed.any():
            if not self.drop_failed:
                row = int(np.flatnonzero(failed)[0])
                name = self.fields["prompt" if prompt[row] == 0 else "output"].name
                raise self._fault(
                    place, row, f"{name} is 0", "token counts are at least 1; drop_failed: true leaves such requests out"
                )
            self._failed += int(failed.sum())
            kept = np.flatnonzero(~failed)
            arrival, prompt, output, table = arrival[kept], prompt[kept], output[kept], table.take(column_of(kept))
        if (wanted := self._wanted(arrival)) is not None:
            self._outside += len(arrival) - len(wanted)
            arrival, prompt, output, table = arrival[wanted], prompt[wanted], output[wanted], table.take(column_of(wanted))
        self._keep(arrival=arrival, prompt=prompt.astype(np.int32), output=output.astype(np.int32))
        for role in table.column_names:
            if role not in ("arrival", "prompt", "output"):
                self._keep(**(block_lists(table[role]) if role == "blocks" else {role: numbers(table[role], null=-1)}))

    def _wanted(self, arrival: NDArray[Any]) -> NDArray[np.int64] | None:
        """Which rows lie in the file's span, besides the file's first row and the last of each batch; ``None``: all are kept."""
        if self.file.span_s is None or self.per_s is None or self.sort or not len(arrival):
            return None
        first = self._first is None
        self._first = arrival[0] if first else self._first
        origin = 0.0 if self.non_negative else self._first
        since_s = (arrival - origin) / (_NANOSECONDS if arrival.dtype == np.int64 else self.per_s)
        wanted = (since_s >= self.file.span_s[0]) & (since_s < self.file.span_s[1])
        wanted[-1] = True
        wanted[0] |= first
        return np.flatnonzero(wanted)

    def _keep(self, **columns: NDArray[Any]) -> None:
        for role, values in columns.items():
            self._parts.setdefault(role, []).append(values)

    def _arrivals(self, place: Place, column: Any) -> NDArray[Any]:
        name = self.fields["arrival"].name
        if column.null_count:
            raise self._fault(place, int(np.argmin(valid(column))), f"{name} is empty", "every request needs an arrival time")
        values = numbers(column)
        if values.dtype.kind != "i" and not (finite := np.isfinite(values)).all():
            row = int(np.flatnonzero(~finite)[0])
            raise self._fault(place, row, f"{name} is {values[row]}", "every request needs a finite arrival time")
        if self.non_negative and values.min() < 0:
            row = int(np.flatnonzero(values < 0)[0])
            raise self._fault(place, row, f"{name} is {values[row]:g}", "times count from the workload's start and are at least 0")
        previous = np.concatenate([[values[0] if self._last is None else self._last], values[:-1]])
        if not self.sort and (values < previous).any():
            row = int(np.flatnonzero(values < previous)[0])
            raise self._fault(place, row, f"{name} is earlier than on the line above", "sort the file, or give sort: true")
        self._last = values[-1]
        return values

    def _tokens(self, place: Place, column: Any, name: str) -> NDArray[np.float64]:
        values = numbers(column, null=np.nan)
        bad = ~((values >= 0) & (values <= _MAX_TOKENS) & (values == np.floor(values)))
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            shown = f"{values[row]:g}" if valid(column)[row] else "empty"
            raise self._fault(place, row, f"{name} is {shown}", "token counts are whole numbers; correct or delete the line")
        return values

    def _fault(self, place: Place, row: int, wrong: str, remedy: str) -> InputError:
        return InputError(f"{self.file.where}: {place.locate(row)}: {wrong}; {remedy}")
