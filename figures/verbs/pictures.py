"""The verb that makes figures."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import click

from figures.verbs import completion
from figures.verbs.options import FILE, console, guarded
from traces.errors import InputError


@click.command()
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
    from figures.frame import produce
    from figures.pages.reproduced import note_time, write_reproduction
    from figures.progress import FigureProgress
    from figures.runner import SweepRunner
    from figures.style import DARK, LIGHT
    from sim.pointcache import DEFAULT_FOLDER

    made, faults, page = [], [], None
    try:
        for figure in gallery.chosen(names):
            began = time.monotonic()
            try:
                with FigureProgress(enabled=not quiet) as progress:
                    kept = None if no_cache else cache or DEFAULT_FOLDER
                    runner = SweepRunner(quick=quick, cache=kept, jobs=jobs, watch=progress.watch)
                    made.append(produce(figure, runner, out, DARK if dark else LIGHT, traces))
            except InputError as error:
                faults += [f"figure {figure.name}: {fault}" for fault in error.faults]
                continue
            note_time(out, figure.name, time.monotonic() - began)
            page = write_reproduction(out)
            if not as_json:
                gallery.print_produced(made[-1], console())
    except KeyboardInterrupt:
        click.echo(f"interrupted: {len(made)} figures are done; finished runs stay in the cache, if there is one", err=True)
        sys.exit(130)
    if as_json:
        click.echo(json.dumps({"figures": [one.to_json() for one in made], "page": page and str(page)}, ensure_ascii=False))
    elif page is not None:
        console().print(f"\nAll figures of {out} on one page: {page}", style="dim", highlight=False, soft_wrap=True)
    if faults:
        raise InputError(*faults)
