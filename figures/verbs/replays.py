"""Verbs of runs on real engines."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from figures.verbs.options import FILE, console, guarded
from traces.errors import InputError


@click.command(short_help="Run SCENARIO on vLLM's engines and print what happened.")
@click.argument("scenario", type=FILE)
@click.option("--out", type=FILE, help="Write the run record into this folder.")
@click.option("--seed", type=int, help="Override the scenario's seed.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a field, such as replay.engines=virtual.")
@click.option("--managed", is_flag=True, help="Start the scenario's own servers, and stop them: replay.engines=managed.")
@click.option("--against-sim", is_flag=True, help="Virtual engines only: simulate too, and compare request by request.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object in place of the table.")
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@guarded
def replay(
    scenario: Path,
    out: Path | None,
    seed: int | None,
    sets: tuple[str, ...],
    managed: bool,
    against_sim: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run SCENARIO on vLLM's engines and print what happened; exit code 1 if the run ended early or must not be believed.

    \b
    twinserve replay scenario.yaml --out runs/real
    twinserve replay scenario.yaml --set replay.engines=virtual --against-sim
    """
    from figures.console import print_summary
    from figures.progress import RunProgress
    from replay.run import replay as run
    from traces.metrics import summarise
    from traces.record import check_target
    from traces.scenario import load_scenario

    if out is not None:
        check_target(out)
    own = (*(("replay.engines=managed",) if managed else ()), *((f"seed={seed}",) if seed is not None else ()))
    loaded = load_scenario(scenario, (*sets, *own))
    if against_sim:
        _held_against_sim(loaded, out, as_json)
        return
    with RunProgress(enabled=not quiet) as progress:
        record = run(loaded, progress.watch)
    if out is not None:
        record = record.write(out)
    summary = summarise(record)
    if as_json:
        click.echo(json.dumps(summary.to_json(), ensure_ascii=False))
    else:
        print_summary(record, summary, console())
    if record.partial or not record.manifest["sound"]:
        sys.exit(1)


def _held_against_sim(scenario: object, out: Path | None, as_json: bool) -> None:
    from figures.agreement import agreement_json, both_worlds, print_agreement
    from traces.scenario import Scenario

    assert isinstance(scenario, Scenario)
    if scenario.replay is None or scenario.replay.engines != "virtual":
        raise InputError("--against-sim: only virtual engines are meant to equal the simulator; add --set replay.engines=virtual")
    record, found = both_worlds(scenario)
    if out is not None:
        record.write(out)
    if as_json:
        click.echo(json.dumps(agreement_json(found), ensure_ascii=False))
    else:
        print_agreement(found, console())
    if not found.equal:
        sys.exit(1)
