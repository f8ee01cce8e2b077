"""Verbs on workloads."""

from __future__ import annotations

import json
from pathlib import Path

import click

from figures.verbs.options import FILE, Quantity, console, guarded

FORMAT = click.option("--format", help="Format of the file.  [default: what it looks like]")
OPTION = click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="For the format's reader, such as jitter=on.")


@click.group()
def traces() -> None:
    """Workloads: built in, public, your own."""


@traces.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@guarded
def list_traces(as_json: bool) -> None:
    """Built-in workloads, public traces that can be fetched, and the formats that are read."""
    from figures.catalogue import print_traces

    print_traces(as_json)


@traces.command("inspect")
@click.argument("trace")
@FORMAT
@OPTION
@click.option("--plot", type=FILE, help="Draw rate, lengths and burstiness into this PNG, SVG or PDF file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@guarded
def inspect_trace(trace: str, format: str | None, options: tuple[str, ...], plot: Path | None, as_json: bool) -> None:
    """Rate, lengths and burstiness of TRACE, a file or the name of a built-in workload."""
    from figures import workload as view
    from traces.inspect import describe
    from traces.opening import open_workload

    workload = open_workload(trace, format, options)
    if as_json:
        click.echo(json.dumps(describe(workload), ensure_ascii=False))
    else:
        view.print_workload(workload, console())
    if plot is not None:
        view.draw(workload, plot)


@traces.command("convert")
@click.argument("trace")
@click.argument("target", type=FILE)
@FORMAT
@OPTION
@click.option("--to", help="Format to write: twinserve, csv, mooncake or timed_trace.  [default: by the ending]")
@guarded
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
@click.argument("target", type=FILE)
@click.option("--rate", type=Quantity("rate", "parse_rate"), help="Mean arrivals, such as 12/s.  [default: the trace's own]")
@click.option("--requests", type=click.IntRange(min=1), help="How many.")
@click.option("--duration", type=Quantity("duration", "parse_duration"), help="For how long, such as 20min.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--to", help="Format to write: twinserve, csv, mooncake or timed_trace.  [default: by the ending]")
@guarded
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
@click.option("--dest", type=FILE, default=Path(), help="Folder to put it in.  [default: here]")
@click.option("--url", help="A mirror, in place of the publisher.")
@guarded
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
