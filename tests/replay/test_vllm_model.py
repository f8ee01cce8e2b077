"""Model folders without weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from replay.vllm_model import configuration, stand_in, truncation, write_model
from traces.errors import InputError
from traces.hardware import MODELS


@pytest.mark.parametrize("name", MODELS)
def test_every_shape_of_the_library_has_a_configuration_or_says_why_not(name: str) -> None:
    shape = MODELS[name]
    if shape.latent is not None or shape.window:
        with pytest.raises(InputError, match=r"replay\.weights"):
            configuration(shape)
    else:
        found = configuration(shape)
        assert found["num_hidden_layers"] == shape.layers
        assert ("num_experts" in found) == (shape.experts is not None)
    assert configuration(stand_in(shape, "tiny"))["architectures"] == ["LlamaForCausalLM"]


def test_a_tiny_model_keeps_the_context_window(tmp_path: Path) -> None:
    shape = MODELS["llama-3.1-70b"]
    folder = write_model(stand_in(shape, "tiny"), tmp_path / "a" / "b")
    found = json.loads((folder / "config.json").read_text())
    assert found["max_position_embeddings"] == shape.max_context
    assert found["num_hidden_layers"] == 2


def test_a_full_model_is_its_own_stand_in_and_a_small_one_is_larger_than_a_tiny_one() -> None:
    shape = MODELS["llama-3.1-70b"]
    assert stand_in(shape, "full") is shape
    tiny, small = (stand_in(shape, size) for size in ("tiny", "small"))
    assert tiny.other_weights < small.other_weights < shape.other_weights
    assert configuration(small)["vocab_size"] == small.vocab


def test_truncation_keeps_the_first_layers() -> None:
    assert truncation(2) == {"num_hidden_layers": 2}
    assert truncation(None) == {}
