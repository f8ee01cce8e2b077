"""The studies' results, kept in the repository: a figure draws them in seconds, and a command runs them again in about an hour.

``python -m figures.scoot.record`` runs what is missing from a folder and writes ``record.parquet`` from all of it. A row is a
trial, or a re-test of a study's best, with its configuration. The file's metadata tell the code that made it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from figures.scoot.studies import Asked, every, later, run

if TYPE_CHECKING:
    from pandas import DataFrame

RECORD = Path(__file__).with_name("record.parquet")
COMMAND = "python -m figures.scoot.record"
_FOLDER = Path(".twinserve", "scoot")


def load(path: Path = RECORD) -> tuple[DataFrame, str]:
    """All rows, and the hash of the code that made them."""
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    return table.to_pandas(), (table.schema.metadata or {})[b"code"].decode()


def main(argv: Sequence[str] | None = None) -> None:
    """Run the studies that are missing, several processes side by side if each has its ``--part``; then write the record."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=main.__doc__)
    parser.add_argument("--part", default="1/1", help="such as 2/3: of every three services and seeds, the second")
    parser.add_argument("--folder", type=Path, default=_FOLDER, help="where finished studies lie")
    parser.add_argument("--out", type=Path, default=RECORD)
    options = parser.parse_args(argv)
    part, parts = map(int, options.part.split("/"))
    options.folder.mkdir(parents=True, exist_ok=True)
    asked = [*every(), *later()]
    places = {place: number for number, place in enumerate(dict.fromkeys((one.seed, one.service) for one in asked))}
    for number, one in enumerate(asked):
        path = _path(options.folder, one)  # studies of a service and seed have trials in common, which one process runs once
        if places[one.seed, one.service] % parts == part - 1 and not path.exists():
            rows = run(one)
            path.with_suffix(".new").write_text(json.dumps(rows), "utf-8")
            os.replace(path.with_suffix(".new"), path)
            print(f"{number + 1} of {len(asked)}: {path.stem}", file=sys.stderr)
    there = [_path(options.folder, one) for one in asked]
    if all(path.exists() for path in there):
        write([row for path in there for row in json.loads(path.read_text("utf-8"))], options.out)


def write(rows: Sequence[dict[str, Any]], out: Path) -> None:
    """The record, sorted as the rows come."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    from traces.hashes import hash_code

    frame = pd.DataFrame(rows)
    for name in ("service", "objective", "sampler", "space", "kind", "failure"):
        frame[name] = frame[name].astype("category")
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(table.replace_schema_metadata({"code": hash_code(), "command": COMMAND}), out, compression="zstd")


def _path(folder: Path, one: Asked) -> Path:
    return folder / f"{one.seed:02}-{one.service}-{one.objective}-{one.sampler}-{one.parallel}-{one.space}.json"


if __name__ == "__main__":
    main()
