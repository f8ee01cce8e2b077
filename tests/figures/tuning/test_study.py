"""Studies: kept, killed, resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from figures.scoot.services import FOLDER
from figures.tuning.command import Options, tune
from figures.tuning.objectives import parse_objectives
from figures.tuning.samplers import UNRULED, names
from figures.tuning.study import DEFAULT, Plan, Trial, Tuning, alone, stored
from figures.tuning.trials import Outcome
from policies.scoot.bounds import bounded
from policies.scoot.space import Config, LogIntegers, LogLevels, Space
from policies.scoot.spaces import vllm
from traces.errors import InputError

SPACE = vllm(gpus=2, max_model_len=4096, present={"max_num_seqs": 256, "max_num_batched_tokens": 2048})
THROUGHPUT = parse_objectives("throughput")


def tried(config: Config, seed: int) -> Outcome:
    """Larger batches are better; nearly all of the memory is too much."""
    if config["gpu_memory_utilization"] > 0.95:
        return Outcome(failure="out of memory: 1 GiB short")
    value = config["max_num_seqs"] ** 0.5 + 0.01 * (seed % 7)
    return Outcome((float(value),), guarded=(1 / value, 1.0), metrics={"e2e_s.p95": 1.0})


def evaluate(pairs: Sequence[tuple[Config, int]]) -> list[Outcome]:
    return [tried(*pair) for pair in pairs]


def plan(trials: int, sampler: str = "scoot", **more: object) -> Plan:
    return Plan(SPACE, THROUGHPUT, trials, sampler, seed=2, **more)  # type: ignore[arg-type]


def told(trials: Sequence[Trial]) -> list[tuple[object, ...]]:
    return [(trial.number, trial.config, trial.values, trial.failure) for trial in trials]


@pytest.mark.parametrize("sampler", names())
def test_every_sampler_starts_from_the_default_and_only_those_without_rules_break_them(sampler: str) -> None:
    trials = Tuning(plan(13, sampler), evaluate).run()
    assert trials[DEFAULT].config == dict(SPACE.default)
    broken = sum(bool(SPACE.broken(trial.config)) for trial in trials)
    assert (broken > 0) == (sampler in UNRULED)


@pytest.mark.parametrize("sampler", ["random", "scoot"])
def test_no_trial_leaves_an_operators_bounds_though_a_repair_would(sampler: str) -> None:
    space = bounded(SPACE, {"max_num_batched_tokens": (600, 3000)}, {})  # without chunked prefill a step must hold 4096 tokens
    trials = Tuning(Plan(space, THROUGHPUT, 12, sampler, seed=2), evaluate).run()
    assert all(space.allows(trial.config) for trial in trials)
    assert len({trial.config["max_num_batched_tokens"] for trial in trials}) > 2


def test_an_earlier_study_with_steps_that_are_no_levels_warms_a_new_one_at_the_nearest(tmp_path: Path) -> None:
    knobs = tuple(LogIntegers(knob.name, knob.low, knob.high) if isinstance(knob, LogLevels) else knob for knob in SPACE.knobs)
    good = {**SPACE.default, "max_num_seqs": 512, "max_num_batched_tokens": 1100}
    earlier = Plan(Space(knobs, SPACE.rules, SPACE.default), THROUGHPUT, 2, "random", first=[good])
    Tuning(earlier, evaluate, tmp_path / "earlier.db").run()
    asked = Options(FOLDER / "sql.yaml", "sim", "throughput", 2, "random", 1, 1, None, warm_start=[tmp_path / "earlier.db"])
    trials = tune(asked).result.trials
    assert trials[1].config == {**good, "max_num_batched_tokens": 1024}


def test_a_study_in_a_file_goes_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    whole = Tuning(plan(14), evaluate).run()
    Tuning(plan(5), evaluate, tmp_path / "study.db").run()
    Tuning(plan(12), evaluate, tmp_path / "study.db").run()
    last = Tuning(plan(14), evaluate, tmp_path / "study.db")
    assert last.resumed == 12
    assert told(last.run()) == told(whole)
    assert told(stored(tmp_path / "study.db")) == told(whole)


def test_a_resumed_random_study_does_not_repeat_its_first_suggestions(tmp_path: Path) -> None:
    Tuning(plan(6, "random"), evaluate, tmp_path / "study.db").run()
    trials = Tuning(plan(11, "random"), evaluate, tmp_path / "study.db").run()
    assert len({str(trial.config) for trial in trials}) == 11


def test_trials_that_were_under_way_are_tried_again_with_their_configuration(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    seen: list[Config] = []

    def dies(pairs: Sequence[tuple[Config, int]]) -> list[Outcome]:
        if len(seen) >= 4:
            seen.extend(config for config, _ in pairs)
            raise Killed
        seen.extend(config for config, _ in pairs)
        return evaluate(pairs)

    with pytest.raises(Killed):
        Tuning(plan(9, parallel=3), dies, tmp_path / "study.db").run()
    trials = Tuning(plan(9, parallel=3), evaluate, tmp_path / "study.db").run()
    assert [trial.number for trial in trials] == list(range(9))
    assert [trial.config for trial in trials[: len(seen)]] == seen
    assert told(trials) == told(Tuning(plan(9, parallel=3), evaluate).run())


SCRIPT = """
import sys, time
from pathlib import Path
from tests.figures.tuning import test_study as t
from figures.tuning.study import Tuning, alone

def slowly(pairs):
    time.sleep(0.2)
    print("trial", flush=True)
    return t.evaluate(pairs)

path = Path(sys.argv[1])
with alone(path):
    Tuning(t.plan(12), slowly, path).run()
"""


def test_kill_nine_loses_no_trial_and_frees_the_study(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as process:
        assert process.stdout is not None
        for _ in range(4):
            assert process.stdout.readline() == "trial\n"
        with pytest.raises(InputError, match="another process runs this study"), alone(path):
            pass
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    with alone(path):
        resumed = Tuning(plan(12), evaluate, path)
        assert resumed.resumed >= 3
        before, expected = told(resumed.trials()), told(Tuning(plan(12), evaluate).run())
        assert before == expected[: len(before)]
        after = told(resumed.run())
        assert len(after) == 12
        assert after[: len(before)] == before
        assert after == expected


DYING = """
import os, signal, sys
from pathlib import Path
import policies.scoot.sampler as sampler
from policies.scoot.space import Levels
from optuna.trial import Trial
from tests.figures.tuning import test_study as t
from figures.tuning.study import Tuning, alone

path, moment, number, parallel, kind = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:5]), sys.argv[5]
asking, setting, made, told = sampler.ask, Trial.set_user_attr, [], []

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def ask(trial, space):
    if trial.number == number and moment == "asked":
        die()
    if trial.number == number and moment == "half":
        for knob in space.knobs[:4]:
            if isinstance(knob, Levels):
                trial.suggest_categorical(knob.name, knob.values)
            else:
                trial.suggest_int(knob.name, knob.low, knob.high, log=True)
        die()
    return asking(trial, space)

def set_user_attr(self, key, value):
    if self.number == number and moment == "suggested":
        die()
    setting(self, key, value)

def watch(trial):
    if trial.number == number and moment == "told":
        die()

sampler.ask, Trial.set_user_attr = ask, set_user_attr
with alone(path):
    Tuning(t.plan(13, kind, parallel=parallel), t.evaluate, path).run(watch)
"""


@pytest.mark.parametrize(
    ("moment", "number", "parallel", "sampler"),
    [
        ("asked", 0, 1, "scoot"),  # it has a number, and no configuration
        ("half", 11, 3, "scoot"),  # it has four knobs of nine, and a third of its batch is yet to be asked for
        ("suggested", 10, 3, "scoot"),  # it has all knobs, and is the first of its batch
        ("told", 7, 3, "scoot"),  # one of a batch's results is kept and two are not
        ("half", 5, 1, "tpe"),
    ],
)
def test_kill_nine_in_the_middle_of_a_suggestion_or_a_batch_costs_no_number_and_changes_nothing(
    moment: str, number: int, parallel: int, sampler: str, tmp_path: Path
) -> None:
    path = tmp_path / "study.db"
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-c", DYING, str(path), moment, str(number), str(parallel), sampler]
    died = subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, check=False)
    assert died.returncode == -signal.SIGKILL
    with alone(path):
        resumed = Tuning(plan(13, sampler, parallel=parallel), evaluate, path)
        before = told(resumed.trials())
        assert len(before) <= number + 1
        after = told(resumed.run())
    assert after[: len(before)] == before
    assert [number for number, *_ in after] == list(range(13))
    if sampler != "tpe":  # Optuna's own draw anew after a stop
        assert after == told(Tuning(plan(13, sampler, parallel=parallel), evaluate).run())


def test_a_file_that_holds_another_study_or_none_is_refused(tmp_path: Path) -> None:
    Tuning(plan(3), evaluate, tmp_path / "study.db").run()
    with pytest.raises(InputError, match=r"holds another study \(it differs in sampler"):
        Tuning(plan(3, "random"), evaluate, tmp_path / "study.db")
    (tmp_path / "text.db").write_text("hello")
    with pytest.raises(InputError, match="holds no study"):
        stored(tmp_path / "text.db")
    with pytest.raises(InputError, match="no such file"):
        stored(tmp_path / "none.db")


def test_a_batch_is_pending_for_its_own_suggestions() -> None:
    batches: list[list[Config]] = []

    def noting(pairs: Sequence[tuple[Config, int]]) -> list[Outcome]:
        batches.append([config for config, _ in pairs])
        return evaluate(pairs)

    Tuning(plan(17, parallel=4), noting).run()
    assert [len(batch) for batch in batches] == [1, 4, 4, 4, 4]
    assert all(len({str(config) for config in batch}) == len(batch) for batch in batches)


def test_configurations_to_try_first_come_right_after_the_default() -> None:
    first = [{**SPACE.default, "max_num_seqs": 512}, {**SPACE.default, "block_size": 32}]
    trials = Tuning(plan(4, first=first), evaluate).run()
    assert [trial.config for trial in trials[1:3]] == first
