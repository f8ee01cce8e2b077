"""The verb that answers which GPUs to buy."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from figures.verbs import completion
from figures.verbs.options import FILE, Quantity, console, guarded

AIMS = {"cheapest": "usd", "fewest": "gpus", "highest-rate": "rate"}


@click.command(short_help="Find GPUs for SCENARIO's load and objectives.")
@click.argument("scenario", type=FILE)
@click.option("--find", type=click.Choice(list(AIMS)), default="cheapest", metavar="WHAT",
              help="cheapest (default), fewest or highest-rate.")  # fmt: skip
@click.option("--gpu", "gpus", multiple=True, metavar="TYPE[=COUNT]", help="GPUs to use.  [default: any, 64 of each]")
@click.option("--attain", type=Quantity("share", "parse_fraction"), default="90%", help="Share within its SLO.  [default: 90%]")
@click.option("--policy", "policies", multiple=True, metavar="POLICY", shell_complete=completion.stacks,
              help="Such as sarathi.  [default: the file's]")  # fmt: skip
@click.option("--precision", "precisions", multiple=True, metavar="NAME", help="[default: bf16, fp8, int4]")
@click.option("--vary", multiple=True, metavar="KEY=VALUES", help="A knob: engine.max_num_seqs=64,256.")
@click.option("--prices", type=FILE, help="Your prices.  [default: list prices]")
@click.option("--print-prices", is_flag=True, help="Print the list prices as such a file.")
@click.option("--most", type=click.IntRange(min=1), default=12, metavar="N", help="Deployments to simulate.  [default: 12]")
@click.option("--seeds", type=click.IntRange(min=1), default=4, metavar="N", help="Of the nearest at most.  [default: 4]")
@click.option("--requests", type=click.IntRange(min=100), default=20_000, metavar="N", help="Of a run at most.  [default: 20000]")
@click.option("--extrapolate", is_flag=True, help="Answer outside calibrated ranges too.")
@click.option("--emit", metavar="KIND", help="Print vllm, compose, kubernetes or scenario.")
@click.option("--weights", help="The model as vLLM loads it, for --emit.")
@click.option("--html", type=FILE, help="Write a page with everything.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a field of the scenario.")
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Processes.  [default: one per core]")
@click.option("--cache", type=FILE, help="For results.  [default: .twinserve/cache]")
@click.option("--no-cache", is_flag=True, help="Neither use nor keep results.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@guarded
def plan(
    scenario: Path, find: str, gpus: tuple[str, ...], attain: float, policies: tuple[str, ...], precisions: tuple[str, ...],
    vary: tuple[str, ...], prices: Path | None, print_prices: bool, emit: str | None, weights: str | None, html: Path | None,
    sets: tuple[str, ...], jobs: int | None, cache: Path | None, no_cache: bool, as_json: bool, quiet: bool, **limits: Any,
) -> None:  # fmt: skip
    """Find GPUs for SCENARIO's load and objectives; its own fleet is put aside.

    \b
    twinserve plan traces/gallery/buy.yaml --policy vllm --policy sarathi
    twinserve plan traces/gallery/buy.yaml --find highest-rate --gpu h200=8
    """
    from figures.planning.asked import inventory, knobs_of, precisions_of
    from figures.planning.emit import check_kind, emitted
    from figures.planning.live import PlanProgress
    from figures.planning.plain import plan_json
    from figures.planning.prices import Prices, read_prices, shipped
    from figures.planning.table import print_plan
    from sim import plan as room
    from sim.planning.question import Question
    from sim.pointcache import DEFAULT_FOLDER
    from traces.record import check_place
    from traces.scenario import load_scenario

    if print_prices:
        click.echo(shipped(), nl=False)
        return
    if html is not None:
        check_place(html)
    if emit is not None:
        check_kind(emit)
    paid = Prices() if prices is None else read_prices(prices)
    question = Question(
        gpus=inventory(gpus),
        attainment=attain,
        aim=AIMS[find],  # type: ignore[arg-type]
        policies=[(f"policy={name}",) for name in policies] or [()],
        knobs=knobs_of(vary),
        precisions=precisions_of(precisions),
        usd_per_gpu_hour=paid.usd_per_gpu_hour,
        stress=emit is None,
        **limits,
    )
    kept = None if no_cache else cache or DEFAULT_FOLDER
    with PlanProgress(question.aim, enabled=not quiet) as progress:
        found = room.plan(scenario, question, sets=sets, jobs=jobs, cache=kept, watch=progress.watch)
    best = found.best
    if html is not None:
        from figures.pages.page import write_page
        from figures.planning.page import plan_page

        write_page(plan_page(found, scenario.stem, paid), html)
    if emit is not None and best is not None and best.engines is not None:
        asked = load_scenario(scenario, (*sets, *best.arm.deployed()))
        click.echo(emitted(emit, best.candidate.configuration, best.engines, asked, weights), nl=False)
    elif as_json:
        click.echo(json.dumps({**plan_json(found), "prices": {"source": paid.source, "date": paid.date}}, ensure_ascii=False))
    else:
        print_plan(found, console(), paid)
    if best is None:
        click.echo("error: no fleet of these GPUs meets the objectives", err=True)
        sys.exit(1)
