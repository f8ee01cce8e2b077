"""Fingerprints from data sheets alone."""

from __future__ import annotations

import dataclasses
from functools import cache

from policies.fingerprint import Fingerprint
from traces.assembly.assemble import assemble
from traces.assembly.deployment import Deployment
from traces.operators.roofline import Roofline, efficiency, step_error


@cache
def analytic(deployment: Deployment) -> Fingerprint:
    """The roofline's fingerprint of a deployment; its ``errors`` are those of whole steps on GPUs held out.

    Raises:
        InputError: the roofline does not cover it (latent attention).
    """
    fingerprint = assemble(Roofline(deployment.gpu, efficiency()), deployment, "analytic").fingerprint
    return dataclasses.replace(fingerprint, errors={"whole steps, on GPUs held out": step_error(deployment.gpu)})
