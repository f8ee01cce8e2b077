"""Step noise: every engine step has a factor of its own, keyed by (seed, engine, step), with mean 1.

Prefix sums make the duration of any run of decode steps a closed form, so a leap over k steps draws the same noise as k single
steps and costs the same as one.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np

from policies.fingerprint import NOISE_LEVELS
from policies.streams import generator

CHUNK = 4096
"""Steps per chunk of factors; a leap ends where its chunk ends."""


class StepNoise:
    """Factors of one engine's steps, of mean 1: drawn from ``quantiles`` (a fingerprint's ``noise``), or where there are none
    log-normal with relative standard deviation ``sigma``; none at all where ``sigma`` is 0.

    For step ``s`` of the loaded chunk, with ``i = s % CHUNK``: ``first[i]`` is the sum of the factors before it and
    ``moment[i]`` the sum of (index × factor) before it. Arrays, as lists of floats would be four times as large, and the chunks
    of a large fleet compete for the processor's cache.
    """

    __slots__ = ("_engine", "_quantiles", "_seed", "chunk", "first", "moment", "sigma")

    def __init__(self, seed: int, engine: int, sigma: float, quantiles: Sequence[float] = ()) -> None:
        self._seed = seed
        self._engine = engine
        self._quantiles = quantiles
        self.chunk = -1
        """The loaded chunk."""
        self.sigma = sigma
        self.first = array("d")
        self.moment = array("d")

    def load(self, step: int) -> None:
        """Make the chunk that holds ``step`` the loaded one."""
        chunk = step // CHUNK
        if self.sigma or self.chunk < 0:
            first, moment = self.sums(chunk)
            self.first, self.moment = array("d", first.tobytes()), array("d", moment.tobytes())
        self.chunk = chunk

    def sums(self, chunk: int) -> tuple[np.ndarray, np.ndarray]:
        """``first`` and ``moment`` of a chunk, CHUNK + 1 values each."""
        if self.sigma:
            stream = generator(self._seed, "step-noise", self._engine, chunk)
            if self._quantiles:
                factors = np.interp(stream.random(CHUNK), NOISE_LEVELS, self._quantiles)
            else:
                spread = np.sqrt(np.log1p(self.sigma**2))
                factors = np.exp(spread * stream.standard_normal(CHUNK) - spread**2 / 2)
        else:
            factors = np.ones(CHUNK)
        first = np.concatenate([[0.0], np.cumsum(factors)])
        moment = np.concatenate([[0.0], np.cumsum(np.arange(CHUNK) * factors)])
        return first, moment
