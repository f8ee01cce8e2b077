"""The sampler as a study uses it."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from policies.scoot.sampler import ScootSampler, ask
from policies.scoot.spaces import vllm

optuna.logging.set_verbosity(optuna.logging.WARNING)
SPACE = vllm(gpus=4, max_model_len=8192)


def cost(config: dict[str, Any]) -> float | None:
    """A bowl over five knobs; None = the engine crashed, in a part of the space that no known rule excludes."""
    tokens, seqs = np.log2(config["max_num_batched_tokens"]), np.log2(config["max_num_seqs"])
    if config["gpu_memory_utilization"] >= 0.95:
        return None
    bowl = 0.05 * (tokens - 11.5) ** 2 + 0.04 * (seqs - 8) ** 2 + 0.02 * (config["tensor_parallel"] - 2) ** 2
    return float(1 + bowl + 0.3 * (not config["enable_prefix_caching"]) + 5e-5 * config["long_prefill_token_threshold"])


def tell(study: optuna.Study, trial: optuna.Trial, value: float | list[float] | None) -> None:
    if value is None:
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, value)


def tuned(sampler: ScootSampler, trials: int, study: optuna.Study | None = None) -> optuna.Study:
    study = study or optuna.create_study(sampler=sampler)
    for _ in range(trials):
        trial = study.ask()
        tell(study, trial, cost(ask(trial, SPACE)))
    return study


def test_the_default_comes_first_then_a_design_and_no_suggestion_breaks_a_rule_or_comes_twice() -> None:
    study = tuned(ScootSampler(SPACE, seed=1), 16)
    configs = [trial.params for trial in study.trials]
    assert configs[0] == SPACE.default
    assert [SPACE.broken(config) for config in configs] == [[]] * 16
    assert len({str(sorted(config.items())) for config in configs}) == 16


def test_a_resumed_study_goes_on_as_if_it_had_never_stopped() -> None:
    whole = tuned(ScootSampler(SPACE, seed=2), 14)
    half = tuned(ScootSampler(SPACE, seed=2), 11)
    resumed = optuna.create_study(sampler=ScootSampler(SPACE, seed=2))
    resumed.add_trials(half.trials)
    tuned(ScootSampler(SPACE, seed=2), 3, resumed)
    assert [t.params for t in resumed.trials] == [t.params for t in whole.trials]


def test_it_ends_better_than_random_search_and_learns_what_crashes() -> None:
    ours, chance, crashes, blind = [], [], 0, 0
    for seed in range(2):
        study = tuned(ScootSampler(SPACE, seed=seed), 22)
        ours.append(study.best_value)
        crashes += sum(trial.state is TrialState.FAIL for trial in study.trials)
        unlearned = tuned(ScootSampler(SPACE, seed=seed, hidden=False), 22)
        blind += sum(trial.state is TrialState.FAIL for trial in unlearned.trials)
        rng = np.random.default_rng(seed)
        drawn = [cost(dict(SPACE.repaired(SPACE.config(rng.random(len(SPACE.knobs))), rng.random()))) for _ in range(22)]
        chance.append(min(value for value in drawn if value is not None))
    assert np.median(ours) < np.median(chance)
    assert crashes < blind


def test_until_an_engine_dies_the_forest_changes_no_suggestion() -> None:
    def lived(sampler: ScootSampler) -> list[dict[str, Any]]:
        study = optuna.create_study(sampler=sampler)
        for _ in range(13):
            trial = study.ask()
            study.tell(trial, cost({**ask(trial, SPACE), "gpu_memory_utilization": 0.9}))
        return [trial.params for trial in study.trials]

    assert lived(ScootSampler(SPACE, seed=5)) == lived(ScootSampler(SPACE, seed=5, hidden=False))


@pytest.mark.parametrize("sampler", [optuna.samplers.RandomSampler(seed=1), optuna.samplers.TPESampler(seed=1, n_startup_trials=3)])
def test_optunas_own_samplers_suggest_steps_that_the_knob_takes(sampler: optuna.samplers.BaseSampler) -> None:
    study = optuna.create_study(sampler=sampler)
    steps = set()
    for _ in range(40):
        trial = study.ask()
        config = ask(trial, SPACE)
        assert all(knob.takes(config[knob.name]) for knob in SPACE.knobs)
        steps.add(config["max_num_batched_tokens"])
        study.tell(trial, -float(config["max_num_batched_tokens"]))
    assert len(steps) > 5


def test_parallel_workers_get_different_suggestions() -> None:
    study = tuned(ScootSampler(SPACE, seed=3), 12)
    pending = [study.ask() for _ in range(4)]
    configs = {str(sorted(ask(trial, SPACE).items())) for trial in pending}
    assert len(configs) == 4


@pytest.mark.parametrize("objectives", [2, 3])
def test_several_objectives_widen_the_front_beyond_the_default(objectives: int) -> None:
    study = optuna.create_study(sampler=ScootSampler(SPACE, seed=4), directions=["maximize", "minimize", "minimize"][:objectives])
    for _ in range(20):
        trial = study.ask()
        config = ask(trial, SPACE)
        value = cost(config)
        tokens = float(np.log2(config["max_num_batched_tokens"]))
        tell(study, trial, None if value is None else [-value, tokens, 2 * value + tokens][:objectives])
    default = np.array(study.trials[0].values)
    sign = np.array([-1, 1, 1][:objectives])
    assert any((sign * np.array(t.values) < sign * default).all() for t in study.best_trials)
