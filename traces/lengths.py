"""How many tokens requests bring and ask for: two marginal distributions joined by a copula.

A marginal turns ranks in [0, 1) into token counts, a copula says how the ranks of prompt and output hang together.
Prompts and outputs draw from streams of their own, request by request: the first m of n requests are the same for every n.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from policies.streams import generator
from traces.errors import InputError

Ranks = NDArray[np.float64]


class Marginal(Protocol):
    """A distribution of token counts by its quantile function."""

    def at(self, u: Ranks) -> NDArray[np.float64]:
        """Tokens at ranks ``u`` in [0, 1); not yet rounded."""


class Copula(Protocol):
    """How two uniform ranks depend on each other."""

    def join(self, u: Ranks, v: Ranks) -> tuple[Ranks, Ranks]:
        """Ranks of prompt and output, each uniform, from two independent uniform arrays; the prompt's is ``u``."""


# --- marginals --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same number of tokens every time."""

    tokens: int

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise InputError(f"lengths: fixed length of {self.tokens} tokens; give at least 1")

    def at(self, u: Ranks) -> NDArray[np.float64]:
        return np.full(len(u), float(self.tokens))


@dataclass(frozen=True, slots=True)
class Uniform:
    """Every whole number of tokens from ``min`` to ``max``, both included, equally often."""

    min: int
    max: int

    def __post_init__(self) -> None:
        if not 1 <= self.min <= self.max:
            raise InputError(f"lengths: uniform from {self.min} to {self.max} tokens; give 1 <= min <= max")

    def at(self, u: Ranks) -> NDArray[np.float64]:
        return np.floor(self.min + u * (self.max - self.min + 1))


@dataclass(frozen=True, slots=True)
class Lognormal:
    """Log-normal, clipped into [``min``, ``max``] tokens.

    ``mean`` is the mean of the log-normal before clipping, ``sigma`` the standard deviation of the logarithm.
    """

    mean: float
    sigma: float
    min: int = 1
    max: int = 2**31 - 1

    def __post_init__(self) -> None:
        if not (self.mean > 0 and self.sigma >= 0 and 1 <= self.min <= self.max):
            raise InputError(
                f"lengths: log-normal with mean {self.mean}, sigma {self.sigma}, clipped to {self.min}..{self.max}; "
                "give mean > 0, sigma >= 0 and 1 <= min <= max"
            )

    def at(self, u: Ranks) -> NDArray[np.float64]:
        from scipy.special import ndtri

        location = math.log(self.mean) - self.sigma**2 / 2
        # Rank 0 is minus infinity, which only the clip brings back; with sigma 0 it would be NaN.
        tokens = np.exp(location + self.sigma * np.maximum(ndtri(u), -40.0))
        return np.asarray(np.clip(tokens, self.min, self.max))


# --- copulas ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Independent:
    """A long prompt says nothing about its output."""

    def join(self, u: Ranks, v: Ranks) -> tuple[Ranks, Ranks]:
        return u, v


@dataclass(frozen=True, slots=True)
class RankCorrelation:
    """Gaussian copula with the given Spearman correlation; Pearson's of the normals is 2 sin(pi rho / 6) (Pearson, 1907)."""

    spearman: float

    def __post_init__(self) -> None:
        if not -1 <= self.spearman <= 1:
            raise InputError(f"lengths: rank correlation {self.spearman}; give a number from -1 to 1")

    def join(self, u: Ranks, v: Ranks) -> tuple[Ranks, Ranks]:
        from scipy.special import ndtr, ndtri

        rho = 2 * math.sin(math.pi * self.spearman / 6)
        tiny = np.finfo(np.float64).tiny
        normal = rho * ndtri(np.maximum(u, tiny)) + math.sqrt(max(0.0, 1 - rho * rho)) * ndtri(np.maximum(v, tiny))
        return u, np.asarray(ndtr(normal))


@dataclass(frozen=True)
class RankGrid:
    """Checkerboard copula: ``counts[i][j]`` requests had a prompt in the i-th and an output in the j-th of k equal rank bands.

    It keeps dependence that one correlation cannot tell: in Azure's conversations the longest prompts have the shortest
    outputs and the middle ones the longest, and Spearman's rho is 0.03. Within a cell ranks are independent.

    Raises:
        InputError: the grid is not square, or has an empty row.
    """

    counts: tuple[tuple[int, ...], ...]
    _at: NDArray[np.float64] = field(init=False, repr=False, compare=False)
    _rank: NDArray[np.float64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        counts = np.asarray(self.counts, np.float64)
        if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or (counts < 0).any() or not counts.sum(axis=1).all():
            raise InputError(f"lengths: rank grid of shape {counts.shape}; give k rows of k counts, no row without requests")
        k = len(counts)
        doubly = counts.copy()
        for _ in range(64):  # Sinkhorn: bands of tied lengths hold not quite n/k requests; equal sums keep the ranks uniform
            doubly /= np.maximum(doubly.sum(axis=0), 1e-12)
            doubly /= doubly.sum(axis=1, keepdims=True)
        # One piecewise-linear map for all rows: row i lives on [i, i + 1).
        cumulative = np.concatenate([np.zeros((k, 1)), np.cumsum(doubly, axis=1)], axis=1)
        cumulative /= cumulative[:, -1:]
        object.__setattr__(self, "_at", (cumulative + np.arange(k)[:, None]).ravel())
        object.__setattr__(self, "_rank", np.tile(np.arange(k + 1) / k, k))

    def join(self, u: Ranks, v: Ranks) -> tuple[Ranks, Ranks]:
        row = np.floor(u * len(self.counts))
        # Away from the seam between rows, where the map jumps from 1 back to 0.
        inside = np.clip(v, 1e-9, 1 - 1e-9)
        return u, np.interp(row + inside, self._at, self._rank)


# --- the model --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LengthModel:
    """Prompt and output lengths of a workload; a ``traces.quantiles.QuantileTable`` of tokens is a marginal, too."""

    prompt: Marginal
    output: Marginal
    copula: Copula = Independent()

    def sample(self, n: int, rng: np.random.Generator) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Prompt and output tokens of ``n`` requests, each at least 1. ``rng`` gives only the seed of the two streams."""
        seed = int(rng.integers(2**63))
        u, v = self.copula.join(generator(seed, "prompt").random(n), generator(seed, "output").random(n))
        return _tokens(self.prompt.at(u)), _tokens(self.output.at(v))

    @property
    def mean_output_tokens(self) -> float:
        """Expected output tokens of a request, rounding left out."""
        return _mean(self.output)


def _tokens(values: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.maximum(np.rint(values), 1).astype(np.int32)


def _mean(marginal: Marginal) -> float:
    return float(marginal.at((np.arange(8192) + 0.5) / 8192).mean())
