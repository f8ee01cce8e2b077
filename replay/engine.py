"""What the fleet knows of an engine, and what an engine tells the fleet; the same for every way of running vLLM."""

from __future__ import annotations

from typing import Protocol

from policies.types import EngineState, EngineView, Role
from replay.request import Request


class Engine(Protocol):
    """One vLLM engine. ``index`` is its place in the fleet, ``id`` is ``e{index}``."""

    @property
    def id(self) -> str: ...
    @property
    def index(self) -> int: ...
    @property
    def model(self) -> str: ...
    @property
    def role(self) -> Role: ...
    @property
    def state(self) -> EngineState: ...

    @property
    def view(self) -> EngineView:
        """The engine as a router may see it now: live where it runs in this process, else as it last told, plus what it was sent
        since.
        """

    def submit(self, request: Request) -> None:
        """Take a request. What comes of it is told to the listener."""

    def abort(self, request: Request) -> None:
        """Drop a request, wherever it is; the listener is told nothing more of it."""

    def close(self) -> None:
        """The run is over. May be called again."""


class Listener(Protocol):
    """Who is told what engines have done. All of it on the thread of the run's loop."""

    def on_token(self, request: Request, tokens: int, at_s: float) -> None:
        """``tokens`` of a request came, at once."""

    def on_finished(self, request: Request, at_s: float) -> None:
        """Its last token has been told of before."""

    def on_failed(self, request: Request, at_s: float, why: str) -> None:
        """The engine will not serve it to its end. ``why``: one line."""

    def on_state(self, engine: Engine) -> None:
        """The engine's view or state is new."""
