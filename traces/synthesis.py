"""Workloads drawn from models: a built-in trace, a process with lengths of one's own, or a backlog.

Arrivals, prompts, outputs and prefixes each draw from a stream named after the workload: the same seed gives the same requests at
every rate, and request i is the same however many follow it. Two entries of one scenario that use the same built-in therefore need
different seeds, or they are copies of each other.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from policies.streams import generator
from traces.arrivals import ArrivalProcess, Poisson, Times, arrival_times
from traces.builtin import BUILTIN, BuiltinWorkload
from traces.errors import InputError
from traces.lengths import LengthModel
from traces.prefixes import PrefixModel
from traces.workload import RequestClass, Workload


def builtin(
    name: str,
    *,
    seed: int,
    rate: float | None = None,
    requests: int | None = None,
    duration_s: float | None = None,
) -> Workload:
    """A built-in workload.

    ``rate``: mean requests/s over the run, by default the trace's own. ``requests``, ``duration_s``: where to end (whichever comes
    first), by default after as many requests as the trace has. A list of lengths without arrivals comes as Poisson at ``rate``,
    and all at once without one.

    Raises:
        InputError: there is no such workload, or no request falls into the time asked for.
    """
    described = _described(name)
    process = described.arrivals
    if requests is None and duration_s is None:
        requests = described.requests
    if process is None:
        if rate is None:
            if duration_s is not None:
                raise InputError(f"{name}: has lengths but no arrivals, so a duration says nothing; give a rate as well")
            return backlog(
                described.lengths,
                requests=requests or described.requests,
                seed=seed,
                prefix=described.prefix,
                source=_source(described),
            )
        process = Poisson()
    return synthesise(
        process,
        described.lengths,
        seed=seed,
        rate=rate,
        requests=requests,
        duration_s=duration_s,
        prefix=described.prefix,
        source=_source(described),
    )


def synthesise(
    arrivals: ArrivalProcess,
    lengths: LengthModel,
    *,
    seed: int,
    rate: float | None = None,
    requests: int | None = None,
    duration_s: float | None = None,
    prefix: PrefixModel | None = None,
    source: dict[str, Any] | None = None,
) -> Workload:
    """A workload of one class, named as ``source["name"]`` says. See :func:`traces.arrivals.arrival_times` for rate and ends.

    Raises:
        InputError: no end or no rate is given, or no request falls into the time asked for.
    """
    known = {"name": "synthetic", **(source or {})}
    name = known["name"]
    times = arrival_times(arrivals, rate=rate, rng=generator(seed, name, "arrivals"), requests=requests, duration_s=duration_s)
    if not len(times):
        raise InputError(f"{name}: no request arrives in {duration_s:g} s; give a longer duration or a higher rate")
    return _table(times, lengths, seed, {**known, "rate_per_s": rate}, prefix)


def backlog(
    lengths: LengthModel,
    *,
    requests: int,
    seed: int,
    prefix: PrefixModel | None = None,
    source: dict[str, Any] | None = None,
) -> Workload:
    """Offline work that is all there from the start: ``requests`` arrivals at 0.

    Raises:
        InputError: fewer than one request.
    """
    known = {"name": "backlog", **(source or {})}
    if requests < 1:
        raise InputError(f"{known['name']}: a backlog of {requests} requests; give at least 1")
    return _table(np.zeros(requests), lengths, seed, known, prefix).noted("all requests arrive at the start")


def _table(times: Times, lengths: LengthModel, seed: int, source: dict[str, Any], prefix: PrefixModel | None) -> Workload:
    name = str(source["name"])
    prompt, output = lengths.sample(len(times), generator(seed, name, "lengths"))
    klass = RequestClass(name=name, expected_output_tokens=round(lengths.mean_output_tokens, 1))
    workload = Workload.make(times, prompt, output, classes=(klass,), source={**source, "seed": seed, "notes": []})
    if prefix is None:
        return workload
    blocks = prefix.sample(prompt, generator(seed, name, "prefixes"))
    return dataclasses.replace(
        workload,
        session=blocks.session,
        block_offsets=blocks.offsets,
        block_ids=blocks.ids,
        block_tokens=prefix.block_tokens,
    )


def _described(name: str) -> BuiltinWorkload:
    if name not in BUILTIN:
        raise InputError(f"{name}: is no built-in workload; give one of {', '.join(BUILTIN)}, or a file")
    return BUILTIN[name]


def _source(described: BuiltinWorkload) -> dict[str, Any]:
    fitted_to = f"{described.source} ({described.requests:,} requests)"
    return {"name": described.name, "fitted_to": fitted_to, "licence": described.licence, "citation": described.citation}
