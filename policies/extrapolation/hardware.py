"""A GPU, its links and its engine as a dozen constants, and the latency that follows from them.

    compute = max(weights_read × read[precision], step_flop × compute[precision]) + other_read × read[16 bit]
              + layers × layer + largest_stage × host + step
    sums    = all_reduces × all_reduce + peer bytes × peer[tp] + ring bytes × ring[tp]
    step_s   = compute + sums of a step + logits × gather
    prompt_s = max(compute, prompt_flop × compute[precision]) + sums of the prompt + prompt
    total_s  = prompt_s + (output − 1) × step_s

Every constant is a time per unit of work and not negative. One batch at a time leaves a pipeline one overlap: the
host prepares a step on all stages at the same time, so its time goes with the largest stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policies.extrapolation.allreduce import TENSORRT_LLM, AllReduceRule, Traffic
from policies.extrapolation.architecture import Architecture
from policies.extrapolation.runs import Runs
from policies.extrapolation.work import Work, count

Floats = NDArray[np.float64]


class Latency(NamedTuple):
    """Seconds, shape (n,): to the first token, of one decode step half way through the output, and to the last token."""

    prompt_s: Floats
    step_s: Floats
    total_s: Floats


@dataclass(frozen=True)
class Hardware:
    """Times per unit of work.

    ``read``: s/byte of device memory, ``compute``: s/FLOP, both by precision ("fp16" stands in for one never measured).
    ``layer``, ``step``, ``prompt``: s per layer, step and prompt. ``host``: s per layer of the largest stage. ``all_reduce``: s
    per all-reduce. ``peer``, ``ring``: s/byte by tensor parallelism. ``gather``: s per logit.
    """

    read: Mapping[str, float]
    compute: Mapping[str, float]
    layer: float
    step: float
    prompt: float
    host: float
    all_reduce: float
    peer: Mapping[int, float]
    ring: Mapping[int, float]
    gather: float
    rule: AllReduceRule = TENSORRT_LLM

    def latency(self, architecture: Architecture, runs: Runs) -> Latency:
        """The latency of every run; NaN where it needs an all-reduce by an algorithm and over ranks that were never measured."""
        work = count(architecture, runs, self.rule)
        read, compute = (_by_precision(kind, runs) for kind in (self.read, self.compute))
        passes = work.all_reduces * self.all_reduce
        compute_s = (
            np.maximum(work.weights_read * read, work.step_flop * compute)
            + work.other_read * self.read["fp16"]
            + runs.layers * self.layer
            + runs.largest_stage * self.host
            + self.step
        )
        step = compute_s + passes + self._traffic(runs, work.step_traffic) + work.logits * self.gather
        prompt = np.maximum(compute_s, work.prompt_flop * compute) + passes + self._traffic(runs, work.prompt_traffic) + self.prompt
        return Latency(prompt, step, prompt + (runs.output - 1) * step)

    def with_links_of(self, other: Hardware) -> Hardware:
        """These constants, and the other's for links that were never measured here."""
        return replace(self, peer={**other.peer, **self.peer}, ring={**other.ring, **self.ring})

    def _traffic(self, runs: Runs, traffic: Traffic) -> Floats:
        return _over_links(self.peer, runs, traffic.peer) + _over_links(self.ring, runs, traffic.ring)


def _by_precision(known: Mapping[str, float], runs: Runs) -> Floats:
    kinds, index = np.unique(runs.precision, return_inverse=True)
    stand_in = known["fp16"] if "fp16" in known else max(known.values())
    constants: Floats = np.array([known.get(kind, stand_in) for kind in kinds])[index]
    return constants


def _over_links(known: Mapping[int, float], runs: Runs, traffic: Floats) -> Floats:
    tps, index = np.unique(runs.tp, return_inverse=True)
    per_byte: Floats = np.array([known.get(tp, np.nan) for tp in tps.tolist()])[index]
    return np.where(traffic > 0, traffic * per_byte, 0.0)


class Columns(NamedTuple):
    """The latency as a linear function of the constants: ``matrix`` (n, k) times constants (k,) named ``names``."""

    names: tuple[str, ...]
    matrix: Floats


def columns(architecture: Architecture, runs: Runs, rule: AllReduceRule) -> Columns:
    """What each constant of ``Hardware`` is multiplied by, for decode steps bound by memory (small batches) and prompts bound by
    compute (hundreds of tokens).

    Names are a field's, with the precision or the ranks after a dot where the field has several.
    """
    work: Work = count(architecture, runs, rule)
    steps: Floats = runs.output.astype(np.float64) - 1.0
    table: dict[str, Floats] = {
        "layer": steps * runs.layers,
        "host": steps * runs.largest_stage,
        "step": steps,
        "prompt": np.ones(len(runs)),
        "all_reduce": (steps + 1) * work.all_reduces,
        "gather": steps * work.logits,
        "read.fp16": steps * work.other_read,
    }
    for kind in np.unique(runs.precision).tolist():
        here = runs.precision == kind
        table[f"read.{kind}"] = table.get(f"read.{kind}", 0.0) + steps * work.weights_read * here
        table[f"compute.{kind}"] = work.prompt_flop * here
    for tp in np.unique(runs.tp[runs.tp > 1]).tolist():
        here = runs.tp == tp
        table[f"peer.{tp}"] = (steps * work.step_traffic.peer + work.prompt_traffic.peer) * here
        table[f"ring.{tp}"] = (steps * work.step_traffic.ring + work.prompt_traffic.ring) * here
    used = {name: column for name, column in table.items() if column.any()}
    return Columns(tuple(used), np.stack(list(used.values()), axis=1))


def from_constants(constants: Mapping[str, float], rule: AllReduceRule) -> Hardware:
    """The hardware with the constants of ``columns`` by name; a number not given is 0, a precision or link not given unknown."""

    def family(field: str) -> dict[str, float]:
        return {name.removeprefix(f"{field}."): value for name, value in constants.items() if name.startswith(f"{field}.")}

    scalars = ("layer", "step", "prompt", "host", "all_reduce", "gather")
    return Hardware(
        read=family("read"),
        compute=family("compute"),
        peer={int(tp): value for tp, value in family("peer").items()},
        ring={int(tp): value for tp, value in family("ring").items()},
        **{name: constants.get(name, 0.0) for name in scalars},
        rule=rule,
    )
