"""Whom a policy has still to be told of."""

from __future__ import annotations

from policies.completions import KEPT, Completions
from policies.views import Request


def test_every_request_is_told_once_in_the_order_of_completion() -> None:
    news = Completions()
    assert news.told() == ()
    for id in (3, 1, 2):
        news.add(Request(id=id), 10.0 + id)
    told = news.told()
    assert [(request.id, at_s) for request, at_s in told] == [(3, 13.0), (1, 11.0), (2, 12.0)]
    news.add(Request(id=4), 14.0)
    assert [request.id for request, _ in told] == [3, 1, 2], "what a policy keeps does not change under it"
    assert [request.id for request, _ in news.told()] == [4]
    assert news.told() == ()


def test_of_very_many_the_last_are_told() -> None:
    news = Completions()
    for id in range(KEPT + 10):
        news.add(Request(id=id), float(id))
    assert [request.id for request, _ in news.told()] == list(range(10, KEPT + 10))
