"""Model folders with a configuration and no weights: vLLM fills them with random ones (``load_format: dummy``)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from traces.errors import InputError
from traces.hardware import ModelShape

_SIZES: Mapping[str, Mapping[str, Any]] = {
    "tiny": {"layers": 2, "hidden": 64, "intermediate": 128, "heads": 2, "kv_heads": 1, "head_dim": 32, "vocab": 512},
    "mini": {"layers": 4, "hidden": 128, "intermediate": 384, "heads": 4, "kv_heads": 2, "head_dim": 32, "vocab": 1024},
    "small": {"layers": 8, "hidden": 512, "intermediate": 1536, "heads": 8, "kv_heads": 4, "head_dim": 64, "vocab": 8192},
}


def stand_in(shape: ModelShape, size: str) -> ModelShape:
    """A dense model for a CPU, with the context window of ``shape``, or ``shape`` itself where ``size`` is "full".

    A step of a "tiny" one is vLLM's own work and hardly anything else; in one of a "small" one the model takes most of the time,
    as on a GPU, and a step takes milliseconds. A "mini" one is another small one, for fleets of several models.
    """
    if size == "full":
        return shape
    dense = replace(shape, name=f"{size}-{shape.name}", tied=True, experts=None, latent=None, window=0, windowed_layers=0)
    return replace(dense, **_SIZES[size])


def configuration(shape: ModelShape) -> dict[str, Any]:
    """``config.json`` of a Llama of this shape, or of a Qwen3 mixture of experts.

    Raises:
        InputError: the shape's attention has no counterpart among these two.
    """
    if shape.latent is not None or shape.window:
        raise InputError(
            f"replay: {shape.name} has latent or windowed attention, for which no random weights can be made; name a local model "
            "folder with `replay.weights`, or use `shape: tiny`"
        )
    common = {
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "vocab_size": shape.vocab,
        "max_position_embeddings": shape.max_context,
        "tie_word_embeddings": shape.tied,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "torch_dtype": "bfloat16",
        "bos_token_id": 1,
        "eos_token_id": 2,
        "use_cache": True,
    }
    experts = shape.experts
    if experts is None:
        return {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": False, "mlp_bias": False, **common}
    return {
        "architectures": ["Qwen3MoeForCausalLM"],
        "model_type": "qwen3_moe",
        **common,
        "num_experts": experts.count,
        "num_experts_per_tok": experts.top_k,
        "moe_intermediate_size": experts.intermediate,
        "norm_topk_prob": True,
        "decoder_sparse_step": 1,
        "mlp_only_layers": list(range(experts.dense_layers)),
    }


def write_model(shape: ModelShape, folder: Path) -> Path:
    """The folder, with the configuration of ``shape`` in it; made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(configuration(shape), indent=1), encoding="utf-8")
    return folder


def truncation(layers: int | None) -> Mapping[str, Any]:
    """vLLM's ``hf_overrides`` that keep the first ``layers`` layers of a model; none for ``None``."""
    return {} if layers is None else {"num_hidden_layers": layers}
