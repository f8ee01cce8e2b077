"""A deployment: a model on so many GPUs, split and quantised in one way."""

from __future__ import annotations

from dataclasses import dataclass

from policies.fingerprint import deployment_name
from traces.errors import InputError
from traces.hardware import EXPERTS_ONLY, GPU, ModelShape, gpu, model


@dataclass(frozen=True)
class Deployment:
    """``precision``: of the weights. ``expert_parallel``: experts are spread over the GPUs instead of sliced."""

    model: ModelShape
    gpu: GPU
    tensor_parallel: int = 1
    precision: str = "bf16"
    pipeline_parallel: int = 1
    expert_parallel: bool = False
    kv_precision: str = "bf16"

    @classmethod
    def named(
        cls,
        model_name: str,
        gpu_name: str,
        tensor_parallel: int,
        precision: str,
        *,
        pipeline_parallel: int = 1,
        expert_parallel: bool = False,
        kv_precision: str = "bf16",
    ) -> Deployment:
        """Raises:
        InputError: a name is unknown, or the model cannot be split or quantised so.
        """
        shape = model(model_name)
        shape.check(tensor_parallel, precision, pipeline_parallel=pipeline_parallel, kv_precision=kv_precision)
        if expert_parallel and (shape.experts is None or shape.experts.count % tensor_parallel):
            raise InputError(f"expert_parallel: {model_name} has no experts that {tensor_parallel} GPUs could share; turn it off")
        if precision == "mxfp4" and shape.experts is None:
            raise InputError(f"precision: mxfp4 is for the experts of a mixture, and {model_name} has none; use int4")
        return cls(shape, gpu(gpu_name), tensor_parallel, precision, pipeline_parallel, expert_parallel, kv_precision)

    @property
    def name(self) -> str:
        return deployment_name(
            self.model.name,
            self.gpu.name,
            self.tensor_parallel,
            self.precision,
            pipeline_parallel=self.pipeline_parallel,
            expert_parallel=self.expert_parallel,
            kv_precision=self.kv_precision,
        )

    @property
    def linear_precision(self) -> str:
        """Of all linear layers but routed experts and the head."""
        return "bf16" if self.model.experts and self.precision in EXPERTS_ONLY else self.precision

    def fits(self, *, utilization: float = 0.92) -> bool:
        """Whether the GPUs' memory holds weights and at least one request of 2,048 tokens."""
        try:
            tokens = self.model.kv_tokens_capacity(
                self.gpu,
                self.tensor_parallel,
                self.precision,
                utilization=utilization,
                pipeline_parallel=self.pipeline_parallel,
                kv_precision=self.kv_precision,
            )
        except InputError:
            return False
        return tokens >= 2048

    def linears(self) -> list[tuple[int, int, int, str]]:
        """``(how many, n, k, precision)`` of the matrix products of all layers on one GPU, routed experts and head apart.

        The projections of latent attention are part of its module's time and are not here.
        """
        shape, tp = self.model, self.tensor_parallel
        found = []
        if shape.latent is None:
            attention, kv = shape.heads * shape.head_dim // tp, max(1, shape.kv_heads // tp) * shape.head_dim
            found += [
                (shape.layers, attention + 2 * kv, shape.hidden, self.linear_precision),
                (shape.layers, shape.hidden, attention, self.linear_precision),
            ]
        gated = [(shape.mlp_layers, shape.intermediate)]
        if shape.experts:
            gated.append((shape.expert_layers, shape.experts.shared))
            found.append((shape.expert_layers, shape.experts.count, shape.hidden, "bf16"))
        for layers, size in gated:
            if layers and size:
                found += [
                    (layers, 2 * size // tp, shape.hidden, self.linear_precision),
                    (layers, shape.hidden, size // tp, self.linear_precision),
                ]
        return found
