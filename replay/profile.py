"""A fingerprint from a running engine: a probe that visits many shapes of steps, and the fit to what they took.

The probe is a workload like any other, served by the engine under test alone: bursts of 1, 2, 4, … requests over a grid of prompt
lengths, in random order, so that prefill chunks, decode batches and mixed steps of all sizes occur, and an idle engine too. The fit
takes the steps as they came, so it does not matter whether a burst had ended when the next one came.

A step's time is from its start to the next one's where the engine went straight on, which counts the engine's own work between two
steps; so it is what requests wait for.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.curve import Curve, Lines
from policies.fingerprint import NOISE_LEVELS, NOTHING, Fingerprint, Terms
from policies.streams import generator
from traces.errors import InputError
from traces.record import Record
from traces.scenario.pools import EnginePool
from traces.tables import floats
from traces.workload import Workload

Floats = NDArray[np.float64]

_OUTPUTS = (8, 96)
_BURSTS = 60
_SINGLES = 24
"""Requests at the end that come one by one."""
_LARGEST_BURST = 128
_WORK = 8
"""Prompt tokens of a burst at most, in full steps."""
_ONE_AFTER_OTHER_S = 0.003
"""A shorter pause between two steps is the engine's own work, a longer one may be waiting for requests."""
_TOKEN_KNOTS = (32, 128, 512, 2048, 8192, 32768)
_FEWEST = 200
_ITERATIONS = 4
_STALL = 5.0
"""Steps that take so many times the expected are the machine's doing, not the engine's, and are left out."""


def probe(pool: EnginePool, longest_prompt: int, *, gap_s: float, seed: int) -> Workload:
    """Bursts ``gap_s`` apart for one engine of ``pool``; prompts of up to ``longest_prompt`` tokens."""
    rng = generator(seed, "profile", pool.name)
    most = min(pool.engine.max_num_seqs, _LARGEST_BURST)
    sizes = [1 << power for power in range(most.bit_length())]
    longest = min(longest_prompt, pool.window - _OUTPUTS[1])
    lengths = sorted({max(1, round(longest / 4**power)) for power in range(4)})
    grid = [(size, length) for size in sizes for length in lengths if size * length <= _WORK * pool.engine.max_num_batched_tokens]
    rounds = max(2, -(-_BURSTS // len(grid)))
    bursts = [grid[place] for place in np.concatenate([rng.permutation(len(grid)) for _ in range(rounds)]).tolist()]
    bursts += [(1, lengths[turn % len(lengths)]) for turn in range(_SINGLES)]
    arrival, prompt = [], []
    for turn, (size, length) in enumerate(bursts):
        arrival += [turn * gap_s] * size
        prompt += rng.integers(max(1, length // 2), length + 1, size).tolist()
    output = rng.integers(*_OUTPUTS, len(arrival), endpoint=True)
    return Workload.make(arrival, prompt, output, source={"name": "profile"})


def fit(record: Record, pool: EnginePool, *, engine: str, source: str) -> Fingerprint:
    """A fingerprint of the steps in a record. ``engine``: what ran ("vLLM 0.32.0, CPU"); ``source``: how it was measured.

    Raises:
        InputError: too few steps.
    """
    table = record.steps
    if len(table) < _FEWEST:
        raise InputError(f"fingerprint: {len(table)} steps were measured, and {_FEWEST} are needed; let the probe run longer")
    columns = {name: floats(table, name) for name in table.column_names if name != "engine"}
    took = _step_times(columns["start_s"], columns["duration_s"])
    prefill, chunks, attention = columns["prefill_tokens"], columns["prefill_seqs"], columns["prefill_attention"]
    spec = columns["spec_tokens"]
    seqs = columns["decode_tokens"] - spec
    context = columns["decode_context"]
    tokens = prefill + seqs + spec
    knots = _knots(tokens, float(seqs.max()))
    features = np.column_stack([np.ones(len(took)), *_segments(tokens, knots), chunks, attention, seqs, context])
    weights, ratio = _nonnegative(features, took)
    stalled = np.isnan(ratio)
    lost = float(took[stalled].sum() / took.sum())
    overhead, *slopes, per_chunk, per_attention, per_seq, per_context = weights.tolist()
    rises = np.cumsum([0.0, *(slope * width for slope, width in zip(slopes, np.diff(knots), strict=True))])
    most = max(2.0, float(seqs.max()))
    terms = Terms(
        overhead=overhead,
        gemm=Curve(tuple(knots), tuple(rises.tolist())),
        sampled=NOTHING,
        prefill_chunk=per_chunk,
        prefill_token=0.0,
        prefill_attention=per_attention,
        decode=Lines((1.0, most), (per_seq, per_seq * most), (per_context, per_context)),
    )
    each = context / np.maximum(seqs, 1)
    hardware = pool.hardware
    return Fingerprint(
        model=pool.model,
        gpu=hardware.gpu,
        tensor_parallel=hardware.tensor_parallel,
        precision=hardware.precision,
        engine=engine,
        provenance="measured",
        source=f"{source}; {stalled.sum()} stalls of the machine left out, {lost:.0%} of the time",
        terms=terms,
        calibrated={
            "tokens": (1.0, float(tokens.max())),
            "decode_seqs": (1.0, float(seqs.max())),
            "decode_context_per_seq": (1.0, float(each.max())),
        },
        residual=float(np.nanstd(ratio)),
        errors=_errors(
            ratio, {"decode": prefill == 0, "prefill": (prefill > 0) & (seqs == 0), "mixed": (prefill > 0) & (seqs > 0)}
        ),
        noise=_noise(ratio[~stalled]),
    )


def front_end_s(record: Record) -> float | None:
    """What a request's first token takes beside the engine's step: the way there and back, over HTTP and between processes.

    The median over requests that found the engine idle, were prefilled in one step, and had no other request sent beside them until
    their first token came; ``None`` where there were none.
    """
    requests = record.requests
    sent, ttft, queue = (floats(requests, name) for name in ("arrival_s", "ttft_s", "queue_s"))
    start, duration = floats(record.steps, "start_s"), floats(record.steps, "duration_s")
    if not len(start):
        return None
    scheduled = sent + queue
    step = np.clip(np.searchsorted(start, scheduled - 1e-9), 0, len(start) - 1)
    before = np.clip(step - 1, 0, None)
    idle = (step > 0) & (start[before] + duration[before] < sent)
    whole = floats(requests, "prompt_tokens") <= floats(record.steps, "prefill_tokens")[step]
    others = np.sort(sent)
    place = np.searchsorted(others, sent)
    following = np.append(others, np.inf)[place + 1]
    alone = (following > sent + ttft) & (np.append(-np.inf, others)[place] < sent)
    known = idle & whole & alone & ~np.isnan(ttft) & ~np.isnan(scheduled)
    return float(np.median(ttft[known] - duration[step[known]])) if known.any() else None


def _step_times(start: Floats, duration: Floats) -> Floats:
    """From start to start where the engine went straight on; elsewhere the step and a usual pause."""
    pause = start[1:] - (start[:-1] + duration[:-1])
    straight = pause < _ONE_AFTER_OTHER_S
    usual = float(np.median(pause[straight])) if straight.any() else 0.0
    took: Floats = duration + np.append(np.where(straight, np.maximum(pause, 0.0), usual), usual)
    return took


def _knots(tokens: Floats, seqs: float) -> list[float]:
    """Breakpoints of the curve over tokens: those of the decode batches that were seen are apart from those of prefill chunks."""
    most, least = float(tokens.max()), max(seqs, 2.0)
    inner = [1.0, least, *(float(knot) for knot in _TOKEN_KNOTS if 2 * least < knot < most)]
    return [*inner, max(most, inner[-1] + 1)]


def _segments(tokens: Floats, knots: Sequence[float]) -> list[Floats]:
    """How far each step's tokens reach into each segment of the curve."""
    return [np.clip(tokens - low, 0.0, high - low) for low, high in pairwise(knots)]


def _nonnegative(features: Floats, took: Floats) -> tuple[Floats, Floats]:
    """Non-negative weights that fit the mean time in relative terms, and each step's time over that mean.

    Steps count by the reciprocal of their expected time, and those far off count less (Huber, Annals of Mathematical Statistics
    1964). Stalls are left out; the mean over all other steps is right in the end. Where a step stalled, its time over the mean is
    NaN.
    """
    from scipy.optimize import nnls

    scale = np.maximum(features.max(axis=0), 1e-12)
    expected = np.full(len(took), np.median(took))
    for _ in range(_ITERATIONS):
        off = np.abs(took / expected - 1)
        spread = max(1.5 * float(np.median(off)), 1e-6)
        weight = np.sqrt(np.minimum(1.0, 2 * spread / np.maximum(off, 1e-12))) / expected
        weights = nnls((features / scale) * weight[:, None], took * weight)[0] / scale
        expected = np.maximum(features @ weights, 1e-9)
    ratio = np.where(took > _STALL * expected, np.nan, took / expected)
    mean = float(np.nanmean(ratio))
    return weights * mean, ratio / mean


def _noise(ratio: Floats) -> tuple[float, ...]:
    """The distribution of step times around their mean; its top is such that the mean is 1."""
    levels = np.asarray(NOISE_LEVELS)
    values = np.quantile(ratio, levels)
    below = float(((values[1:-1] + values[:-2]) / 2 * np.diff(levels)[:-1]).sum())
    values[-1] = max(2 * (1 - below) / (levels[-1] - levels[-2]) - values[-2], values[-2])
    return tuple(values.tolist())


def _errors(ratio: Floats, kinds: dict[str, Any]) -> dict[str, tuple[float, float, int]]:
    found = {}
    for kind, rows in kinds.items():
        seen = ratio[rows & ~np.isnan(ratio)]
        if len(seen):
            off = np.abs(1 / seen - 1)
            found[kind] = (float(np.median(off)), float(np.quantile(off, 0.9)), len(seen))
    return found
