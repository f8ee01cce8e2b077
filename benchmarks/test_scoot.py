"""SCOOT's suggestion after 60 trials, a quarter of which crashed: ``python -m pytest benchmarks/test_scoot.py``."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from policies.scoot.sampler import ScootSampler, ask, distributions
from policies.scoot.spaces import vllm
from policies.streams import generator

TRIALS = 60
SPACE = vllm(gpus=4, max_model_len=8192)


def study(objectives: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    made = optuna.create_study(sampler=ScootSampler(SPACE, seed=1), directions=["minimize"] * objectives)
    rng = generator(1, "benchmark")
    for _ in range(TRIALS):
        config = dict(SPACE.repaired(SPACE.config(rng.random(len(SPACE.knobs))), float(rng.random())))
        lived = rng.random() > 0.25
        tokens, seqs = np.log2(config["max_num_batched_tokens"]), np.log2(config["max_num_seqs"])
        values = [1 + (tokens - 11.5) ** 2 + 0.1 * seqs, 1 + (seqs - 8) ** 2 + rng.random(), tokens + seqs][:objectives]
        made.add_trial(
            create_trial(
                params=config,
                distributions=distributions(SPACE),
                values=values if lived else None,
                state=TrialState.COMPLETE if lived else TrialState.FAIL,
            )
        )
    return made


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_a_suggestion(benchmark: Any, objectives: int) -> None:
    made = study(objectives)

    def suggested() -> None:
        trial = made.ask()
        ask(trial, SPACE)
        made.tell(trial, state=TrialState.PRUNED)

    benchmark.pedantic(suggested, rounds=5, warmup_rounds=1)
