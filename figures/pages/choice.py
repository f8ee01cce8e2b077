"""Which page a path asks for: of a run record, of a comparison, of a sweep."""

from __future__ import annotations

from pathlib import Path


def write_page_of(path: Path, out: Path | None = None) -> Path:
    """Write the page of a record's folder, of a comparison (its folder or JSON file) or of a sweep (its Parquet file).

    ``out``: where to; default: ``report.html`` in the folder, or beside the file, under its name. Returns where it was written.

    Raises:
        InputError: the path holds none of these, or the page cannot be written.
    """
    from figures.comparisonfile import FILE, read_comparison
    from figures.pages.page import write_page

    target = out or (path / "report.html" if path.is_dir() else path.with_suffix(".html"))
    if path.suffix == ".parquet" and not path.is_dir():
        from figures.pages.sweep import sweep_page

        write_page(sweep_page(path), target)
    elif path.is_file() or ((path / FILE).is_file() and not (path / "manifest.json").is_file()):
        from figures.pages.comparison import render_comparison

        write_page(render_comparison(read_comparison(path)), target)
    else:
        from figures.report import write_report
        from traces.record import Record

        write_report(Record.read(path), target)
    return target
