"""Verbs on workloads."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from figures.verbs import completion
from figures.verbs.options import FILE, JSON, Quantity, console, guarded

if TYPE_CHECKING:
    from traces.workload import Workload

FORMAT = click.option("--format", help="Format of the file.  [default: what it looks like]")
OPTION = click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="For the format's reader, such as jitter=on.")


@click.group()
def traces() -> None:
    """Workloads: built in, public, your own."""


@traces.command("list", short_help="Built-in workloads, public traces, formats that are read.")
@JSON
@guarded
def list_traces(as_json: bool) -> None:
    """Built-in workloads, public traces that can be fetched, and the formats that are read."""
    from figures.catalogue import print_traces

    print_traces(as_json)


@traces.command("inspect", short_help="Rate, lengths and burstiness of TRACE.")
@click.argument("trace", shell_complete=completion.workloads)
@FORMAT
@OPTION
@click.option("--plot", type=FILE, help="Draw rate, lengths and burstiness into this PNG, SVG or PDF file.")
@JSON
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
@click.argument("trace", shell_complete=completion.workloads)
@click.argument("target", type=FILE)
@FORMAT
@OPTION
@click.option("--to", help="Format to write: twinserve, csv, mooncake or timed_trace.  [default: by the ending]")
@JSON
@guarded
def convert(trace: str, target: Path, format: str | None, options: tuple[str, ...], to: str | None, as_json: bool) -> None:
    """Write TRACE, a file or a built-in workload, in another format."""
    from traces.opening import open_workload
    from traces.writers import write

    workload = open_workload(trace, format, options)
    notes = write(workload, target, to)
    _print_written(target, workload, notes, f"{len(workload):,} requests", as_json)


@traces.command("synth", short_help="Draw requests from a built-in WORKLOAD into a file.")
@click.argument("workload", shell_complete=completion.workloads)
@click.argument("target", type=FILE)
@click.option("--rate", type=Quantity("rate", "parse_rate"), help="Mean arrivals, such as 12/s.  [default: the trace's own]")
@click.option("--requests", type=click.IntRange(min=1), help="How many.")
@click.option("--duration", type=Quantity("duration", "parse_duration"), help="For how long, such as 20min.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--to", help="Format to write: twinserve, csv, mooncake or timed_trace.  [default: by the ending]")
@JSON
@guarded
def synth(
    workload: str, target: Path, rate: float | None, requests: int | None, duration: float | None, seed: int, to: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Draw requests from a built-in WORKLOAD and write them into a trace file."""
    from traces.synthesis import builtin
    from traces.writers import write

    drawn = builtin(workload, seed=seed, rate=rate, requests=requests, duration_s=duration)
    notes = write(drawn, target, to)
    _print_written(target, drawn, notes, f"{len(drawn):,} requests over {drawn.duration_s:,.0f} s", as_json)


@traces.command("get", short_help="Download the public trace NAME.")
@click.argument("name", shell_complete=completion.public_traces)
@click.option("--dest", type=FILE, default=Path(), help="Folder to put it in.  [default: here]")
@click.option("--url", help="A mirror, in place of the publisher.")
@JSON
@guarded
def get_trace(name: str, dest: Path, url: str | None, as_json: bool) -> None:
    """Download the public trace NAME; size, licence and checksum are shown."""
    from figures.progress import DownloadProgress
    from traces.catalog import get, trace

    known = trace(name)
    click.echo(f"{known.about} · {known.licence} · {known.citation}", err=True)
    with DownloadProgress() as progress:
        got = get(name, dest, progress=progress.watch, url=url)
    if as_json:
        facts = {"path": str(got.path), "bytes": got.size_bytes, "sha256": got.sha256, "verified": got.verified}
        click.echo(json.dumps({"trace": name, **facts}))
        return
    checked = "as published" if got.verified else "no published checksum to compare with"
    click.echo(f"{got.path}: {got.size_bytes:,} bytes, sha256 {got.sha256} ({checked})")


def _print_written(target: Path, workload: Workload, notes: Iterable[str], told: str, as_json: bool) -> None:
    if as_json:
        facts = {"path": str(target), "requests": len(workload), "duration_s": workload.duration_s, "notes": list(notes)}
        click.echo(json.dumps(facts, ensure_ascii=False))
        return
    click.echo(f"{target}: {told}")
    for note in notes:
        click.echo(f"note: {note}", err=True)
