"""The verb that answers which GPUs to buy."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from figures.verbs.options import FILE, Quantity, console, guarded


@click.command()
@click.argument("scenario", type=FILE)
@click.option(
    "--gpu", "gpus", multiple=True, metavar="TYPE[=COUNT]", help="GPUs to choose from.  [default: every type, 64 of each]"
)
@click.option(
    "--attain", type=Quantity("share", "parse_fraction"), default="90%", show_default=True, help="Share that meets its SLO."
)
@click.option("--policy", "policies", multiple=True, metavar="POLICY", help="Such as sarathi or polyserve.  [default: the file's]")
@click.option("--precision", "precisions", multiple=True, metavar="NAME", help="Of the weights.  [default: bf16, fp8, int4]")
@click.option("--most", type=click.IntRange(min=1), default=10, show_default=True, help="Deployments to simulate.")
@click.option("--seeds", type=click.IntRange(min=1), default=4, show_default=True, help="Runs of each fleet at most.")
@click.option("--emit", metavar="KIND", help="Print what starts the cheapest: vllm, compose or kubernetes.")
@click.option("--weights", help="The model as vLLM is to load it, for --emit.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a field of the scenario.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes.  [default: one per core]")
@click.option("--cache", type=FILE, help="Folder that keeps results.  [default: .twinserve/cache]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object in place of the table.")
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@guarded
def plan(
    scenario: Path, gpus: tuple[str, ...], attain: float, policies: tuple[str, ...], precisions: tuple[str, ...],
    most: int, seeds: int, emit: str | None, weights: str | None, sets: tuple[str, ...], jobs: int | None, cache: Path | None,
    as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Find the cheapest fleets that serve SCENARIO's workload within its objectives. The file's own fleet does not matter.

    \b
    twinserve plan traces/gallery/demo.yaml --gpu h200 --gpu h100=16 --gpu l40s
    twinserve plan traces/gallery/demo.yaml --policy vllm --policy sarathi --emit kubernetes
    """
    from figures.planning.asked import inventory, precisions_of
    from figures.planning.emit import emitted
    from figures.planning.table import plan_json, print_plan
    from figures.progress import FigureProgress
    from sim import plan as room
    from sim.pointcache import DEFAULT_FOLDER
    from traces.scenario import load_scenario

    question = room.Question(
        gpus=inventory(gpus),
        attainment=attain,
        policies=[(f"policy={name}",) for name in policies] or [()],
        precisions=precisions_of(precisions),
        most=most,
        seeds=seeds,
    )
    with FigureProgress(enabled=not quiet) as progress:
        found = room.plan(scenario, question, sets=sets, jobs=jobs, cache=cache or DEFAULT_FOLDER, watch=progress.watch)
    best = next((a for a in found.alternatives if a.engines is not None), None)
    if emit is not None and best is not None and best.engines is not None:
        asked = load_scenario(scenario, (*sets, *room.deployed(best.candidate)))
        click.echo(emitted(emit, best.candidate.configuration, best.engines, asked, weights), nl=False)
    elif as_json:
        click.echo(json.dumps(plan_json(found), ensure_ascii=False))
    else:
        print_plan(found, attain, console())
    if best is None:
        click.echo("error: no fleet of these GPUs meets the objectives", err=True)
        sys.exit(1)
