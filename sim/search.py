"""The highest, or lowest, value of one field of a scenario at which goals still hold. How it is found: ``sim.bracket``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sim import backends
from sim.bracket import MOST_SEEDS, Answer, bracket
from sim.goals import Goal
from sim.goals import parse_goal as parse_goal
from sim.span import Span
from sim.sweep import EVERYONE, Point, Runner, Watch, estimate
from traces.errors import InputError
from traces.intervals import Estimate
from traces.scenario.document import nearest
from traces.scenario.sweep import Range, parse_range


class Search(NamedTuple):
    """Everything about a search of a scenario's field. ``highest``: the goals hold at its low end; else at its high end."""

    key: str
    span: Span
    unit: str
    goals: Sequence[Goal]
    highest: bool


def highest(scenario_path: str | Path, field: str, goals: Sequence[Goal], **options: Any) -> Answer:
    """The highest value of a field, such as `workload.chat.rate=4/s..40/s`, at which all goals hold. Options: as ``search``."""
    return search(scenario_path, field, goals, highest=True, **options)[1]


def lowest(scenario_path: str | Path, field: str, goals: Sequence[Goal], **options: Any) -> Answer:
    """The lowest value of a field, such as `fleet.gpus=1..16`, at which all goals hold. Options: as ``search``."""
    return search(scenario_path, field, goals, highest=False, **options)[1]


def search(
    scenario_path: str | Path,
    field: str,
    goals: Sequence[Goal],
    *,
    highest: bool,
    within: float | None = None,
    seeds: int = MOST_SEEDS,
    sets: Sequence[str] = (),
    backend: str = "loky",
    jobs: int | None = None,
    cluster: str | None = None,
    cache: Path | None = None,
    watch: Watch | None = None,
) -> tuple[Search, Answer]:
    """Search ``field``, `key.path=LOW..HIGH`. ``within``: relative width of the bracket to stop at, 2 % unless said; a field that
    counts things (both ends whole, and whole in the scenario) is searched to the exact number unless it is said.

    ``seeds``: runs per probe at most. The rest: as ``sim.sweep.sweep``.

    Raises:
        InputError: the field, a goal or the scenario is at fault, a run fails, or the goals get better where they should get worse.
    """
    if seeds < 1:
        raise InputError(f"--seeds {seeds}: is too few; use 1 or more")
    workers = backends.workers(backend, jobs, max(seeds, 4))
    runner = Runner(scenario_path, sets=sets, backend=backend, jobs=workers, cluster=cluster, cache=cache)
    key, ends = _field(field, "--highest" if highest else "--lowest")
    span = Span.of(ends, within, _step(runner, key, ends))
    asked = Search(key, span, ends.unit, goals, highest)
    evaluate = _Simulated(runner, asked, runner.scenario().seed, watch)
    return asked, bracket(evaluate, goals, span, highest=highest, seeds=seeds)


class _Simulated:
    """Evaluates probes by running the scenario. Seeds count up from the scenario's own."""

    def __init__(self, runner: Runner, asked: Search, seed: int, watch: Watch | None) -> None:
        self._runner, self._asked, self._seed, self._watch = runner, asked, seed, watch

    def __call__(self, wanted: Sequence[tuple[float, int]]) -> Sequence[Sequence[Estimate]]:
        points = [Point((f"{self._asked.key}={value:.10g}{self._asked.unit}",), self._seed + i) for value, i in wanted]
        result = self._runner.run(points, self._watch)
        if result.faults:
            raise InputError(*result.faults)
        return [[_of(goal, r.summary()) for goal in self._asked.goals] for r in result.results]


def _of(goal: Goal, summary: Mapping[str, Any]) -> Estimate:
    groups = {EVERYONE: summary["metrics"], **summary["tiers"]}
    if goal.group not in groups:
        raise InputError(f"--goal {goal}: there is no tier `{goal.group}`; {nearest(goal.group, list(groups))}")
    found = estimate(groups[goal.group], goal.metric)
    if found.value is None:
        why = f" ({found.note})" if found.note else ""
        raise InputError(f"--goal {goal}: is not known in a run{why}; give the requests an `slo:`, or choose another metric")
    return found


def _field(text: str, option: str) -> tuple[str, Range]:
    key, equals, written = text.partition("=")
    try:
        ends = parse_range(written) if equals and key.strip() else None
    except ValueError as error:
        raise InputError(f"{option} {key.strip()}: {error}") from None
    if ends is None or ends.count is not None:
        raise InputError(f"{option} {text}: names no bracket; write it like workload.chat.rate=4/s..40/s or fleet.gpus=1..16")
    return key.strip(), ends


def _step(runner: Runner, key: str, ends: Range) -> int | None:
    """1 where the field counts things, as told by what the scenario makes of a whole number; GPUs come in whole engines."""
    if not ends.whole:
        return None
    if key == "fleet.gpus":
        return runner.scenario().fleet.gpus_per_engine
    node: Any = runner.scenario((f"{key}={min(ends.low, ends.high):.0f}",)).resolved()
    for word in re.sub(r"\[(\d+)\]", r".\1", key).split("."):
        if isinstance(node, list):
            named = [entry for entry in node if isinstance(entry, Mapping) and entry.get("name") == word]
            node = named[0] if named else node[int(word)] if word.isdecimal() and int(word) < len(node) else None
        else:
            node = node.get(word) if isinstance(node, Mapping) else None
    return 1 if isinstance(node, int) and not isinstance(node, bool) else None
