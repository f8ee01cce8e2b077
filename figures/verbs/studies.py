"""Verbs of many runs: sweep a scenario over fields, search the value at which goals still hold."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from figures.verbs import completion
from figures.verbs.options import FILE, Quantity, console, guarded, where_to_run
from traces.errors import InputError


@click.command()
@click.argument("scenario", type=FILE)
@click.option("--vary", multiple=True, metavar="KEY=VALUES", help="Such as 4/s..40/s:8, 1..64:7log or a,b.  [default: the file's]")
@click.option("--seeds", type=click.IntRange(min=1), help="Runs per point, from the file's seed on.  [default: the file's, or 1]")
@click.option(
    "--metric", "metrics", multiple=True, metavar="NAME[@TIER]", shell_complete=completion.metrics,
    help="A column to print, such as ttft_s.p50@chat.",
)  # fmt: skip
@click.option("--out", type=FILE, help="Write all metrics of all points into this Parquet file.")
@click.option("--report", "page", type=FILE, help="Write the sweep as an HTML page too.")
@guarded
@where_to_run
def sweep(
    scenario: Path, vary: tuple[str, ...], seeds: int | None, metrics: tuple[str, ...], sets: tuple[str, ...], out: Path | None,
    page: Path | None, jobs: int | None, backend: str, cluster: str | None, cache: Path | None, as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Run SCENARIO with fields varied. Points are cached: a sweep that was stopped goes on where it was.

    \b
    twinserve sweep traces/gallery/demo.yaml --vary workload.chat.rate=60/s..180/s:5 --seeds 3
    twinserve sweep traces/gallery/demo.yaml --vary policy.router=vllm,random --out routers.parquet
    """
    from figures.studies.progress import SweepProgress
    from figures.studies.sweep import METRICS_SHOWN, parse_metrics, print_sweep, sweep_json
    from sim import sweep as room
    from traces.record import check_place

    for place in filter(None, (out, page)):
        check_place(place)
    shown = parse_metrics(metrics or METRICS_SHOWN)
    grid = room.points_of(scenario, vary, seeds, sets)
    with SweepProgress(enabled=not quiet) as progress:
        found = room.sweep(
            scenario, grid, sets=sets, backend=backend, jobs=jobs, cluster=cluster, cache=cache, watch=progress.watch
        )  # fmt: skip
    if out is not None:
        found.write(out)
    if page is not None:
        from figures.pages.page import write_page
        from figures.pages.sweep import render_sweep

        write_page(render_sweep(found.frame(), scenario.stem), page)
    if as_json:
        click.echo(json.dumps(sweep_json(found, None if out is None else str(out)), ensure_ascii=False))
    else:
        print_sweep(found, shown, console())
    for fault, number in found.faults.items():
        click.echo(f"error: {number} of {len(grid)} points: {fault}", err=True)
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
    if found.faults:
        sys.exit(1)


@click.command(short_help="Find the highest or lowest value at which goals still hold.")
@click.argument("scenario", type=FILE)
@click.option("--highest", metavar="KEY=LOW..HIGH", help="The field to raise as far as the goals allow.")
@click.option("--lowest", metavar="KEY=LOW..HIGH", help="The field to lower as far as the goals allow.")
@click.option("--goal", "goals", multiple=True, metavar="GOAL", help="Such as 'ttft_s.p99@chat<=1s'.  [default: attainment>=90%]")
@click.option("--within", type=Quantity("share", "parse_fraction"), help="Width to stop at.  [default: 2%; counts exactly]")
@click.option("--seeds", type=click.IntRange(min=1), default=16, show_default=True, help="Runs of each value at most.")
@guarded
@where_to_run
def search(
    scenario: Path, highest: str | None, lowest: str | None, goals: tuple[str, ...], within: float | None, seeds: int,
    sets: tuple[str, ...], jobs: int | None, backend: str, cluster: str | None, cache: Path | None, as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Find the highest or lowest value of a field at which goals still hold.

    \b
    twinserve search traces/gallery/demo.yaml --highest workload.chat.rate=40/s..400/s
    twinserve search traces/gallery/demo.yaml --lowest fleet.gpus=1..32 --goal 'attainment@premium>=95%'
    """
    from figures.studies.progress import SweepProgress
    from figures.studies.search import answer_json, print_answer
    from sim import search as room

    field = highest or lowest
    if field is None or (highest and lowest):
        raise InputError("search: needs one field; give --highest KEY=LOW..HIGH or --lowest KEY=LOW..HIGH")
    wanted = [room.parse_goal(goal) for goal in goals or ("attainment>=90%",)]
    with SweepProgress(enabled=not quiet, search=True) as progress:
        asked, answer = room.search(
            scenario, field, wanted, highest=highest is not None, within=within, seeds=seeds, sets=sets,
            backend=backend, jobs=jobs, cluster=cluster, cache=cache, watch=progress.watch,
        )  # fmt: skip
    if as_json:
        click.echo(json.dumps(answer_json(asked, answer), ensure_ascii=False))
    else:
        print_answer(asked, answer, console())
    if answer.outside is not None:
        sys.exit(1)
