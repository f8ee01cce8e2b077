"""iServe's placer: for each model the configuration that serves its intent best, with as many engines as its load takes.

What it may choose from are the engines that the fleet has, up or parked: each model's configurations are its candidates, and the
inventory says how many GPUs there are for all of them together, or places where engines share GPUs: each engine's believed step
times are then those beside others (``policies.interference``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from policies.intent import Intent
from policies.iserve.accuracy import relative_accuracy
from policies.iserve.candidate import Candidate, Footprint
from policies.iserve.configuration import Configuration
from policies.iserve.continuous import Build, estimate
from policies.iserve.intents import Impossible, keeps, ranked, score_of
from policies.iserve.steady import EngineLimits
from policies.placement import Demand, Deployment, Instances
from policies.seating import Seat
from policies.types import SLO, EngineState, EngineView, FleetView, Role

ONE_GPU = Footprint(layer_bytes=0.0, fixed_bytes=1.0)
"""Room is counted in GPUs."""
_NOTHING_SAID: Intent = Intent("min_cost")


def configuration_of(engine: EngineView, seat: Seat) -> Configuration:
    """Of an engine that is up or parked."""
    return Configuration(engine.model, seat.gpu, seat.tensor_parallel, seat.pipeline_parallel, seat.precision, seat.kv_precision)


@dataclass(frozen=True, slots=True)
class Offer:
    """One model's candidates. ``demand``: all kinds of requests for the model together. ``intent``: with their objectives among its
    limits. ``there``: engines by configuration.
    """

    demand: Demand
    intent: Intent
    builds: Mapping[Configuration, Build]
    there: Mapping[Configuration, int]
    headroom: float
    _known: dict[tuple[Configuration, int | None], Candidate] = field(default_factory=dict)

    @property
    def rate_per_s(self) -> float:
        return self.demand.rate_per_s or 0.0

    def candidate(self, configuration: Configuration, replicas: int | None = None) -> Candidate:
        """Under the model's demand; ``replicas``: default: as many as it takes."""
        key = configuration, replicas
        if key not in self._known:
            build = self.builds[configuration]
            self._known[key] = estimate(build, self.demand, replicas=replicas, headroom=self.headroom)
        return self._known[key]

    def capacity(self, configuration: Configuration) -> float:
        """Requests per second that one engine carries within the objective."""
        return self.candidate(configuration, 1).requests_per_s.value

    def score(self, engines: Mapping[Configuration, int]) -> float:
        """What the goal wants to be least, at these engines; ``inf`` where a limit is broken or the load is too much for them.

        That is when it exceeds the middle between ``headroom``, by which engines are counted, and all that they can carry. Of
        engines of several configurations, the worst counts, taken as so many as carry what all carry together.
        """
        whole = sum(count * self.capacity(c) for c, count in engines.items())
        if not whole or self.rate_per_s > whole * (1 + self.headroom) / 2:
            return math.inf
        alike = [self.candidate(c, max(1, round(whole / self.capacity(c)))) for c in engines if self.capacity(c)]
        if any(not keeps(candidate, self.intent) for candidate in alike):
            return math.inf
        return max(score_of(candidate, self.intent) for candidate in alike)

    def ranked(self) -> tuple[Sequence[Candidate], str]:
        """Best first, and a word where the intent cannot be served. There are engines enough for each."""
        every = [self.candidate(configuration) for configuration in self.builds]
        enough = [c for c in every if c.replicas <= self.there[c.configuration]]
        try:
            return ranked(enough, self.intent), ""
        except Impossible as why:
            short = [replace(c, replicas=min(c.replicas, self.there[c.configuration])) for c in every]
            nearest = sorted(short, key=lambda c: (-c.replicas * c.requests_per_s.value, c.latency_s.value, c.configuration))
            return nearest, f" ({why})" if enough else " (the load is more than all engines of any configuration can carry)"


class Placer:
    """Places models one after the other, each in the best configuration that fits the GPUs that are left.

    The model whose best configuration takes the most GPUs is first. A configuration is passed over that would leave another model
    without room, as long as there is one that does not.

    Args:
        headroom: share of what an engine can carry within the objectives that it is given to carry.

    Source: MaverIQ (arXiv 2501.13111): the best configuration under the intent; where it does not fit, the next best.
    """

    __slots__ = ("headroom",)

    def __init__(self, *, headroom: float = 0.8) -> None:
        if not 0 < headroom <= 1:
            raise ValueError(f"headroom is {headroom:g}; it must be more than 0 and at most 1")
        self.headroom = headroom

    def place(self, demand: Sequence[Demand], fleet: FleetView) -> Deployment:
        """Which engines there are to be of the models that are asked for."""
        return self.placed(self.offers(demand, fleet), fleet)

    def offers(self, demand: Sequence[Demand], fleet: FleetView) -> dict[str, Offer]:
        """Model → what there is to choose from. Engines that have failed, or do prefill or decode alone, are not."""
        builds: dict[str, dict[Configuration, Build]] = {}
        there: dict[str, dict[Configuration, int]] = {}
        wanted = {model: _together(model, demand) for model in dict.fromkeys(d.model for d in demand)}
        seats = fleet.inventory.seats
        for engine in fleet.members:
            if engine.model not in wanted or engine.role is not Role.BOTH or engine.state is EngineState.FAILED:
                continue
            if (seat := seats.get(engine.id)) is None:
                continue
            of_model, count = builds.setdefault(engine.model, {}), there.setdefault(engine.model, {})
            key = configuration_of(engine, seat)
            count[key] = count.get(key, 0) + 1
            if key not in of_model:
                of_model[key] = _build(engine, seat, key)
        return {model: Offer(*wanted[model], of_model, there[model], self.headroom) for model, of_model in builds.items()}

    def placed(self, offers: Mapping[str, Offer], fleet: FleetView) -> Deployment:
        """The engines that are to be, of the offers."""
        choices = {model: offer.ranked() for model, offer in offers.items()}
        order = sorted(choices, key=lambda model: -choices[model][0][0].gpus)
        taken = _deal(order, {model: ranking for model, (ranking, _) in choices.items()}, _room(fleet, offers))
        if not order:
            return Deployment((), "nothing is asked for")
        instances = [_instances(candidate) for candidate in taken.values()]
        said = [
            f"{model}: {candidate.replicas} × {candidate.configuration} for {offers[model].intent.goal}{choices[model][1]}"
            for model, candidate in taken.items()
        ]
        said += [f"{model}: no room" for model in choices if model not in taken]
        return Deployment(tuple(instances), "; ".join(said))


def _deal(order: Sequence[str], rankings: Mapping[str, Sequence[Candidate]], room: Mapping[str, int]) -> dict[str, Candidate]:
    """Each model's best candidate that fits what those before it leave and, if possible, leaves room for those after it."""
    left, taken = dict(room), dict[str, Candidate]()
    for place, model in enumerate(order):
        fitting = [c for c in rankings[model] if c.gpus <= left.get(c.configuration.gpu, 0)]
        if not fitting:
            continue
        later = [rankings[other] for other in order[place + 1 :]]
        considerate = (c for c in fitting if _seated(later, {**left, c.configuration.gpu: left[c.configuration.gpu] - c.gpus}))
        taken[model] = chosen = next(considerate, fitting[0])
        left[chosen.configuration.gpu] -= chosen.gpus
    return taken


def _seated(rankings: Sequence[Sequence[Candidate]], left: dict[str, int]) -> bool:
    """Whether each model finds room for its smallest candidate, one after the other."""
    for candidates in rankings:
        fitting = [c for c in candidates if c.gpus <= left.get(c.configuration.gpu, 0)]
        if not fitting:
            return False
        smallest = min(fitting, key=lambda c: c.gpus)
        left[smallest.configuration.gpu] -= smallest.gpus
    return True


def _room(fleet: FleetView, offers: Mapping[str, Offer]) -> dict[str, int]:
    """GPUs by type that no engine has that is not ours to place: one that has failed, or of another model or role."""
    inventory = fleet.inventory
    room = dict(inventory.total)
    for engine in fleet.members:
        ours = engine.model in offers and engine.role is Role.BOTH and engine.state is not EngineState.FAILED
        if not ours and engine.state is not EngineState.PARKED and (seat := inventory.seats.get(engine.id)) is not None:
            room[seat.gpu] -= seat.gpus
    return room


def _build(engine: EngineView, seat: Seat, configuration: Configuration) -> Build:
    return Build(
        configuration=configuration,
        layers=seat.pipeline_parallel,
        footprint=ONE_GPU,
        latency=engine.latency,
        limits=EngineLimits(engine.max_seqs, engine.max_batched_tokens, engine.kv_tokens_capacity),
        memory_bytes=seat.memory_bytes,
        usd_per_hour=seat.usd_per_hour,
        accuracy=relative_accuracy(engine.model, seat.precision, seat.kv_precision),
    )


def _instances(candidate: Candidate) -> Instances:
    of = candidate.configuration
    return Instances(of.model, of.gpu, candidate.replicas, of.tensor_parallel, of.pipeline_parallel, of.precision, of.kv_precision)


def _together(model: str, demand: Sequence[Demand]) -> tuple[Demand, Intent]:
    """All kinds of requests for a model as one: mean lengths, the sum of the rates, the tightest objective of each kind.

    The intent has these objectives among its limits.
    """
    kinds = [each for each in demand if each.model == model]
    weights = [each.rate_per_s or 1e-9 for each in kinds]
    intent = next((each.intent for each in kinds if each.intent is not None), _NOTHING_SAID)
    slo = SLO(
        _least([intent.ttft_s, *(each.slo.ttft_s for each in kinds)]),
        _least([intent.tpot_s, *(each.slo.tpot_s for each in kinds)]),
    )
    known = [each.rate_per_s for each in kinds if each.rate_per_s is not None]
    together = Demand(
        model=model,
        tier="",
        slo=slo,
        rate_per_s=sum(known) if known else None,
        prompt_tokens=sum(w * each.prompt_tokens for w, each in zip(weights, kinds, strict=True)) / sum(weights),
        output_tokens=sum(w * each.output_tokens for w, each in zip(weights, kinds, strict=True)) / sum(weights),
        intent=intent,
    )
    return together, replace(intent, ttft_s=slo.ttft_s, tpot_s=slo.tpot_s)


def _least(values: Iterable[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)
