"""A fingerprint's measurement in words: which engines were measured, and how well a few layers tell of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from figures import fingerprints
from replay.measuring import Measurement


def facts(found: Measurement) -> dict[str, Any]:
    """Plain data: the fingerprint, the engines, the check and whether it holds."""
    check = None if found.check is None else {**asdict(found.check), "allowed": found.allowed}
    return {**fingerprints.facts(found.fingerprint), "engines": list(found.engines), "check": check, "sound": found.sound}


def check_lines(found: Measurement) -> Iterator[str]:
    """What stands below the fingerprint's page."""
    yield ""
    for engine in found.engines:
        rest = "" if engine["complete"] else ", cut short"
        yield f"an engine of {engine['layers']} layers on {engine['device']}, up in {engine['start_s']:.1f} s{rest}"
    if (check := found.check) is not None:
        kinds = ", ".join(f"{kind} {error:.1%}" for kind, error in check.by_kind.items())
        verdict = "holds" if found.sound else "missed"
        yield (
            f"predicted against measured, median of {check.shapes} shapes: {check.error:.1%} ({kinds}); "
            f"allowed {found.allowed:.0%}, or twice the {check.noise:.1%} between two measurements: {verdict}"
        )
