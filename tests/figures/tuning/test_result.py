"""What a study found: the best that survives, tested again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import StringIO

import pytest
from rich.console import Console

from figures.tuning.carry import candidates
from figures.tuning.objectives import parse_objectives
from figures.tuning.result import Result, conclude, front_of, ranked, to_json
from figures.tuning.study import DEFAULT, Plan, Trial, Tuning
from figures.tuning.trials import Outcome
from figures.tuning.view import print_result
from policies.scoot.space import Config
from tests.figures.tuning.test_study import SPACE, evaluate, plan
from traces.errors import InputError

FIRST = [{**SPACE.default, "max_num_seqs": seqs} for seqs in (32, 64, 128, 512, 1024)]
"""Tried right after the default, which has 256."""


def concluded(dies: Callable[[Config, bool], bool], first: Sequence[Config] = FIRST) -> Result:
    """Of a study of the default and ``first``, with throughput as large as ``max_num_seqs``; ``dies``: of a configuration, and
    whether it is tested again."""

    def tried(config: Config, seed: int) -> Outcome:
        if dies(config, seed >= 1_000_000):
            return Outcome(failure="out of memory: 1 GiB short")
        return Outcome((float(config["max_num_seqs"]),))

    study = Plan(SPACE, parse_objectives("throughput"), 1 + len(first), first=first)
    tuning = Tuning(study, lambda pairs: [tried(*pair) for pair in pairs])
    tuning.run()
    return conclude(tuning, "simulated", 3)


def shown(result: Result) -> str:
    console = Console(width=100, file=StringIO())
    print_result(result, console)
    file: StringIO = console.file  # type: ignore[assignment]
    return " ".join(file.getvalue().split())


def test_the_best_is_tested_again_under_other_traffic_and_the_worst_of_it_is_what_counts() -> None:
    seeds: list[int] = []

    def noting(pairs: Sequence[tuple[Config, int]]) -> list[Outcome]:
        seeds.extend(seed for _, seed in pairs)
        return evaluate(pairs)

    tuning = Tuning(plan(13), noting)
    trials = tuning.run()
    before = set(seeds)
    result = conclude(tuning, "simulated", 3)
    assert not before & set(seeds[len(trials) :])
    assert result.best.values == max(trial.values for trial in trials if trial.values)
    assert result.worst(result.tested) == [min(outcome.values[0] for outcome in result.tested if outcome.values)]
    assert result.holds
    assert result.failed == [trial for trial in trials if trial.config["gpu_memory_utilization"] > 0.95]


def test_a_best_that_dies_when_tested_again_is_passed_over_for_the_next_that_does_not() -> None:
    result = concluded(lambda config, again: again and config["max_num_seqs"] == 1024)
    assert result.best.config == FIRST[3]
    assert result.holds
    assert [one.trial.config for one in result.passed_over] == [FIRST[4]]
    assert to_json(result)["passed_over"][0]["failures"] == ["out of memory: 1 GiB short"] * 3
    assert FIRST[4] not in [config for _, config in candidates(result, 4)]
    assert "passed over: trial 5, which was better and died in 3 of 3 tests (out of memory)" in shown(result)


def test_a_configuration_that_was_passed_over_is_not_tested_again_under_another_number() -> None:
    result = concluded(lambda config, again: again and config["max_num_seqs"] == 1024, [FIRST[4], FIRST[3], FIRST[4]])
    assert result.best.config == FIRST[3]
    assert len(result.passed_over) == 1


def test_three_configurations_are_tested_at_most_and_then_the_default_stays() -> None:
    better = [{**FIRST[4], "block_size": size} for size in (16, 32, 64)]
    result = concluded(lambda config, again: again and config["max_num_seqs"] == 1024, [*better, FIRST[3]])
    assert [one.trial.number for one in result.passed_over] == [1, 2, 3]
    assert result.best.number == DEFAULT
    assert not result.holds


def test_what_is_worse_than_the_default_is_not_tested_in_its_place() -> None:
    result = concluded(lambda config, again: again and config["max_num_seqs"] > 256)
    assert result.best.number == DEFAULT
    assert len(result.passed_over) == 2


def test_where_the_default_died_the_best_of_the_others_counts_and_not_the_first() -> None:
    result = concluded(lambda config, again: config["max_num_seqs"] == 256)
    assert result.best.config == FIRST[4]
    assert not result.holds  # there is nothing to hold it against


def test_where_nothing_survives_being_tested_again_the_answer_says_so() -> None:
    result = concluded(lambda config, again: again or config["max_num_seqs"] == 256)
    assert "No configuration is known to survive" in shown(result)


def test_of_several_objectives_the_front_is_what_nothing_beats_and_the_best_a_compromise() -> None:
    values = [(1.0, 1.0), (0.5, 1.5), (0.6, 0.7), (0.7, 0.8), (1.2, 0.4)]
    trials = [Trial(i, {}, pair) for i, pair in enumerate(values)] + [Trial(5, {}, None, "crash")]
    assert [trial.number for trial in front_of(trials, [False, False])] == [1, 2, 4]
    assert ranked(trials, [False, False])[0].number == 2


def test_a_study_in_which_nothing_lives_says_so() -> None:
    tuning = Tuning(plan(3), lambda pairs: [Outcome(failure="out of memory: all of it") for _ in pairs])
    tuning.run()
    with pytest.raises(InputError, match="none of 3 trials survived"):
        conclude(tuning, "simulated", 1)
