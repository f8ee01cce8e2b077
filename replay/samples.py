"""Step times of an engine over a designed grid of shapes: which steps to provoke, and how well a fingerprint knows them.

The grid: prefill chunks from empty and with context, decode batches at several contexts, and prompts that come while others decode.
Engines with 1, 2 and 4 layers of a model that are given the same probes take the same steps; ``replay.stepfit`` makes one
fingerprint of them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

from policies.fingerprint import Fingerprint
from policies.latency import FingerprintLatency, StepShape
from replay.stepfit import Steps

_CHUNKS = (16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 192, 256, 512)
_CONTEXTS = (64, 512, 2048, 8192, 24576)
_DECODES = 12
"""Tokens of each request of a decode probe, the first included."""
_MIXED = ((8, 128), (8, 1024), (32, 512), (32, 2048), (128, 512), (128, 2048), (128, 8192))
"""Requests that decode, and the prompt that comes meanwhile."""
_BESIDE_MOST = (16, 64)
"""Prompts that come while as many decode as can: few tokens more than a step of decodes ever has, where other steps are scarce."""
_MIXED_CONTEXT = 512
"""At most; half of a short window."""
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
        for context in _contexts(room.window):
            if batch <= room.seqs and batch * (context + _DECODES) <= _ROOM * room.kv_tokens:
                yield Probe("decode", ((context, _DECODES),) * batch)
    most = min(max(batch for batch in _BATCHES if batch <= room.seqs), room.seqs - 1)
    for batch, prompt in (*_MIXED, *((most, prompt) for prompt in _BESIDE_MOST)):
        if not 0 < batch < room.seqs or prompt + 2 > room.window:
            continue
        room_each = min(room.window, (_ROOM * room.kv_tokens - prompt) / batch) - 2 * _DECODES
        held = next((one for one in (min(_MIXED_CONTEXT, room.window // 2), _CONTEXTS[0]) if one <= room_each), None)
        if held is not None:
            yield Probe("mixed", ((held, 2 * _DECODES),) * batch, ((prompt, 2),))


def _contexts(window: int) -> list[int]:
    """Those that fit a window; of one that ends before they do, its own end too."""
    longest = window - _DECODES
    return sorted({context for context in (*_CONTEXTS, longest) if 0 < context <= min(longest, _CONTEXTS[-1])})


def steps_of(samples: Sequence[Sample]) -> Steps:
    """The samples as a fit takes them."""
    shapes = np.array([sample.shape for sample in samples], dtype=np.float64).reshape(-1, len(StepShape._fields))
    return Steps(shapes, np.array([s.seconds for s in samples]), np.array([float(s.layers) for s in samples]))


def typical(samples: Sequence[Sample]) -> list[Sample]:
    """One for all that are of the same kind, shape and number of layers: the median."""
    alike: dict[tuple[str, int, StepShape], list[float]] = {}
    for sample in samples:
        alike.setdefault((sample.kind, sample.layers, sample.shape), []).append(sample.seconds)
    return [Sample(*key, median(seconds)) for key, seconds in alike.items()]


@dataclass(frozen=True, slots=True)
class Check:
    """Steps of an engine that no fit has seen, shape by shape, as medians of |relative error|.

    ``error``: of the predicted time against the median of the measured ones, over all shapes; ``by_kind``: over those of a kind.
    ``noise``: of a second measurement against the first, which no prediction can beat. ``shapes``: how many there are.
    """

    error: float
    noise: float
    by_kind: Mapping[str, float]
    shapes: int


def check(fingerprint: Fingerprint, samples: Sequence[Sample], again: Sequence[Sample] = ()) -> Check:
    """Hold a fingerprint against samples. ``again``: of another engine of the same kind, so that the noise of both is known."""
    latency = FingerprintLatency(fingerprint)
    first, second, both = (_medians(part) for part in (samples, again, [*samples, *again]))
    off: dict[str, list[float]] = {}
    for (kind, shape), seconds in both.items():
        off.setdefault(kind, []).append(abs(latency.seconds(shape) / seconds - 1))
    repeated = [abs(second[key] / first[key] - 1) for key in first.keys() & second.keys()]
    return Check(
        error=median(value for values in off.values() for value in values),
        noise=median(repeated) if repeated else 0.0,
        by_kind={kind: median(values) for kind, values in off.items()},
        shapes=len(both),
    )


def _medians(samples: Sequence[Sample]) -> dict[tuple[str, StepShape], float]:
    times: dict[tuple[str, StepShape], list[float]] = {}
    for sample in samples:
        times.setdefault((sample.kind, sample.shape), []).append(sample.seconds)
    return {key: median(seconds) for key, seconds in times.items()}


def to_data(samples: Sequence[Sample], about: Mapping[str, Any]) -> dict[str, Any]:
    """Plain JSON-able data: what was measured on what, and a column per field."""
    rows = [{**asdict(sample), "shape": list(sample.shape)} for sample in samples]
    return {"about": dict(about), "shape": list(StepShape._fields), "samples": rows}


def from_data(data: Mapping[str, Any]) -> list[Sample]:
    """The samples that ``to_data`` wrote."""
    return [Sample(row["kind"], row["layers"], StepShape(*row["shape"]), row["seconds"]) for row in data["samples"]]
