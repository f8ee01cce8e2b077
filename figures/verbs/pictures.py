"""The verb that makes figures."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from figures.verbs import completion
from figures.verbs.options import FILE, console, guarded
from traces.errors import InputError


@click.command(short_help="Make the papers' figures, beside what the papers say.")
@click.argument("names", nargs=-1, metavar="list | all | NAME…", shell_complete=completion.figures)
@click.option("--out", type=FILE, default=Path("twinserve-figures"), show_default=True, help="Folder to write into.")
@click.option("--quick", is_flag=True, help="A few short runs: for a look, not for quoting.")
@click.option("--dark", is_flag=True, help="For a dark page.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes.  [default: one per core]")
@click.option("--cache", type=FILE, help="Folder that keeps results.  [default: .twinserve/cache]")
@click.option("--no-cache", is_flag=True, help="Neither use nor keep results.")
@click.option("--traces", type=FILE, help="Folder with published traces, to be taken in place of their statistics.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object in place of the tables.")
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@guarded
def figures(
    names: tuple[str, ...], out: Path, quick: bool, dark: bool, jobs: int | None, cache: Path | None, no_cache: bool,
    traces: Path | None, as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Make figures: picture, data, caption, what the paper says beside what we get, and one page for all of them.

    \b
    twinserve figures list
    twinserve figures router-attainment budget-pareto --out figures-of-today
    """
    from figures import gallery

    if not names or gallery.LIST in names:
        if as_json:
            click.echo(json.dumps(gallery.listing(), ensure_ascii=False))
        else:
            gallery.print_listing(console())
        return
    from figures.making import How, make
    from figures.pages.reproduced import note_time, write_reproduction
    from figures.style import DARK, LIGHT
    from sim.pointcache import DEFAULT_FOLDER

    how = How(out, DARK if dark else LIGHT, quick, None if no_cache else cache or DEFAULT_FOLDER, traces)
    produced, faults, page = [], [], None
    try:
        for made in make(gallery.chosen(names), how, jobs, progress=not quiet):
            faults += made.faults
            if made.produced is None:
                continue
            produced.append(made.produced)
            note_time(out, made.name, made.seconds)
            page = write_reproduction(out)
            if not as_json:
                gallery.print_produced(made.produced, console())
    except KeyboardInterrupt:
        click.echo(f"interrupted: {len(produced)} figures are done; finished runs stay in the cache, if there is one", err=True)
        sys.exit(130)
    if as_json:
        click.echo(json.dumps({"figures": [one.to_json() for one in produced], "page": page and str(page)}, ensure_ascii=False))
    elif page is not None:
        if quick:
            console().print("\nQuick: fewer and shorter runs, for a look and not for quoting.", style="dim", highlight=False)
        console().print(f"\nAll figures of {out} on one page: {page}", style="dim", highlight=False, soft_wrap=True)
    if faults:
        raise InputError(*faults)
