"""PolyServe's router beside offline work: online requests go where PolyServe would send them if no offline ones were there."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from policies.decisions import Assign, Hold
from policies.hygen.router import PolyServeHyGen
from policies.polyserve.router import PolyServe
from policies.types import SLO
from policies.views import Engine, Fleet, Request
from tests.policies.adaserve.engines import FLAT

ONLINE = Request(id=100, prompt_tokens=500, slo=SLO(ttft_s=0.5, tpot_s=0.05))
OFFLINE = Request(id=101, prompt_tokens=500, offline=True)


def engine(name: str, running: list[Request], waiting: list[Request]) -> Engine:
    everyone = [*running, *waiting]
    pending = sum(max(r.prompt_tokens - r.prefilled_tokens, 0) for r in everyone)
    used = sum(-(-r.prefilled_tokens // 16) * 16 for r in running)
    return Engine(
        id=name,
        running=running,
        waiting=waiting,
        running_count=len(running),
        waiting_count=len(waiting),
        pending_prefill_tokens=pending,
        kv_tokens_used=used,
        latency=FLAT,
    )


def decoding(number: int, *, offline: bool = False) -> Request:
    slo = SLO() if offline else SLO(ttft_s=0.5, tpot_s=0.05)
    return Request(
        id=number, prompt_tokens=300, prefilled_tokens=309, generated_tokens=10, first_token_s=0.0, offline=offline, slo=slo
    )


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3), st.integers(0, 30)), min_size=1, max_size=4))
def test_online_requests_are_routed_as_if_there_were_no_offline_ones(counts: list[tuple[int, int, int]]) -> None:
    bare, mixed = [], []
    for place, (online, offline, backlog) in enumerate(counts):
        running = [decoding(100 * place + i) for i in range(online)]
        theirs = [decoding(1000 + 100 * place + i, offline=True) for i in range(offline)]
        queue = [replace(OFFLINE, id=5000 + 100 * place + i, prompt_tokens=4000) for i in range(backlog)]
        bare.append(engine(f"e{place}", running, []))
        mixed.append(engine(f"e{place}", [*running, *theirs], queue))
    assert PolyServeHyGen().route(ONLINE, Fleet(mixed)) == PolyServe().route(ONLINE, Fleet(bare))


def test_polyserve_alone_waits_behind_a_backlog() -> None:
    backlog = [replace(OFFLINE, id=i, prompt_tokens=4000) for i in range(50)]
    fleet = Fleet([engine("e0", [decoding(200)], backlog)])
    assert isinstance(PolyServe().route(ONLINE, fleet), Hold)
    assert isinstance(PolyServeHyGen().route(ONLINE, fleet), Assign)


def test_offline_requests_are_dealt_out_evenly() -> None:
    router, fleet = PolyServeHyGen(), Fleet.at_rest(3)
    chosen = [router.route(replace(OFFLINE, id=i), fleet) for i in range(6)]
    assert [answer.engine for answer in chosen if isinstance(answer, Assign)] == ["e0", "e1", "e2"] * 2
    assert isinstance(router.route(replace(OFFLINE, model="other"), fleet), Hold)
