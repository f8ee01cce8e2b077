"""The exact optimum of a placement, by mixed-integer linear programmes: what the load-aware heuristic is held against.

    minimise    Σ score(m, c) · x(m, c)
    subject to  Σ_c x(m, c) = 1                                 every model is served by one configuration
                Σ_g y(m, c, g) = gpus(c) · x(m, c),  y ≤ x      on so many different GPUs of its type
                Σ bytes(c) · y(m, c, g) ≤ free bytes of g       memory adds up
                Σ load(m, c) · y(m, c, g) ≤ 1 − load of g       and so does load

Solved in two steps: the choice of configurations with memory and load summed over all GPUs of a type, a relaxation whose score no
placement can beat; then the packing of that choice onto the GPUs. Where it does not pack, the choice is made again with a little
less memory and load to give away, and the answer says how far from the bound it may be. The whole programme is solved only
where that fails.

Stages are even here, and placement does not change a score: engines that share a GPU slow each other down only through the limit
on load.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from policies.iserve.candidate import Candidate
from policies.iserve.placement import Device, Placed

MARGINS = (0.0, 0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16)
"""Shares of memory and load that a choice leaves free, so that it packs."""


@dataclass(frozen=True, slots=True)
class Wish:
    """One model: its candidates with their scores (what is to be least), and its requests per second."""

    candidates: Sequence[Candidate]
    scores: Sequence[float]
    rate_per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Optimum:
    """``placed``: one per wish. ``score``: the sum of theirs. ``bound``: no placement is better than this."""

    placed: tuple[Placed, ...]
    score: float
    bound: float

    @property
    def gap(self) -> float:
        """How much better than this a placement could be at most, as a share of its score; 0 where the optimum is proven."""
        return max(0.0, 1.0 - self.bound / self.score) if self.score > 0 else 0.0


class Infeasible(ValueError):
    """There is no placement that serves every model within memory and load."""


@dataclass(frozen=True, slots=True)
class _Option:
    """One configuration of one model, per GPU: memory in GB, load as a share."""

    model: int
    candidate: Candidate
    score: float
    gigabytes: float
    load: float

    @classmethod
    def of(cls, model: int, wish: Wish, i: int) -> _Option:
        candidate = wish.candidates[i]
        stages = candidate.configuration.pipeline_parallel
        need = candidate.footprint.bytes(-(-candidate.layers // stages))
        return cls(model, candidate, wish.scores[i], need / 1e9, wish.rate_per_s * candidate.latency_s.value / stages)

    @property
    def gpus(self) -> int:
        return self.candidate.configuration.gpus

    @property
    def gpu(self) -> str:
        return self.candidate.configuration.gpu

    def needs_no_less(self, other: _Option) -> bool:
        """Wherever this one packs, the other one does."""
        return self.gpu == other.gpu and all(a >= b for a, b in zip(self.needs, other.needs, strict=True))

    @property
    def needs(self) -> tuple[float, ...]:
        return self.gpus, self.gigabytes, self.load


def worthwhile(model: int, wish: Wish) -> list[_Option]:
    """The options of a model of which no other is at least as good in score, GPUs, memory per GPU and load per GPU."""
    kept: list[_Option] = []
    options = [_Option.of(model, wish, i) for i in range(len(wish.candidates))]
    for option in sorted(options, key=lambda o: (o.score, o.needs)):
        if not any(option.needs_no_less(other) for other in kept):
            kept.append(option)
    return kept


@dataclass(slots=True)
class _Programme:
    """Rows of a mixed-integer linear programme, as they are written down."""

    rows: list[int] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)

    def row(self, terms: Sequence[tuple[int, float]], *, least: float = float("-inf"), most: float = float("inf")) -> None:
        for column, value in terms:
            self.rows.append(len(self.low))
            self.columns.append(column)
            self.values.append(value)
        self.low.append(least)
        self.high.append(most)

    def solve(self, cost: Sequence[float], nodes: int) -> list[bool] | None:
        """Which binary variables are 1 at the least cost; ``None``: there is no solution."""
        import numpy as np
        from scipy.optimize import Bounds, LinearConstraint, milp
        from scipy.sparse import coo_array

        matrix = coo_array((self.values, (self.rows, self.columns)), shape=(len(self.low), len(cost))).tocsr()
        result = milp(
            np.array(cost),
            constraints=LinearConstraint(matrix, np.array(self.low), np.array(self.high)),
            integrality=np.ones(len(cost), np.int64),
            bounds=Bounds(0, 1),
            options={"node_limit": nodes, "mip_rel_gap": 1e-6},
        )
        return None if result.x is None else [bool(v > 0.5) for v in result.x]


def optimum(wishes: Sequence[Wish], devices: Sequence[Device], *, nodes: int = 100) -> Optimum:
    """The best placement of all models at once. ``nodes``: of each programme's search tree at most; no clock decides.

    Raises:
        Infeasible: there is none, or none was found in so many.
    """
    options = [option for m, wish in enumerate(wishes) for option in worthwhile(m, wish)]
    first = _choose(options, len(wishes), devices, 0.0, nodes)
    if first is None:
        raise Infeasible("no placement serves every model within the memory and load of the GPUs")
    bound = sum(option.score for option in first)
    others = (_choose(options, len(wishes), devices, margin, nodes) for margin in MARGINS[1:])
    choices = [first, *(chosen for chosen in others if chosen is not None)]
    for pack in (_spread, _pack):
        for chosen in choices:
            if (seats := pack(chosen, devices)) is not None:
                return Optimum(_placed(chosen, seats, devices), sum(option.score for option in chosen), bound)
    if (found := _whole(options, len(wishes), devices, nodes)) is None:
        raise Infeasible("no placement was found that serves every model within the memory and load of the GPUs")
    chosen, seats = found
    return Optimum(_placed(chosen, seats, devices), sum(option.score for option in chosen), bound)


def _placed(chosen: Sequence[_Option], seats: Sequence[Sequence[int]], devices: Sequence[Device]) -> tuple[Placed, ...]:
    return tuple(
        Placed(option.candidate, tuple(devices[g].id for g in taken), _even(option.candidate))
        for option, taken in zip(chosen, seats, strict=True)
    )


def _choose(options: Sequence[_Option], models: int, devices: Sequence[Device], margin: float, nodes: int) -> list[_Option] | None:
    """One option per model at the least score, memory and load summed over the GPUs, of which a ``margin`` stays free."""
    programme = _Programme()
    for m in range(models):
        programme.row([(k, 1.0) for k, option in enumerate(options) if option.model == m], least=1.0, most=1.0)
    for gpu in sorted({option.gpu for option in options}):
        here = [(k, option) for k, option in enumerate(options) if option.gpu == gpu]
        there = [device for device in devices if device.gpu == gpu]
        part = 1.0 - margin
        programme.row([(k, o.gpus * o.gigabytes) for k, o in here], most=part * sum(d.free_bytes for d in there) / 1e9)
        programme.row([(k, o.gpus * o.load) for k, o in here], most=part * sum(1.0 - d.load for d in there))
        for k, option in here:
            fitting = sum(option.gigabytes <= d.free_bytes / 1e9 and option.load <= 1.0 - d.load for d in there)
            if fitting < option.gpus:
                programme.row([(k, 1.0)], most=0.0)
        half = max((d.free_bytes for d in there), default=0.0) / 2e9
        programme.row([(k, float(o.gpus)) for k, o in here if o.gigabytes > half], most=float(len(there)))
        programme.row([(k, float(o.gpus)) for k, o in here if o.load > 0.5], most=float(len(there)))
    solution = programme.solve([option.score for option in options], nodes)
    return None if solution is None else [option for option, taken in zip(options, solution, strict=True) if taken]


def _spread(chosen: Sequence[_Option], devices: Sequence[Device]) -> list[list[int]] | None:
    """Options in order of falling memory, each onto the GPUs with the most of it left; ``None`` where that does not do."""
    free, idle = [d.free_bytes / 1e9 for d in devices], [1.0 - d.load for d in devices]
    seats: list[list[int]] = [[] for _ in chosen]
    for k in sorted(range(len(chosen)), key=lambda k: (-chosen[k].gigabytes, -chosen[k].gpus)):
        option = chosen[k]
        fitting = [
            g
            for g, device in enumerate(devices)
            if device.gpu == option.gpu and free[g] >= option.gigabytes and idle[g] >= option.load
        ]
        if len(fitting) < option.gpus:
            return None
        seats[k] = sorted(sorted(fitting, key=lambda g: -free[g])[: option.gpus])
        for g in seats[k]:
            free[g] -= option.gigabytes
            idle[g] -= option.load
    return seats


def _pack(chosen: Sequence[_Option], devices: Sequence[Device], nodes: int = 100) -> list[list[int]] | None:
    """The GPUs of every option, or ``None`` where they do not pack."""
    programme = _Programme()
    width = len(devices)
    for k, option in enumerate(chosen):
        programme.row([(k * width + g, 1.0) for g in range(width)], least=float(option.gpus), most=float(option.gpus))
        for g, device in enumerate(devices):
            if device.gpu != option.gpu:
                programme.row([(k * width + g, 1.0)], most=0.0)
    for g, device in enumerate(devices):
        programme.row([(k * width + g, o.gigabytes) for k, o in enumerate(chosen)], most=device.free_bytes / 1e9)
        programme.row([(k * width + g, o.load) for k, o in enumerate(chosen)], most=1.0 - device.load)
    for g, (one, other) in enumerate(pairwise(devices)):
        if (one.gpu, one.free_bytes, one.load) == (other.gpu, other.free_bytes, other.load):
            ordered = [(k * width + h, sign * o.gigabytes) for k, o in enumerate(chosen) for h, sign in ((g, 1.0), (g + 1, -1.0))]
            programme.row(ordered, least=0.0)
    solution = programme.solve([0.0] * (len(chosen) * width), nodes)
    if solution is None:
        return None
    return [[g for g in range(width) if solution[k * width + g]] for k in range(len(chosen))]


def _whole(
    options: Sequence[_Option], models: int, devices: Sequence[Device], nodes: int
) -> tuple[list[_Option], list[list[int]]] | None:
    """Choice and packing in one programme."""
    programme = _Programme()
    seats = [
        (k, g)
        for k, option in enumerate(options)
        for g, device in enumerate(devices)
        if device.gpu == option.gpu and option.gigabytes <= device.free_bytes / 1e9
    ]
    first = len(options)
    for m in range(models):
        programme.row([(k, 1.0) for k, option in enumerate(options) if option.model == m], least=1.0, most=1.0)
    for k, option in enumerate(options):
        own = [(first + s, 1.0) for s, (j, _) in enumerate(seats) if j == k]
        programme.row([*own, (k, -float(option.gpus))], least=0.0, most=0.0)
    for s, (k, _) in enumerate(seats):
        programme.row([(first + s, 1.0), (k, -1.0)], most=0.0)
    for g, device in enumerate(devices):
        here = [(first + s, options[k]) for s, (k, h) in enumerate(seats) if h == g]
        programme.row([(s, o.gigabytes) for s, o in here], most=device.free_bytes / 1e9)
        programme.row([(s, o.load) for s, o in here], most=1.0 - device.load)
    solution = programme.solve([*(o.score for o in options), *(0.0 for _ in seats)], nodes)
    if solution is None:
        return None
    taken = [k for k in range(first) if solution[k]]
    where = [[g for s, (j, g) in enumerate(seats) if j == k and solution[first + s]] for k in taken]
    return [options[k] for k in taken], where


def _even(candidate: Candidate) -> tuple[int, ...]:
    stages = candidate.configuration.pipeline_parallel
    share, rest = divmod(candidate.layers, stages)
    return tuple(share + (i < rest) for i in range(stages))
