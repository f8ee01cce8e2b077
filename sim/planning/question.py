"""What a planner asks, and what is answered."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from policies.iserve.candidate import Candidate
from policies.placement import Demand
from traces.candidates import PRECISIONS
from traces.intervals import Estimate

Aim = Literal["usd", "gpus", "rate"]
"""The least money, the fewest GPUs, or the highest rate that the GPUs carry."""

Against = Literal["", "apart", "same", "noise", "step times"]
"""How an alternative stands to the first: unknown, behind it for sure, level with it, or behind it but for noise of the runs or the
error of step times.
"""

MOST_SIMULATED = 12
MOST_REQUESTS = 20_000
MARGIN = 1.0
"""By how much more than the cheapest a deployment may cost in closed form and still be simulated, as a share."""


@dataclass(frozen=True, slots=True)
class Question:
    """``gpus``: type → how many may be used; with ``rate``, how many there are. ``attainment``: share of requests that must meet
    their SLO. ``policies``, ``knobs``: sets of overrides, the combinations of which are tried. ``most``: deployments simulated.
    ``seeds``: of the contest between them. ``requests``: measured ones of a run at most. ``usd_per_gpu_hour``: the user's prices;
    list prices for types that are not in it. ``extrapolate``: answer outside the calibrated range too. ``stress``: how far the best
    answer carries, and what shakes it.
    """

    gpus: Mapping[str, int]
    attainment: float = 0.9
    aim: Aim = "usd"
    policies: Sequence[tuple[str, ...]] = ((),)
    knobs: Sequence[tuple[str, ...]] = ((),)
    precisions: Mapping[str, Sequence[str]] = field(default_factory=lambda: PRECISIONS)
    most: int = MOST_SIMULATED
    margin: float = MARGIN
    seeds: int = 4
    requests: int = MOST_REQUESTS
    usd_per_gpu_hour: Mapping[str, float] = field(default_factory=dict)
    extrapolate: bool = False
    stress: bool = True


@dataclass(frozen=True, slots=True)
class Arm:
    """One deployment under one policy and one setting of the knobs. With the aim ``rate``, ``engines`` is how many there are, and
    ``load`` how many times the scenario's load they carry in closed form. ``fingerprint``: file of the user's own step times of the
    deployment; ``None``: the library's.
    """

    candidate: Candidate
    policy: tuple[str, ...]
    knobs: tuple[str, ...]
    usd_per_gpu_hour: float
    engines: int | None = None
    load: float = 1.0
    fingerprint: Path | None = None

    @property
    def each(self) -> int:
        """GPUs of one engine."""
        return self.candidate.configuration.gpus

    def deployed(self) -> tuple[str, ...]:
        """Overrides that put the arm in place of a scenario's fleet, one engine of it, and its policy and knobs."""
        return (*deployed(self.candidate, self.usd_per_gpu_hour, self.fingerprint), *self.policy, *self.knobs)


def deployed(candidate: Candidate, usd_per_gpu_hour: float | None = None, fingerprint: Path | None = None) -> tuple[str, ...]:
    """Overrides that put the candidate in place of a scenario's fleet, one engine of it."""
    c = candidate.configuration
    kv = f", kv_precision: {c.kv_precision}" if c.kv_precision != "bf16" else ""
    price = "" if usd_per_gpu_hour is None else f", usd_per_gpu_hour: {usd_per_gpu_hour:g}"
    own = "" if fingerprint is None else f", fingerprint: {json.dumps(str(fingerprint))}"
    return (
        f"fleet={{gpu: {c.gpu}, gpus: {c.gpus}, tensor_parallel: {c.tensor_parallel}, "
        f"pipeline_parallel: {c.pipeline_parallel}, precision: {c.precision}{kv}{price}{own}}}",
    )


@dataclass(frozen=True, slots=True)
class Alternative:
    """An arm's answer.

    ``engines``: fewest with which the goal holds (with the aim ``rate``, those there are); ``None``: not with as many as there are
    GPUs for. [``lo``, ``hi``]: where that number lies by the noise of the runs; ``hardware``: and by the error of step times as
    well (of the rate, with the aim ``rate``), infinite where slower GPUs could not meet the objectives at all. ``need``: engines as
    a fraction, what the load takes. ``rate_per_s``: carried. ``found``: metrics at that size. ``long``: not only by short runs.
    ``binds``, ``binding``: what is missed with less, in two words and in a sentence. ``against``: how the order between it and the
    first is known. ``front``: nothing beats it in both tokens/s/GPU and tokens/s/user. ``beyond``: where its steps leave the
    calibrated range.
    """

    arm: Arm
    engines: int | None
    lo: int | None = None
    hi: int | None = None
    hardware: tuple[float, float] | None = None
    need: float = math.nan
    rate_per_s: float = math.nan
    rate_lo: float = math.nan
    rate_hi: float = math.nan
    found: Mapping[str, Estimate] = field(default_factory=dict)
    long: bool = False
    binds: str = ""
    binding: str = ""
    against: Against = ""
    front: bool = False
    runs: int = 0
    warnings: tuple[str, ...] = ()
    beyond: tuple[str, ...] = ()

    @property
    def candidate(self) -> Candidate:
        return self.arm.candidate

    @property
    def policy(self) -> tuple[str, ...]:
        return self.arm.policy

    @property
    def gpus(self) -> int | None:
        return None if self.engines is None else self.engines * self.arm.each

    @property
    def usd_per_hour(self) -> float:
        return math.inf if self.gpus is None else self.gpus * self.arm.usd_per_gpu_hour

    @property
    def tokens_s_per_gpu(self) -> float | None:
        """Output tokens per second and GPU."""
        rate = self.found.get("throughput_tok_s")
        return rate.value / self.gpus if rate is not None and rate.value is not None and self.gpus else None

    @property
    def tokens_s_per_user(self) -> float | None:
        """What one user sees while tokens come: 1 / mean TPOT."""
        pace = self.found.get("tpot_s.mean")
        return 1 / pace.value if pace is not None and pace.value else None


@dataclass(frozen=True, slots=True)
class Refusal:
    """An arm that is not answered, and why: outside the range for which its step times are calibrated, or it cannot start."""

    arm: Arm
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Headroom:
    """How many times the load the first answer carries, with its 95 % interval over ``seeds``; and what binds beyond."""

    load: float
    lo: float
    hi: float
    seeds: int
    binds: str = ""


@dataclass(frozen=True, slots=True)
class Shaken:
    """What becomes of the first answer when something else comes than was said. ``engines``: that it takes then, ``None``: not with
    as many as there are GPUs for. With the aim ``rate``, ``rate_per_s`` is what the fleet carries then."""

    what: str
    factor: float
    engines: int | None
    rate_per_s: float = math.nan
    attainment: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """``alternatives``: best first, failures last. ``considered``: deployments estimated in closed form; ``hopeless`` of them
    cannot meet the objectives even for one request; ``passed_over``: within the margin, but more than ``most``. ``separated``: the
    first is told from all others by the runs. ``short_s``, ``medium_s``, ``long_s``: simulated in a run of the contest, under
    stress, and of the first ones; ``whole_s``: the scenario's own duration; NaN where its requests end it.
    """

    demand: Demand
    question: Question
    alternatives: Sequence[Alternative]
    refusals: Sequence[Refusal] = ()
    considered: int = 0
    hopeless: int = 0
    passed_over: int = 0
    seeds: int = 1
    separated: bool = False
    headroom: Headroom | None = None
    shaken: Sequence[Shaken] = ()
    short_s: float = math.nan
    medium_s: float = math.nan
    long_s: float = math.nan
    whole_s: float = math.nan

    @property
    def best(self) -> Alternative | None:
        """The first, where it holds."""
        return next((a for a in self.alternatives if a.engines is not None), None)
