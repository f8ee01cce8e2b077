"""Step times of an engine over a designed grid of shapes: which steps to provoke, and what a few layers say of a whole model.

The grid: prefill chunks from empty and with context, decode batches at several contexts, and prompts that come while others decode.
Every engine that is given the same probes takes the same steps, so that engines with 1, 2 and 4 layers of a model are measured
shape by shape: a step's time is a line in the number of layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from policies.latency import StepShape

_CHUNKS = (16, 32, 64, 128, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 192, 256, 512)
_CONTEXTS = (64, 512, 2048, 8192, 24576)
_DECODES = 12
"""Tokens of each request of a decode probe, the first included."""
_MIXED = ((8, 128), (8, 1024), (32, 512), (32, 2048), (128, 512), (128, 2048), (128, 8192))
"""Requests that decode, and the prompt that comes meanwhile."""
_MIXED_CONTEXT = 512
_ROOM = 0.9
"""Share of KV memory that a probe fills at most."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Requests as (prompt tokens, output tokens): those that come at once, and those that come when they all decode."""

    kind: str
    requests: tuple[tuple[int, int], ...]
    later: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One step. ``layers``: of the engine that took it. ``seconds``: from its start to the next one's, where one followed."""

    kind: str
    layers: int
    shape: StepShape
    seconds: float


@dataclass(frozen=True, slots=True)
class Room:
    """What an engine can take: tokens of a step, requests, prompt plus output of a request, KV tokens."""

    step_tokens: int
    seqs: int
    window: int
    kv_tokens: int


def grid(room: Room) -> Iterator[Probe]:
    """The probes that fit an engine, the cheap ones first."""
    chunks = [chunk for chunk in _CHUNKS if chunk <= min(room.step_tokens, room.window - 2)]
    yield from (Probe("prefill", ((chunk, 1),)) for chunk in chunks)
    longest = min(room.window - 2, int(_ROOM * room.kv_tokens))
    yield from (Probe("prefill-context", ((prompt, 1),)) for times in (2, 4) if (prompt := times * room.step_tokens) <= longest)
    for batch in _BATCHES:
        for context in _CONTEXTS:
            fits = context + _DECODES <= room.window and batch * (context + _DECODES) <= _ROOM * room.kv_tokens
            if batch <= room.seqs and fits:
                yield Probe("decode", ((context, _DECODES),) * batch)
    for batch, prompt in _MIXED:
        fits = batch < room.seqs and prompt + 2 <= room.window and room.window >= _MIXED_CONTEXT + 2 * _DECODES
        if fits and batch * (_MIXED_CONTEXT + 2 * _DECODES) + prompt <= _ROOM * room.kv_tokens:
            yield Probe("mixed", ((_MIXED_CONTEXT, 2 * _DECODES),) * batch, ((prompt, 2),))


def whole(samples: Sequence[Sample], layers: int) -> list[Sample]:
    """What a model of ``layers`` layers would take for each shape that was measured with at least two numbers of layers.

    The line through the medians, by least squares; a layer takes no less than nothing.

    Raises:
        ValueError: no shape was measured with two numbers of layers.
    """
    times: dict[tuple[str, StepShape], dict[int, list[float]]] = {}
    for sample in samples:
        times.setdefault((sample.kind, sample.shape), {}).setdefault(sample.layers, []).append(sample.seconds)
    found = []
    for (kind, shape), by_layers in times.items():
        if len(by_layers) >= 2:
            points = [(float(count), median(seconds)) for count, seconds in by_layers.items()]
            found.append(Sample(kind, layers, shape, _line(points, layers)))
    if not found:
        raise ValueError("no step was measured with two numbers of layers; measure with more than one, such as 1, 2 and 4")
    return found


def _line(points: Sequence[tuple[float, float]], at: float) -> float:
    middle = sum(x for x, _ in points) / len(points)
    level = sum(y for _, y in points) / len(points)
    spread = sum((x - middle) ** 2 for x, _ in points)
    slope = max(0.0, sum((x - middle) * (y - level) for x, y in points) / spread)
    return level + slope * (at - middle)


def to_data(samples: Sequence[Sample], about: Mapping[str, Any]) -> dict[str, Any]:
    """Plain JSON-able data: what was measured on what, and a column per field."""
    rows = [{**asdict(sample), "shape": list(sample.shape)} for sample in samples]
    return {"about": dict(about), "shape": list(StepShape._fields), "samples": rows}


def from_data(data: Mapping[str, Any]) -> list[Sample]:
    """The samples that ``to_data`` wrote."""
    return [Sample(row["kind"], row["layers"], StepShape(*row["shape"]), row["seconds"]) for row in data["samples"]]
