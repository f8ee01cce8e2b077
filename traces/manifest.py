"""A run record's manifest as it is read back: of which version it is, and that its entries are of the kinds that views rely on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NotRequired

from typing_extensions import TypedDict

from traces.errors import InputError

RECORD_VERSION = 1
NAME = "manifest.json"
_REMEDY = "run the scenario again"
_REQUIRED = ("twinserve", "world", "scenario", "seed", "window_s", "end_s", "hashes")


class _Policy(TypedDict):
    name: str
    params: NotRequired[dict[str, Any]]


class _Manifest(TypedDict):
    """What views read. A world may tell more, and nothing but the required entries has to be there."""

    twinserve: str
    world: str
    scenario: dict[str, Any]
    seed: int
    window_s: tuple[float, float]
    end_s: float
    hashes: dict[str, Any]
    wall_s: NotRequired[float | None]
    partial: NotRequired[bool]
    warnings: NotRequired[list[str]]
    policies: NotRequired[dict[str, _Policy]]
    engines: NotRequired[dict[str, dict[str, Any]]]
    fingerprint: NotRequired[dict[str, Any]]
    fingerprints: NotRequired[list[dict[str, Any]]]
    workload: NotRequired[dict[str, Any]]
    versions: NotRequired[dict[str, Any]]
    usd_per_gpu_hour: NotRequired[float | dict[str, float] | None]
    kv_transfers: NotRequired[dict[str, float] | None]
    faults: NotRequired[dict[str, float] | None]


def is_manifest(path: Path) -> bool:
    """Whether a file is a record's manifest, of whatever version."""
    try:
        manifest = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(manifest, dict) and "twinserve" in manifest and "record_version" in manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of the record in a folder.

    Raises:
        InputError: no such folder, no record, one of another version, or an entry is missing or not of its kind.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder that a run wrote with --out")
    path = folder / NAME
    if not path.is_file():
        raise InputError(f"{folder}: is not a run record (it has no manifest.json); give the folder that a run wrote with --out")
    try:
        manifest = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not readable JSON ({error}); {_REMEDY}") from None
    if not isinstance(manifest, dict) or (missing := [key for key in _REQUIRED if key not in manifest]):
        lacks = ", ".join(missing) if isinstance(manifest, dict) else "everything: it is not an object"
        raise InputError(f"{path}: is not a run record's manifest (it lacks {lacks}); {_REMEDY}")
    version = manifest.get("record_version", 0)
    if version != RECORD_VERSION:
        remedy = "update twinserve" if isinstance(version, int) and version > RECORD_VERSION else another_reads_it(manifest)
        raise InputError(f"{path}: record version is {version}, this twinserve reads {RECORD_VERSION}; {remedy}")
    if faults := list(_kinds(manifest)):
        raise InputError(*(f"{path}: {fault}; {_REMEDY}" for fault in faults))
    return manifest


def another_reads_it(manifest: Mapping[str, Any]) -> str:
    """The remedy for a record that an older version wrote: the version that reads it."""
    return f"read it with twinserve {manifest['twinserve']}, which wrote it, or {_REMEDY}"


@cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(_Manifest)


def _kinds(manifest: Mapping[str, Any]) -> list[str]:
    """What is not of its kind."""
    from pydantic import ValidationError

    try:
        _adapter().validate_python(manifest)
    except ValidationError as error:
        return [f"{'.'.join(map(str, e['loc']))}: {e['msg'][:1].lower()}{e['msg'][1:]}" for e in error.errors()[:3]]
    return []
