"""What verbs share: kinds of options, and how faults, interruptions and results reach the user."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from traces.errors import InputError

FILE = click.Path(path_type=Path)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class Quantity(click.ParamType):
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


def guarded(verb: Callable[..., None]) -> Callable[..., None]:
    """A fault in the user's input is one line per fault on stderr and exit code 2, as is a file that the system refuses, or memory.
    Ctrl-C is one line and 130.
    """

    @wraps(verb)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            verb(*args, **kwargs)
        except InputError as error:
            for fault in error.faults:
                click.echo(f"error: {fault}", err=True)
            sys.exit(2)
        except OSError as error:
            if error.filename is None:
                raise
            click.echo(f"error: {error.filename}: {error.strerror}; check that it is there and may be used so", err=True)
            sys.exit(2)
        except MemoryError as error:
            click.echo(
                f"error: not enough memory ({error or 'no more to be had'}); ask for fewer requests or points at once", err=True
            )
            sys.exit(2)
        except KeyboardInterrupt:
            click.echo("interrupted: nothing was written", err=True)
            sys.exit(130)

    return run


def where_to_run(verb: Callable[..., None]) -> Callable[..., None]:
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
        click.option("--cache", type=FILE, help="Folder that keeps results.  [default: .twinserve/cache]"),
        click.option("--cluster", metavar="ADDRESS", help="A running Dask or Ray cluster.  [default: one on this machine]"),
        click.option("--backend", default="loky", show_default=True, help="loky (processes), threads, dask or ray."),
        click.option("--jobs", type=int, help="Workers.  [default: one per core]"),
        click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a field in all runs."),
    ):
        run = option(run)
    return run


def console() -> Any:
    """Where tables are printed."""
    from rich.console import Console

    return Console()
