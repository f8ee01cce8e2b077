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
