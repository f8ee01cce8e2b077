"""The command line: one lazy click group. Each verb gathers its arguments and calls the room that does the work."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from traces.errors import InputError

_FILE = click.Path(path_type=Path)
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
    import json

    from traces.scenario import load_scenario

    click.echo(json.dumps(load_scenario(scenario, sets).resolved(), indent=2, ensure_ascii=False))


@config.command("schema")
def schema() -> None:
    """Print the JSON schema of scenario files, for editors."""
    import json

    from traces.scenario import Scenario

    click.echo(json.dumps(Scenario.json_schema(), indent=2, ensure_ascii=False))


def _show(record: Any, summary: Any, as_json: bool) -> None:
    import json

    if as_json:
        click.echo(json.dumps(summary.to_json(), ensure_ascii=False))
        return
    from rich.console import Console

    from figures.console import print_summary

    print_summary(record, summary, Console())


if __name__ == "__main__":
    main()
