"""The procedure of vLLM's tuning script."""

from __future__ import annotations

import optuna
from optuna.trial import TrialState

from policies.scoot.autotune import BATCHED_TOKENS, SEQS, AutoTuneSampler
from policies.scoot.sampler import ask
from policies.scoot.spaces import vllm

SPACE = vllm(gpus=2, max_model_len=4096, present={"max_num_seqs": 256, "max_num_batched_tokens": 2048})


def test_it_finds_the_largest_memory_share_that_starts_and_then_tries_its_grid_once() -> None:
    sampler = AutoTuneSampler(SPACE)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    tried = []
    while not sampler.used_up([trial.state for trial in study.trials]) or not study.trials:
        trial = study.ask()
        config = ask(trial, SPACE)
        tried.append((config["gpu_memory_utilization"], config["max_num_seqs"], config["max_num_batched_tokens"]))
        if config["gpu_memory_utilization"] > 0.93:
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, float(config["max_num_seqs"]))
    assert tried[0] == (0.92, 256, 2048)  # the default
    assert tried[1:4] == [(0.98, 256, 4096), (0.95, 256, 4096), (0.92, 256, 4096)]
    grid = {(0.92, seqs, tokens) for seqs in SEQS for tokens in BATCHED_TOKENS}
    assert set(tried[3:]) == grid
    assert len(tried[3:]) == len(grid)


def test_it_gives_up_where_no_memory_share_starts() -> None:
    sampler = AutoTuneSampler(SPACE)
    levels = (0.9, 0.92, 0.95, 0.98)
    assert not sampler.used_up([TrialState.COMPLETE])
    assert sampler.used_up([TrialState.COMPLETE, *[TrialState.FAIL] * len(levels)])
