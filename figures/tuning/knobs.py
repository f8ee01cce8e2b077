"""What a configuration means for a scenario, and which configurations a scenario has."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from policies.scoot.bounds import bounded
from policies.scoot.space import Config, Space
from policies.scoot.spaces import vllm
from traces.errors import InputError
from traces.fingerprints import pool_fingerprint
from traces.hardware import gpu
from traces.scenario import Scenario

_FITS = 0.9
"""Share of a GPU's memory that weights may take, so that something is left for KV."""
_CPU_BLOCKS = (32, 64, 128)
"""Block sizes that vLLM's CPU attention takes."""


def overrides(config: Config) -> list[str]:
    """The configuration as overrides of a scenario, as ``--set`` takes them."""
    return [f"{key}={json.dumps(value)}" for key, value in map(_override, config.items())]


def _override(knob: tuple[str, Any]) -> tuple[str, Any]:
    name, value = knob
    match name:
        case "tensor_parallel":
            return "fleet.tensor_parallel", value
        case "kv_cache_dtype":
            return "fleet.kv_precision", None if value == "auto" else value
        case "num_speculative_tokens":
            return ("engine.speculative.num_speculative_tokens", value) if value else ("engine.speculative", None)
        case _:
            return f"engine.{name}", value


def present(scenario: Scenario, also: Collection[str] = ()) -> dict[str, Any]:
    """The configuration that the scenario has: its own knobs, and vLLM's defaults for the rest."""
    pool = scenario.pools[0]
    engine = pool.engine
    found: dict[str, Any] = {
        "tensor_parallel": pool.hardware.tensor_parallel,
        "max_num_seqs": engine.max_num_seqs,
        "max_num_batched_tokens": engine.max_num_batched_tokens,
        "block_size": engine.block_size,
        "enable_chunked_prefill": engine.enable_chunked_prefill,
        "enable_prefix_caching": engine.enable_prefix_caching,
        "long_prefill_token_threshold": engine.long_prefill_token_threshold,
        "gpu_memory_utilization": engine.gpu_memory_utilization,
        "watermark": engine.watermark,
    }
    optional = {
        "kv_cache_dtype": "fp8" if pool.hardware.kv_precision == "fp8" else "auto",
        "async_scheduling": engine.async_scheduling,
        "scheduling_policy": engine.scheduling_policy,
        "num_speculative_tokens": engine.speculative.num_speculative_tokens if engine.speculative else 0,
    }
    return found | {name: value for name, value in optional.items() if name in also}


def space_of(scenario: Scenario, *, also: Collection[str] = (), bounds: Sequence[str] = (), on_cpu: bool = False) -> Space:
    """The knobs of a scenario's fleet, within the operator's ``bounds`` such as ``max_num_seqs=64..256`` or ``block_size=16,32``.

    ``on_cpu``: for vLLM's CPU build, where the block size is one of few and neither GPU memory nor several devices exist.

    Raises:
        InputError: the fleet has several pools, or a bound or an optional knob does not make sense here.
    """
    if len(scenario.pools) > 1:
        raise InputError("fleet: has several pools, and a study tunes the knobs of one; leave one pool in the scenario")
    if "num_speculative_tokens" in also and scenario.engine.speculative is None:
        raise InputError("--also num_speculative_tokens: the scenario tells no drafts; add engine.speculative with its acceptance")
    pool = scenario.pools[0]
    gpus, device = pool.hardware.gpus, gpu(pool.hardware.gpu)
    widths = [1 << k for k in range(gpus.bit_length()) if gpus % (1 << k) == 0 and pool.shape.splits(1 << k)]
    fits = [w for w in widths if pool.shape.weight_bytes(w, pool.hardware.precision) < _FITS * device.memory_bytes]
    own = pool.hardware.tensor_parallel
    if own not in widths:
        raise InputError(f"fleet.tensor_parallel: is {own}; a study tunes powers of two, so start from one of them")
    try:
        space = vllm(
            gpus=widths[-1],
            min_tensor_parallel=min([own, *fits[:1]]),
            max_model_len=pool.window,
            most_batched_tokens=_most_tokens(scenario),
            present=present(scenario, also),
            also=also,
        )
        return bounded(space, *_parsed(bounds, space, on_cpu))
    except ValueError as error:
        raise InputError(f"--bound, --also: {error}") from None


def _most_tokens(scenario: Scenario) -> int:
    """Twice the window, 8192 at least, and no more than the step times are calibrated for."""
    pool = scenario.pools[0]
    wanted = max(8192, min(2 * pool.window, 32768))
    calibrated = pool_fingerprint(pool.model, pool.hardware).calibrated.get("tokens")
    return wanted if calibrated is None or scenario.extrapolate else min(wanted, int(calibrated[1]))


def _parsed(bounds: Sequence[str], space: Space, on_cpu: bool) -> tuple[dict[str, tuple[float, float]], dict[str, list[Any]]]:
    """(low and high, allowed values) by knob."""
    import yaml

    ranges: dict[str, tuple[float, float]] = {}
    allowed: dict[str, list[Any]] = {}
    if on_cpu:
        blocks = {*_CPU_BLOCKS} & {*next(getattr(k, "values", ()) for k in space.knobs if k.name == "block_size")}
        allowed = {
            "block_size": sorted(blocks | {space.default["block_size"]}),
            "gpu_memory_utilization": [space.default["gpu_memory_utilization"]],
            "tensor_parallel": [space.default["tensor_parallel"]],
        }
    for bound in bounds:
        name, equals, text = bound.partition("=")
        low, dots, high = text.partition("..")
        if not equals or not text:
            raise ValueError(f"{bound}: names no bound; write max_num_seqs=64..256 or block_size=16,32")
        try:
            if dots:
                ranges[name] = (float(low), float(high))
            else:
                allowed[name] = [yaml.safe_load(value) for value in text.split(",")]
        except (ValueError, yaml.YAMLError):
            raise ValueError(f"{bound}: cannot be read; write max_num_seqs=64..256 or block_size=16,32") from None
    return ranges, allowed
