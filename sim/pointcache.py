"""Results of points on disk, by content: what decides a point's outcome is hashed, and an equal hash means an equal outcome."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from policies import registry
from sim.manifest import decisive
from traces.aside import aside
from traces.errors import InputError
from traces.fingerprints import pool_fingerprint
from traces.hashes import PACKAGES, hash_code, hash_config, hash_fingerprint
from traces.scenario import Scenario

DEFAULT_FOLDER = Path(".twinserve", "cache")
"""Below the working directory."""


class PointCache:
    """A folder with a file per point. Several processes may use it at the same time.

    A file appears whole or not at all, carries a checksum and its own key, and is taken for absent when it is not intact.
    """

    def __init__(self, folder: Path) -> None:
        """Makes the folder where it is not there, and keeps it out of version control.

        Raises:
            InputError: it cannot be written to.
        """
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not (ignore := folder / ".gitignore").exists():
                ignore.write_text("*\n")
            if not os.access(folder, os.W_OK):
                raise PermissionError(13, "Permission denied")
        except OSError as error:
            raise InputError(
                f"{folder}: cannot keep results ({error.strerror}); choose another with --cache, or --no-cache"
            ) from None

    def get(self, key: str) -> str | None:
        """The text stored under ``key``."""
        import zstandard

        try:
            content = zstandard.ZstdDecompressor().decompress(self._path(key).read_bytes()).decode()
        except (OSError, ValueError, zstandard.ZstdError):
            return None
        stored, _, text = content.partition("\n")
        return text if stored == key else None

    def put(self, key: str, text: str) -> None:
        """Store a text, in place of an older one.

        Raises:
            OSError: it cannot be written.
        """
        import zstandard

        path = self._path(key)
        path.parent.mkdir(exist_ok=True)
        with aside(path) as temporary:
            temporary.write_bytes(zstandard.ZstdCompressor(write_checksum=True).compress(f"{key}\n{text}".encode()))
            os.replace(temporary, path)

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.json.zst"


class Keys:
    """Cache keys. What points share (trace files, fingerprints, installed policies) is read once per object: make one per sweep."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, ...], str] = {}

    def key(self, scenario: Scenario) -> str:
        """Of everything that decides a run's outcome: configuration with seed, content of trace files, fingerprint, and the code,
        also of policies from elsewhere. No workload is built.

        Raises:
            InputError: a trace cannot be read, or there is no fingerprint.
        """
        resolved = scenario.resolved()
        return hash_config(
            {
                "config": decisive(resolved),
                "traces": [self._trace(entry["trace"].get("file")) for entry in resolved["workload"]],
                "fingerprint": self._fingerprints(scenario),
                "code": hash_code(),
                "policies": [self._policy(point, choice) for point, choice in sorted(resolved["policy"].items())],
                "versions": [platform.python_version(), np.__version__],
            }
        )

    def _fingerprints(self, scenario: Scenario) -> str | list[str]:
        """Of a fleet of one pool, its only one."""
        found = []
        for pool in scenario.pools:
            gpus = pool.hardware
            split = f"{gpus.tensor_parallel} {gpus.pipeline_parallel} {gpus.expert_parallel}"
            precision = f"{gpus.precision} {gpus.kv_precision}"
            name = ("fingerprint", pool.model, gpus.gpu, split, precision, gpus.fingerprint or "")
            if name not in self._seen:
                self._seen[name] = hash_fingerprint(pool_fingerprint(pool.model, gpus).to_dict())
            found.append(self._seen[name])
        return found[0] if len(found) == 1 else found

    def _trace(self, file: str | None) -> str | None:
        """The name counts, because readers go by its ending; the folder does not."""
        if file is None:
            return None
        if ("trace", file) not in self._seen:
            try:
                self._seen["trace", file] = f"{Path(file).name} {_digest(Path(file))}"
            except OSError as error:
                raise InputError(f"{file}: cannot be read ({error.strerror}); check the file") from None
        return self._seen["trace", file]

    def _policy(self, point: str, choice: dict[str, dict[str, Any]]) -> str | None:
        """Of the code of a policy that is not TwinServe's own: its module, or the whole package that holds it."""
        ((name, params),) = choice.items()
        module = type(registry.build(point, name, params, seed=0)).__module__
        root = module.partition(".")[0]
        if root in PACKAGES:
            return None
        if ("package", root) not in self._seen:
            spec = importlib.util.find_spec(root)
            if spec is None or spec.origin is None:
                return root
            origin = Path(spec.origin)
            self._seen["package", root] = f"{root} {_digest(origin.parent if spec.submodule_search_locations else origin)}"
        return self._seen["package", root]


def _digest(path: Path) -> str:
    """Of a file's bytes, or of the names and bytes of all files in a folder except compiled ones."""
    digest = hashlib.sha256()
    for file in _files(path):
        with file.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256")
        digest.update(f"{file.relative_to(path).as_posix()}\n".encode())
        digest.update(content.digest())
    return digest.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (file for file in sorted(path.rglob("*")) if file.is_file() and "__pycache__" not in file.parts)
    else:
        yield path
