"""What a check says: findings that teach."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from traces.conformance.subject import Subject


class Level(StrEnum):
    """``ERROR``: must be fixed, the policy would misbehave or break parity. ``WARNING``: should be. ``INFO``: good to know."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check found.

    ``check``: its name. ``what``: what the policy did, and where. ``why``: what comes of it in production or for parity.
    ``instead``: what to do. An ``INFO`` may leave the last two empty.
    """

    check: str
    level: Level
    what: str
    why: str = ""
    instead: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One promise of a policy, and how it is tried.

    ``after``: checks whose errors would show up here again; this one is then not made, so that one fault gives one message.
    """

    name: str
    promise: str
    run: Callable[[Subject], Iterator[Finding]]
    after: tuple[str, ...] = ()


class Outcome(StrEnum):
    """How a check ended. ``SKIPPED``: not made, because an error that comes first would only show up again."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One check's outcome. ``because``: of a skipped one, the check to be mended first."""

    check: str
    promise: str
    outcome: Outcome
    because: str = ""
