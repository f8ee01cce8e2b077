"""Workload in, workload out: cut, stretch, thin, merge, relabel. Pure; each adds a line to the provenance.

Random transforms draw one number per row from a stream of their own, so the same seed treats the same rows alike: what a
thinning to 20 % keeps is part of what a thinning to 50 % keeps.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from policies.streams import generator
from traces.errors import InputError
from traces.readers.ticks import spread
from traces.workload import RequestClass, Workload


def slice_time(workload: Workload, start_s: float, end_s: float) -> Workload:
    """Requests that arrive in [start_s, end_s), with time counted from ``start_s``.

    Raises:
        InputError: no request arrives then.
    """
    first, last = np.searchsorted(workload.arrival_s, [start_s, end_s], side="left")
    span = f"from {start_s:g} s " + ("on" if math.isinf(end_s) else f"to {end_s:g} s")
    if last <= first:
        raise InputError(
            f"{_name(workload)}: no request arrives {span}; "
            f"arrivals lie between {workload.arrival_s[0]:g} s and {workload.arrival_s[-1]:g} s"
        )
    cut = workload.take(np.arange(first, last))
    return dataclasses.replace(cut, arrival_s=cut.arrival_s - start_s).noted(f"only arrivals {span}")


def head(workload: Workload, n: int) -> Workload:
    """The first ``n`` requests; all of them when there are fewer.

    Raises:
        InputError: ``n`` is less than 1.
    """
    if n < 1:
        raise InputError(f"{_name(workload)}: the first {n} requests; ask for at least 1")
    if n >= len(workload):
        return workload
    return workload.take(np.arange(n)).noted(f"only the first {n:,} of {len(workload):,} requests")


def rescale_rate(workload: Workload, rate: float) -> Workload:
    """The same requests, times stretched or squeezed alike so that the mean rate is ``rate`` requests/s.

    Raises:
        InputError: the rate is not positive, or all requests arrive at once and have no rate to scale.
    """
    if not (math.isfinite(rate) and rate > 0):
        raise InputError(f"{_name(workload)}: rate of {rate}/s; give a positive number of requests per second")
    if not workload.duration_s > 0:
        raise InputError(f"{_name(workload)}: all requests arrive at once, so there is no rate to scale; leave `rate` out")
    factor = workload.mean_rate / rate
    return dataclasses.replace(workload, arrival_s=workload.arrival_s * factor).noted(
        f"times multiplied by {factor:.6g}, for a mean rate of {rate:g}/s"
    )


def thin(workload: Workload, fraction: float, seed: int) -> Workload:
    """Each request kept with probability ``fraction``, independently: load falls, burstiness moves towards Poisson.

    Raises:
        InputError: the fraction is not in (0, 1], or nothing is left.
    """
    if not 0 < fraction <= 1:
        raise InputError(f"{_name(workload)}: thinned to {fraction:g}; give a fraction above 0 and at most 1")
    keep = generator(seed, "thin").random(len(workload)) < fraction
    if not keep.any():
        raise InputError(
            f"{_name(workload)}: thinning {len(workload)} requests to {fraction:g} leaves none; keep a larger fraction"
        )
    return workload.take(keep).noted(f"thinned to {fraction:g} of the requests, seed {seed}")


def superpose(workloads: Sequence[Workload]) -> Workload:
    """All requests of all workloads on one clock, by arrival; at equal times in the order given.

    Equal classes become one. Sessions and prefix blocks of different workloads are never the same, whatever their numbers.

    Raises:
        InputError: there is no workload, or two of them have prefix blocks of different sizes.
    """
    if not workloads:
        raise InputError("superposition: no workload; give at least one")
    if len(workloads) == 1:
        return workloads[0]
    sizes = {w.block_tokens: _name(w) for w in workloads if w.block_ids is not None}
    if len(sizes) > 1:
        told = ", ".join(f"{size} tokens in {name}" for size, name in sizes.items())
        raise InputError(
            f"superposition: prefix blocks of different sizes ({told}); use traces with one block size, or run them apart"
        )
    classes = tuple(dict.fromkeys(c for w in workloads for c in w.classes))
    offsets, ids = _joined_blocks(workloads) if sizes else (None, None)
    joined = Workload(
        arrival_s=np.concatenate([w.arrival_s for w in workloads]),
        prompt_tokens=np.concatenate([w.prompt_tokens for w in workloads]),
        output_tokens=np.concatenate([w.output_tokens for w in workloads]),
        klass=np.concatenate([np.asarray([classes.index(c) for c in w.classes], np.int16)[w.klass] for w in workloads]),
        classes=classes,
        session=_joined_sessions(workloads),
        block_offsets=offsets,
        block_ids=ids,
        block_tokens=next(iter(sizes), 0),
        source={"name": " + ".join(_name(w) for w in workloads), "parts": [dict(w.source) for w in workloads]},
    )
    return joined.take(np.argsort(joined.arrival_s, kind="stable")).noted(f"superposition of {len(workloads)} workloads")


def with_class(workload: Workload, klass: RequestClass) -> Workload:
    """All requests in one class."""
    return dataclasses.replace(workload, klass=np.zeros(len(workload), np.int16), classes=(klass,)).noted(
        f"all in class {klass.name}"
    )


def assign_mix(
    workload: Workload, mix: Sequence[tuple[RequestClass, float]], seed: int, prompts_up_to: Sequence[float] = ()
) -> Workload:
    """Each request in a class drawn from ``mix``, with probabilities proportional to the weights.

    ``prompts_up_to``: the longest prompt of each class, in tokens; a request is drawn among the classes that its prompt allows, and
    those of one prompt length independently of all else.

    Raises:
        InputError: the mix is empty, or a weight is negative, or all are 0.
    """
    weights = np.asarray([weight for _, weight in mix], np.float64)
    if not len(weights) or not np.isfinite(weights).all() or (weights < 0).any() or weights.sum() <= 0:
        raise InputError(f"{_name(workload)}: mix with weights {weights.tolist()}; give at least one class of positive weight")
    bounds = np.cumsum(weights) / weights.sum()
    ranks = generator(seed, "mix").random(len(workload))
    drawn = np.searchsorted(bounds, ranks, side="right")
    if prompts_up_to and workload.prompt_tokens.max(initial=0) > min(prompts_up_to):
        allowed = workload.prompt_tokens[:, None] <= np.asarray(prompts_up_to)
        within = np.cumsum(weights * allowed, axis=1)
        drawn = np.where(allowed.all(axis=1), drawn, (within <= ranks[:, None] * within[:, -1:]).sum(axis=1))
    shares = ", ".join(f"{weight / weights.sum():.0%} {klass.name}" for klass, weight in mix)
    return dataclasses.replace(
        workload,
        klass=np.minimum(drawn, len(mix) - 1).astype(np.int16),
        classes=tuple(klass for klass, _ in mix),
    ).noted(f"classes drawn at random ({shares}), seed {seed}")


def jitter_ticks(workload: Workload, tick_s: float, seed: int) -> Workload:
    """Arrivals that a coarse clock put on ticks, spread uniformly over the ``tick_s`` seconds that follow.

    Requests keep their order, so a conversation's turns do too.

    Raises:
        InputError: the tick is not positive.
    """
    if not (math.isfinite(tick_s) and tick_s > 0):
        raise InputError(f"{_name(workload)}: ticks of {tick_s} s; give a positive time")
    times = spread(workload.arrival_s, tick_s, generator(seed, "jitter"))
    return dataclasses.replace(workload, arrival_s=times).noted(f"jitter inside {tick_s:g}-second ticks on, seed {seed}")


def _joined_sessions(workloads: Sequence[Workload]) -> NDArray[np.int64] | None:
    if all(w.session is None for w in workloads):
        return None
    parts, taken = [], 0
    for w in workloads:
        own = np.full(len(w), -1, np.int64) if w.session is None else w.session
        parts.append(np.where(own >= 0, own + taken, -1))
        taken += max(int(own.max()) + 1, 0)
    return np.concatenate(parts)


def _joined_blocks(workloads: Sequence[Workload]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    counts: list[NDArray[np.int64]] = []
    ids: list[NDArray[np.int64]] = []
    taken = 0
    for w in workloads:
        if w.block_offsets is None or w.block_ids is None:
            counts.append(np.zeros(len(w), np.int64))
            continue
        counts.append(np.diff(w.block_offsets))
        # Renumbered from 0, as content ids may be hashes of any size.
        distinct, renumbered = np.unique(w.block_ids, return_inverse=True)
        ids.append(renumbered.astype(np.int64) + taken)
        taken += len(distinct)
    return np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64), np.concatenate(ids)


def _name(workload: Workload) -> str:
    return str(workload.source.get("name", "workload"))
