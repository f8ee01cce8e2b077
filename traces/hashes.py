"""Content hashes: what a run depends on, so that equal hashes mean an equal answer (and a cached one may be used).

Every hash is the first 16 hex digits of a BLAKE2b digest: 64 bits tell apart any number of runs that one will ever store.
"""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from traces.workload import Workload

PACKAGES = ("policies", "sim", "traces")
_DIGEST_BYTES = 8


def plain_json(value: Any) -> Any:
    """The value as JSON can hold it: numpy scalars as numbers, tuples as lists, non-finite floats as "inf", "-inf" and "nan"."""
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, Mapping):
        return {str(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, np.generic | np.ndarray):
        return plain_json(value.tolist())
    if isinstance(value, Iterable):
        return [plain_json(item) for item in value]
    raise TypeError(f"{type(value).__name__} has no plain JSON form")


def canonical_json(value: Any) -> str:
    """One text per meaning: keys sorted, no spaces, shortest floats; 1 and 1.0 stay apart, as they do in a scenario."""
    return json.dumps(plain_json(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def hash_config(config: Any) -> str:
    """Of a resolved scenario, or anything else that JSON can hold. The order of keys does not matter."""
    return blake2b(canonical_json(config).encode(), digest_size=_DIGEST_BYTES).hexdigest()


def hash_fingerprint(fingerprint: Mapping[str, Any]) -> str:
    """Of a model fingerprint's plain form (``Fingerprint.to_dict()``)."""
    return hash_config(fingerprint)


def hash_trace(workload: Workload) -> str:
    """Of the bytes of a workload's columns and what its classes mean. Where it came from (``source``) does not count."""
    digest = blake2b(digest_size=_DIGEST_BYTES)
    columns = ("arrival_s", "prompt_tokens", "output_tokens", "klass", "session", "block_offsets", "block_ids")
    for name in columns:
        column = getattr(workload, name)
        if column is None:
            continue
        little_endian = np.ascontiguousarray(column, dtype=column.dtype.newbyteorder("<"))
        digest.update(f"{name}:{little_endian.dtype.str}:{len(little_endian)};".encode())
        digest.update(little_endian.data)
    digest.update(f"block_tokens:{workload.block_tokens};".encode())
    for klass in workload.classes:
        slo = klass.slo
        meaning = [
            klass.name,
            klass.tier,
            klass.model,
            klass.offline,
            slo.ttft_s,
            slo.tpot_s,
            slo.e2e_s,
            klass.expected_output_tokens,
            klass.priority,
        ]
        digest.update(canonical_json(meaning).encode())
    return digest.hexdigest()


@cache
def hash_code(packages: tuple[str, ...] = PACKAGES) -> str:
    """Of every ``.py`` and ``.json`` file of the packages that decide a run's outcome, as they stand on disk. Cached per process.

    The interpreter and the libraries are not in it; the manifest names their versions.
    """
    digest = blake2b(digest_size=_DIGEST_BYTES)
    for package in packages:
        root = _package_root(package)
        for path in sorted(p for p in root.rglob("*") if p.suffix in {".py", ".json"}):
            text = path.read_bytes()
            digest.update(f"{package}/{path.relative_to(root).as_posix()}:{len(text)};".encode())
            digest.update(text)
    return digest.hexdigest()


def _package_root(package: str) -> Path:
    spec = importlib.util.find_spec(package)  # finds a top-level package without importing it
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"package {package} is not installed")
    return Path(next(iter(spec.submodule_search_locations)))
