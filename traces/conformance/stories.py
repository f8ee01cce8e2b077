"""Stories: made-up runs of calls, always the same, that bring a policy where production will.

The worlds only ever show a router the active engines of the fleet: engines that start, drain, are parked or fail are not in the
view, so that a story about failure is one about engines that are gone from one call to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from policies.completions import completed
from policies.fingerprint import Fingerprint
from policies.latency import FingerprintLatency
from policies.streams import Draws
from policies.types import SLO
from policies.views import NO_SLO, Engine, Fleet, OracleRequest, Request
from traces.conformance.fleetstories import crowd_of_engines, fleets

Call = tuple[Any, ...]
"""The arguments of one call: (request, fleet) of a router, (fleet,) of a scaler, (engine,) of the others."""


@dataclass(frozen=True, slots=True)
class Story:
    """Calls in a row to one policy object. ``about``: fills "on …" in a message."""

    name: str
    about: str
    calls: Sequence[Call]


LATENCY = FingerprintLatency(
    Fingerprint.linear(overhead_s=5e-3, per_token_s=1.5e-5, per_prefill_attention_s=1e-10, per_decode_context_s=3e-8)
)
MODEL = "llama-3.1-8b"
_CLASSES = (
    ("premium", SLO(ttft_s=0.3, tpot_s=0.015), False),
    ("standard", SLO(ttft_s=1.0, tpot_s=0.03), False),
    ("whole-answer", SLO(e2e_s=20.0), False),
    ("batch", NO_SLO, True),
)
_BLOCK = 16


def stories(point: str, *, oracle: bool = False) -> tuple[Story, ...]:
    """The stories of a decision point; the first is an ordinary run. ``oracle``: requests tell their true output length."""
    author = _Author(oracle)
    if point == "scaler":
        return tuple(Story(name, about, [(f,) for f in views]) for name, about, views in fleets(author.engine, author.request))
    if point == "router":
        return author.router()
    if point == "speculator":
        return author.batcher()
    return tuple(replace(story, calls=_with_changes(story.calls)) for story in author.batcher())


def crowd(point: str, size: int, *, oracle: bool = False) -> Story:
    """One call on a view of a given size: so many engines, or so many requests on an engine."""
    author = _Author(oracle)
    if point == "router":
        fleet = Fleet(tuple(author.engine(f"e{i}", 5.0, 4, 1) for i in range(size)), 5.0)
        return Story(f"{size}-engines", f"{size} engines", [(author.request(5.0), fleet)])
    if point == "scaler":
        return Story(f"{size}-engines", f"{size} engines", [(crowd_of_engines(author.engine, size),)])
    calls: Sequence[Call] = [(author.engine("e0", 5.0, size, size // 8),)]
    return Story(f"{size}-requests", f"{size} requests", _with_changes(calls) if point == "batcher" else calls)


class _Author:
    """Makes views up; the same ones every time."""

    def __init__(self, oracle: bool) -> None:
        self._kind = OracleRequest if oracle else Request
        self._oracle = oracle
        self._draw = Draws(0, "check", "stories")
        self._drawn = 0
        self._requests = 0

    # --- a router's ---------------------------------------------------------------------------------------------------

    def router(self) -> tuple[Story, ...]:
        none = Fleet((), 1.0)
        one = [(self.request(t / 10), Fleet((self.engine("only", t / 10, t, t // 4),), t / 10)) for t in range(6)]
        many = [(self.request(5.0), self.fleet(5.0, 512, running=2)) for _ in range(3)]
        others = Fleet(tuple(self.engine(f"x{i}", 1.0, 1, 0, model="another-model") for i in range(3)), 1.0)
        queue = tuple(self.request(0.1) for _ in range(5000))
        huge = Fleet(tuple(replace(self.engine(f"e{i}", 9.0, 40, 0), **_swamped(queue)) for i in range(4)), 9.0)
        no_slo = [(self.request(2.0, slo=NO_SLO, tier="default"), self.fleet(2.0, 3)) for _ in range(5)]
        offline = [(self.request(2.0, slo=NO_SLO, tier="batch", offline=True), self.fleet(2.0, 3)) for _ in range(5)]
        sizes = [
            {"prompt_tokens": 1, "expected_output_tokens": 1.0, "prefix_blocks": ()},
            {"prompt_tokens": 1_000_000, "expected_output_tokens": 100_000.0, "prefix_blocks": tuple(range(60_000, 62_000))},
        ]
        return (
            Story("ordinary", "an ordinary run on six engines", self._ordinary()),
            Story("empty-fleet", "an empty fleet", [(self.request(1.0), none)] * 3),
            Story("one-engine", "a fleet of one engine", one),
            Story("512-engines", "512 engines", many),
            Story("other-model", "a fleet that serves only another model", [(self.request(1.0), others)] * 2),
            Story("joins-and-leaves", "engines that join, fail and drain between calls", self._churn()),
            Story("huge-queues", "5,000 requests waiting on every engine", [(self.request(9.0), huge)] * 2),
            Story("no-slo", "requests without any latency objective", no_slo),
            Story("offline", "offline requests", offline),
            Story("sizes", "prompts of 1 and of 1,000,000 tokens", [(self.request(3.0, **s), self.fleet(3.0, 3)) for s in sizes]),
        )

    def _ordinary(self) -> list[Call]:
        calls: list[Call] = []
        for turn in range(60):
            now = 0.05 * turn
            again = turn % 12 == 11  # a request that was held is offered again
            request = calls[-4][0] if again else self.request(now)
            held = tuple(self.request(now - 0.02) for _ in range(turn % 3))
            fleet = self.fleet(now, 6, running=8)
            done = tuple(completed(replace(call[0], generated_tokens=5 * turn), now) for call in calls[-9:-8])
            calls.append((request, replace(fleet, held=(request, *held) if again else held, completed=done)))
        return calls

    def _churn(self) -> list[Call]:
        calls: list[Call] = []
        members = ["e0", "e1", "e2"]
        for turn in range(24):
            now = 10.0 + turn
            if turn % 3 == 1:
                members.append(f"e{len(calls) + 3}")
            if turn % 3 == 2:
                members.pop(self._integer(0, len(members) - 1))
            if turn == 14:
                members.clear()
            calls.append((self.request(now), Fleet(tuple(self.engine(name, now, 4, 1) for name in members), now)))
        return calls

    # --- a batcher's --------------------------------------------------------------------------------------------------

    def batcher(self) -> tuple[Story, ...]:
        plain: dict[str, Any] = {"slo": NO_SLO, "tier": "default"}
        offline: dict[str, Any] = {"slo": NO_SLO, "tier": "batch", "offline": True}
        full = replace(self.engine("e0", 4.0, 200, 20), kv_tokens_used=100_000, kv_tokens_capacity=100_000)
        small = replace(self.engine("e0", 4.0, 3, 2), max_batched_tokens=1, max_seqs=3)
        queue = tuple(self.request(0.1) for _ in range(5000))
        preempted = self.engine("e0", 6.0, 4, 0)
        victims = tuple(replace(self._decoding(6.0), prefilled_tokens=0) for _ in range(3))
        preempted = replace(preempted, waiting=victims, waiting_count=3)
        return (
            Story("ordinary", "an ordinary run of one engine", self._steps()),
            Story("first-request", "an engine with one waiting request", [(self.engine("e0", 0.0, 0, 1),)] * 2),
            Story("one-decode", "an engine with one running request", [(self.engine("e0", 1.0, 1, 0),)] * 2),
            Story("idle", "an engine without any request", [(self.engine("e0", 0.0, 0, 0),)] * 2),
            Story("1024-running", "1,024 running requests", [(replace(self.engine("e0", 3.0, 1024, 64), max_seqs=1024),)] * 2),
            Story("huge-queue", "5,000 waiting requests", [(replace(self.engine("e0", 3.0, 8, 0), **_swamped(queue)),)]),
            Story("kv-full", "an engine whose KV memory is full", [(full,)] * 2),
            Story("small-engine", "an engine with a budget of one token", [(small,)] * 2),
            Story("preempted", "requests that wait again after a preemption", [(preempted,)] * 2),
            Story("no-slo", "requests without any latency objective", [(self.engine("e0", 5.0, 9, 3, **plain),)] * 2),
            Story("offline", "offline requests only", [(self.engine("e0", 5.0, 9, 3, **offline),)] * 2),
        )

    def _steps(self) -> list[Call]:
        """An engine whose requests come, are prefilled at once, decode a few tokens and go."""
        calls: list[Call] = []
        running: list[Request] = []
        waiting: list[Request] = []
        for step in range(60):
            now = 0.02 * step
            waiting += [self.request(now) for _ in range(self._integer(0, 2))]
            calls.append((self._engine("e0", now, tuple(running), tuple(waiting), MODEL, step=step),))
            running = [self._on(r, now) for r in running if r.generated_tokens < 4 + r.id % 20]
            room = self._integer(0, len(waiting))
            running += [replace(r, prefilled_tokens=r.prompt_tokens // 2) for r in waiting[:room]]
            del waiting[:room]
        return calls

    def _on(self, request: Request, now: float) -> Request:
        """The request one step later."""
        if request.prefilled_tokens < request.prompt_tokens:
            return replace(request, prefilled_tokens=request.prompt_tokens, generated_tokens=1, first_token_s=now)
        return replace(request, prefilled_tokens=request.prefilled_tokens + 1, generated_tokens=request.generated_tokens + 1)

    # --- views --------------------------------------------------------------------------------------------------------

    def request(self, now: float, **given: Any) -> Request:
        """A request that has just arrived."""
        tier, slo, offline = self._choice(_CLASSES)
        prompt = self._integer(1, 4000)
        family = 1000 * self._integer(0, 5)
        blocks = tuple(range(family, family + prompt // (2 * _BLOCK)))
        values = {
            "id": self._requests,
            "model": MODEL,
            "prompt_tokens": prompt,
            "prefix_blocks": blocks if self._integer(0, 2) else (),
            "tier": tier,
            "slo": slo,
            "offline": offline,
            "arrival_s": max(0.0, now),
            "expected_output_tokens": float(self._integer(20, 400)),
        }
        if self._oracle:
            values["true_output_tokens"] = self._integer(1, 500)
        self._requests += 1
        return self._kind(**{**values, **given})

    def fleet(self, now: float, engines: int, running: int = 5) -> Fleet:
        return Fleet(tuple(self.engine(f"e{i}", now, self._integer(0, running), self._integer(0, 2)) for i in range(engines)), now)

    def engine(self, id: str, now: float, running: int, waiting: int, model: str = MODEL, **given: Any) -> Engine:
        """An engine with so many requests in decode and so many waiting."""
        decoding = tuple(self._decoding(now, **given) for _ in range(running))
        queued = tuple(self.request(now - 0.1, **given) for _ in range(waiting))
        return self._engine(id, now, decoding, queued, model, step=int(now * 50))

    def _decoding(self, now: float, **given: Any) -> Request:
        request = self.request(now - 2.0, **given)
        generated = self._integer(1, 100)
        return replace(
            request,
            prefilled_tokens=request.prompt_tokens + generated - 1,
            generated_tokens=generated,
            first_token_s=max(0.0, now - 1.5),
        )

    def _engine(
        self, id: str, now: float, running: tuple[Request, ...], waiting: tuple[Request, ...], model: str, step: int
    ) -> Engine:
        everyone = (*running, *waiting)
        tokens = sum(r.prefilled_tokens for r in everyone)
        return Engine(
            id=id,
            model=model,
            running_count=len(running),
            waiting_count=len(waiting),
            pending_prefill_tokens=sum(max(0, r.prompt_tokens - r.prefilled_tokens) for r in everyone),
            kv_tokens_used=-(-tokens // _BLOCK) * _BLOCK,
            kv_tokens_capacity=max(900_000, tokens + 10_000),
            now_s=now,
            as_of_s=now,
            step=step,
            step_ends_s=now + (0.01 if running else 0.0),
            running=running,
            waiting=waiting,
            latency=LATENCY,
        )

    def _integer(self, low: int, high: int) -> int:
        """Uniform from low to high, both included."""
        self._drawn += 1
        return low + int(self._draw(self._drawn) * (high - low + 1))

    def _choice(self, options: Sequence[Any]) -> Any:
        return options[self._integer(0, len(options) - 1)]


def _swamped(queue: tuple[Request, ...]) -> dict[str, Any]:
    """What changes on an engine with a long queue."""
    return {"waiting": queue, "waiting_count": len(queue), "pending_prefill_tokens": sum(r.prompt_tokens for r in queue)}


def _with_changes(calls: Sequence[Call]) -> list[Call]:
    """An engine's views in a row, each with what has changed among its waiting requests since the one before."""
    known: set[int] = set()
    changed: list[Call] = []
    for (engine,) in calls:
        there = {request.id for request in engine.waiting}
        arrived = tuple(request for request in engine.waiting if request.id not in known)
        changed.append((replace(engine, arrived=arrived, departed=tuple(sorted(known - there))),))
        known = there
    return changed
