"""An engine behind an OpenAI-compatible server: requests go over HTTP, and its state is what it last told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from policies.latency import LatencyModel
from policies.types import EngineState, EngineView, Role
from policies.views import Engine
from replay.client import Call, Client, Ending, completion
from replay.engine import Listener
from replay.handover import prefill_params
from replay.observation import ObservedEngine
from replay.prometheus import ServerState
from replay.prompts import Prompts
from replay.request import Request
from replay.wire import KEY, Seen, seen_of, told
from traces.scenario.pools import EnginePool


class Bodies:
    """The bodies of completion requests; most are made before they are due.

    ``model``: what the servers call it. ``priorities``: the engines schedule by priority. ``epoch_s``: the run's start on the
    host's monotonic clock. ``by_file``: KV is handed over through files, as on a CPU; else by NIXL.
    """

    def __init__(self, prompts: Prompts, model: str, *, priorities: bool, epoch_s: float, by_file: bool = True) -> None:
        self._by_file = by_file
        self._prompts = prompts
        self._model = model
        self._priorities = priorities
        self._epoch_s = epoch_s
        self._ready: dict[int, bytes] = {}

    def prepare(self, request: Request) -> None:
        self._ready[request.id] = self._make(request)

    def take(self, request: Request) -> bytes:
        """All that is left of a request."""
        return self._ready.pop(request.id, None) or self._make(request)

    def prefill(self, request: Request) -> bytes:
        """Its next token only, for an engine that hands its KV over."""
        return self._body(request, self._prompts.known(request), 1, streamed=False, kv_params=prefill_params(on_cpu=self._by_file))

    def decode(self, request: Request) -> bytes:
        """What is left after a prefill engine's token; over the network, that token too."""
        left = request.true_output_tokens - request.generated_tokens
        if self._by_file:
            return self._body(request, self._prompts.known(request), left)
        return self._body(request, self._prompts.known(request)[:-1], left + 1, kv_params=request.kv_params)

    @property
    def repeated(self) -> int:
        """Tokens that a decode engine computes once more."""
        return 0 if self._by_file else 1

    def _make(self, request: Request) -> bytes:
        return self._body(request, self._prompts.known(request), request.true_output_tokens - request.generated_tokens)

    def _body(self, request: Request, prompt: Sequence[int], tokens: int, **more: Any) -> bytes:
        return completion(
            self._model,
            prompt,
            tokens,
            priority=request.priority if self._priorities else 0,
            xargs={KEY: told(request, self._epoch_s)},
            **more,
        )


class SeenRequest:
    """A request with the progress that its engine told; all else is read from the request."""

    __slots__ = ("_request", "cached_tokens", "first_token_s", "generated_tokens", "prefilled_tokens")

    def __init__(self, request: Request, seen: Seen) -> None:
        self._request = request
        self.prefilled_tokens = seen.prefilled_tokens
        self.cached_tokens = seen.cached_tokens
        self.generated_tokens = seen.generated_tokens
        self.first_token_s = seen.first_token_s

    def __getattr__(self, name: str) -> object:
        return getattr(self._request, name)


@dataclass(frozen=True, slots=True)
class Size:
    """What an engine is known to hold. ``max_seqs``, ``max_batched_tokens``: of a step."""

    kv_tokens: int
    block_tokens: int
    max_seqs: int
    max_batched_tokens: int


class RemoteEngine:
    """One server as an ``Engine``."""

    def __init__(
        self,
        index: int,
        pool: EnginePool,
        client: Client,
        bodies: Bodies,
        listener: Listener,
        belief: LatencyModel,
        now: Callable[[], float],
    ) -> None:
        self.index = index
        self.id = f"e{index}"
        self.model = pool.model
        self.role = pool.role
        self._state = EngineState.ACTIVE
        self._tier = pool.hardware.tier
        self.size = Size(pool.kv_tokens, pool.engine.block_size, pool.engine.max_num_seqs, pool.engine.max_num_batched_tokens)
        self.open: dict[int, Request] = {}
        """Requests under way here, by id."""
        self._client = client
        self._bodies = bodies
        self._listener = listener
        self._belief = belief
        self._now = now
        self._calls: dict[int, Call] = {}
        self._heard_s = now()
        self._view = self._seen(now())

    @property
    def view(self) -> EngineView:
        return self._view

    @property
    def state(self) -> EngineState:
        return self._state

    @state.setter
    def state(self, state: EngineState) -> None:
        self._state = self._view.state = state

    @property
    def tier(self) -> str | None:
        return self._tier

    @tier.setter
    def tier(self, tier: str | None) -> None:
        self._tier = self._view.tier = tier

    @property
    def empty(self) -> bool:
        return not self.open

    # --- Engine -------------------------------------------------------------------------------------------------------

    def submit(self, request: Request) -> None:
        self.open[request.id] = request
        self._view.sent(request)
        asked, repeated = request.true_output_tokens - request.generated_tokens, 0
        if self.role is Role.PREFILL:
            body, asked = self._bodies.prefill(request), 1
        elif request.kv_engine is not None:
            body, repeated = self._bodies.decode(request), self._bodies.repeated
        else:
            body = self._bodies.take(request)
        receiver = _Stream(self, request, asked + repeated, repeated)
        self._calls[request.id] = self._client.send(
            body, receiver, f"{KEY}-{request.id}-{request.attempts}", streamed=self.role is not Role.PREFILL
        )

    def abort(self, request: Request) -> None:
        if (call := self._calls.pop(request.id, None)) is not None:
            call.abort()
            del self.open[request.id]

    def lose(self) -> Sequence[Request]:
        waiting = {request.id for request in self._view.waiting}
        lost = sorted(self.open.values(), key=lambda request: request.id in waiting)
        for request in lost:
            self.abort(request)
        self._view = self._seen(self._now())
        return lost

    def close(self) -> None:
        self._client.close()

    # --- what is heard of it ------------------------------------------------------------------------------------------

    def failed(self, why: str) -> None:
        """The server is gone or does not answer: its requests fail, and it takes no more."""
        if self.state is not EngineState.FAILED:
            self._turn(EngineState.FAILED)
            self._client.fail_all(why)

    def give_up_silent(self, silence_s: float) -> None:
        """Give up requests that nothing was heard of for so long, and the engine too when it has told nothing of itself either."""
        if self._client.fail_stalled(silence_s) and self._now() - self._heard_s > silence_s:
            self.failed(f"no answer for {silence_s:g} s")

    def recovered(self) -> None:
        """The server answers again."""
        if self.state is EngineState.FAILED:
            self._turn(EngineState.ACTIVE)

    def told_state(self, message: Mapping[str, Any]) -> None:
        """The plug-in's state message. Requests that were sent and are not in it yet count as waiting."""
        self._heard_s = self._now()
        running, waiting = seen_of(message["running"]), seen_of(message["waiting"])
        as_of_s = message["as_of_s"]
        self.size = Size(*(message[key] for key in ("kv_tokens_capacity", "block_tokens", "max_seqs", "max_batched_tokens")))
        counts = ("step", "step_ends_s", "running_count", "waiting_count", "pending_prefill_tokens", "kv_tokens_used")
        told = {key: message[key] for key in counts}
        self._view = self._seen(as_of_s, running=self._ours(running), waiting=self._ours(waiting), **told)
        known = {row.id for rows in (running, waiting) for row in rows}
        whole = len(running) + len(waiting) >= message["running_count"] + message["waiting_count"]
        for request in self.open.values():
            if request.id not in known and not request.token_s and (whole or request.sent_s > as_of_s):
                self._view.sent(request)
        self._listener.on_state(self)

    def told_metrics(self, state: ServerState, as_of_s: float) -> None:
        """The server's own metrics, which count everybody's requests; which of ours they are, our streams tell."""
        self._heard_s = self._now()
        running = [request for request in self.open.values() if request.token_s]
        waiting = [request for request in self.open.values() if not request.token_s and request.sent_s <= as_of_s]
        if state.kv_tokens is not None:
            block = state.block_tokens or self.size.block_tokens
            self.size = Size(state.kv_tokens, block, self.size.max_seqs, self.size.max_batched_tokens)
        self._view = self._seen(
            as_of_s,
            running=running,
            waiting=waiting,
            running_count=state.running,
            waiting_count=state.waiting,
            pending_prefill_tokens=sum(request.prompt_tokens for request in waiting),
            kv_tokens_used=round((state.kv_share or 0.0) * self.size.kv_tokens),
        )
        for request in self.open.values():
            if request.sent_s > as_of_s:
                self._view.sent(request)
        self._listener.on_state(self)

    def _ours(self, rows: Sequence[Seen]) -> list[SeenRequest]:
        """The requests of the run among those that an engine told of."""
        return [SeenRequest(self.open[row.id], row) for row in rows if row.id in self.open]

    def _turn(self, state: EngineState) -> None:
        self.state = state
        self._view = self._seen(self._now())
        self._listener.on_state(self)

    def _seen(self, as_of_s: float, **told: Any) -> ObservedEngine:
        """The engine as it was at ``as_of_s``, with what it told; all else is nothing."""
        size = self.size
        told = {"running": (), "waiting": (), "step_ends_s": as_of_s, **told}
        engine = Engine(
            id=self.id,
            model=self.model,
            role=self.role,
            tier=self.tier,
            state=self.state,
            now_s=as_of_s,
            as_of_s=as_of_s,
            kv_tokens_capacity=size.kv_tokens,
            block_tokens=size.block_tokens,
            max_seqs=size.max_seqs,
            max_batched_tokens=size.max_batched_tokens,
            latency=self._belief,
            **told,
        )
        view = ObservedEngine(engine, self._now)
        view.running_count, view.waiting_count = engine.running_count, engine.waiting_count  # strangers' too, which are not shown
        return view

    def _done(self, request: Request) -> None:
        self.open.pop(request.id, None)
        self._calls.pop(request.id, None)


class _Stream:
    """Receives one request's tokens on the fleet's behalf."""

    __slots__ = ("_asked", "_engine", "_repeated", "_request")

    def __init__(self, engine: RemoteEngine, request: Request, asked: int, repeated: int) -> None:
        self._engine = engine
        self._request = request
        self._asked = asked
        self._repeated = repeated
        """Tokens to come that the request has been given before."""

    def on_tokens(self, tokens: int, at_s: float) -> None:
        known = min(tokens, self._repeated)
        self._repeated -= known
        if tokens > known:
            self._engine._listener.on_token(self._request, tokens - known, at_s)

    def on_end(self, ending: Ending, at_s: float) -> None:
        engine, request = self._engine, self._request
        engine._done(request)
        if ending.tokens != self._asked:
            why = f"the server ended it after {ending.tokens} of {self._asked} tokens"
            engine._listener.on_failed(request, at_s, why)
            return
        if ending.cached_tokens is not None and engine.role is not Role.DECODE:
            request.cached_tokens = ending.cached_tokens
        if ending.queue_s is not None and request.first_scheduled_s is None:
            request.first_scheduled_s = request.sent_s + ending.queue_s
        if request.generated_tokens < request.true_output_tokens:
            request.answer[:] = [*request.answer, *ending.token_ids][: request.generated_tokens]
            request.kv_params = ending.kv_params
            engine._listener.on_prefilled(request, at_s)
        else:
            engine._listener.on_finished(request, at_s)

    def on_failed(self, why: str, at_s: float) -> None:
        self._engine._done(self._request)
        self._engine._listener.on_failed(self._request, at_s, why)
