"""The `fleet:` and `engine:` parts of a scenario: which GPUs there are, and the knobs of the vLLM engines on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, create_model, model_validator

from traces.errors import InputError
from traces.hardware import GPU, ModelShape, gpu, model
from traces.scenario.fields import (
    LIST,
    BytesPerSecond,
    Count,
    Fraction,
    GPUName,
    ModelName,
    NotEmpty,
    Number,
    Part,
    Seconds,
    Switch,
)
from traces.scenario.speculative import Speculative

Positive = Annotated[Count, Field(ge=1)]


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
    async_scheduling: Switch = Field(
        False, description="plan a step while the last one runs, as vLLM does on CUDA; default: off, for simulated speed"
    )
    ignore_eos: Switch = Field(True, description="with async_scheduling: the engine knows where an output ends, as in benchmarks")
    speculative: Speculative | None = Field(None, description="speculative decoding; default: none")
    vllm_version: Literal["0.26", "0.27", "0.28", "0.29", "0.30", "0.31", "0.32"] = Field(
        "0.32", description="whose scheduling rules hold"
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
        if self.speculative is not None:
            yield from self._speculative_faults(self.speculative)

    def _speculative_faults(self, speculative: Speculative) -> Iterator[tuple[str, str]]:
        tokens = speculative.num_speculative_tokens
        if 0 < self.long_prefill_token_threshold <= tokens:
            yield (
                "long_prefill_token_threshold",
                f"is {self.long_prefill_token_threshold}, no more than num_speculative_tokens ({tokens}), with which vLLM stops; "
                "raise it, or set 0",
            )
        if self.async_scheduling and speculative.tree_width > 1:
            yield "async_scheduling", "plans steps before there are drafts to choose from; turn it off, or set tree_width: 1"
        if self.async_scheduling and speculative.method not in Speculative.PAIRED_WITH_ASYNC:
            yield (
                "async_scheduling",
                f"does not go with {speculative.method} drafts, which vLLM refuses; turn it off, or use another method",
            )

    def kv_blocks(self, shape: ModelShape, pool: Pool) -> int:
        """KV blocks of one engine.

        Raises:
            InputError: the weights, or not even one block beside them, fit the GPU.
        """
        tokens = shape.kv_tokens_capacity(
            gpu(pool.gpu),
            pool.tensor_parallel,
            pool.precision,
            utilization=self.gpu_memory_utilization / pool.engines_per_gpu,
            max_batched_tokens=self.max_num_batched_tokens,
            max_seqs=self.max_num_seqs,
            pipeline_parallel=pool.pipeline_parallel,
            kv_precision=pool.kv_precision or "bf16",
        )
        return self.num_gpu_blocks_override or tokens // self.block_size


Knobs = create_model(
    "Knobs",
    __base__=Part,
    __doc__="Engine knobs of one pool; what is left out is as in `engine:`.",
    **{
        name: (Annotated[info.annotation, *info.metadata, None] | None, Field(None, alias=info.alias, description=info.description))
        for name, info in Engine.model_fields.items()
    },
)  # type: ignore[call-overload]


_SHARE_ROUNDED = 0.02
"""33% is a third."""

START_UP_S = 60.0
"""Of an engine where the scenario does not tell: an assumption, in the middle of the 30 s to 2 min that loading a model takes."""


class StartUp(Part):
    """How long an engine takes from nothing to serving: a time, or the time to load its weights and what comes on top."""

    SHORT: ClassVar = {"type": ["string", "number"], "examples": ["45s"]}

    time_s: Seconds | None = Field(None, alias="time", description="all of it, in place of what follows")
    load_bytes_s: Annotated[BytesPerSecond, Field(gt=0)] | None = Field(
        None, alias="load", description="bandwidth at which each GPU gets its weights, such as 2GB/s"
    )
    overhead_s: Seconds = Field(0.0, alias="overhead", description="beside loading: process, compilation, CUDA graphs")

    @model_validator(mode="before")
    @classmethod
    def _a_time_alone(cls, value: Any) -> Any:
        return value if isinstance(value, dict | StartUp) else {"time": value}

    def faults(self) -> Iterator[tuple[str, str]]:
        if (self.time_s is None) == (self.load_bytes_s is None):
            yield "", "takes a time, or a `load:` bandwidth; write 45s, or {load: 2GB/s, overhead: 20s}"


class Pool(Part):
    """Identical engines, each on `tensor_parallel` × `pipeline_parallel` GPUs."""

    TAG: ClassVar[str] = "<pool>"

    gpu: GPUName = Field(description="GPU type, such as h200")
    gpus: Positive = Field(description="GPUs in all")
    tensor_parallel: Positive = Field(1, description="GPUs among which every layer is split")
    pipeline_parallel: Positive = Field(1, description="stages among which the layers are dealt out, one after the other")
    precision: Literal["bf16", "fp8", "fp8_block", "int8", "int4", "mxfp4"] = Field("bf16", description="of the weights")
    kv_precision: Literal["bf16", "fp8"] | None = Field(None, description="of keys and values in memory; default: bf16")
    expert_parallel: Switch | None = Field(None, description="spread experts over an engine's GPUs instead of slicing them")
    name: str | None = Field(None, min_length=1, description="of the pool among others, for reports and for --set")
    model: ModelName | None = Field(None, description="the model that its engines serve; default: the scenario's")
    role: Literal["both", "prefill", "decode"] | None = Field(None, description="what its engines do of a request; default: both")
    tier: str | None = Field(None, min_length=1, description="SLO tier that its engines are set aside for; policies may look at it")
    parked: Annotated[Count, Field(ge=0)] | None = Field(
        None, description="engines that are parked at the start and cost nothing until a scaler activates them"
    )
    share: Annotated[Fraction, Field(gt=0, le=1)] | None = Field(
        None, description="part of its GPU that an engine takes beside others, such as 50%; default: a whole one"
    )
    start_up: StartUp | None = Field(None, description="from being activated to serving; default: 1min, an assumption")
    engine: Knobs | None = Field(None, description="knobs in which its engines differ from the scenario's `engine:`")
    usd_per_gpu_hour: Annotated[Number, Field(ge=0)] | None = Field(None, description="price; default: a rounded list price")
    fingerprint: str | None = Field(
        None, min_length=1, description="step times: the JSON file of a fingerprint, beside the scenario; default: the library's"
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        if self.gpus % (each := self.gpus_per_engine):
            product = f" ({self.tensor_parallel} × {self.pipeline_parallel} stages)" if self.pipeline_parallel > 1 else ""
            yield "gpus", f"{self.gpus} GPUs do not make whole engines of {each}{product}; use a multiple of {each}"
        elif (self.parked or 0) > self.engines:
            yield "parked", f"is {self.parked}, and the pool has {self.engines} engines; lower it"
        if abs(self.engines_per_gpu * (self.share or 1.0) - 1) > _SHARE_ROUNDED:
            yield "share", f"{self.share:.0%} leaves a part of the GPU to nobody; write 50%, 33%, 25% and so on"

    def start_up_s(self, weight_bytes: int) -> float:
        """Seconds from being activated to serving. ``weight_bytes``: of the model on each GPU."""
        start_up = self.start_up
        if start_up is None:
            return START_UP_S
        if start_up.time_s is not None:
            return start_up.time_s
        assert start_up.load_bytes_s is not None
        return start_up.overhead_s + weight_bytes / start_up.load_bytes_s

    @property
    def engines_per_gpu(self) -> int:
        """That share a GPU."""
        return round(1 / (self.share or 1.0))

    @property
    def gpus_per_engine(self) -> int:
        return self.tensor_parallel * self.pipeline_parallel

    @property
    def engines(self) -> int:
        return self.gpus // self.gpus_per_engine

    @property
    def price_usd_per_gpu_hour(self) -> float:
        """The user's price, else the list price of the GPU's data sheet."""
        return gpu(self.gpu).usd_per_hour if self.usd_per_gpu_hour is None else self.usd_per_gpu_hour


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


def fit_faults(
    model_name: str, pool: Pool, engine: Engine, where: str = "fleet", knobs: str = "engine"
) -> Iterator[tuple[str, str]]:
    """What stops vLLM from starting the model on these GPUs with these knobs. ``where``, ``knobs``: their keys in the file."""
    shape = model(model_name)
    window = engine.max_model_len or shape.max_context
    if window > shape.max_context:
        yield (
            f"{knobs}.max_model_len",
            f"is {window}, more than the {shape.max_context} tokens of {model_name}'s context window; lower it",
        )
        return
    try:
        blocks = engine.kv_blocks(shape, pool)
    except InputError as error:
        for fault in error.faults:
            key, _, text = fault.partition(": ")
            yield (f"{where}.{key}", text) if key in Pool.model_fields else (where, fault)
        return
    fits = blocks * engine.block_size
    if fits < window and engine.num_gpu_blocks_override is None:
        key = knobs if engine.max_model_len is None else f"{knobs}.max_model_len"
        yield (
            key,
            (
                f"one request of {window} tokens needs more KV memory than an engine has ({fits} tokens), which vLLM refuses; "
                f"set max_model_len to at most {fits}, or use more GPUs per engine"
            ),
        )


def _kind_of_fleet(value: Any) -> str:
    return LIST if isinstance(value, list | tuple) else Pool.TAG


Fleet = Annotated[
    Annotated[Pool, Tag(Pool.TAG)] | Annotated[Annotated[tuple[Pool, ...], NotEmpty], Tag(LIST)], Discriminator(_kind_of_fleet)
]
"""One pool, or a list of them."""


class KVTransfer(Part):
    """How KV gets from prefill to decode engines: every engine has a network interface, over which it sends one request's after the
    other."""

    bandwidth_bytes_s: Annotated[BytesPerSecond, Field(gt=0)] = Field(
        50e9, alias="bandwidth", description="of each GPU's network interface; default: one 400 Gb/s NIC per GPU, as in DGX H100"
    )
    latency_s: Seconds = Field(1e-3, alias="latency", description="of a transfer, beside its bytes; default: 1ms, an assumption")


class Outage(Part):
    """One failure of one engine."""

    engine: str = Field(min_length=1, description="id of the engine, such as e3")
    at_s: Seconds = Field(alias="at", description="when it fails, from the start of the run")
    down_s: Seconds | None = Field(None, alias="for", description="until it starts again; default: for good")


class Faults(Part):
    """Failures of engines, and what becomes of the requests on them."""

    events: tuple[Outage, ...] = Field((), description="failures at given times")
    mtbf_s: Annotated[Seconds, Field(gt=0)] | None = Field(
        None, alias="mtbf", description="mean time between failures of each engine, at random times; default: none"
    )
    mttr_s: Seconds = Field(120.0, alias="mttr", description="mean time until an engine that failed at random starts again")
    on_failure: Literal["retry", "fail"] = Field("retry", description="its requests start over on another engine, or fail")
    retries: Annotated[Count, Field(ge=0)] = Field(3, description="engines that a request may lose before it fails")

    @property
    def allowed(self) -> int:
        """How often a request may lose its engine."""
        return self.retries if self.on_failure == "retry" else 0
