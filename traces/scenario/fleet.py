"""The `fleet:` and `engine:` parts of a scenario: which GPUs there are, and the knobs of the vLLM engines on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from traces.errors import InputError
from traces.hardware import GPU, GPUS, ModelShape, gpu, model
from traces.scenario.document import nearest
from traces.scenario.fields import Count, Number, Part, Switch

Positive = Annotated[Count, Field(ge=1)]


class Fleet(Part):
    """Identical engines, each on `tensor_parallel` GPUs."""

    gpu: str = Field(description="GPU type, such as h200")
    gpus: Positive = Field(description="GPUs in all")
    tensor_parallel: Positive = Field(1, description="GPUs per engine")
    precision: Literal["bf16", "fp8"] = Field("bf16", description="of the weights")
    usd_per_gpu_hour: Annotated[Number, Field(ge=0)] | None = Field(None, description="price; default: a rounded list price")

    @field_validator("gpu")
    @classmethod
    def _gpu_exists(cls, name: str) -> str:
        if name not in GPUS:
            raise ValueError(f"GPU `{name}` is not known; {nearest(name, list(GPUS))}")
        return name

    def faults(self) -> Iterator[tuple[str, str]]:
        if self.gpus % self.tensor_parallel:
            yield (
                "gpus",
                f"{self.gpus} GPUs do not make whole engines of {self.tensor_parallel}; use a multiple of {self.tensor_parallel}",
            )

    @property
    def engines(self) -> int:
        return self.gpus // self.tensor_parallel

    @property
    def price_usd_per_gpu_hour(self) -> float:
        """The user's price, else the list price of the GPU's data sheet."""
        return gpu(self.gpu).usd_per_hour if self.usd_per_gpu_hour is None else self.usd_per_gpu_hour


class Engine(Part):
    """Knobs of each engine under vLLM's names, with the defaults of vLLM 0.32's OpenAI server and its validity rules.

    `max_num_seqs` and `max_num_batched_tokens` default to what vLLM takes on the fleet's GPU (`default_knobs`).
    """

    max_num_seqs: Positive = Field(1024, description="requests in a step at most")
    max_num_batched_tokens: Positive = Field(8192, description="tokens in a step at most")
    max_model_len: Positive | None = Field(None, description="prompt plus output at most; default: the model's context window")
    block_size: Positive = Field(16, description="tokens in a KV block")
    gpu_memory_utilization: Annotated[Number, Field(gt=0, le=1)] = Field(
        0.92, description="share of GPU memory that the engine uses"
    )
    num_gpu_blocks_override: Positive | None = Field(None, description="KV blocks per engine, in place of what fits the memory")
    enable_chunked_prefill: Switch = Field(True, description="compute long prompts in parts, beside decodes")
    scheduling_policy: Literal["fcfs", "priority"] = Field("fcfs", description="order of requests: as they come, or by `priority`")
    watermark: Annotated[Number, Field(ge=0, lt=1)] = Field(
        0.0, description="share of KV blocks kept free when a request is admitted beside others"
    )
    scheduler_reserve_full_isl: Switch = Field(True, description="admit a prompt only when all of it fits the free KV blocks")
    enable_prefix_caching: Switch = Field(True, description="keep KV blocks for later prompts that begin alike")
    long_prefill_token_threshold: Annotated[Count, Field(ge=0)] = Field(
        0, description="most tokens of one prompt in a step; 0 = no limit"
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        if self.max_num_batched_tokens < self.max_num_seqs:
            yield (
                "max_num_batched_tokens",
                f"is {self.max_num_batched_tokens}, less than max_num_seqs ({self.max_num_seqs}), which vLLM refuses; "
                "raise it or lower max_num_seqs",
            )
        if not self.enable_chunked_prefill and (self.max_model_len is None or self.max_num_batched_tokens < self.max_model_len):
            yield (
                "enable_chunked_prefill",
                f"is off, and a step of {self.max_num_batched_tokens} tokens may not hold a prompt, which vLLM refuses; set "
                f"max_model_len to at most {self.max_num_batched_tokens}, or raise max_num_batched_tokens",
            )
        if self.max_model_len is not None and self.long_prefill_token_threshold > self.max_model_len:
            yield (
                "long_prefill_token_threshold",
                f"is {self.long_prefill_token_threshold}, more than max_model_len ({self.max_model_len}); lower it",
            )

    def kv_blocks(self, shape: ModelShape, fleet: Fleet) -> int:
        """KV blocks of one engine.

        Raises:
            InputError: the weights, or not even one block beside them, fit the GPU.
        """
        tokens = shape.kv_tokens_capacity(
            gpu(fleet.gpu),
            fleet.tensor_parallel,
            fleet.precision,
            utilization=self.gpu_memory_utilization,
            max_batched_tokens=self.max_num_batched_tokens,
            max_seqs=self.max_num_seqs,
        )
        return self.num_gpu_blocks_override or tokens // self.block_size


def default_knobs(given: Mapping[str, Any], device: GPU) -> dict[str, int]:
    """Batch limits that vLLM's OpenAI server takes on a GPU when the user leaves one out (0.32, ``vllm/engine/arg_utils.py``:
    ``get_batch_defaults`` and ``_set_default_max_num_seqs_and_batched_tokens_args``).
    """
    big = device.memory_bytes >= 70 * 2**30 and not device.name.startswith("a100")
    tokens = 16384 if device.memory_bytes >= 160 * 2**30 else 8192 if big else 2048
    seqs = 1024 if big else 256
    limit = given.get("max_num_batched_tokens", tokens)
    if isinstance(limit, int) and limit > 0:
        seqs = min(seqs, limit)
    return {"max_num_seqs": seqs, "max_num_batched_tokens": tokens}


def fit_faults(model_name: str, fleet: Fleet, engine: Engine) -> Iterator[tuple[str, str]]:
    """What stops vLLM from starting the model on this fleet with these knobs."""
    shape = model(model_name)
    window = engine.max_model_len or shape.max_context
    if window > shape.max_context:
        yield (
            "engine.max_model_len",
            f"is {window}, more than the {shape.max_context} tokens of {model_name}'s context window; lower it",
        )
        return
    try:
        blocks = engine.kv_blocks(shape, fleet)
    except InputError as error:
        for fault in error.faults:
            where, _, text = fault.partition(": ")
            yield (f"fleet.{where}", text) if where in Fleet.model_fields else ("fleet", fault)
        return
    fits = blocks * engine.block_size
    if fits < window and engine.num_gpu_blocks_override is None:
        key = "engine" if engine.max_model_len is None else "engine.max_model_len"
        yield (
            key,
            (
                f"one request of {window} tokens needs more KV memory than an engine has ({fits} tokens), which vLLM refuses; "
                f"set max_model_len to at most {fits}, or use more GPUs per engine"
            ),
        )
