"""A workload from what a user types: the name of a built-in one, or a file and options for its reader."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from traces.builtin import BUILTIN
from traces.errors import InputError
from traces.readers import read
from traces.synthesis import builtin
from traces.workload import Workload


def open_workload(trace: str, format: str | None = None, options: Sequence[str] = (), *, seed: int = 0) -> Workload:
    """``options``: "key=value" strings for the reader; a built-in workload takes none and is drawn with ``seed``.

    Raises:
        InputError: neither a file nor a built-in workload, or the reader refuses it.
    """
    if trace in BUILTIN and not Path(trace).exists():
        if format is not None or options:
            raise InputError(f"{trace}: is built in and takes neither --format nor --option; leave them out")
        return builtin(trace, seed=seed)
    if not Path(trace).exists():
        raise InputError(f"{trace}: no such file, and no built-in workload of that name; built in: {', '.join(BUILTIN)}")
    return read(Path(trace), format, **dict(map(_option, options)))


def _option(text: str) -> tuple[str, bool | int | float | str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InputError(f"--option {text}: is not of the form KEY=VALUE, such as jitter=on")
    if value in ("on", "true", "off", "false"):
        return key, value in ("on", "true")
    for kind in (int, float):
        try:
            return key, kind(value)
        except ValueError:
            continue
    return key, value
