"""What the fleet knows of an engine, and what an engine tells the fleet; the same for every way of running vLLM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from policies.types import EngineState, EngineView, Role
from replay.request import Request


class Engine(Protocol):
    """One vLLM engine. ``index`` is its place in the fleet, ``id`` is ``e{index}``.

    ``state`` and ``tier`` are set by whoever scales the fleet; an engine itself sets its state when its server dies or comes back.
    """

    state: EngineState
    tier: str | None

    @property
    def id(self) -> str: ...
    @property
    def index(self) -> int: ...
    @property
    def model(self) -> str: ...
    @property
    def role(self) -> Role: ...
    @property
    def empty(self) -> bool:
        """Nothing of any request is here."""

    @property
    def view(self) -> EngineView:
        """The engine as a router may see it now: live where it runs in this process, else as it last told, plus what it was sent
        since.
        """

    def submit(self, request: Request) -> None:
        """Take a request. What comes of it is told to the listener."""

    def abort(self, request: Request) -> None:
        """Drop a request, wherever it is; the listener is told nothing more of it."""

    def lose(self) -> Sequence[Request]:
        """The engine is broken: drop all its requests, and everything that they left behind. Returns them, in the order in which
        the engine would have served them; the listener is told nothing more of them.
        """

    def close(self) -> None:
        """The run is over. May be called again."""


class Listener(Protocol):
    """Who is told what engines have done. All of it on the thread of the run's loop."""

    def on_token(self, request: Request, tokens: int, at_s: float) -> None:
        """``tokens`` of a request came, at once."""

    def on_finished(self, request: Request, at_s: float) -> None:
        """Its last token has been told of before."""

    def on_prefilled(self, request: Request, at_s: float) -> None:
        """A prefill engine has given the request its next token, and keeps its KV for a decode engine."""

    def on_failed(self, request: Request, at_s: float, why: str) -> None:
        """The engine will not serve it to its end. ``why``: one line."""

    def on_state(self, engine: Engine) -> None:
        """The engine's view or state is new."""
