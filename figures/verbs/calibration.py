"""The verb that holds the simulator against real engines."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from figures.verbs.options import FILE, console, guarded


@click.command()
@click.argument("scenario", type=FILE)
@click.option("--fingerprint", type=FILE, help="Step times from this file.  [default: measured by a probe]")
@click.option("--runs", type=click.IntRange(min=1), default=2, show_default=True, help="Real runs; two tell their spread.")
@click.option("--out", type=FILE, help="Write records, fingerprint, numbers and plots into this folder.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a field in both worlds.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object in place of the table.")
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@guarded
def calibrate(
    scenario: Path, fingerprint: Path | None, runs: int, out: Path | None, sets: tuple[str, ...], as_json: bool, quiet: bool
) -> None:
    """Run SCENARIO on vLLM and in the simulator, and print how far apart they are; exit code 1 if further than allowed.

    \b
    twinserve calibrate scenario.yaml --out calibrations/today
    twinserve calibrate scenario.yaml --fingerprint calibrations/today/fingerprint.json
    """
    from figures.calibration import calibrate as run
    from figures.calibration import write
    from figures.calibrationview import print_calibration

    def tell(text: str) -> None:
        if not quiet and sys.stderr.isatty():
            click.echo(f"{text} …", err=True)

    found = run(scenario, sets, fingerprint=fingerprint, runs=runs, tell=tell)
    if out is not None:
        write(found, out)
    if as_json:
        click.echo(json.dumps(found.to_json(), ensure_ascii=False))
    else:
        print_calibration(found, console())
    if not found.sound:
        sys.exit(1)
