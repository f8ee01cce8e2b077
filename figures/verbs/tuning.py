"""The verb that tunes engine knobs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from figures.verbs.options import FILE, Quantity, console, guarded

_WORLD = click.Choice(("sim", "replay", "sim-first"))
_FROM_ONE, _FROM_TWO = click.IntRange(min=1), click.IntRange(min=2)


@click.command(short_help="Tune SCENARIO's engine knobs.")
@click.argument("scenario", type=FILE)
@click.option("--world", type=_WORLD, metavar="WORLD", default="sim", show_default=True, help="sim, replay or sim-first.")
@click.option("--objective", metavar="NAMES", default="throughput", show_default=True, help="Such as p95-latency, ttft+tpot.")
@click.option("--trials", type=_FROM_TWO, metavar="N", default=30, show_default=True, help="In all, the default one included.")
@click.option("--sampler", metavar="NAME", default="scoot", show_default=True, help="Or random, tpe, nsga2, vanilla-bo, auto-tune.")
@click.option("--bound", "bounds", multiple=True, metavar="KNOB=VALUES", help="Such as max_num_seqs=64..256, block_size=16,32.")
@click.option("--also", multiple=True, metavar="KNOB", help="Tune kv_cache_dtype, async_scheduling, … too.")
@click.option("--canary", type=Quantity("share", "parse_fraction"), help="Such as 10%: nothing users notice gets worse by more.")
@click.option("--storage", type=FILE, metavar="FILE", help="SQLite; the same command goes on from it.")
@click.option("--warm-start", multiple=True, type=FILE, metavar="FILE", help="Try the best of an earlier study first.")
@click.option("--parallel", type=_FROM_ONE, metavar="N", default=1, show_default=True, help="Trials side by side.")
@click.option("--retests", type=_FROM_ONE, metavar="N", default=3, show_default=True, help="Of the best, under fresh traffic.")
@click.option("--carry", type=_FROM_TWO, metavar="N", default=6, show_default=True, help="Of sim-first, to real engines.")
@click.option("--fingerprint", type=FILE, metavar="FILE", help="Of the engines: what `fingerprint measure` wrote.")
@click.option("--limit", type=Quantity("time", "parse_duration"), default="30min", show_default=True, help="For a real trial.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a field of the scenario.")
@click.option("--seed", type=int, metavar="N", help="Of suggestions and traffic.  [default: the scenario's]")
@click.option("--out", type=FILE, metavar="FILE", help="Write all trials into this JSON file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object in place of the table.")
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@guarded
def tune(
    scenario: Path, world: str, objective: str, trials: int, sampler: str, bounds: tuple[str, ...], also: tuple[str, ...],
    canary: float | None, storage: Path | None, warm_start: tuple[Path, ...], parallel: int, retests: int, carry: int,
    fingerprint: Path | None, limit: float,
    sets: tuple[str, ...], seed: int | None, out: Path | None, as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Tune SCENARIO's engine knobs; exit code 1 unless the best one, tested again, beats the default.

    \b
    twinserve tune scenario.yaml --objective ttft+tpot --storage chat.db
    twinserve tune scenario.yaml --world sim-first --bound tensor_parallel=1,2
    """
    _needs_optuna()
    from figures.progress import TrialProgress
    from figures.tuning import view
    from figures.tuning.command import Options, to_json, write
    from figures.tuning.command import tune as study
    from figures.tuning.objectives import parse_objectives

    asked = Options(
        scenario, world, objective, trials, sampler, seed, parallel, storage, bounds, also, canary, warm_start, sets, limit,
        retests, carry, fingerprint,
    )  # fmt: skip
    with TrialProgress(trials, parse_objectives(objective)[0].maximise, enabled=not quiet) as progress:
        answer = study(asked, progress.watch)
    if out is not None:
        write(answer, out)
    if as_json:
        click.echo(json.dumps(to_json(answer), ensure_ascii=False))
    else:
        view.print_result(answer.result, console())
        if answer.carried:
            view.print_carried(answer.carried, answer.agreements(), console())
    if not answer.result.holds:
        sys.exit(1)


def _needs_optuna() -> None:
    from importlib.util import find_spec

    from traces.errors import InputError

    if missing := [name for name in ("optuna", "sklearn") if find_spec(name) is None]:
        raise InputError(f"tune: needs {missing[0]}, which is not installed; pip install 'twinserve[tune]'")
