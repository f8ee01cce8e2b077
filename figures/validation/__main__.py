"""``python -m figures.validation DATA_FOLDER``: simulate every measured row that the library covers, and compare."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from traces.errors import InputError


def main(argv: Sequence[str] | None = None) -> int:
    """Print tables, or one JSON object; with ``--out`` write them, the rows and pictures into a folder as well."""
    options = _parser().parse_args(argv)
    try:
        return _run(options)
    except InputError as error:
        print("\n".join(error.faults), file=sys.stderr)
        return 2


def _run(options: argparse.Namespace) -> int:
    from figures.validation import peer, pictures, report
    from figures.validation.table import validate

    if options.out is not None:
        try:
            options.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{options.out}: {error.strerror}; choose another folder with --out") from None
    if options.aiconfigurator is not None and options.out is None:
        raise InputError("--aiconfigurator: its answers are kept in --out; add --out FOLDER")
    ask = None
    if options.aiconfigurator is not None:
        ask = partial(peer.ask, options.aiconfigurator, kept=options.out / "aiconfigurator.jsonl")
    found = validate(options.data, seed=options.seed, quick=options.quick, jobs=options.jobs, watch=_progress, peer=ask)
    text = report.markdown(found)
    if options.out is not None:
        found.rows.to_csv(options.out / "rows.csv", index=False, float_format="%.6g")
        (options.out / "validation.md").write_text(text, "utf-8")
        pictures.draw(found, options.out)
    print(json.dumps(report.as_json(found), ensure_ascii=False, indent=1) if options.json else text.rstrip("\n"))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m figures.validation", description="Hold the simulator against measured end-to-end latencies."
    )
    parser.add_argument("data", type=Path, metavar="DATA_FOLDER", help="holds perf/e2e and perf/llmservingsim")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write tables, rows and pictures here")
    parser.add_argument("--quick", action="store_true", help="a quarter of the rows: for a look")
    parser.add_argument("--aiconfigurator", type=Path, metavar="PYTHON", help="of an environment that has it: show it beside")
    parser.add_argument("--jobs", type=int, metavar="N", help="processes [one per core]")
    parser.add_argument("--seed", type=int, default=0, help="of the drawn lengths [0]")
    parser.add_argument("--json", action="store_true", help="one object on stdout instead of tables")
    return parser


def _progress(done: int, rows: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{done} of {rows} rows" + ("\n" if done == rows else ""))
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
