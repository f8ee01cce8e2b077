"""The command line: one lazy click group. Each verb gathers its arguments and calls the room that does the work."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from traces.errors import InputError


class _Quantity(click.ParamType):
    """A value with a unit, read by one of the parsers of ``traces.units``."""

    def __init__(self, name: str, parser: str) -> None:
        self.name = name
        self._parser = parser

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from traces import units

        try:
            return float(getattr(units, self._parser)(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


_FILE = click.Path(path_type=Path)
_FORMAT = click.option("--format", help="Format of the file.  [default: what it looks like]")
_OPTION = click.option(
    "--option", "options", multiple=True, metavar="KEY=VALUE", help="For the format's reader, such as jitter=on."
)
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def _guarded(verb: Callable[..., None]) -> Callable[..., None]:
    """A fault in the user's input is one line per fault on stderr and exit code 2; Ctrl-C is one line and 130."""

    @wraps(verb)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            verb(*args, **kwargs)
        except InputError as error:
            for fault in error.faults:
                click.echo(f"error: {fault}", err=True)
            sys.exit(2)
        except KeyboardInterrupt:
            click.echo("interrupted: nothing was written", err=True)
            sys.exit(130)

    return run


@click.group(context_settings=_CONTEXT)
@click.version_option(package_name="twinserve")
def main() -> None:
    """Simulate an LLM serving fleet, and see what its users would feel and what it would cost."""


@main.command()
@click.argument("scenario", type=_FILE)
@click.option("--out", type=_FILE, help="Write the run record into this folder.")
@click.option("--seed", type=int, help="Override the scenario's seed.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a field, such as workload.chat.rate=20/s.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object in place of the table.")
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@_guarded
def run(scenario: Path, out: Path | None, seed: int | None, sets: tuple[str, ...], as_json: bool, quiet: bool) -> None:
    """Simulate SCENARIO and print what happened.

    \b
    twinserve run traces/gallery/demo.yaml --out runs/demo
    twinserve run traces/gallery/demo.yaml --set fleet.gpus=4 --set policy.router=power-of-two
    """
    from figures.progress import RunProgress
    from sim.run import simulate
    from traces.metrics import summarise
    from traces.record import check_target
    from traces.scenario import load_scenario

    if out is not None:
        check_target(out)
    loaded = load_scenario(scenario, (*sets, f"seed={seed}") if seed is not None else sets)
    with RunProgress(enabled=not quiet) as progress:
        record = simulate(loaded, progress.watch)
    if out is not None:
        record = record.write(out)
    _show(record, summarise(record), as_json)


@main.command()
@click.argument("record", type=_FILE)
@click.option("--out", type=_FILE, help="Where to write the page.  [default: report.html in the record]")
@_guarded
def report(record: Path, out: Path | None) -> None:
    """Write a run record as one self-contained HTML page."""
    from figures.report import write_report
    from traces.record import Record

    path = out or record / "report.html"
    write_report(Record.read(record), path)
    click.echo(path)


@main.command()
@click.argument("a", type=_FILE)
@click.argument("b", type=_FILE, required=False)
@click.option("--vary", metavar="KEY=a,b", help="In place of B: two values of a field of A, such as policy.router=vllm,random.")
@click.option("--seeds", type=click.IntRange(min=1), default=5, show_default=True, help="How many, beginning with A's own.")
@click.option("--seed", type=int, help="The first seed.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a field in both arms.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes.  [default: one per core]")
@click.option("--out", type=_FILE, help="Write the records into this folder, as a-SEED and b-SEED.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object in place of the table.")
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@_guarded
def compare(
    a: Path, b: Path | None, vary: str | None, seeds: int, seed: int | None, sets: tuple[str, ...], jobs: int | None,
    out: Path | None, as_json: bool, quiet: bool,
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

    one, other = arms(a, b, vary, sets)
    with SeedProgress(enabled=not quiet) as progress:
        found = experiment(one, other, seeds, first_seed=seed, jobs=jobs, out=out, watch=progress.watch)
    if as_json:
        click.echo(json.dumps(plain(found), ensure_ascii=False))
    else:
        print_comparison(found, _console())


def _where_to_run(verb: Callable[..., None]) -> Callable[..., None]:
    """Options of verbs that run many points; what they did is cached, so an interruption loses nothing that was done."""

    @wraps(verb)
    def run(*args: Any, cache: Path | None, no_cache: bool, **kwargs: Any) -> None:
        from sim.pointcache import DEFAULT_FOLDER

        try:
            verb(*args, cache=None if no_cache else cache or DEFAULT_FOLDER, **kwargs)
        except KeyboardInterrupt:
            kept = "nothing was written" if no_cache else "what is done is cached; the same command goes on from there"
            click.echo(f"interrupted: {kept}", err=True)
            sys.exit(130)

    for option in (
        click.option("--quiet", is_flag=True, help="No progress on stderr."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object in place of the table."),
        click.option("--no-cache", is_flag=True, help="Neither use nor keep results."),
        click.option("--cache", type=_FILE, help="Folder that keeps results.  [default: .twinserve/cache]"),
        click.option("--cluster", metavar="ADDRESS", help="A running Dask or Ray cluster.  [default: one on this machine]"),
        click.option("--backend", default="loky", show_default=True, help="loky (processes), threads, dask or ray."),
        click.option("--jobs", type=int, help="Workers.  [default: one per core]"),
        click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a field in all runs."),
    ):
        run = option(run)
    return run


@main.command()
@click.argument("scenario", type=_FILE)
@click.option("--vary", multiple=True, metavar="KEY=VALUES", help="Such as 4/s..40/s:8, 1..64:7log or a,b.  [default: the file's]")
@click.option("--seeds", type=click.IntRange(min=1), help="Runs per point, from the file's seed on.  [default: the file's, or 1]")
@click.option("--metric", "metrics", multiple=True, metavar="NAME[@TIER]", help="A column to print, such as ttft_s.p50@chat.")
@click.option("--out", type=_FILE, help="Write all metrics of all points into this Parquet file.")
@_guarded
@_where_to_run
def sweep(
    scenario: Path, vary: tuple[str, ...], seeds: int | None, metrics: tuple[str, ...], sets: tuple[str, ...], out: Path | None,
    jobs: int | None, backend: str, cluster: str | None, cache: Path | None, as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Run SCENARIO with fields varied. Points are cached: a sweep that was stopped goes on where it was.

    \b
    twinserve sweep traces/gallery/demo.yaml --vary workload.chat.rate=60/s..180/s:5 --seeds 3
    twinserve sweep traces/gallery/demo.yaml --vary policy.router=vllm,random --out routers.parquet
    """
    from figures.sweepview import METRICS_SHOWN, SweepProgress, parse_metrics, print_sweep, sweep_json
    from sim import sweep as room

    shown = parse_metrics(metrics or METRICS_SHOWN)
    grid = room.points_of(scenario, vary, seeds, sets)
    with SweepProgress(enabled=not quiet) as progress:
        found = room.sweep(
            scenario, grid, sets=sets, backend=backend, jobs=jobs, cluster=cluster, cache=cache, watch=progress.watch
        )  # fmt: skip
    if out is not None:
        found.write(out)
    if as_json:
        click.echo(json.dumps(sweep_json(found, None if out is None else str(out)), ensure_ascii=False))
    else:
        print_sweep(found, shown, _console())
    for fault, number in found.faults.items():
        click.echo(f"error: {number} of {len(grid)} points: {fault}", err=True)
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
    if found.faults:
        sys.exit(1)


@main.command()
@click.argument("scenario", type=_FILE)
@click.option("--highest", metavar="KEY=LOW..HIGH", help="The field to raise as far as the goals allow.")
@click.option("--lowest", metavar="KEY=LOW..HIGH", help="The field to lower as far as the goals allow.")
@click.option("--goal", "goals", multiple=True, metavar="GOAL", help="Such as 'ttft_s.p99@chat<=1s'.  [default: attainment>=90%]")
@click.option("--within", type=_Quantity("share", "parse_fraction"), help="Width to stop at.  [default: 2%; counts exactly]")
@click.option("--seeds", type=click.IntRange(min=1), default=16, show_default=True, help="Runs of each value at most.")
@_guarded
@_where_to_run
def search(
    scenario: Path, highest: str | None, lowest: str | None, goals: tuple[str, ...], within: float | None, seeds: int,
    sets: tuple[str, ...], jobs: int | None, backend: str, cluster: str | None, cache: Path | None, as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Find the highest or lowest value of a field at which goals still hold.

    \b
    twinserve search traces/gallery/demo.yaml --highest workload.chat.rate=40/s..400/s
    twinserve search traces/gallery/demo.yaml --lowest fleet.gpus=1..32 --goal 'attainment@premium>=95%'
    """
    from figures.sweepview import SweepProgress, answer_json, print_answer
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
        print_answer(asked, answer, _console())
    if answer.outside is not None:
        sys.exit(1)


@main.command()
@click.argument("names", nargs=-1, metavar="list | all | NAME…")
@click.option("--out", type=_FILE, default=Path("twinserve-figures"), show_default=True, help="Folder to write into.")
@click.option("--quick", is_flag=True, help="A few short runs: for a look, not for quoting.")
@click.option("--dark", is_flag=True, help="For a dark page.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes.  [default: one per core]")
@click.option("--cache", type=_FILE, help="Folder that keeps results.  [default: .twinserve/cache]")
@click.option("--no-cache", is_flag=True, help="Neither use nor keep results.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object in place of the tables.")
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@_guarded
def figures(
    names: tuple[str, ...], out: Path, quick: bool, dark: bool, jobs: int | None, cache: Path | None, no_cache: bool,
    as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Make figures: picture, data, caption, and what the paper says beside what we get.

    \b
    twinserve figures list
    twinserve figures router-attainment budget-pareto --out figures-of-today
    """
    from figures import gallery

    if not names or gallery.LIST in names:
        if as_json:
            click.echo(json.dumps(gallery.listing(), ensure_ascii=False))
        else:
            gallery.print_listing(_console())
        return
    from figures.frame import produce
    from figures.progress import FigureProgress
    from figures.runner import SweepRunner
    from figures.style import DARK, LIGHT
    from sim.pointcache import DEFAULT_FOLDER

    made = []
    try:
        for figure in gallery.chosen(names):
            with FigureProgress(enabled=not quiet) as progress:
                kept = None if no_cache else cache or DEFAULT_FOLDER
                runner = SweepRunner(quick=quick, cache=kept, jobs=jobs, watch=progress.watch)
                made.append(produce(figure, runner, out, DARK if dark else LIGHT))
            if not as_json:
                gallery.print_produced(made[-1], _console())
    except KeyboardInterrupt:
        click.echo(f"interrupted: {len(made)} figures are done; finished runs stay in the cache, if there is one", err=True)
        sys.exit(130)
    if as_json:
        click.echo(json.dumps({"figures": [one.to_json() for one in made]}, ensure_ascii=False))


@main.group()
def traces() -> None:
    """Workloads: built in, public, your own."""


@traces.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_guarded
def list_traces(as_json: bool) -> None:
    """Built-in workloads, public traces that can be fetched, and the formats that are read."""
    from figures.catalogue import print_traces

    print_traces(as_json)


@traces.command("inspect")
@click.argument("trace")
@_FORMAT
@_OPTION
@click.option("--plot", type=_FILE, help="Draw rate, lengths and burstiness into this PNG, SVG or PDF file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_guarded
def inspect_trace(trace: str, format: str | None, options: tuple[str, ...], plot: Path | None, as_json: bool) -> None:
    """Rate, lengths and burstiness of TRACE, a file or the name of a built-in workload."""
    from figures import workload as view
    from traces.inspect import describe
    from traces.opening import open_workload

    workload = open_workload(trace, format, options)
    if as_json:
        click.echo(json.dumps(describe(workload), ensure_ascii=False))
    else:
        view.print_workload(workload, _console())
    if plot is not None:
        view.draw(workload, plot)


@traces.command("convert")
@click.argument("trace")
@click.argument("target", type=_FILE)
@_FORMAT
@_OPTION
@click.option("--to", help="Format to write: twinserve, csv, mooncake or timed_trace.  [default: by the ending]")
@_guarded
def convert(trace: str, target: Path, format: str | None, options: tuple[str, ...], to: str | None) -> None:
    """Write TRACE, a file or a built-in workload, in another format."""
    from traces.opening import open_workload
    from traces.writers import write

    workload = open_workload(trace, format, options)
    notes = write(workload, target, to)
    click.echo(f"{target}: {len(workload):,} requests")
    for note in notes:
        click.echo(f"note: {note}", err=True)


@traces.command("synth")
@click.argument("workload")
@click.argument("target", type=_FILE)
@click.option("--rate", type=_Quantity("rate", "parse_rate"), help="Mean arrivals, such as 12/s.  [default: the trace's own]")
@click.option("--requests", type=click.IntRange(min=1), help="How many.")
@click.option("--duration", type=_Quantity("duration", "parse_duration"), help="For how long, such as 20min.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--to", help="Format to write: twinserve, csv, mooncake or timed_trace.  [default: by the ending]")
@_guarded
def synth(
    workload: str, target: Path, rate: float | None, requests: int | None, duration: float | None, seed: int, to: str | None
) -> None:
    """Draw requests from a built-in WORKLOAD and write them into a trace file."""
    from traces.synthesis import builtin
    from traces.writers import write

    drawn = builtin(workload, seed=seed, rate=rate, requests=requests, duration_s=duration)
    notes = write(drawn, target, to)
    click.echo(f"{target}: {len(drawn):,} requests over {drawn.duration_s:,.0f} s")
    for note in notes:
        click.echo(f"note: {note}", err=True)


@traces.command("get")
@click.argument("name")
@click.option("--dest", type=_FILE, default=Path(), help="Folder to put it in.  [default: here]")
@click.option("--url", help="A mirror, in place of the publisher.")
@_guarded
def get_trace(name: str, dest: Path, url: str | None) -> None:
    """Download the public trace NAME; size, licence and checksum are shown."""
    from figures.progress import DownloadProgress
    from traces.catalog import get, trace

    known = trace(name)
    click.echo(f"{known.about} · {known.licence} · {known.citation}", err=True)
    with DownloadProgress() as progress:
        got = get(name, dest, progress=progress.watch, url=url)
    checked = "as published" if got.verified else "no published checksum to compare with"
    click.echo(f"{got.path}: {got.size_bytes:,} bytes, sha256 {got.sha256} ({checked})")


@main.group()
def policies() -> None:
    """What decides: routers, batchers."""


@policies.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_guarded
def list_policies(as_json: bool) -> None:
    """All policies, built in and installed, by decision point."""
    from figures.catalogue import print_policies
    from policies.registry import catalogue

    print_policies(catalogue(), as_json)


@policies.command("show")
@click.argument("point")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_guarded
def show_policy(point: str, name: str, as_json: bool) -> None:
    """One policy: what it does, its parameters, its source. POINT is router or batcher."""
    from figures.catalogue import print_policy
    from policies.registry import PolicyError, describe

    try:
        card = describe(point, name)
    except PolicyError as error:
        raise InputError(str(error)) from None
    print_policy(card, as_json)


@policies.command("check")
@click.argument("words", nargs=-1, metavar="[POINT] TARGET")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="Build the policy with this parameter.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_guarded
def check_policy(words: tuple[str, ...], params: tuple[str, ...], as_json: bool) -> None:
    """Does a policy keep its promises? TARGET is a name or module:Class; exit code 1 if it does not.

    \b
    twinserve policies check my_package.routers:MyRouter
    twinserve policies check router power-of-two --param choices=3
    """
    from figures.checkview import examination_json, print_examination
    from sim.policycheck import examine_with_simulation, find_policy

    if len(words) not in (1, 2):
        raise InputError("policies check: needs a policy; name it, as `[router|batcher] NAME` or as module:Class")
    *point, target = words
    subject = find_policy(target, point[0] if point and point[0] != "auto" else None, params)
    found = examine_with_simulation(subject)
    if as_json:
        click.echo(json.dumps(examination_json(subject, found), ensure_ascii=False))
    else:
        print_examination(subject, found, _console())
    if not found.sound:
        sys.exit(1)


@policies.command("new")
@click.argument("point")
@click.argument("name")
@click.option("--dir", "folder", type=_FILE, help="Where to write it.  [default: a folder NAME here]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_guarded
def new_policy(point: str, name: str, folder: Path | None, as_json: bool) -> None:
    """Write a package with a new policy and its test. POINT is router or batcher.

    \b
    twinserve policies new router my-router
    """
    from figures.checkview import print_scaffold
    from policies.registry import PolicyError
    from policies.scaffold import scaffold

    try:
        written = scaffold(point, name, folder or Path(name))
    except (PolicyError, OSError) as error:
        raise InputError(str(error)) from None
    print_scaffold(point, name, written, as_json)


@main.group()
def config() -> None:
    """Scenario files."""


@config.command("validate")
@click.argument("scenario", type=_FILE)
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a field.")
@_guarded
def validate(scenario: Path, sets: tuple[str, ...]) -> None:
    """Check SCENARIO and print it with every default filled in."""
    from traces.scenario import load_scenario

    click.echo(json.dumps(load_scenario(scenario, sets).resolved(), indent=2, ensure_ascii=False))


@config.command("schema")
def schema() -> None:
    """Print the JSON schema of scenario files, for editors."""
    from traces.scenario import Scenario

    click.echo(json.dumps(Scenario.json_schema(), indent=2, ensure_ascii=False))


def _show(record: Any, summary: Any, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(summary.to_json(), ensure_ascii=False))
        return
    from figures.console import print_summary

    print_summary(record, summary, _console())


def _console() -> Any:
    from rich.console import Console

    return Console()


if __name__ == "__main__":
    main()
