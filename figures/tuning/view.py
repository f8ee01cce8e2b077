"""A study on the terminal: what was found, whether it held, what to change, and how the trials went."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from figures.studies.columns import aligned, fitted, label, scale_of
from figures.tuning.carry import Agreement, Carried
from figures.tuning.knobs import overrides
from figures.tuning.result import Result, front_of
from figures.tuning.study import DEFAULT, Trial
from figures.units import number
from policies.scoot.space import Config
from traces.intervals import Estimate

_MOST_ROWS = 10


def print_result(result: Result, console: Console) -> None:
    """The answer first, then what it rests on."""
    console = fitted(console)
    for line in (*_answer(result), Text(""), *_table(result), Text(""), *_failures(result)):
        console.print(line, markup=False, highlight=False, overflow="fold")


def print_carried(found: Sequence[Carried], told: Sequence[Agreement], console: Console) -> None:
    """What became of the simulator's candidates on real engines."""
    console = fitted(console)
    lines = [Text("On real engines", "bold")]
    for i, agreement in enumerate(told):
        values = [one.values[i] for pair in found for one in (pair.simulated, pair.real) if one.values is not None]
        scale = scale_of(agreement.objective.metric, [Estimate(value) for value in values])
        heading = f"{label(agreement.objective.metric)} ({scale.unit})" if scale.unit else label(agreement.objective.metric)
        rows = [["candidate", "simulated", "real", heading]]
        for one in found:
            ours, real = (
                number(o.values[i] * scale.factor) if o.values is not None else o.failure.partition(":")[0]
                for o in (one.simulated, one.real)
            )
            rows.append([one.why, ours, real, ""])
        lines += aligned(rows)
        shown = "unknown" if agreement.correlation is None else f"{agreement.correlation:.2f}"
        if agreement.lo is not None and agreement.hi is not None:
            shown += f" ({agreement.lo:.2f} to {agreement.hi:.2f}, 95 %)"
        lines.append(Text(f"rank correlation {shown}, n = {agreement.n}"))
    for line in lines:
        console.print(line, markup=False, highlight=False, overflow="fold")


def changes(result: Result, config: Config) -> list[str]:
    """``knob old → new`` of every knob that differs from the default configuration."""
    default = result.default.config
    return [f"{name} {default[name]} → {value}" for name, value in config.items() if value != default[name]]


def _answer(result: Result) -> list[Text]:
    plan, best = result.plan, result.best
    lines = []
    if best.values is None:
        lines.append(Text("No configuration is known to survive, the default neither.", "bold yellow"))
    elif best.number == DEFAULT:
        lines.append(Text("Keep the default configuration: no trial that survives was better.", "bold yellow"))
    else:
        style = "bold green" if result.holds else "bold yellow"
        verdict = "Better than the default." if result.holds else "Not shown to be better than the default: do not change yet."
        lines.append(Text.assemble((f"Trial {best.number}. ", "bold"), (verdict, style)))
    gains, ours, defaults = result.gains(), result.worst(result.tested), result.worst(result.default_tested)
    for objective, gain, value, base in zip(plan.objectives, gains, ours, defaults, strict=True):
        scale = scale_of(objective.metric, [Estimate(v) for v in (value, base) if v is not None] or [Estimate(None)])
        if value is None or base is None:
            lines.append(Text(f"{label(objective.metric)}: a re-test crashed"))
            continue
        shown, was = number(value * scale.factor), number(base * scale.factor)
        moved = "" if gain is None else f", {100 * gain:+.1f} %"
        lines.append(Text(f"{label(objective.metric)}: {shown} {scale.unit} against {was} {scale.unit}{moved}"))
    lines.append(Text(f"the worst of {len(result.tested)} tests under traffic that no trial had, each", "dim"))
    for one in result.passed_over:
        died, why = f"{len(one.failures)} of {len(one.tested)}", one.failures[0].partition(":")[0]
        lines.append(Text(f"passed over: trial {one.trial.number}, which was better and died in {died} tests ({why})", "yellow"))
    if changed := changes(result, best.config):
        lines.append(Text(""))
        lines += [Text(f"  {change}") for change in changed]
        wanted = [one for one in overrides(best.config) if one not in overrides(result.default.config)]
        lines.append(Text(" ".join(f"--set {shlex.quote(one)}" for one in wanted), "dim"))
    return lines


def _table(result: Result) -> list[Text]:
    """One objective: the trials that were best when they came. Several: the front."""
    objectives = result.plan.objectives
    if len(objectives) == 1:
        shown, title = _records(result.trials, objectives[0].maximise), "Best so far"
    else:
        shown, title = front_of(result.trials, result.maximise), "Not beaten in all objectives"
    shown = [result.default, *(trial for trial in shown if trial.number != DEFAULT)]
    shown = shown if len(shown) <= _MOST_ROWS else [shown[0], *shown[1 - _MOST_ROWS :]]
    scales = [
        scale_of(o.metric, [Estimate(trial.values[i]) for trial in shown if trial.values is not None] or [Estimate(None)])
        for i, o in enumerate(objectives)
    ]
    heading = [f"{label(o.metric)} ({s.unit})" if s.unit else label(o.metric) for o, s in zip(objectives, scales, strict=True)]
    rows = [["trial", *heading, "changed"]]
    for trial in shown:
        values = trial.values or ()
        cells = [number(value * scale.factor) for value, scale in zip(values, scales, strict=False)] or [trial.failure]
        cells += [""] * (len(objectives) - len(cells))
        changed = "default" if trial.number == DEFAULT else f"{len(changes(result, trial.config))} knobs"
        rows.append([str(trial.number), *cells, changed])
    return [Text(title, "dim"), *aligned(rows)]


def _failures(result: Result) -> list[Text]:
    plan, trials = result.plan, result.trials
    known = f", {result.resumed} of them from before" if result.resumed else ""
    lines = [
        Text(f"{len(trials)} trials in the {result.world} world by {plan.sampler}{known}; {len(result.failed)} did not survive")
    ]
    for kind, count in Counter(trial.failure.partition(":")[0] for trial in result.failed).most_common():
        lines.append(Text(f"  {count} × {kind}"))
    if plan.canary is not None:
        left = ", ".join(str(trial.number) for trial in result.left_band) or "none"
        lines.append(Text(f"canary, {100 * plan.canary:g} %: trials that left the band: {left}"))
    return lines


def _records(trials: Sequence[Trial], maximise: bool) -> list[Trial]:
    best: Any = None
    found = []
    for trial in trials:
        if trial.values is not None and (best is None or (trial.values[0] > best if maximise else trial.values[0] < best)):
            best = trial.values[0]
            found.append(trial)
    return found
