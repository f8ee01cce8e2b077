"""The load sends what the workload says, when it says, and tells how late it was."""

from __future__ import annotations

import time

import numpy as np

from policies.types import SLO
from replay.clock import VirtualClock, WallClock
from replay.load import Load, lag_allowed_s
from replay.request import Request
from traces.workload import RequestClass, Workload


def workload(arrival_s: list[float], klass: list[int] | None = None) -> Workload:
    classes = (RequestClass("open"), RequestClass("loop"))
    count = len(arrival_s)
    return Workload.make(arrival_s, np.full(count, 10), np.full(count, 5), klass=klass or [0] * count, classes=classes)


def test_requests_arrive_at_their_times() -> None:
    clock, sent = VirtualClock(), list[Request]()
    Load(clock, workload([0.5, 0.5, 2.0]), sent.append).start()
    clock.play()
    assert [(r.id, r.arrival_s, r.sent_s) for r in sent] == [(0, 0.5, 0.5), (1, 0.5, 0.5), (2, 2.0, 2.0)]


def test_nothing_is_sent_from_the_end_of_arrivals_on() -> None:
    clock, sent = VirtualClock(), list[Request]()
    load = Load(clock, workload([0.5, 1.0]), sent.append, until_s=1.0)
    load.start()
    clock.play()
    assert [r.id for r in sent] == [0]
    assert load.exhausted


def test_a_closed_loop_sends_the_next_when_one_is_done() -> None:
    clock, sent = VirtualClock(), list[Request]()
    load = Load(clock, workload([0.0] * 5, [1] * 5), sent.append, concurrency={1: 2})
    load.start()
    clock.play()
    assert [r.id for r in sent] == [0, 1]
    load.on_done(sent[0])
    clock.play()
    assert [r.id for r in sent] == [0, 1, 2]
    assert not load.exhausted


def test_what_is_ready_ahead_is_sent_in_order_and_prepared_once() -> None:
    clock, sent, prepared = VirtualClock(), list[Request](), list[int]()
    load = Load(clock, workload([0.1 * i for i in range(6)]), sent.append, prepare=lambda r: prepared.append(r.id))
    assert load.make_ready()
    assert load.make_ready()
    load.start()
    clock.play(0.35)
    while load.make_ready():
        pass
    clock.play()
    assert [r.id for r in sent] == list(range(6))
    assert sorted(prepared) == sorted(set(prepared))


def test_lateness_is_told_and_arrival_stays_as_intended() -> None:
    clock, sent = WallClock(time.monotonic() - 1.0), list[Request]()
    load = Load(clock, workload([0.2, 0.6]), sent.append)
    load.start()
    clock.act()
    assert [r.arrival_s for r in sent] == [0.2, 0.6]
    assert all(r.sent_s >= 1.0 for r in sent)
    assert load.lag_s[0] >= 0.8
    assert load.lag_s[1] >= 0.4


def test_ten_milliseconds_or_one_percent_of_the_tightest_promise() -> None:
    def allowed(*ttft_s: float | None) -> float:
        return lag_allowed_s([RequestClass(slo=SLO(ttft_s=promise)) for promise in ttft_s])

    assert allowed(None) == 0.010
    assert allowed(0.5, 5.0) == 0.010
    assert allowed(3.0, None) == 0.030
