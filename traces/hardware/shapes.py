"""What a model is made of, and how much memory its weights and keys and values take."""

from __future__ import annotations

from dataclasses import dataclass

from traces.errors import InputError
from traces.hardware.gpus import GPU
from traces.hardware.stages import stage_layers

BF16 = 2.0
WEIGHT_BYTES = {"bf16": BF16, "fp8": 1.0, "fp8_block": 1.0, "int8": 1.0, "int4": 0.53125, "mxfp4": 0.53125}
"""Bytes per quantised weight, scales included (int4: groups of 64 or 128 with a 16-bit scale; mxfp4: 32 with an 8-bit one).
Embeddings and the language-model head stay in bf16, as in vLLM."""
EXPERTS_ONLY = ("int4", "mxfp4")
"""In these precisions a mixture of experts is published with its routed experts quantised and all else in bf16."""
KV_BYTES = {"bf16": 2, "fp8": 1}


@dataclass(frozen=True, slots=True)
class Experts:
    """The feed-forward part of a mixture: ``count`` routed experts of which each token takes ``top_k``, each with an
    ``intermediate`` size; ``shared``: intermediate size of what every token takes beside them. ``dense_layers``: the first so many
    layers have a plain MLP of the model's own intermediate size.
    """

    count: int
    top_k: int
    intermediate: int
    shared: int = 0
    dense_layers: int = 0


@dataclass(frozen=True, slots=True)
class Latent:
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): ranks of the compressed queries and keys and values, and
    sizes per head of the part without and with rotary position, and of values. Every GPU keeps the latent KV of all heads."""

    query_rank: int
    kv_rank: int
    plain_dim: int
    rotary_dim: int
    value_dim: int


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A decoder-only transformer with grouped-query or latent attention and gated MLPs or a mixture of experts.

    ``max_context``: in tokens. ``tied``: the head is the embedding. ``window``, ``windowed_layers``: so many layers attend to the
    last ``window`` tokens only. A latent model's ``head_dim`` is that of values.
    """

    name: str
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    max_context: int
    source: str
    tied: bool = False
    experts: Experts | None = None
    latent: Latent | None = None
    window: int = 0
    windowed_layers: int = 0

    @property
    def mlp_layers(self) -> int:
        """Layers with a plain MLP."""
        return self.experts.dense_layers if self.experts else self.layers

    @property
    def expert_layers(self) -> int:
        return self.layers - self.mlp_layers

    @property
    def attention_weights(self) -> int:
        """Parameters of one layer's attention projections."""
        if (latent := self.latent) is None:
            return self.hidden * (2 * self.heads + 2 * self.kv_heads) * self.head_dim
        query = self.hidden * latent.query_rank + latent.query_rank * self.heads * (latent.plain_dim + latent.rotary_dim)
        down = self.hidden * (latent.kv_rank + latent.rotary_dim)
        up = latent.kv_rank * self.heads * (latent.plain_dim + latent.value_dim)
        return query + down + up + self.heads * latent.value_dim * self.hidden

    @property
    def other_weights(self) -> int:
        """Parameters of all linear layers but routed experts and the head."""
        return self._linear_weights(range(self.layers))[1]

    def _linear_weights(self, layers: range) -> tuple[int, int]:
        """Parameters of the linear layers in a run of layers: of routed experts, and of all else."""
        plain = len(range(layers.start, min(layers.stop, self.mlp_layers)))
        other = len(layers) * self.attention_weights + plain * 3 * self.hidden * self.intermediate
        if self.experts is None:
            return 0, other
        each, mixed = 3 * self.hidden, len(layers) - plain
        other += mixed * (self.hidden * self.experts.count + each * self.experts.shared)
        return mixed * self.experts.count * each * self.experts.intermediate, other

    def weight_bytes(self, tensor_parallel: int = 1, precision: str = "bf16", *, pipeline_parallel: int = 1) -> int:
        """Bytes of weights on each GPU; with pipeline stages, on those of the fullest one.

        Raises:
            InputError: the precision is unknown or the model cannot be split so many ways.
        """
        self.check(tensor_parallel, precision, pipeline_parallel=pipeline_parallel)
        stages = stage_layers(self.layers, pipeline_parallel)
        return max(self._stage_weight_bytes(layers, tensor_parallel, precision) for layers in stages)

    def _stage_weight_bytes(self, layers: range, tensor_parallel: int, precision: str) -> int:
        """On each GPU of a stage. The first one has the embedding and the last one the head, even where they are one matrix."""
        first, last = layers.start == 0, layers.stop == self.layers
        other = BF16 if self.experts and precision in EXPERTS_ONLY else WEIGHT_BYTES[precision]
        routed_weights, other_weights = self._linear_weights(layers)
        linear = routed_weights * WEIGHT_BYTES[precision] + other_weights * other
        tables = (1 if first and last and self.tied else first + last) * self.vocab * self.hidden * BF16
        norms = (2 * len(layers) + last) * self.hidden * BF16
        return int((linear + tables) // tensor_parallel + norms)

    def kv_bytes_per_token(self, tensor_parallel: int = 1, *, kv_precision: str = "bf16") -> int:
        """Bytes of keys and values per token on each GPU, or on one of each stage together; layers with a window keep none of a
        token for long and do not count."""
        self.check(tensor_parallel, "bf16", kv_precision=kv_precision)
        return (self.layers - self.windowed_layers) * self._layer_kv_bytes(tensor_parallel, kv_precision)

    def _layer_kv_bytes(self, tensor_parallel: int, kv_precision: str) -> int:
        if self.latent:
            return (self.latent.kv_rank + self.latent.rotary_dim) * KV_BYTES[kv_precision]
        return 2 * max(1, self.kv_heads // tensor_parallel) * self.head_dim * KV_BYTES[kv_precision]

    def reserve_bytes(
        self, tensor_parallel: int = 1, *, pipeline_parallel: int = 1, max_batched_tokens: int = 8192, max_seqs: int = 256
    ) -> int:
        """Memory per GPU that an engine needs beside weights and KV, as vLLM's profiling run at start finds it.

        1 GB for the CUDA context, libraries and captured CUDA graphs, 0.4 GB for NCCL among several GPUs (AIConfigurator's system
        files), the largest layer's activations in bf16 (gate, up and their product, and four of hidden size), and float32 logits
        of all sequences twice (sampling).
        """
        self.check(tensor_parallel, "bf16")
        fixed = 1_000_000_000 + (400_000_000 if tensor_parallel * pipeline_parallel > 1 else 0)
        widest = self.intermediate
        if self.experts:
            routed = self.experts.top_k * self.experts.intermediate + self.experts.shared
            widest = max(routed, self.intermediate if self.mlp_layers else 0)
        activations = max_batched_tokens * (3 * widest // tensor_parallel + 4 * self.hidden) * 2
        return fixed + activations + 2 * max_seqs * self.vocab * 4

    def kv_tokens_capacity(
        self,
        gpu: GPU,
        tensor_parallel: int = 1,
        precision: str = "bf16",
        *,
        utilization: float = 0.9,
        max_batched_tokens: int = 8192,
        max_seqs: int = 256,
        pipeline_parallel: int = 1,
        kv_precision: str = "bf16",
    ) -> int:
        """KV tokens that fit one engine: what ``utilization`` of the memory leaves after weights and ``reserve_bytes``.

        Every stage keeps the KV of its own layers, and of as many tokens as the stage with the least room. Layers with a window
        are taken to be spread evenly.

        Raises:
            InputError: the weights, or not even one token beside them, fit.
        """
        weights = self.weight_bytes(tensor_parallel, precision, pipeline_parallel=pipeline_parallel)
        reserve = self.reserve_bytes(
            tensor_parallel, pipeline_parallel=pipeline_parallel, max_batched_tokens=max_batched_tokens, max_seqs=max_seqs
        )
        layer = self._layer_kv_bytes(tensor_parallel, kv_precision)
        tokens = []
        for layers in stage_layers(self.layers, pipeline_parallel):
            room = gpu.memory_bytes * utilization - self._stage_weight_bytes(layers, tensor_parallel, precision) - reserve
            keeping = -(-len(layers) * (self.layers - self.windowed_layers) // self.layers)
            tokens.append(int(room // (keeping * layer)))
        if min(tokens) > 0:
            return min(tokens)
        raise InputError(
            f"{self.name} in {precision} on {gpu.name}: weights {weights / 2**30:.0f} GiB per GPU + {reserve / 2**30:.1f} GiB for "
            f"activations and CUDA graphs > {gpu.memory_bytes / 2**30:.0f} GiB × {utilization:g}; "
            f"{self._remedy(gpu, tensor_parallel, precision, utilization, pipeline_parallel)}"
        )

    def _remedy(self, gpu: GPU, tensor_parallel: int, precision: str, utilization: float, pipeline_parallel: int) -> str:
        room = gpu.memory_bytes * utilization - self.reserve_bytes(1)
        for shards in (2, 4, 8):
            fits = self.splits(shards) and self.weight_bytes(shards, precision, pipeline_parallel=pipeline_parallel) < room
            if shards > tensor_parallel and fits:
                return f"use tensor_parallel ≥ {shards}, or a GPU with more memory"
        for stages in range(pipeline_parallel + 1, min(self.layers, 16) + 1):
            if self.weight_bytes(tensor_parallel, precision, pipeline_parallel=stages) < room:
                return f"use pipeline_parallel ≥ {stages}, or a GPU with more memory"
        return "use a smaller model or precision, or a GPU with more memory"

    def splits(self, tensor_parallel: int) -> bool:
        """Whether heads, and KV heads or their copies, can be dealt out to so many GPUs."""
        most, least = max(self.kv_heads, tensor_parallel), min(self.kv_heads, tensor_parallel)
        return tensor_parallel >= 1 and not self.heads % tensor_parallel and (self.latent is not None or not most % least)

    def check(self, tensor_parallel: int, precision: str, *, pipeline_parallel: int = 1, kv_precision: str = "bf16") -> None:
        """That a deployment is possible.

        Raises:
            InputError: a precision is unknown, or the model cannot be split so many ways.
        """
        if precision not in WEIGHT_BYTES:
            raise InputError(f"precision: {precision!r} is not known; use one of {', '.join(WEIGHT_BYTES)}")
        if kv_precision not in KV_BYTES:
            raise InputError(f"kv_precision: {kv_precision!r} is not known; use one of {', '.join(KV_BYTES)}")
        if not 1 <= pipeline_parallel <= self.layers:
            raise InputError(
                f"pipeline_parallel: {self.name} has {self.layers} layers, not enough for {pipeline_parallel} stages; "
                f"use at most {self.layers}"
            )
        if not self.splits(tensor_parallel):
            ways = [str(n) for n in (1, 2, 4, 8) if self.splits(n)]
            raise InputError(
                f"tensor_parallel: {self.name} cannot be split {tensor_parallel} ways "
                f"({self.heads} heads, {self.kv_heads} KV heads); use {', '.join(ways)}"
            )
