"""Prefill and decode on different engines, timed by hand: every step takes 0.25 s, the link 1 kB/s."""

from __future__ import annotations

import numpy as np
import pytest

from policies.decisions import Assign, Hold, Routing, Shed
from policies.types import FleetView, RequestView, Role
from sim.faults import Fault
from sim.journal import COMPLETED, SHED
from sim.scheduler import EngineLimits
from sim.site import Site
from tests.sim.cluster import Outcome
from tests.sim.fleets import play_fleet
from traces.errors import InputError
from traces.workload import RequestClass, Workload

ONE = (RequestClass(model="m"),)
STEP = {"overhead_s": 0.25}
PREFILL = Site(role=Role.PREFILL, kv_token_bytes=10, link_bytes_s=1000.0)
DECODE = Site(role=Role.DECODE, kv_token_bytes=10, link_bytes_s=1000.0)


def work(arrivals: list[float], prompts: list[int], outputs: list[int]) -> Workload:
    return Workload.make(arrivals, prompts, outputs, classes=ONE)


def test_the_first_token_comes_from_the_prefill_engine_and_the_next_when_the_kv_is_there() -> None:
    """Prefill until 0.25. 100 tokens × 10 B at 1 kB/s + 0.1 s latency: there at 1.35. Two decode steps: 1.60 and 1.85."""
    outcome = play_fleet(work([0.0], [100], [3]), [PREFILL, DECODE], step=STEP, latency_s=0.1)
    assert outcome.column("first_token_s").tolist() == [0.25]
    assert outcome.column("last_token_s").tolist() == pytest.approx([1.85])
    assert outcome.column("engine").tolist() == [1]
    assert outcome.column("generated").tolist() == [3]
    gaps = facts(outcome, 1).gaps[0]
    assert dict(zip(gaps[0].round(2).tolist(), gaps[1].tolist(), strict=True)) == {0.25: 1, 1.35: 1}  # ITL has the transfer in it


def facts(outcome: Outcome, requests: int) -> object:
    return outcome.tokens().facts(np.zeros(requests, np.int64), ONE, outcome.column("arrival_s"))


def test_a_request_of_one_token_never_leaves_the_prefill_engine() -> None:
    outcome = play_fleet(work([0.0], [100], [1]), [PREFILL, DECODE], step=STEP)
    assert (outcome.column("engine").tolist(), outcome.column("last_token_s").tolist()) == ([0], [0.25])
    assert outcome.fleet.links.transfers == 0
    assert outcome.engines[0].scheduler.kv.used == 0


def test_transfers_share_the_link_of_an_engine_one_after_the_other() -> None:
    """Both prefills end at 0.25. The first KV takes until 1.25; the second waits for the sender's way out, and is there at 2.25."""
    outcome = play_fleet(work([0.0, 0.0], [100, 100], [2, 2]), [PREFILL, DECODE, DECODE], step=STEP)
    assert outcome.column("last_token_s").tolist() == pytest.approx([1.5, 2.5])
    assert sorted(outcome.column("engine").tolist()) == [1, 2]
    assert outcome.fleet.links.waited_s == pytest.approx(1.0)


def test_the_slower_of_two_links_is_the_bandwidth() -> None:
    slow = Site(role=Role.DECODE, kv_token_bytes=10, link_bytes_s=500.0)
    outcome = play_fleet(work([0.0], [100], [2]), [PREFILL, slow], step=STEP)
    assert outcome.column("last_token_s").tolist() == pytest.approx([0.25 + 2.0 + 0.25])


def test_a_decode_engine_pulls_only_what_it_has_blocks_for() -> None:
    """8 blocks of 16: one prompt of 100 takes 7 with its next token. The second is pulled when the first has gone, at 1.5."""
    outcome = play_fleet(
        work([0.0, 0.0], [100, 100], [2, 2]), [PREFILL, PREFILL, DECODE], step=STEP, limits=EngineLimits(kv_blocks=8)
    )
    assert outcome.column("last_token_s").tolist() == pytest.approx([1.5, 1.5 + 1.0 + 0.25])


def test_the_prefill_engine_keeps_the_kv_until_it_has_been_read() -> None:
    """8 blocks hold one prompt. The second prefill starts as the first KV has left, at 1.25."""
    outcome = play_fleet(work([0.0, 0.0], [100, 100], [2, 2]), [PREFILL, DECODE], step=STEP, limits=EngineLimits(kv_blocks=8))
    assert outcome.column("first_token_s").tolist() == pytest.approx([0.25, 1.5])


def test_what_the_decode_engine_has_cached_is_not_sent() -> None:
    """The second prompt is the first once more: 96 of its 100 tokens lie in full blocks that are known on both engines."""
    blocks = {"block_offsets": np.array([0, 7, 14]), "block_ids": np.array([*range(7), *range(7)]), "block_tokens": 16}
    workload = Workload.make([0.0, 10.0], [100, 100], [2, 2], classes=ONE, **blocks)
    outcome = play_fleet(workload, [PREFILL, DECODE], step=STEP, prefix_caching=True)
    assert outcome.fleet.links.sent_bytes == 100 * 10 + 4 * 10
    assert outcome.column("last_token_s").tolist() == pytest.approx([1.5, 10.25 + 0.04 + 0.25])
    for engine in outcome.engines:
        assert engine.scheduler.kv.used == 0
        assert engine.scheduler.prefix.blank + engine.scheduler.prefix.idle == engine.scheduler.kv.total


class Twice:
    """Takes the first engine, and notes what it was shown."""

    def __init__(self) -> None:
        self.shown: list[tuple[str | None, list[str]]] = []

    def route(self, request: RequestView, fleet: FleetView) -> Routing:
        self.shown.append((request.kv_engine, [engine.id for engine in fleet.engines]))
        return Assign(fleet.engines[0].id, "the first")


def test_the_router_is_asked_twice_and_sees_engines_of_the_fitting_role() -> None:
    router = Twice()
    play_fleet(work([0.0], [10], [2]), [PREFILL, PREFILL, DECODE], step=STEP, router=router)
    assert router.shown == [(None, ["e0", "e1"]), ("e0", ["e2"])]


def test_a_request_can_be_held_or_shed_between_prefill_and_decode() -> None:
    class Picky:
        def route(self, request: RequestView, fleet: FleetView) -> Routing:
            if request.kv_engine is None:
                return Assign("e0", "prefill")
            if request.id == 0:
                return Shed("no room")
            return Assign("e1", "late enough") if fleet.now_s > 1 else Hold("too early")

    outcome = play_fleet(work([0.0, 0.0, 2.0], [10] * 3, [2] * 3), [PREFILL, DECODE], step=STEP, router=Picky())
    assert outcome.column("outcome").tolist() == [SHED, COMPLETED, COMPLETED]
    assert outcome.column("generated").tolist() == [1, 2, 2]
    assert outcome.engines[0].empty
    assert outcome.engines[0].scheduler.kv.used == 0


def test_a_router_cannot_send_a_request_to_an_engine_of_the_other_role() -> None:
    class Wrong:
        def route(self, request: RequestView, fleet: FleetView) -> Routing:
            return Assign("e1", "the second")

    with pytest.raises(InputError, match="e1, which does not prefill"):
        play_fleet(work([0.0], [10], [2]), [PREFILL, DECODE], router=Wrong())


def test_kv_that_is_lost_with_its_prefill_engine_is_computed_again() -> None:
    """e0 fails at 0.5, amid the transfer. e1 prefills 100 + 1 tokens from 0.5 to 0.75 and gives token 2.

    The receiver's way in stays taken until 1.25, as long as the transfer would have lasted; the new KV is there at 2.26.
    """
    outcome = play_fleet(work([0.0], [100], [3]), [PREFILL, PREFILL, DECODE], step=STEP, faults=[Fault("e0", 0.5, float("inf"))])
    assert outcome.column("first_token_s").tolist() == [0.25]
    assert outcome.column("last_token_s").tolist() == pytest.approx([1.25 + 1.01 + 0.25])
    assert outcome.journal.step_rows()["prefill_tokens"].tolist() == [100, 101, 0]
    assert outcome.fleet.losses.retried == 1
    assert all(engine.empty and engine.scheduler.kv.used == 0 for engine in outcome.engines)


def test_kv_outlives_the_decode_engine_that_was_to_take_it() -> None:
    """e1 fails at 0.5, amid the transfer; the KV is still on e0, and is sent to e2. The sender's way out is taken until 1.25."""
    outcome = play_fleet(work([0.0], [100], [2]), [PREFILL, DECODE, DECODE], step=STEP, faults=[Fault("e1", 0.5, float("inf"))])
    assert outcome.column("last_token_s").tolist() == pytest.approx([1.25 + 1.0 + 0.25])
    assert outcome.journal.step_rows()["prefill_tokens"].tolist() == [100, 0]
    assert outcome.column("engine").tolist() == [2]
