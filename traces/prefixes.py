"""Which prompts begin alike: synthetic prefix blocks with the sharing of a measured trace.

Each request either opens a conversation (it shares the first block, the system prompt, with everybody) or goes on from an
earlier request: it repeats that one's first blocks and adds its own. How often, how much and how long ago are tables by
prompt length; so the hit fraction in an endless cache follows the trace by construction, and how it falls in a small cache
follows from the lags.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.streams import generator
from traces.quantiles import QuantileTable

Counts = NDArray[np.int64]

# How many neighbours of the drawn lag are considered for the request that fits best as the one continued.
_NEIGHBOURS = 96


@dataclass(frozen=True, slots=True)
class PrefixBlocks:
    """Columns of the request table: ``offsets`` (n + 1) into ``ids``, and the conversation of each request."""

    offsets: Counts
    ids: Counts
    session: Counts


@dataclass(frozen=True, slots=True)
class PrefixModel:
    """Prefix sharing by prompt length, in blocks of ``block_tokens`` tokens.

    ``bands``: largest prompt (in blocks) of each band, rising; longer prompts belong to the last. ``continues``: the chance
    per band that a request goes on from an earlier one. ``shared_percent`` and ``shared``: per band, quantiles of the shared
    part of its blocks after the first. ``lag``: how many requests ago the one continued came.
    """

    block_tokens: int
    bands: tuple[int, ...]
    continues: tuple[float, ...]
    shared_percent: tuple[float, ...]
    shared: tuple[tuple[float, ...], ...]
    lag: QuantileTable

    def sample(self, prompt_tokens: NDArray[np.int32], rng: np.random.Generator) -> PrefixBlocks:
        """Block ids for prompts in arrival order, one per started block; ``rng`` gives only the seed of the streams."""
        seed = int(rng.integers(2**63))
        blocks = -(-prompt_tokens.astype(np.int64) // self.block_tokens)
        shares, continued = self._match(blocks, seed)
        offsets = np.concatenate([[0], np.cumsum(blocks)])
        # Every block is new content unless copied below; id 0 is the system prompt.
        ids = np.arange(1, offsets[-1] + 1)
        ids[offsets[:-1]] = 0
        session = np.arange(len(blocks))
        rows = np.flatnonzero(continued >= 0)
        triples = zip(rows.tolist(), continued[rows].tolist(), shares[rows].tolist(), strict=True)
        starts = offsets.tolist()
        for row, earlier, shared in triples:  # in arrival order: what is copied may itself be a copy
            ids[starts[row] : starts[row] + shared] = ids[starts[earlier] : starts[earlier] + shared]
            session[row] = session[earlier]
        return PrefixBlocks(offsets, ids, session)

    def _match(self, blocks: Counts, seed: int) -> tuple[Counts, Counts]:
        """Shared leading blocks of each request and the row continued (-1: none).

        A next turn repeats all but the last, unfilled block of the turn before it: the request continued is the one near the
        drawn lag that is closest to one block longer than what is to be shared.
        """
        n = len(blocks)
        band = np.minimum(np.searchsorted(self.bands, blocks), len(self.bands) - 1)
        opens = generator(seed, "opens").random(n) >= np.asarray(self.continues)[band]
        levels = np.asarray(self.shared_percent) / 100
        at = (levels * (1 - 1e-9) + np.arange(len(self.bands))[:, None]).ravel()
        part = np.interp(band + generator(seed, "shared").random(n) * (1 - 1e-9), at, np.ravel(self.shared))
        wanted = 1 + np.rint(part * (blocks - 1)).astype(np.int64)
        lag = np.maximum(np.rint(self.lag.at(generator(seed, "lag").random(n))).astype(np.int64), 1)

        shares, continued = np.ones(n, np.int64), np.full(n, -1)
        # A lag that reaches before the start: the conversation began unseen, as in any slice of a trace.
        rows = np.flatnonzero(~opens & (wanted > 1) & (lag <= np.arange(n)))
        around, ideal = rows - lag[rows], wanted[rows] + 1
        best, best_cost = around.copy(), np.full(len(rows), np.iinfo(np.int64).max)
        for step in range(-_NEIGHBOURS // 2, _NEIGHBOURS // 2):
            candidate = np.clip(around + step, 0, rows - 1)
            longer = blocks[candidate] - ideal
            cost = np.where(longer >= 0, longer, -1_000_000 * longer)
            better = cost < best_cost
            best[better], best_cost[better] = candidate[better], cost[better]
        shared = np.minimum(wanted[rows], blocks[best] - 1)
        fits = shared > 1
        shares[rows[fits]], continued[rows[fits]] = shared[fits], best[fits]
        return shares, continued
