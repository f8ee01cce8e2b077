"""From a scenario's ``engine.speculative`` to vLLM's ``--speculative-config``: what drafts, and what of it is accepted.

With a model's own weights the engine accepts what it accepts. Random weights agree with each other on nothing, so that there the
scenario's ``acceptance`` decides: by vLLM's synthetic rejection sampler on GPUs, which draws at random, and on a CPU, where vLLM
has none, by the law of the simulator (``replay.vllm_drafts``), which accepts the very same tokens of each request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate
from operator import mul
from pathlib import Path
from typing import Any

from replay.vllm_model import stand_in, write_model
from traces.errors import InputError
from traces.scenario.pools import EnginePool
from traces.scenario.replay import Replay

_DRAFT_LAYERS = 1
_NGRAM = {"prompt_lookup_max": 3, "prompt_lookup_min": 1}
"""Tokens of an n-gram that is looked up in the prompt and the output so far."""


def synthetic(pool: EnginePool, choice: Replay) -> bool:
    """Whether acceptance is the scenario's, and not the model's."""
    return pool.engine.speculative is not None and choice.weights is None


def has_probabilities(pool: EnginePool, choice: Replay) -> bool:
    """Whether the drafter is a model whose probabilities say something, in the scheduler's own process."""
    speculative = pool.engine.speculative
    trained = speculative is not None and speculative.method != "ngram" and choice.weights is not None
    return trained and pool.gpus_per_engine == 1


def speculative_config(pool: EnginePool, choice: Replay, folder: Path, *, on_cpu: bool) -> Mapping[str, Any]:
    """vLLM's speculative configuration of a pool whose engines draft. ``folder``: where a drafter's configuration may be written.

    Raises:
        InputError: the drafter needs weights, and none are named.
    """
    speculative = pool.engine.speculative
    assert speculative is not None
    tokens, method = speculative.num_speculative_tokens, speculative.method
    config: dict[str, Any] = {"method": method, "num_speculative_tokens": tokens}
    if method == "ngram":
        config |= _NGRAM
    elif choice.drafter is not None:
        config["model"] = choice.drafter
    elif method == "draft_model" and choice.weights is None:
        config["model"] = str(_random_drafter(pool, choice, folder))
    elif method != "mtp" or choice.weights is None:
        raise InputError(
            f"replay.drafter: {method} drafts with weights of its own; name their folder, or use `method: ngram`, or draft_model "
            "with random weights"
        )
    if synthetic(pool, choice) and not on_cpu:
        rates = speculative.acceptance or (1.0,)
        given = [rates[min(place, len(rates) - 1)] for place in range(tokens)]
        config |= {"rejection_sample_method": "synthetic", "synthetic_acceptance_rates": list(accumulate(given, mul))}
    return config


def _random_drafter(pool: EnginePool, choice: Replay, folder: Path) -> Path:
    """The engines' own model with a single layer: random weights of it draft as badly as any."""
    shape = stand_in(pool.shape, choice.size_of(pool.model))
    return write_model(replace(shape, name=f"drafter-{shape.name}", layers=_DRAFT_LAYERS), folder / f"{pool.name}-drafter")
