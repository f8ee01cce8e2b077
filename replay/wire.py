"""What the harness and the scheduler plug-in inside each vLLM engine tell each other, possibly across processes.

To the engine: ``Settings`` once, under the key ``KEY`` of vLLM's ``additional_config``; and with every request what a server may
know of it, as one JSON text under the same key of ``SamplingParams.extra_args`` (over HTTP: ``vllm_xargs``).

From the engine: a log file of JSON lines, one message each, of kind ``step``, ``request`` (it left), ``fault`` or ``decision``;
and its state as JSON datagrams to a Unix socket, which may be lost, since the next one replaces it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from policies.types import SLO, EngineView, RequestView, Role
from policies.views import ENGINE_STATE
from replay.journal import Step
from replay.request import Request
from traces.errors import InputError

KEY = "twinserve"

MOST_ROWS = 2000
"""Requests that a state message holds at most, running ones first: a datagram has to fit a socket's buffer."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the plug-in in one engine is set up; plain data.

    ``batcher``, ``params``, ``speculator``, ``speculator_params``: the policies. ``acceptance``: what is believed of draft tokens,
    by place in the chain; empty = nothing. ``draft_s``: of one draft token for all requests of a step. ``synthetic``: drafts are
    accepted as ``acceptance`` says, and not as the model does. ``probabilities``: the drafter's are noted, for the speculator.
    ``fingerprint``: of the believed step time, ``None`` = none is
    believed. ``observe_s``: between state messages, 0 = after every step. ``log``, ``socket``: paths, ``None`` = not told.
    ``deadline_s``: ``None`` = none.
    """

    engine: str
    index: int
    model: str
    batcher: str = "vllm"
    params: Mapping[str, Any] = field(default_factory=dict)
    speculator: str = "vllm"
    speculator_params: Mapping[str, Any] = field(default_factory=dict)
    acceptance: Sequence[float] = ()
    draft_s: float = 0.0
    synthetic: bool = False
    probabilities: bool = False
    seed: int = 0
    role: str = Role.BOTH.value
    tier: str | None = None
    fingerprint: Mapping[str, Any] | None = None
    deadline_s: float | None = None
    decisions: str = "off"
    observe_s: float = 0.0
    log: str | None = None
    socket: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Settings:
        return cls(**data)


@dataclass(frozen=True, slots=True)
class Told:
    """What an engine is told of a request, and that never changes. ``epoch_s``: the run's start on the host's monotonic clock.

    ``given_tokens``, ``first_token_s``: what other engines have generated of it, and when they began; here that is in the prompt.
    """

    id: int
    model: str
    tier: str
    offline: bool
    slo: SLO
    arrival_s: float
    expected_output_tokens: float
    prefix_blocks: tuple[int, ...] = ()
    epoch_s: float | None = None
    given_tokens: int = 0
    first_token_s: float | None = None

    @classmethod
    def read(cls, text: str) -> Told:
        """What ``told`` wrote."""
        data = json.loads(text)
        data["slo"] = SLO(*data["slo"])
        data["prefix_blocks"] = tuple(data.get("prefix_blocks", ()))
        return cls(**data)

    @classmethod
    def stranger(cls, number: int, model: str, arrival_s: float) -> Told:
        """In place of what was not told: the ``number``-th request (from 1) that does not come from a run of ours."""
        return cls(-number, model, "default", False, SLO(), arrival_s, 256.0)


def told(request: RequestView, epoch_s: float | None = None) -> str:
    """One JSON text for ``SamplingParams.extra_args[KEY]``."""
    slo = request.slo
    data = {
        "id": request.id,
        "model": request.model,
        "tier": request.tier,
        "offline": request.offline,
        "slo": [slo.ttft_s, slo.tpot_s, slo.e2e_s],
        "arrival_s": request.arrival_s,
        "expected_output_tokens": request.expected_output_tokens,
    }
    if request.prefix_blocks:
        data["prefix_blocks"] = list(request.prefix_blocks)
    if request.generated_tokens:
        data |= {"given_tokens": request.generated_tokens, "first_token_s": request.first_token_s}
    if epoch_s is not None:
        data["epoch_s"] = epoch_s
    return json.dumps(data, separators=(",", ":"))


class Left(NamedTuple):
    """A request left one of its engines, done or dropped: what only that engine knows of it."""

    id: int
    first_scheduled_s: float | None
    cached_tokens: int
    preemptions: int
    drafted_tokens: int
    accepted_tokens: int


def settle(request: Request, left: Left) -> None:
    """Add to a request what one of its engines alone knows of it."""
    times = [time for time in (request.first_scheduled_s, left.first_scheduled_s) if time is not None]
    request.first_scheduled_s = min(times, default=None)
    if left.cached_tokens and not request.preemptions:
        request.cached_tokens = left.cached_tokens
    request.preemptions += left.preemptions
    request.drafted_tokens += left.drafted_tokens
    request.accepted_tokens += left.accepted_tokens


class Seen(NamedTuple):
    """The progress of one request in a state message."""

    id: int
    prefilled_tokens: int
    cached_tokens: int
    generated_tokens: int
    first_token_s: float | None


def state_message(view: EngineView) -> bytes:
    """An engine's state, for one datagram."""
    data = {name: getattr(view, name) for name in ENGINE_STATE}
    running = view.running[:MOST_ROWS]
    rows = {"running": running, "waiting": view.waiting[: MOST_ROWS - len(running)]}
    seen = {name: [_seen(request) for request in requests] for name, requests in rows.items()}
    return json.dumps({"kind": "state", "engine": view.id, **data, **seen}, separators=(",", ":")).encode()


def _seen(request: RequestView) -> Seen:
    return Seen(request.id, request.prefilled_tokens, request.cached_tokens, request.generated_tokens, request.first_token_s)


def read_log(path: str | Path) -> Iterator[dict[str, Any]]:
    """The messages of an engine's log, up to the last whole line: its process may have been killed while it wrote.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            for line in file:
                if line.endswith("\n"):
                    yield json.loads(line)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: the log of an engine cannot be read ({error}); run the scenario again") from error


def step_of(message: Mapping[str, Any]) -> Step:
    return Step(*message["row"])


def left_of(message: Mapping[str, Any]) -> Left:
    return Left(*message["row"])


def seen_of(rows: Sequence[Sequence[Any]]) -> list[Seen]:
    """The ``running`` or ``waiting`` of a state message."""
    return [Seen(*row) for row in rows]
