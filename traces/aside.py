"""Where a file or folder is written before it moves into its place, so that a reader finds it whole or not at all."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

OLD = ".old"
"""Ending of what was there before, as long as it stands aside."""


@contextmanager
def aside(target: Path) -> Iterator[Path]:
    """A hidden name beside ``target`` that no one else has. What is left there at the end is removed, and when all went well, what
    killed processes of this machine have left beside the same target too.
    """
    place = target.with_name(f".{target.name}.{_machine()}-{os.getpid()}-{secrets.token_hex(4)}.writing")
    try:
        yield place
    finally:
        _remove(place)
    for left in leftovers(target):
        _remove(left)


def leftovers(target: Path) -> list[Path]:
    """What processes of this machine that are no more have left beside ``target``."""
    ours = re.compile(rf"\.{re.escape(target.name)}\.{_machine()}-(\d+)-[0-9a-f]{{8}}\.(writing|old)")
    with suppress(OSError), os.scandir(target.parent) as entries:
        found = [(entry.path, match) for entry in entries if (match := ours.fullmatch(entry.name))]
        return [Path(path) for path, match in found if not _alive(int(match[1]))]
    return []


def _machine() -> str:
    """Several machines may write to one disk, and only their own know which of their processes live."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:6]


def _alive(process: int) -> bool:
    if os.name != "posix":
        return True  # no signal asks there without harm
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
