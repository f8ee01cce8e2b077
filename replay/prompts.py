"""Prompts as token ids: of the traced length, and with the traced prefix structure.

A workload names the content of consecutive blocks of a prompt; equal names give equal tokens, at any place and in any request, so
that a prefix cache finds what the trace's cache would have found. What lies beyond the named blocks is the request's own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from replay.request import Request
from traces.workload import Workload

RESERVED = 16
"""The lowest token ids are left out: tokenizers keep their special tokens there."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_NAMED, _OWN, _GENERATED = 1, 2, 3


class Prompts:
    """The prompts of one run. ``vocab``: size of the model's vocabulary; ids lie in [``RESERVED``, ``vocab``).

    Deterministic: the same seed and request give the same ids in every process.
    """

    def __init__(self, workload: Workload, vocab: int, seed: int) -> None:
        if vocab <= RESERVED:
            raise ValueError(f"a vocabulary of {vocab} tokens leaves none beyond the {RESERVED} that are kept free")
        self._block_tokens = workload.block_tokens
        self._span = np.uint64(vocab - RESERVED)
        self._seed = seed

    def of(self, request: int, prompt_tokens: int, prefix_blocks: Sequence[int] = ()) -> list[int]:
        """Token ids of a request's prompt. ``request``: its row in the workload."""
        parts = [self._tokens(_NAMED, block, self._block_tokens) for block in prefix_blocks]
        own = prompt_tokens - len(parts) * self._block_tokens
        if own > 0:
            parts.append(self._tokens(_OWN, request, own))
        ids: list[int] = np.concatenate(parts)[:prompt_tokens].tolist()
        return ids

    def known(self, request: Request) -> list[int]:
        """A request's prompt and the tokens that it was given, made up where their ids are not known."""
        ids, given = self.of(request.id, request.prompt_tokens, request.prefix_blocks), request.generated_tokens
        if given:
            ids += (request.answer + self.output(request.id, given)[len(request.answer) :])[:given]
        return ids

    def output(self, request: int, tokens: int) -> list[int]:
        """What a request generates where no model does."""
        ids: list[int] = self._tokens(_GENERATED, request, tokens).tolist()
        return ids

    def _tokens(self, kind: int, name: int, count: int) -> NDArray[np.int64]:
        """``count`` ids drawn from the stream of one name: SplitMix64 of (seed, kind, name, position)."""
        with np.errstate(over="ignore"):
            stream = _mixed(_mixed(_mixed(np.uint64(self._seed)) + np.uint64(kind)) + np.uint64(name & (2**64 - 1)))
            drawn = _mixed(stream + np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN)
            return (drawn % self._span).astype(np.int64) + RESERVED


def _mixed(value: NDArray[np.uint64] | np.uint64) -> NDArray[np.uint64]:
    """Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA '14: the finaliser of SplitMix64."""
    value = value + _GOLDEN
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(value ^ (value >> np.uint64(31)))
