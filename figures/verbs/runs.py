"""Verbs of single runs: simulate one, show its record, compare two arms."""

from __future__ import annotations

import json
from pathlib import Path

import click

from figures.verbs.options import FILE, JSON, console, guarded


@click.command()
@click.argument("scenario", type=FILE)
@click.option("--out", type=FILE, help="Write the run record into this folder.")
@click.option("--seed", type=int, help="Override the scenario's seed.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a field, such as workload.chat.rate=20/s.")
@click.option("--extrapolate", is_flag=True, help="Accept steps beyond the calibrated range; the tables are then marked.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object in place of the table.")
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@guarded
def run(
    scenario: Path, out: Path | None, seed: int | None, sets: tuple[str, ...], extrapolate: bool, as_json: bool, quiet: bool
) -> None:
    """Simulate SCENARIO and print what happened.

    \b
    twinserve run traces/gallery/demo.yaml --out runs/demo
    twinserve run traces/gallery/demo.yaml --set fleet.gpus=4 --set policy.router=power-of-two
    """
    from figures.console import print_summary
    from figures.progress import RunProgress
    from sim.run import simulate
    from traces.metrics import summarise
    from traces.record import check_target
    from traces.scenario import load_scenario

    if out is not None:
        check_target(out)
    extra = ([f"seed={seed}"] if seed is not None else []) + (["extrapolate=true"] if extrapolate else [])
    loaded = load_scenario(scenario, (*sets, *extra))
    with RunProgress(enabled=not quiet) as progress:
        record = simulate(loaded, progress.watch)
    if out is not None:
        record = record.write(out)
    summary = summarise(record)
    if as_json:
        click.echo(json.dumps(summary.to_json(), ensure_ascii=False))
    else:
        print_summary(record, summary, console())


@click.command(short_help="Write a run record as an HTML page or as a timeline.")
@click.argument("record", type=FILE)
@click.option("--out", type=FILE, help="Where to write it.  [default: report.html, or timeline.json.gz, in the folder]")
@click.option("--timeline", is_flag=True, help="Write a timeline for ui.perfetto.dev in place of the page.")
@click.option("--window", metavar="FROM..TO", help="Of the timeline, such as 30s..40s.  [default: all of the run]")
@JSON
@guarded
def report(record: Path, out: Path | None, timeline: bool, window: str | None, as_json: bool) -> None:
    """Write a run record as one self-contained HTML page, or as a timeline of engines, requests and decisions.

    In place of a record also the folder that `compare --out` wrote, or the file that `sweep --out` did.
    """
    if timeline:
        from figures.timeline import parse_window, write_timeline
        from traces.record import Record

        part = None if window is None else parse_window(window)
        written = write_timeline(Record.read(record), out or record / "timeline.json.gz", part)
    else:
        from figures.pages.choice import write_page_of

        written = write_page_of(record, out)
    click.echo(json.dumps({"written": str(written)}, ensure_ascii=False) if as_json else written)


@click.command(short_help="Tell how scenarios A and B differ on the same requests.")
@click.argument("a", type=FILE)
@click.argument("b", type=FILE, required=False)
@click.option("--vary", metavar="KEY=a,b", help="In place of B: two values of a field of A, such as policy.router=vllm,random.")
@click.option("--seeds", type=click.IntRange(min=1), default=5, show_default=True, help="How many, beginning with A's own.")
@click.option("--seed", type=int, help="The first seed.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a field in both arms.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes.  [default: one per core]")
@click.option("--out", type=FILE, help="Write comparison.json and the records, as a-SEED and b-SEED, into this folder.")
@click.option("--report", "page", type=FILE, help="Write the comparison as an HTML page too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object in place of the table.")
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@guarded
def compare(
    a: Path, b: Path | None, vary: str | None, seeds: int, seed: int | None, sets: tuple[str, ...], jobs: int | None,
    out: Path | None, page: Path | None, as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Run scenarios A and B on the same requests and noise, and tell what differs.

    \b
    twinserve compare a.yaml b.yaml --seeds 10
    twinserve compare traces/gallery/demo.yaml --vary policy.router=least-loaded,power-of-two
    """
    from figures.comparison import as_json as plain
    from figures.comparison import print_comparison
    from figures.progress import SeedProgress
    from sim.compare import arms, experiment
    from traces.record import check_place

    for place in filter(None, (out, page)):
        check_place(place)
    one, other = arms(a, b, vary, sets)
    with SeedProgress(enabled=not quiet) as progress:
        found = experiment(one, other, seeds, first_seed=seed, jobs=jobs, out=out, watch=progress.watch)
    if out is not None:
        from figures.comparisonfile import write_comparison

        write_comparison(found, out)
    if page is not None:
        from figures.pages.comparison import render_comparison
        from figures.pages.page import write_page

        write_page(render_comparison(found), page)
    if as_json:
        click.echo(json.dumps(plain(found), ensure_ascii=False))
    else:
        print_comparison(found, console())
