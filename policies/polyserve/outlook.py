"""How much KV memory a batch will come to hold, as its requests grow to the length that is expected of them and leave."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import takewhile
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from policies.types import EngineView, RequestView

Floats = NDArray[np.float64]
Expected = Callable[[RequestView], float]
"""How many tokens a request is expected to generate in all."""
stated: Expected = attrgetter("expected_output_tokens")
"""As many as the world says."""
_id = attrgetter("id")


def kv_peak(batch: Sequence[RequestView], prompt_tokens: int, output_tokens: float, expected: Expected = stated) -> float:
    """The most KV tokens that a batch will hold once a request of ``prompt_tokens`` has joined it.

    Every request grows by a token per step until it has generated as many as are expected of it, and leaves; whoever has already
    generated those is taken to leave after the next one.
    """
    lives = [_life(request, expected) for request in batch]
    lives.append((max(1.0, output_tokens), prompt_tokens))
    left, context = zip(*lives, strict=True)
    return _highest(np.array(left, float), np.array(context, float))


def _life(request: RequestView, expected: Expected) -> tuple[float, int]:
    """Steps until a request leaves, and its context now."""
    generated = request.generated_tokens
    return max(1.0, expected(request) - generated), request.prompt_tokens + generated


def _highest(left: Floats, context: Floats) -> float:
    """The highest sum of contexts: it is reached when one of them leaves."""
    order = np.argsort(left, kind="stable")
    left = left[order]
    held = np.cumsum(context[order][::-1])[::-1]  # of those that leave then or later
    return float(np.max(held + np.arange(len(left), 0, -1) * left))


class Outlook:
    """``kv_peak`` of one engine, without reading every request each time: what was read once is carried on from step to step.

    A request that decodes gets one token in each step, so that its first token's step tells its context and its end at any later
    step. Requests are read until they decode. That they do get their tokens is checked on the oldest and on the newest; where one
    did not (drafts, preemption, requests that sit out), all are read again. What is expected of a request's length stays what it
    was when the request was first read.
    """

    __slots__ = ("_bases", "_expected", "_known", "_leaves", "_mark", "_unsettled")

    def __init__(self, expected: Expected = stated) -> None:
        self._expected = expected
        self._mark = (0, 0, -1)
        """Tells one batch from another: how many run and wait, and who was admitted last."""
        self._known: dict[int, tuple[float, int]] = {}
        """Of those that decode: the step after which one leaves, and its context at step 0."""
        self._leaves = array("d")
        """The former in order; ``_bases`` the latter beside it."""
        self._bases = array("d")
        self._unsettled: list[RequestView] = []
        """Who waits or has no token yet."""

    def peak(self, engine: EngineView, prompt_tokens: int, output_tokens: float) -> float:
        """As ``kv_peak`` of all requests on the engine."""
        step, running = engine.step, engine.running
        sound = self._sound(running, step)
        mark = (len(running), engine.waiting_count, running[-1].id if running else -1)
        if mark != self._mark or self._unsettled or not sound:
            if not sound:
                self._known, self._leaves, self._bases = {}, array("d"), array("d")
            self._mark = mark
            self._bring_up_to_date(engine, running, step)
        others = [_life(request, self._expected) for request in self._unsettled]
        others.append((max(1.0, output_tokens), prompt_tokens))
        left, context = zip(*others, strict=True)
        return _highest(
            np.concatenate((np.maximum(np.array(self._leaves) - step, 1.0), left)),
            np.concatenate((np.array(self._bases) + step, context)),
        )

    def _sound(self, running: Sequence[RequestView], step: int) -> bool:
        """Whether the oldest and the newest of the known requests have got a token in each step."""
        known = self._known
        if not known:
            return True
        for end in (running, reversed(running)):
            request = next((r for r in end if r.id in known), None)
            if request is not None and request.prompt_tokens + request.generated_tokens != known[request.id][1] + step:
                return False
        return True

    def _bring_up_to_date(self, engine: EngineView, running: Sequence[RequestView], step: int) -> None:
        known = self._known
        for id in known.keys() - set(map(_id, running)):
            self._forget(*known.pop(id))
        self._unsettled = list(engine.waiting) if engine.waiting_count else []
        fresh = list(takewhile(lambda request: request.id not in known, reversed(running)))
        if len(known) + len(fresh) < len(running):
            fresh = [request for request in running if request.id not in known]
        for request in fresh:
            generated = request.generated_tokens
            if not generated or request.prefilled_tokens < request.prompt_tokens:
                self._unsettled.append(request)
                continue
            leaves, base = step - generated + self._expected(request), request.prompt_tokens + generated - step
            known[request.id] = leaves, base
            place = bisect_left(self._leaves, leaves)
            self._leaves.insert(place, leaves)
            self._bases.insert(place, base)

    def _forget(self, leaves: float, base: int) -> None:
        place = bisect_left(self._leaves, leaves)
        while self._bases[place] != base:
            place += 1
        del self._leaves[place], self._bases[place]
