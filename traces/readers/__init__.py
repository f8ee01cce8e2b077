"""Reading traces: one module per public format, chosen by looking at the file.

``read`` is the way in. A reader is a module with ``recognises(shape)``, ``read(file, shape, **options)`` and its ``COLUMNS``.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from traces.errors import InputError
from traces.published import match
from traces.readers import azure, burstgpt, canonical, mooncake, servegen, table, timed_trace
from traces.readers.files import TraceFile
from traces.readers.records import listed
from traces.readers.shape import Shape, shape_of
from traces.workload import Workload

_ENDING = re.compile(r"(\.(csv|jsonl?|parquet|tar))?(\.(gz|zst))?$")


class Format(NamedTuple):
    """A readable format. ``columns``: what its files have. ``read``'s keyword-only parameters are the options."""

    about: str
    columns: tuple[str, ...]
    recognises: Callable[[Shape], bool]
    read: Callable[..., Workload]

    @property
    def options(self) -> dict[str, inspect.Parameter]:
        """The options by name, with their defaults."""
        parameters = inspect.signature(self.read, eval_str=True).parameters.values()
        return {parameter.name: parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}


def _format(module: types.ModuleType, about: str) -> Format:
    return Format(about, module.COLUMNS, module.recognises, module.read)


FORMATS: Mapping[str, Format] = {  # in the order in which they are tried
    "twinserve": _format(canonical, "TwinServe's own Parquet export"),
    "azure": _format(azure, "Azure LLM inference traces 2023, 2024, multimodal 2025"),
    "burstgpt": _format(burstgpt, "BurstGPT, releases 1 to 3"),
    "mooncake": _format(mooncake, "Mooncake and Qwen-Bailian traces with prefix blocks"),
    "timed_trace": _format(timed_trace, "vLLM bench's timed_trace, seconds"),
    "servegen": _format(servegen, "ServeGen clients, a folder or tar archive"),
    "table": _format(table, "any CSV, JSONL or Parquet file with named columns"),
}


def read(path: Path, format: str | None = None, span_s: tuple[float, float] | None = None, /, **options: Any) -> Workload:
    """The workload in a trace file or folder; gzip and zstd are seen through.

    ``format``: one of FORMATS, by default what the file looks like. ``options``: keyword-only parameters of that format's reader.
    ``span_s``: only arrivals in [start, end) are wanted; the others may be missing, so that they need no memory
    (``traces.transforms.slice_time`` cuts exactly).
    The workload's ``source`` holds name, file, sha256 (of the bytes on disk), format, options given, licence where the trace is a
    known one, and notes.

    Raises:
        InputError: no such file, unknown format or option, wrong columns, damaged data, or a row that breaks the table's rules.
    """
    if format is not None and format not in FORMATS:
        raise InputError(f"{path}: format {format!r} is not known; give one of {', '.join(FORMATS)}")
    file = TraceFile(Path(path), span_s)
    shape = shape_of(file)
    name = format or _detect(file, shape, options)
    _check(file, name, options)
    workload = FORMATS[name].read(file, shape, **options)
    return dataclasses.replace(workload, source=_source(file, name, options, workload.source))


def _detect(file: TraceFile, shape: Shape, options: Mapping[str, Any]) -> str:
    if {"arrival", "prompt", "output"} & options.keys():
        return "table"
    for name, candidate in FORMATS.items():
        if candidate.recognises(shape):
            return name
    tried = "; ".join(f"{name} ({', '.join(known.columns)})" for name, known in FORMATS.items())
    raise InputError(
        f"{file.where}: no known format has its columns ({listed(shape.fields)}); name the columns with "
        f"arrival, prompt and output (format: table). Tried {tried}"
    )


def _check(file: TraceFile, name: str, options: Mapping[str, Any]) -> None:
    known = FORMATS[name].options
    for option, value in options.items():
        if option not in known:
            raise InputError(f"{file.where}: format {name} has no option {option!r}; it has {', '.join(known) or 'none'}")
        wanted = known[option].annotation
        kinds = typing.get_args(wanted) or (wanted,)
        fits = isinstance(value, (*kinds, int) if float in kinds else kinds) and (bool in kinds or not isinstance(value, bool))
        if not fits:
            shown = " or ".join("none" if kind is types.NoneType else kind.__name__ for kind in kinds)
            raise InputError(f"{file.where}: option {option} is {value!r}; give a value of type {shown}")


def _source(file: TraceFile, name: str, options: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    known = match(file.name, file.sha256)
    source = {
        "name": found.get("name") or (known.name if known else _ENDING.sub("", file.name)),
        "file": file.name,
        "sha256": file.sha256,
    }
    source["format"] = name
    if options:
        source["options"] = dict(options)
    if licence := found.get("licence") or (known.licence if known else None):
        source["licence"] = licence
    if name == "twinserve":
        source["written_from"] = {key: value for key, value in found.items() if key != "notes"}
    notes = list(found.get("notes", []))
    if known and known.sha256 not in (None, file.sha256):
        notes.insert(0, f"named like {known.name} but not byte-identical to it: a part, a compressed copy or another version")
    return {**source, "notes": notes}
