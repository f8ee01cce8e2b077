"""Data sheets: what GPUs and models are, and how many KV tokens fit when the one holds the other."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeVar

from traces.errors import InputError
from traces.hardware.gpus import GPU, GPUS
from traces.hardware.models import MODELS
from traces.hardware.shapes import EXPERTS_ONLY, KV_BYTES, WEIGHT_BYTES, Experts, Latent, ModelShape
from traces.hardware.stages import stage_layers

__all__ = [
    "EXPERTS_ONLY",
    "GPU",
    "GPUS",
    "KV_BYTES",
    "MODELS",
    "WEIGHT_BYTES",
    "Experts",
    "Latent",
    "ModelShape",
    "gpu",
    "model",
    "stage_layers",
]

_Entry = TypeVar("_Entry")


def gpu(name: str) -> GPU:
    """The GPU of that name.

    Raises:
        InputError: unknown; the line names the nearest known one.
    """
    return _find(GPUS, name, "gpu")


def model(name: str) -> ModelShape:
    """The model shape of that name.

    Raises:
        InputError: unknown; the line names the nearest known one.
    """
    return _find(MODELS, name, "model")


def _find(entries: Mapping[str, _Entry], name: str, kind: str) -> _Entry:
    if name in entries:
        return entries[name]
    nearest = get_close_matches(name.lower(), entries, n=1, cutoff=0.4)
    guess = f"did you mean {nearest[0]}?" if nearest else f"use one of {', '.join(entries)}"
    raise InputError(f"{kind}: {name!r} is not known; {guess}")
