"""Deployments and loads as arrays: row i of every array describes one run of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from policies.extrapolation.architecture import WEIGHT_BYTES, Architecture

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Runs:
    """``n`` runs of one model: a batch of equal requests, prefilled at once, then decoded to the end. Arrays of shape (n,).

    ``layers``: of the model as run (1 or 2 for a fingerprint). ``largest_stage``: layers of the pipeline's largest stage.
    ``kv_bytes``: bytes per element of the KV cache. ``batch`` requests of ``prompt`` tokens produce ``output`` tokens each.
    """

    layers: Ints
    tp: Ints
    pp: Ints
    largest_stage: Ints
    precision: NDArray[np.str_]
    kv_bytes: Floats
    batch: Ints
    prompt: Ints
    output: Ints

    @classmethod
    def of(
        cls,
        architecture: Architecture,
        *,
        tp: ArrayLike = 1,
        pp: ArrayLike = 1,
        precision: str | Sequence[str] = "fp16",
        kv_bytes: ArrayLike = 2.0,
        batch: ArrayLike = 1,
        prompt: ArrayLike,
        output: ArrayLike,
        layers: ArrayLike | None = None,
        largest_stage: ArrayLike | None = None,
    ) -> Runs:
        """Runs from scalars and arrays, broadcast against each other. The split over stages is even unless said.

        Raises:
            ValueError: a number is below 1, a precision is unknown, or there are more stages than layers.
        """
        counts = {
            "layers": architecture.layers if layers is None else layers,
            **{"tp": tp, "pp": pp, "batch": batch, "prompt": prompt, "output": output},
        }
        wide = np.broadcast_arrays(*(np.atleast_1d(v) for v in (*counts.values(), kv_bytes, precision)))
        ints = {name: np.array(values, np.int64) for name, values in zip(counts, wide, strict=False)}
        names = np.array(wide[-1], np.str_)
        for name, values in ints.items():
            if values.min(initial=1) < 1:
                raise ValueError(f"{name} must be at least 1; got {values.min()}")
        if unknown := set(names.tolist()) - WEIGHT_BYTES.keys():
            raise ValueError(f"unknown precision {', '.join(sorted(unknown))}; known are {', '.join(WEIGHT_BYTES)}")
        if (ints["pp"] > ints["layers"]).any():
            raise ValueError("a pipeline cannot have more stages than the model has layers")
        even = -(-ints["layers"] // ints["pp"])
        stage = even if largest_stage is None else np.broadcast_to(np.array(largest_stage, np.int64), even.shape)
        return cls(**ints, largest_stage=stage, precision=names, kv_bytes=np.array(wide[-2], np.float64))

    def __len__(self) -> int:
        return len(self.tp)

    @property
    def weight_bytes(self) -> Floats:
        """Bytes per weight of a layer."""
        kinds, index = np.unique(self.precision, return_inverse=True)
        return np.array([WEIGHT_BYTES[kind] for kind in kinds])[index]
