"""What the user said, as a question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from traces.candidates import PRECISIONS
from traces.errors import InputError
from traces.hardware import GPUS, WEIGHT_BYTES, gpu

MANY = 64
"""GPUs of a type, where the user does not say."""


def inventory(words: Sequence[str]) -> dict[str, int]:
    """``h200=16`` → how many of which; every type that is known where nothing is said.

    Raises:
        InputError: there is no such GPU, or the count is none.
    """
    found = {}
    for word in words:
        name, _, count = word.partition("=")
        gpu(name)
        if count and (not count.isdecimal() or int(count) < 1):
            raise InputError(f"--gpu {word}: {count} is no number of GPUs; write it like {name}=16")
        found[name] = int(count) if count else MANY
    return found or dict.fromkeys(GPUS, MANY)


def precisions_of(names: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Precision of the weights → those of the KV cache that go with it.

    Raises:
        InputError: one of them is not known.
    """
    for name in names:
        if name not in WEIGHT_BYTES:
            raise InputError(f"--precision {name}: is not known; use one of {', '.join(WEIGHT_BYTES)}")
    return {name: PRECISIONS.get(name, ("bf16",)) for name in names} if names else PRECISIONS


def knobs_of(axes: Sequence[str]) -> Sequence[tuple[str, ...]]:
    """Every combination of values, ``engine.max_num_seqs=128,256``, as overrides; one without any where nothing is varied.

    Raises:
        InputError: an axis is none, or is of what the plan itself chooses.
    """
    from itertools import product

    from sim.sweep import parse_axis

    found = [parse_axis(text) for text in axes]
    for axis in found:
        if not axis.key.startswith(("engine.", "policy.", "sim.")):
            raise InputError(f"--vary {axis.key}: is not of the engine or the policy, and a plan varies no more; see --gpu, --set")
    return list(product(*([f"{axis.key}={value}" for value in axis.values] for axis in found)))
