"""Prints one of the tables."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from figures.adaserve import digitised
from figures.adaserve.differences import speculation, systems, verification
from figures.runner import SweepRunner

TABLES = {"systems": systems.rows, "adaserve": verification.rows, "vllm-spec": speculation.rows}


def main() -> None:
    word = sys.argv[1] if len(sys.argv) > 1 else "systems"
    if word not in TABLES:
        sys.exit(f"{word}: there is no such table; choose from {', '.join(TABLES)}")
    if not digitised.FILE.is_file():
        sys.exit(f"{digitised.FILE}: the digitised curves are not there; put the data folder beside the project")
    with tempfile.TemporaryDirectory() as temporary:
        for row in TABLES[word](SweepRunner(jobs=1, cache=Path(".twinserve") / "cache"), Path(temporary)):
            print(row, flush=True)


if __name__ == "__main__":
    main()
