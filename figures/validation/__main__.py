"""``python -m figures.validation DATA_FOLDER``: simulate every measured row that the library covers, and compare.

``twinserve fingerprint validate`` is the same; ``--fit`` is for those who make the library.
"""

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
    if options.fit:
        from figures.validation.fitting import fit_all, write

        write(fit_all(options.data, options.jobs, say=partial(print, file=sys.stderr)))
        return 0
    chosen = {"peer_python": options.aiconfigurator, "seed": options.seed, "quick": options.quick, "jobs": options.jobs}
    print(validated(options.data, options.out, **chosen, as_json=options.json))
    return 0


def validated(
    data: Path, out: Path | None = None, *, peer_python: Path | None = None, seed: int = 0, quick: bool = False,
    jobs: int | None = None, as_json: bool = False,
) -> str:  # fmt: skip
    """The validation as text or JSON. ``out``: a folder for tables, rows and pictures; ``peer_python``: see ``peer``.

    Raises:
        InputError: the data or the folder cannot be used, or the peer does not answer.
    """
    from figures.validation import peer, pictures, report
    from figures.validation.table import validate

    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{out}: {error.strerror}; choose another folder with --out") from None
    ask = None
    if peer_python is not None:
        if out is None:
            raise InputError("--aiconfigurator: its answers are kept in --out; add --out FOLDER")
        ask = partial(peer.ask, peer_python, kept=out / "aiconfigurator.jsonl")
    found = validate(data, seed=seed, quick=quick, jobs=jobs, watch=_progress, peer=ask)
    text = report.markdown(found)
    if out is not None:
        found.rows.to_csv(out / "rows.csv", index=False, float_format="%.6g")
        (out / "validation.md").write_text(text, "utf-8")
        pictures.draw(found, out)
    return json.dumps(report.as_json(found), ensure_ascii=False, indent=1) if as_json else text.rstrip("\n")


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
    parser.add_argument("--fit", action="store_true", help="fit the library's corrections to the fit part, and write them")
    parser.add_argument("--json", action="store_true", help="one object on stdout instead of tables")
    return parser


def _progress(done: int, rows: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{done} of {rows} rows" + ("\n" if done == rows else ""))
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
