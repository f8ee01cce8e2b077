"""Fits of one deployment that a user asks for by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from policies.fingerprint import Fingerprint
from traces.assembly.assemble import assemble
from traces.assembly.deployment import Deployment
from traces.assembly.endtoend import fit_end_to_end
from traces.errors import InputError
from traces.fingerprints import deployment_of, named_fingerprint
from traces.operators.kinds import Floats
from traces.operators.tables import read_tables


def fitted(name: str, tables: Path | None, measured: Path | None, engine: str | None) -> tuple[Fingerprint, Mapping[str, Floats]]:
    """The fingerprint of a deployment from operator ``tables``, and then to ``measured`` TPOT where both or that alone is given;
    and the errors of each row.

    Raises:
        InputError: neither is given, they do not cover the deployment, or the tables are of another version than ``engine``.
    """
    if tables is None and measured is None:
        raise InputError("nothing to fit to: give --tables, --measured, or both")
    if tables is not None:
        deployment: Deployment = deployment_of(name)
        operators = read_tables(tables, deployment.gpu.name)
        if engine is not None and operators.engine.removeprefix("vllm ") != engine.removeprefix("vllm "):
            raise InputError(f"{tables}: tables of {operators.engine}, not of {engine}; fit to those, or leave --engine out")
        fit = assemble(operators, deployment)
        found, errors = fit.fingerprint, dict(fit.errors)
    else:
        found, errors = named_fingerprint(name), {}
    if measured is not None:
        end_to_end = fit_end_to_end(found, measured)
        found = end_to_end.fingerprint
        errors |= {"TPOT, before": end_to_end.before, "TPOT, fitted": end_to_end.errors, "TPOT, row held out": end_to_end.held_out}
    return found, errors
