"""The space of deployments of one model: how it is split over GPUs, and at which precision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Configuration:
    """One engine of a model: ``tensor_parallel`` × ``pipeline_parallel`` GPUs of one type, and the precision of weights and KV."""

    model: str
    gpu: str
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    precision: str = "bf16"
    kv_precision: str = "bf16"

    @property
    def gpus(self) -> int:
        return self.tensor_parallel * self.pipeline_parallel

    def __str__(self) -> str:
        stages = f" in {self.pipeline_parallel} stages" if self.pipeline_parallel > 1 else ""
        kv = f" + {self.kv_precision} KV" if self.kv_precision not in ("bf16", "fp16") else ""
        return f"{self.model} {self.precision}{kv} on {self.gpus}×{self.gpu}{stages}"


def space(
    model: str,
    gpu: str,
    *,
    gpus: int,
    heads: int,
    layers: int,
    precisions: Mapping[str, Sequence[str]],
    max_tensor_parallel: int = 8,
) -> Iterator[Configuration]:
    """Every way to split a model over at most ``gpus`` GPUs; whether it fits their memory is not asked.

    Tensor parallelism is a power of two that divides the attention heads, the pipeline has 1 to ``gpus`` / TP stages, one layer
    each at least. ``precisions``: precision of the weights → those of the KV cache that go with it.

    Source: MaverIQ (arXiv 2501.13111): TP 1, 2, 4, 8 and PP 1..⌊GPUs/TP⌋.
    """
    ranks = [tp for tp in (1, 2, 4, 8, 16) if tp <= min(gpus, max_tensor_parallel) and heads % tp == 0]
    for precision, caches in precisions.items():
        for kv_precision in caches:
            for tp in ranks:
                for pp in range(1, min(gpus // tp, layers) + 1):
                    yield Configuration(model, gpu, tp, pp, precision, kv_precision)


def split_layers(layers: int, room: Sequence[int]) -> tuple[int, ...] | None:
    """Deals ``layers`` out to pipeline stages of which stage i has room for ``room[i]``, in turn; ``None``: there is not enough.

    Stages differ only where room forces it: MaverIQ's uneven pipelines cost at most 0.5 % of latency (arXiv 2501.13111, repository
    UT-SysML/MaverIQ, ``distribute_layers``).
    """
    if sum(room) < layers:
        return None
    dealt = [0] * len(room)
    left = layers
    while left:
        open_stages = [i for i, most in enumerate(room) if dealt[i] < most]
        share, rest = divmod(left, len(open_stages))
        if not share:
            for i in open_stages[:rest]:
                dealt[i] += 1
            break
        for i in open_stages:
            step = min(share, room[i] - dealt[i])
            dealt[i] += step
            left -= step
    return tuple(dealt)
