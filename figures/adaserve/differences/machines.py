"""Deployments whose steps take other times than the artifact's table has."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from figures.adaserve.settings import LLAMA, Deployment, fingerprint
from policies.curve import Curve


def straight(folder: Path, verify: float = 1.0) -> str:
    """Llama's, where steps below 128 tokens lie on the line from one token's time to 128 tokens', not on a roofline.

    ``verify``: factor on the table's times.
    """
    table = fingerprint(LLAMA).terms.gemm
    gemm = Curve((1.0, *table.x[1:]), (LLAMA.setting.tpot_s, *(verify * y for y in table.y[1:])))
    return other(LLAMA, folder, gemm=gemm)


def scaled(deployment: Deployment, folder: Path, verify: float) -> str:
    """``verify`` times the table's times, never less than the TPOT without load."""
    return other(deployment, folder, gemm=times(deployment, verify))


def times(deployment: Deployment, verify: float) -> Curve:
    """Seconds by tokens, ``verify`` times the table's."""
    table, least = fingerprint(deployment).terms.gemm, deployment.setting.tpot_s
    floor = table.x[1] * least / (verify * table.y[1])
    return Curve((floor, *table.x[1:]), (least, *(verify * y for y in table.y[1:])))


def other(deployment: Deployment, folder: Path, **terms: Any) -> str:
    """The deployment's fingerprint with some terms exchanged, as an override of its scenario. ``folder``: for the file."""
    found = fingerprint(deployment)
    text = json.dumps(replace(found, terms=replace(found.terms, **terms)).to_dict())
    path = folder / f"{sha256(text.encode()).hexdigest()[:16]}.json"
    path.write_text(text, "utf-8")
    return f"fleet.fingerprint={path}"
