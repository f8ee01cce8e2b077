"""ServeGen's published client files: per client the arrival process of every 10-minute window, and length distributions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from traces.errors import InputError
from traces.readers.files import TraceFile

_LATEST_S, _HIGHEST_RATE, _SHAPES = 1e8, 1e6, (1e-3, 1e4)
"""Beyond what any client has (at most 465 requests per second; shapes of 0.012 to 95): gaps could not be drawn any more."""
_MAX_TOKENS = np.iinfo(np.int32).max
_KEY = re.compile(r"([{,]\s*)(\d+)\s*:")
_MEMBER = re.compile(r"(^|/)chunk-(\d+)-(trace\.csv|dataset\.json)$")


class Window(NamedTuple):
    """Arrivals of one client from ``start_s`` for ``length_s``: a renewal process of ``rate`` per second and this shape."""

    start_s: float
    length_s: float
    rate: float
    pattern: Literal["Gamma", "Weibull"]
    shape: float


class Lengths(NamedTuple):
    """A distribution of token counts: ``tokens`` ascending, ``cumulative`` probability up to each."""

    tokens: NDArray[np.int64]
    cumulative: NDArray[np.float64]

    def sample(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        index = np.searchsorted(self.cumulative, rng.random(count) * self.cumulative[-1], side="right")
        drawn: NDArray[np.int64] = self.tokens[np.minimum(index, len(self.tokens) - 1)]
        return drawn


@dataclass(slots=True)
class Client:
    """``windows`` with traffic only. ``texts``: start of a length window → field → the distribution, a dict published as text."""

    id: int
    where: str
    windows: list[Window]
    end_s: float
    texts: Mapping[float, Mapping[str, str]]
    _lengths: dict[tuple[float, str], Lengths] = field(default_factory=dict)

    def lengths(self, at_s: float, name: str) -> Lengths | None:
        """The distribution of ``name`` (input_tokens, output_tokens) in force at a time: the latest one that is not empty."""
        for start in sorted((t for t in self.texts if t <= at_s), reverse=True):
            text = self.texts[start].get(name, "{}")
            if text.strip() != "{}":
                if (start, name) not in self._lengths:
                    self._lengths[start, name] = _distribution(f"{self.where}: window {start:g}: {name}", text)
                return self._lengths[start, name]
        return None


def load(file: TraceFile, folder: str | None) -> list[Client]:
    """The clients of one ServeGen workload, in order of number.

    ``folder``: the end of the path inside the archive (`reason/deepseek-r1`), where it holds more than one workload.

    Raises:
        InputError: no client file, more than one workload and no folder named, or a malformed file.
    """
    members: dict[tuple[int, str], bytes] = {}
    parents: list[str] = []
    for name, data in file.members(_MEMBER):
        parent = str(PurePosixPath(name).parent)
        if (match := _MEMBER.search(name)) and (folder is None or f"/{parent}".endswith(f"/{folder.strip('/')}")):
            if parent not in parents:
                parents.append(parent)
            if parent == parents[0]:  # the whole of ServeGen would not fit into memory
                members[int(match[2]), match[3]] = data
    if not any(kind == "trace.csv" for _, kind in members):
        inside = f"no chunk-N-trace.csv in a folder {folder!r}" if folder else "no chunk-N-trace.csv"
        raise InputError(f"{file.where}: {inside}; a ServeGen workload has one trace and one dataset file per client")
    if len(parents) > 1:
        raise InputError(f"{file.where}: {len(parents)} workloads; name one with folder: {', '.join(sorted(parents)[:12])}")
    clients = []
    for number in sorted(number for number, kind in members if kind == "trace.csv"):
        name = f"{file.where}: {parents[0]}/chunk-{number}"
        windows, end_s = _windows(f"{name}-trace.csv", members[number, "trace.csv"])
        texts = _texts(f"{name}-dataset.json", members.get((number, "dataset.json"), b"{}"))
        clients.append(Client(number, name, windows, end_s, texts))
    return clients


def _windows(where: str, data: bytes) -> tuple[list[Window], float]:
    starts: list[float] = []
    found: list[tuple[float, float, str, float]] = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        try:
            start, rate, _cv, pattern, shape, _scale = line.split(",")
            starts.append(float(start))
            sound = 0 <= starts[-1] < _LATEST_S and (len(starts) == 1 or starts[-2] < starts[-1])
            if pattern:
                found.append((starts[-1], float(rate), pattern, float(shape)))
                sound = sound and pattern in ("Gamma", "Weibull") and 0 <= found[-1][1] <= _HIGHEST_RATE
                sound = sound and _SHAPES[0] <= found[-1][3] <= _SHAPES[1]
        except ValueError:
            raise InputError(
                f"{where}: line {number}: {line[:60]!r} is not start,rate,cv,pattern,shape,scale; get the file again"
            ) from None
        if not sound:
            raise InputError(
                f"{where}: line {number}: {pattern} arrivals from {start} s with rate {rate}, shape {shape}; get the file again"
            )
    length = starts[1] - starts[0] if len(starts) > 1 else 600.0
    windows = [Window(start, length, rate, pattern, shape) for start, rate, pattern, shape in found if rate > 0]  # type: ignore[arg-type]
    return windows, (starts[-1] + length if starts else 0.0)


def _texts(where: str, data: bytes) -> dict[float, Mapping[str, str]]:
    try:
        return {float(start): {str(name): str(text) for name, text in fields.items()} for start, fields in json.loads(data).items()}
    except (ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"{where}: not a JSON object of windows ({error}); get the file again") from None


def _distribution(where: str, text: str) -> Lengths:
    try:  # a Python dict with numbers for keys, which JSON wants in quotes
        table = json.loads(_KEY.sub(r'\1"\2":', text))
        tokens = np.fromiter(map(int, table.keys()), np.int64)
        weights = np.fromiter(table.values(), np.float64)
    except (ValueError, AttributeError, TypeError, OverflowError, RecursionError) as error:
        raise InputError(f"{where}: not a dict of token counts ({type(error).__name__}); get the file again") from None
    if not (np.isfinite(weights).all() and weights.min(initial=0) >= 0 and weights.sum() > 0 and tokens.max() <= _MAX_TOKENS):
        raise InputError(f"{where}: probabilities must be at least 0 and not all 0, counts below 2³¹; get the file again")
    order = np.argsort(tokens)
    return Lengths(np.maximum(tokens[order], 1), np.cumsum(weights[order]))


def span_s(clients: Sequence[Client]) -> float:
    """Where the last window of any client ends."""
    return max(client.end_s for client in clients)
