"""A child process and what it cost: wall time, CPU time and peak memory of it and its descendants."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class ChildFailed(Exception):
    """The child ended with another exit code than 0; the text has its command and the end of what it wrote on stderr."""


@dataclass(frozen=True, slots=True)
class Cost:
    """``wall_s``: from before the start to after the end. ``peak_bytes``: largest resident set of the child or of a descendant."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


def run(command: Sequence[str], *, cwd: Path, stdout: Path) -> Cost:
    """Run ``command`` to its end, its output going to the file ``stdout`` and its errors beside it.

    Raises:
        ChildFailed: it could not do its work.
    """
    stderr = stdout.with_suffix(".stderr")
    with stdout.open("wb") as out, stderr.open("wb") as err:
        start = time.perf_counter()
        child = subprocess.Popen(command, cwd=cwd, stdout=out, stderr=err, stdin=subprocess.DEVNULL)
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:
            child.kill()
            child.wait()
            raise
        wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)  # wait4 has reaped it; Popen must not wait again
    if child.returncode:
        tail = stderr.read_text(errors="replace").strip().splitlines()[-12:]
        raise ChildFailed(f"{' '.join(command)}\nexit code {child.returncode}\n" + "\n".join(tail))
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
