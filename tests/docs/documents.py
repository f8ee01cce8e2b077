"""The documents' code: blocks that are files, and blocks of commands that are run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(\w*)(?: +(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """``kind``: ``sh`` is run, and anything else with a ``label`` is a file of that name. Of ``sh``, the label says where."""

    kind: str
    label: str
    text: str


def blocks(document: Path) -> Iterator[Block]:
    for match in _BLOCK.finditer(document.read_text(encoding="utf-8")):
        yield Block(match[1], match[2] or "", match[3])


def commands(document: Path, where: str = "") -> list[str]:
    return [block.text for block in blocks(document) if block.kind == "sh" and block.label == where]


def run(document: Path, folder: Path, where: str = "") -> None:
    """Write a document's files into a folder and run its commands there, all in one shell; the first that fails ends it."""
    (folder / "traces").symlink_to(ROOT / "traces")
    for block in blocks(document):
        if block.kind != "sh" and block.label:
            (folder / block.label).write_text(block.text, encoding="utf-8")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    script = "\n".join(["set -euo pipefail", *commands(document, where)])
    done = subprocess.run(["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, f"{document.name}: {script}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
