"""What a policy may say: frozen data with a ``reason``, of which each world has one interpreter.

A router answers with ``Assign``, ``Hold`` or ``Shed``, a batcher with a ``StepPlan``, a speculator with a ``DraftShape`` and then a
``Selection``, a scaler with a ``Scale``. What a placer is told and answers is in ``policies.placement``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from policies.types import EngineView


@dataclass(frozen=True, slots=True)
class Assign:
    """Send the request to ``engine`` (its id).

    ``scores``: what the policy compared, parallel to ``FleetView.engines``; ``inf`` = not considered, empty = there was no choice.
    ``reason`` says what was compared. A tuple in the view's order is what a router has at hand when it has decided; names are put
    to it only where a decision is logged in full.
    """

    engine: str
    reason: str
    scores: tuple[float, ...] = ()

    def named_scores(self, engines: Sequence[EngineView]) -> dict[str, float]:
        """The considered engines' scores by id; ``engines`` are those of the view that was decided on."""
        return {engine.id: score for engine, score in zip(engines, self.scores, strict=False) if score != math.inf}


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep the request in the router; it is offered again when a request finishes, an engine changes state, or the view is new.

    ``queue``: of the requests held under one name, only the first is offered again, and the next one once that has left; so a
    router whose queues are first come, first served is not asked about thousands of requests at every turn. "" = no queue.
    """

    reason: str
    queue: str = ""


@dataclass(frozen=True, slots=True)
class Shed:
    """Refuse the request for good. It counts as a miss in attainment over offered requests."""

    reason: str


Routing = Assign | Hold | Shed


@dataclass(frozen=True, slots=True)
class StepPlan:
    """How an engine fills its next step. Mechanism (running before waiting, chunked prefill, blocks, preemption) is the engine's.

    ``token_budget``: tokens in the step at most. ``order``: request ids in the order in which they are offered the budget,
    ``None`` = the engine's own (running by admission, then waiting by arrival). ``caps``: tokens at most per request id; 0 = sits
    out and keeps its KV. ``preempt``: ids to preempt before the step. ``admit``: ids of the waiting requests that may be admitted,
    looked at in this order as if no other one waited; ``None`` = all, in the queue's order, ``()`` = no one. Beside it ``order``
    sorts the running requests alone. Requests whose KV another engine has sent are not for ``admit`` to keep out.
    ``valid_steps``: for how many steps the plan stands while no request arrives, finishes or changes phase (1 = ask every step,
    ``inf`` = steady).
    """

    token_budget: int
    order: Sequence[int] | None = None
    caps: Mapping[int, int] | None = None
    preempt: Sequence[int] = ()
    valid_steps: float = math.inf
    reason: str = ""
    admit: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class DraftShape:
    """How far the drafter looks ahead in the next step, for each decoding request.

    ``tokens``: length of every chain, or layers of every tree; ``None`` = the engine's own ``num_speculative_tokens``, and what is
    above that is cut. ``per_request``: other lengths by request id; 0 = the request is not drafted for. ``width``: draft
    tokens in each layer of a tree, cut to what the engine can verify, which is chains on vLLM; 1 = chains.
    """

    tokens: int | None = None
    per_request: Mapping[int, int] | None = None
    reason: str = ""
    width: int = 1


@dataclass(frozen=True, slots=True)
class Tree:
    """A request's candidate draft tokens. ``parents``: of each node, its parent's number, which is below its own, or −1 for the
    request's last token. ``given``: the probability, as the drafter believes, that the node is accepted, given that its parent is.
    """

    parents: Sequence[int]
    given: Sequence[float]


@dataclass(frozen=True, slots=True)
class Drafts:
    """What the drafter proposes: ``chains[id][i]`` is the probability, as the drafter believes, that the i-th draft token of
    request ``id`` is accepted, given that those before it are. ``trees``: by request id, in place of chains.
    """

    chains: Mapping[int, Sequence[float]]
    trees: Mapping[int, Tree] | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which draft tokens are verified: of each chain so many from its start on, of each tree its ``nodes``.

    ``tokens``: by request id; whoever is not named is verified in full, ``None`` = all are. ``nodes``: the same for trees, by the
    nodes' numbers, parents before children. The engine verifies fewer, from the start on, where the step's token budget or the
    context window ends.
    """

    tokens: Mapping[int, int] | None = None
    reason: str = ""
    nodes: Mapping[int, Sequence[int]] | None = None


@dataclass(frozen=True, slots=True)
class Activate:
    """Bring a parked engine up for a ``tier``: it starts, and is active once its model is loaded; a draining one is so at once."""

    engine: str
    reason: str
    tier: str | None = None


@dataclass(frozen=True, slots=True)
class Drain:
    """Give a starting or active engine no more requests; it is parked when it has finished those that it has."""

    engine: str
    reason: str


@dataclass(frozen=True, slots=True)
class Move:
    """Set a starting or active engine aside for another ``tier``, at once; the requests that it has stay. ``None`` = for none."""

    engine: str
    reason: str
    tier: str | None


Change = Activate | Drain | Move


@dataclass(frozen=True, slots=True)
class Scale:
    """Changes to the fleet, carried out in order, and when the scaler wants to be asked again.

    ``next_at_s``: a time after now, ``inf`` = not by time. ``on_hold``: also as soon as the router holds a request.
    """

    changes: Sequence[Change] = ()
    next_at_s: float = math.inf
    on_hold: bool = False
    reason: str = ""
