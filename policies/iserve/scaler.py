"""iServe at run time: a placement is looked for again when the load or an intent changes, and carried out engine by engine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from policies.decisions import Activate, Change, Drain, Scale
from policies.iserve.configuration import Configuration
from policies.iserve.moves import Act, Hysteresis, NoRoom, Serving, change
from policies.iserve.moves import Change as Moves
from policies.iserve.placement import Device, Placed
from policies.iserve.placer import Offer, Placer, configuration_of
from policies.iserve.rates import Rates
from policies.placement import Demand, Deployment
from policies.types import EngineState, EngineView, FleetView, Role

_ORDER = {EngineState.ACTIVE: 0, EngineState.STARTING: 1, EngineState.DRAINING: 2, EngineState.PARKED: 3}
"""Engines of one configuration that are kept or brought up go by this."""
_UP = (EngineState.ACTIVE, EngineState.STARTING)

Wanted = Mapping[Configuration, int]


class IServe:
    """Gives every model the configuration that its intent asks for, and changes it when load or intents do.

    The choice is the placer's (``policies.iserve.placer``); ``place`` asks it. A placement is replaced by a better one only where
    what is gained while it holds clearly exceeds what the change costs, or where the present one breaks a limit or cannot carry
    its load. A change starts new engines before it drains old ones as far as there are GPUs for both, and drains an engine only
    when the others of its model that are active can carry the load. Where the inventory leaves no such way, nothing is changed,
    unless a limit is broken already or ``interrupt`` is set; the reason says what the change costs and what it falls short of.
    Models of which no request has come yet are left as they are.

    Args:
        period_s: time between two looks at the load, in seconds.
        watch_s: time between two looks while a change is under way, in seconds.
        window_s: over which rates are measured, in seconds.
        headroom: share of what an engine can carry within the objectives that it is given to carry.
        holds_s: for how long a placement is expected to be right; a saving alone is not looked for sooner, in seconds.
        factor: how far the gain must exceed the cost.
        least_gain: share by which the goals must be served better at least.
        interrupt: carry out changes, too, during which engines are missing for some of the load.

    Source: MaverIQ (arXiv 2501.13111) for intents and placement; re-placement, its cost and its hysteresis are ours.
    """

    __slots__ = (
        "_below_load",
        "_goals",
        "_placer",
        "_rates",
        "_rule",
        "_settled_s",
        "_target",
        "interrupt",
        "period_s",
        "watch_s",
    )

    def __init__(
        self,
        *,
        period_s: float = 15.0,
        watch_s: float = 1.0,
        window_s: float = 120.0,
        headroom: float = 0.8,
        holds_s: float = 600.0,
        factor: float = 2.0,
        least_gain: float = 0.1,
        interrupt: bool = False,
    ) -> None:
        for name, value in (("period_s", period_s), ("watch_s", watch_s), ("window_s", window_s), ("holds_s", holds_s)):
            if value <= 0:
                raise ValueError(f"{name} is {value:g}; it must be more than 0")
        self.period_s = period_s
        self.watch_s = watch_s
        self.interrupt = interrupt
        self._placer = Placer(headroom=headroom)
        self._rates = Rates(window_s)
        self._rule = Hysteresis(holds_s, factor, least_gain)
        self._target: dict[Configuration, int] = {}
        """Engines by configuration that are to be up."""
        self._goals: dict[str, object] = {}
        """Intents that the target was chosen for."""
        self._settled_s = -math.inf
        """Savings are not looked for before this time."""
        self._below_load = False
        """The target was chosen although engines are missing for some of the load on the way to it."""

    def place(self, demand: Sequence[Demand], fleet: FleetView) -> Deployment:
        """The placer's choice, as if there were no engines yet."""
        return self._placer.place(demand, fleet)

    def scale(self, fleet: FleetView) -> Scale:
        self._rates.look(fleet)
        offers = self._placer.offers(self._rates.demand(fleet), fleet)
        if not offers:
            return Scale(next_at_s=fleet.now_s + self.period_s, reason="no request has come yet")
        try:
            moves = self._moves(self._target, offers, fleet)
        except NoRoom:  # engines have failed with the GPUs that the target needs
            self._target = {}
            moves = self._moves(self._target, offers, fleet)
        reason = "a change is under way"
        overtaken = moves.shortfall and not self._below_load  # the load has risen since
        if not moves.steps or overtaken or dict(fleet.intents) != self._goals:
            moves, reason = self._reconsidered(moves, offers, fleet)
        changes = self._head(moves, offers, fleet)
        next_s = self.watch_s if moves.steps else self.period_s
        return Scale(tuple(changes), next_at_s=fleet.now_s + next_s, reason=reason)

    # --- whether ------------------------------------------------------------------------------------------------------

    def _reconsidered(self, moves: Moves, offers: Mapping[str, Offer], fleet: FleetView) -> tuple[Moves, str]:
        """Looks for a better placement, and takes it where that is worth it: the moves that are left to make, and why."""
        new_goals = dict(fleet.intents) != self._goals
        deployment = self._placer.placed(offers, fleet)
        wanted = {
            Configuration(i.model, i.gpu, i.tensor_parallel, i.pipeline_parallel, i.precision, i.kv_precision): i.count
            for i in deployment.instances
        }
        present = _present(fleet, wanted)
        ratio = _worth(present, wanted, offers)
        self._goals = dict(fleet.intents)
        if ratio is None:
            return moves, "the placement is the best there is"
        broken = ratio == 0.0
        if not broken and not new_goals and fleet.now_s < self._settled_s:
            return moves, "the placement was changed a short while ago"
        try:
            proposed = self._moves(wanted, offers, fleet)
        except NoRoom as why:  # a model for which there is no room keeps the engines that it has
            return moves, f"{deployment.reason}; {why}"
        cost = _cost(proposed)
        judged = replace(proposed, shortfall={}) if self.interrupt else proposed
        gpus = sum(configuration.gpus * count for configuration, count in {**wanted, **present}.items())
        if not self._rule.worth_it(math.inf if broken else 1.0, ratio, judged, gpus):
            return moves, f"a change is not worth it: {cost}"
        self._target, self._below_load = wanted, bool(proposed.shortfall)
        self._settled_s = fleet.now_s + self._rule.holds_s
        return proposed, f"{deployment.reason}; {cost}"

    # --- how ----------------------------------------------------------------------------------------------------------

    def _moves(self, wanted: Wanted, offers: Mapping[str, Offer], fleet: FleetView) -> Moves:
        """From the engines that are up to those that are wanted; models that are not among these are left as they are."""
        seats, models = fleet.inventory.seats, {configuration.model for configuration in wanted}
        room = dict(fleet.inventory.free)
        serving: list[Serving] = []
        chosen: list[Serving] = []
        counts = dict(wanted)
        for engine in sorted(fleet.members, key=lambda e: (_ORDER.get(e.state, 4), -e.running_count - e.waiting_count)):
            if engine.model not in models or engine.id not in seats or engine.role is not Role.BOTH or engine.state not in _ORDER:
                continue
            seat = seats[engine.id]
            key = configuration_of(engine, seat)
            up = engine.state in _UP
            if engine.state is EngineState.DRAINING:
                room[seat.gpu] += seat.gpus
            start_s = seat.start_up_s if engine.state is EngineState.PARKED else 0.0
            one = _serving(engine, key, offers[engine.model], start_s)
            if up:
                serving.append(one)
            if counts.get(key, 0):
                counts[key] -= 1
                chosen.append(one)
        devices = [Device(gpu, gpu, float(count)) for gpu, count in room.items()]
        return change(serving, chosen, devices, {model: offer.rate_per_s for model, offer in offers.items()})

    def _head(self, moves: Moves, offers: Mapping[str, Offer], fleet: FleetView) -> Sequence[Change]:
        """Those of the moves that can be made now.

        An engine starts where there are GPUs free for it. One that is active is drained when the others of its model that are
        active can carry the load, and not before its successors are active, unless its GPUs are waited for; below the load only
        where that was known when the change was decided on, and while nothing of its model is on its way.
        """
        engines, seats = {engine.id: engine for engine in fleet.members}, fleet.inventory.seats
        free = dict(fleet.inventory.free)
        on_the_way = {engine.model for engine in engines.values() if engine.state is EngineState.STARTING}
        active = [engine for engine in engines.values() if engine.state is EngineState.ACTIVE]
        changes: list[Change] = []
        for place, step in enumerate(moves.steps):
            engine, key = engines[step.engine.name], step.engine.placed.candidate.configuration
            offer = offers[engine.model]
            if step.act is Act.START:
                parked = engine.state is EngineState.PARKED
                if parked and free[key.gpu] < key.gpus:
                    continue
                free[key.gpu] -= key.gpus if parked else 0
                on_the_way.add(engine.model)
                changes.append(Activate(engine.id, f"{key} is wanted", engine.tier))
                continue
            if engine.state is EngineState.ACTIVE:
                others = [configuration_of(e, seats[e.id]) for e in active if e.model == engine.model and e is not engine]
                enough = bool(others) and sum(map(offer.capacity, others)) >= offer.rate_per_s
                early = engine.model in on_the_way
                crowded = any(later.act is Act.START for later in moves.steps[place:])
                short = self._below_load and engine.model in moves.shortfall
                if early and (not crowded or not enough):
                    continue
                if not enough and not short:
                    continue
                active.remove(engine)
            changes.append(Drain(engine.id, f"{key} is not wanted any more"))
        return changes


def _present(fleet: FleetView, wanted: Wanted) -> dict[Configuration, int]:
    """Engines by configuration that are up, of the models that are placed."""
    models, seats = {configuration.model for configuration in wanted}, fleet.inventory.seats
    found: dict[Configuration, int] = {}
    for engine in fleet.members:
        seat = seats.get(engine.id)
        if engine.state in _UP and engine.role is Role.BOTH and engine.model in models and seat is not None:
            key = configuration_of(engine, seat)
            found[key] = found.get(key, 0) + 1
    return found


def _worth(present: Wanted, wanted: Wanted, offers: Mapping[str, Offer]) -> float | None:
    """Mean over models that would change of new score / old; 0 where one is broken and would be mended, ``None`` where nothing
    changes. Of models that are broken either way, what the engines can carry counts in place of the goal.
    """
    ratios = []
    for model, offer in offers.items():
        old = {c: n for c, n in present.items() if c.model == model}
        new = {c: n for c, n in wanted.items() if c.model == model}
        if not new or old == new:
            continue
        before, after = offer.score(old), offer.score(new)
        if before == math.inf:
            if after < math.inf:
                return 0.0
            before, after = (1 / max(1e-9, sum(n * offer.capacity(c) for c, n in engines.items())) for engines in (old, new))
        ratios.append(after / before if before else 1.0)
    return sum(ratios) / len(ratios) if ratios else None


def _serving(engine: EngineView, key: Configuration, offer: Offer, start_s: float) -> Serving:
    candidate = offer.candidate(key, 1)
    placed = Placed(candidate, (key.gpu,) * key.gpus, (1,) * key.pipeline_parallel)
    return Serving(engine.id, placed, candidate.requests_per_s.value, start_s)


def _cost(moves: Moves) -> str:
    """What a change costs, in words."""
    said = f"{moves.seconds:.3g} s of changes, {moves.gpu_seconds:.3g} GPU-seconds, {moves.requests_drained:.3g} requests drained"
    missing = ", ".join(f"{rate:.3g}/s of {model}" for model, rate in sorted(moves.shortfall.items()))
    return f"{said}; short of {missing} meanwhile" if missing else said
