"""vLLM's own tuning script, ``benchmarks/auto_tune/auto_tune.sh``, as an Optuna sampler: a baseline.

First the largest ``gpu_memory_utilization`` with which an engine starts, from the top downwards, with the largest batch limits;
then every pair of its two lists. It knows no other knobs (prefix caching is on, tensor parallelism stays) and stops by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from policies.scoot.sampler import distributions
from policies.scoot.space import Space

SEQS = (128, 256)
BATCHED_TOKENS = (512, 1024, 2048, 4096)
"""The script's ``NUM_SEQS_LIST`` and ``NUM_BATCHED_TOKENS_LIST``."""
_LEAST_UTILIZATION = 0.9


class AutoTuneSampler(BaseSampler):
    """The configurations of the script, in its order, after the default one. When they are used up it repeats the last.

    ``used_up`` tells when to stop. The space must have the script's three knobs.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        knobs = {knob.name: knob for knob in space.knobs}
        levels = getattr(knobs["gpu_memory_utilization"], "values", ())
        self._levels = sorted((level for level in levels if level >= _LEAST_UTILIZATION), reverse=True)
        self._grid = [
            pair
            for pair in product(SEQS, BATCHED_TOKENS)
            if knobs["max_num_seqs"].takes(pair[0]) and knobs["max_num_batched_tokens"].takes(pair[1])
        ]

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return distributions(self.space)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]) -> dict[str, Any]:
        """The next one of the script; with trials pending, as if each had started."""
        states = [other.state for other in study.get_trials(deepcopy=False) if other.number < trial.number]
        return self._config(states)

    def used_up(self, states: list[TrialState]) -> bool:
        """Whether the script has ended after trials that ended so, the default configuration first."""
        refused, tried = self._progress(states)
        return refused == len(self._levels) or tried >= len(self._grid)

    def sample_independent(self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
        raise ValueError(f"{name} is not a knob of the space that this study tunes")

    def _progress(self, states: list[TrialState]) -> tuple[int, int]:
        """Levels that were refused in a row, and trials since one was not, the one that was not included."""
        for refused, state in enumerate(states[1:]):
            if state is not TrialState.FAIL or refused == len(self._levels):
                return refused, len(states) - 1 - refused
        return min(len(states[1:]), len(self._levels)), 0

    def _config(self, states: list[TrialState]) -> dict[str, Any]:
        """The first level that starts is tried with the grid's last pair, which then need not be run again."""
        if not states or not self._grid or not self._levels:
            return dict(self.space.default)
        refused, tried = self._progress(states)
        order = [self._grid[-1], *self._grid[:-1]]
        seqs, tokens = order[min(tried, len(order) - 1)]
        level = self._levels[min(refused, len(self._levels) - 1)]
        chosen = {"gpu_memory_utilization": level, "max_num_seqs": seqs, "max_num_batched_tokens": tokens}
        prefix = {"enable_prefix_caching": True} if "enable_prefix_caching" in self.space.default else {}
        return {**self.space.default, **prefix, **chosen}
