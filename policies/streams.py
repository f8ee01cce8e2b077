"""Named, counter-based random streams: the same (seed, name) gives the same numbers whatever else a run draws.

Two arms of a comparison that name their streams alike therefore share arrivals, lengths and noise by construction.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

_MASK = (1 << 64) - 1

Stream = np.random.Generator
"""A stream of random numbers, for code that is handed one."""


def _key(seed: int, names: tuple[str | int, ...], bits: int) -> int:
    text = "\x1f".join([str(int(seed)), *map(str, names)])
    return int.from_bytes(blake2b(text.encode(), digest_size=bits // 8).digest(), "little")


def generator(seed: int, *names: str | int) -> Stream:
    """A numpy generator (Philox, counter-based) of its own for ``(seed, *names)``."""
    return np.random.Generator(np.random.Philox(key=_key(seed, names, 128)))


class Draws:
    """Stateless uniform draws: ``draws(counter)`` is a function of (seed, names, counter) alone.

    Use it where the number of draws may differ between arms of a comparison: key the draw by the request's id.
    """

    __slots__ = ("_base",)

    def __init__(self, seed: int, *names: str | int) -> None:
        self._base = _key(seed, names, 64)

    def __call__(self, counter: int) -> float:
        """Uniform in [0, 1): splitmix64 of the counter, Steele, Lea & Flood, OOPSLA 2014."""
        z = (self._base + (counter + 1) * 0x9E3779B97F4A7C15) & _MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return ((z ^ (z >> 31)) >> 11) * 2.0**-53
