"""The conformance kit: does a policy keep the promises on which both worlds rely? Like scikit-learn's ``check_estimator``.

    from traces.conformance import check
    assert not [finding for finding in check(MyRouter) if finding.level == "error"]

The promises: pure, blind to the future, sturdy, legal, deterministic, rebuilt from its decision log, fast. A finding says what was
done, why it matters in production or for parity, and what to do instead.
``sim.policycheck`` adds a short simulated run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from policies import registry
from policies.registry import PolicyError
from traces.conformance import (
    determinism,
    finality,
    isolation,
    legality,
    parameters,
    purity,
    rebuild,
    sight,
    speed,
    survival,
)
from traces.conformance.finding import Check, Finding, Level, Outcome, Verdict
from traces.conformance.subject import Subject

__all__ = ["CHECKS", "Examination", "Finding", "Level", "Outcome", "Subject", "Verdict", "check", "examine", "find", "subject_of"]

CHECKS: tuple[Check, ...] = (
    parameters.CHECK,
    *purity.CHECKS,
    *sight.CHECKS,
    survival.CHECK,
    legality.CHECK,
    isolation.CHECK,
    rebuild.IDENTITY,
    determinism.CHECK,
    finality.CHECK,
    rebuild.REBUILD,
    speed.CHECK,
)


@dataclass(frozen=True, slots=True)
class Examination:
    """What became of the checks, and what they found."""

    verdicts: Sequence[Verdict]
    findings: Sequence[Finding]

    @property
    def sound(self) -> bool:
        """No finding is an error."""
        return not any(finding.level is Level.ERROR for finding in self.findings)


def check(target: type | object, point: str | None = None, **params: Any) -> list[Finding]:
    """All findings about a policy class, built with ``params``, or about an object of one, which is copied.

    ``point``: its decision point; by default told from its method.

    Raises:
        PolicyError: it is no policy, or of more than one decision point.
    """
    return list(examine(subject_of(target, point, params)).findings)


def examine(subject: Subject, checks: Iterable[Check] = CHECKS, before: Examination | None = None) -> Examination:
    """Make the checks in order. One that comes after a failed one is skipped, so that a fault gives one message.

    ``before``: an examination that these checks add to.
    """
    findings: list[Finding] = list(before.findings) if before else []
    verdicts: list[Verdict] = list(before.verdicts) if before else []
    failed = [verdict.check for verdict in verdicts if verdict.outcome is Outcome.FAILED]
    for each in checks:
        first = next((name for name in failed if name in each.after), "")
        if first:
            verdicts.append(Verdict(each.name, each.promise, Outcome.SKIPPED, first))
            continue
        found = list(each.run(subject))
        findings += found
        wrong = any(finding.level is Level.ERROR for finding in found)
        verdicts.append(Verdict(each.name, each.promise, Outcome.FAILED if wrong else Outcome.PASSED))
        if wrong:
            failed.append(each.name)
    return Examination(verdicts, findings)


def subject_of(target: type | object, point: str | None = None, params: Mapping[str, Any] | None = None) -> Subject:
    """A class or an object, ready to be examined.

    Raises:
        PolicyError: it is no policy, or of more than one decision point, or an object is given parameters.
    """
    cls = target if isinstance(target, type) else type(target)
    path = f"{cls.__module__}:{cls.__qualname__}"
    if not isinstance(target, type) and params:
        raise PolicyError(f"{path}: an object has its parameters already; check the class to set some")
    return Subject(_point_of(cls, path, point), path, cls, params or {}, None if isinstance(target, type) else target)


def find(name: str, point: str | None = None, params: Mapping[str, Any] | None = None) -> Subject:
    """The policy of that name, a registered one or ``module:Class``, ready to be examined.

    Raises:
        PolicyError: there is no such policy, or there are several and ``point`` does not say which.
    """
    if point is None:
        point = _point_called(name)
    cls, _ = registry.load(point, name)
    return Subject(point, name, cls, params or {})


def _point_called(name: str) -> str:
    """The decision point of a policy that is known by its name alone."""
    if ":" in name:
        cls = registry.imported(name)
        return _point_of(cls, name, None)
    points = [point for point in registry.POINTS if name in registry.names(point)]
    if len(points) == 1:
        return points[0]
    if points:
        raise PolicyError(f"{name} is a {' and a '.join(points)}; say which: {' or '.join(f'`{p} {name}`' for p in points)}")
    for point in registry.POINTS:
        registry.load(point, name)  # tells the nearest name
    raise AssertionError("unreachable: a name of no point cannot be loaded")


def _point_of(cls: Any, path: str, point: str | None) -> str:
    has = [p for p in registry.POINTS if callable(getattr(cls, registry.METHOD[p], None))]
    methods = ", ".join(f"{method}() for a {p}" for p, method in registry.METHOD.items())
    if point is not None:
        if point not in registry.POINTS:
            raise PolicyError(f"there is no decision point {point!r}; valid: {', '.join(registry.POINTS)}")
        if point not in has:
            raise PolicyError(f"{path} is not a {point}: it has no method {registry.METHOD[point]}()")
        return point
    if not has:
        raise PolicyError(f"{path} is no policy: it has none of the methods of a decision point ({methods})")
    if len(has) > 1:
        raise PolicyError(f"{path} has the methods of several decision points ({', '.join(has)}); say which one to check")
    return has[0]
