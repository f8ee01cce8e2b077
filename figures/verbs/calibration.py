"""The verbs that hold the simulator against real engines."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from figures.verbs.options import FILE, console, guarded


@click.command(short_help="Tell how far simulator and vLLM are apart on SCENARIO.")
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


@click.command(short_help="Record ground truth on this machine: step times, replays.")
@click.argument("scenario", type=FILE)
@click.option("--out", type=FILE, required=True, help="A folder; what is there already is not captured again.")
@click.option("--minutes", type=click.FloatRange(min=0), default=25.0, show_default=True, help="For all; the rest is left out.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a field in all phases.")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest in place of a line per phase.")
@guarded
def capture(scenario: Path, out: Path, minutes: float, sets: tuple[str, ...], as_json: bool) -> None:
    """Capture ground truth on this machine: the fingerprint of SCENARIO's engine, and replays at three loads beside the simulator.

    \b
    twinserve capture traces/gallery/h200-capture.yaml --out replay/measured/h200
    """
    from figures.capture import Capture

    def tell(text: str) -> None:
        if sys.stderr.isatty():
            click.echo(f"{text} …", err=True)

    manifest = Capture(scenario, out, minutes, sets, tell=tell).run()
    phases = manifest["phases"]
    click.echo(json.dumps(manifest, ensure_ascii=False) if as_json else "\n".join(f"{name}: {how}" for name, how in phases.items()))
    if not all(how.startswith("done") for how in phases.values()):
        sys.exit(1)
