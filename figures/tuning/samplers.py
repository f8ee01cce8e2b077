"""Who suggests configurations: SCOOT, what it is compared with, and SCOOT with a part left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from policies.scoot.space import Space
from traces.errors import InputError

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

INITIAL = 10
"""Trials before a model is asked, of all samplers that have one."""


def names() -> list[str]:
    """All samplers."""
    return list(_SAMPLERS)


def sampler(name: str, space: Space, *, seed: int, done: int = 0, canary: float | None = None) -> BaseSampler:
    """The sampler of that name. ``done``: trials that the study has already, lest Optuna's own samplers draw those again.

    Raises:
        InputError: there is none, or it has no canary mode.
    """
    if name not in _SAMPLERS:
        from traces.scenario.document import nearest

        raise InputError(f"--sampler {name}: there is none; {nearest(name, names())}")
    if canary is not None:
        if name != "scoot":
            raise InputError(f"--canary: is a mode of the sampler scoot, not of {name}; leave out --sampler")
        return _scoot(space, seed, canary=canary)
    return _SAMPLERS[name](space, seed if name in _OURS else seed + _STRIDE * done)


def _scoot(space: Space, seed: int, **parts: Any) -> BaseSampler:
    from policies.scoot.sampler import ScootSampler

    return ScootSampler(space, seed=seed, initial=INITIAL, **parts)


def _random(space: Space, seed: int) -> BaseSampler:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def _tpe(space: Space, seed: int) -> BaseSampler:
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, n_startup_trials=INITIAL)


def _nsga2(space: Space, seed: int) -> BaseSampler:
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(seed=seed, population_size=INITIAL)


def _auto_tune(space: Space, seed: int) -> BaseSampler:
    from policies.scoot.autotune import AutoTuneSampler

    return AutoTuneSampler(space)


def _vanilla(space: Space, seed: int) -> BaseSampler:
    return _scoot(space, seed, hidden=False)


def _without_rules(space: Space, seed: int) -> BaseSampler:
    return _scoot(space, seed, known=False)


def _vanilla_without_rules(space: Space, seed: int) -> BaseSampler:
    return _scoot(space, seed, hidden=False, known=False)


_RULED: Mapping[str, Callable[[Space, int], BaseSampler]] = {
    "scoot": _scoot,
    "random": _random,
    "tpe": _tpe,
    "nsga2": _nsga2,
    "vanilla-bo": _vanilla,
    "auto-tune": _auto_tune,
}
_UNRULED: Mapping[str, Callable[[Space, int], BaseSampler]] = {
    "scoot-without-rules": _without_rules,
    "random-without-rules": _random,
    "tpe-without-rules": _tpe,
    "nsga2-without-rules": _nsga2,
    "vanilla-bo-without-rules": _vanilla_without_rules,
}
_SAMPLERS = {**_RULED, **_UNRULED}
_OURS = ("scoot", "vanilla-bo", "scoot-without-rules", "vanilla-bo-without-rules", "auto-tune")
"""Samplers whose suggestions depend on the seed and the stored trials alone."""
_STRIDE = 1_000_003
UNRULED = tuple(_UNRULED)
"""Samplers whose suggestions are tried as they are; those of all others are repaired to keep the space's rules."""
