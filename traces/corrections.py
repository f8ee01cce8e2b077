"""The library's end-to-end corrections: which systems were measured while serving, and what their fingerprints are corrected by.

``traces/corrections.json`` holds one entry per system: a model in one precision, on one GPU type, under one engine version. It is
written by ``python -m figures.validation DATA_FOLDER --fit``, from the rows of the fit part alone.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from policies.fingerprint import Fingerprint, check_keys
from traces.assembly.correction import Correction, corrected
from traces.errors import InputError

FILE = Path(__file__).with_name("corrections.json")
AS_ASSEMBLED = "assembled"
"""In place of an engine version: without a correction."""


@dataclass(frozen=True)
class System:
    """What was measured, and what came of it.

    ``engine``: such as ``vllm 0.18.0``. ``async_scheduling``: whether it plans a step while the one before it runs. ``frontend_s``,
    ``frontend_per_token_s``: of its API server, by request and prompt token. ``tensor_parallel``: degrees that the rows cover.
    ``rows``: that the constants were fitted to. ``errors``: median and 90th percentile of |relative error| of TPOT and TTFT, each
    row predicted from constants fitted to others, and how many rows. ``source``: where they are from.
    """

    model: str
    gpu: str
    precision: str
    engine: str
    correction: Correction
    frontend_s: float
    frontend_per_token_s: float
    async_scheduling: bool = True
    kv_precision: str = "bf16"
    tensor_parallel: tuple[int, ...] = ()
    rows: int = 0
    errors: Mapping[str, tuple[float, float, int]] = field(default_factory=dict)
    source: str = ""

    @property
    def version(self) -> str:
        """Of the engine, as it is written behind a fingerprint's name: ``0.18.0``."""
        return self.engine.partition(" ")[2]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able data; numbers of the correction that change nothing are left out."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        numbers = dataclasses.asdict(self.correction)
        said = {f.name: numbers[f.name] for f in dataclasses.fields(Correction) if numbers[f.name] != f.default}
        errors = {name: list(values) for name, values in self.errors.items()}
        return {**plain, "correction": said, "tensor_parallel": list(self.tensor_parallel), "errors": errors}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> System:
        """Raises:
        ValueError: a key is missing or unknown, or a number impossible.
        """
        check_keys(cls, data, "system")
        errors = {name: (float(m), float(p), int(n)) for name, (m, p, n) in data.get("errors", {}).items()}
        known = {"correction": Correction.from_dict(data["correction"]), "errors": errors}
        return cls(**{**data, **known, "tensor_parallel": tuple(data.get("tensor_parallel", ()))})

    def serves(self, fingerprint: Fingerprint) -> bool:
        """Whether the fingerprint is of this system's model, GPU and precision."""
        mine = (self.model, self.gpu, self.precision, self.kv_precision)
        return mine == (fingerprint.model, fingerprint.gpu, fingerprint.precision, fingerprint.kv_precision)

    def applied(self, fingerprint: Fingerprint) -> Fingerprint:
        """The fingerprint as this system serves it."""
        degrees = ", ".join(map(str, self.tensor_parallel))
        return dataclasses.replace(
            corrected(fingerprint, self.correction),
            provenance="end-to-end",
            engine=self.engine,
            errors={**fingerprint.errors, **self.errors},
            source=f"{fingerprint.source} Corrected end to end ({self.correction.words()}) by {self.rows} rows of "
            f"{self.engine} at TP {degrees}: {self.source}. Without it: the same name @{AS_ASSEMBLED}.",
        )


@cache
def systems(file: Path = FILE) -> tuple[System, ...]:
    """All systems of the library.

    Raises:
        InputError: the file is not a list of systems; the entry is named.
    """
    number = 0
    try:
        found = []
        for number, entry in enumerate(json.loads(file.read_text(encoding="utf-8")), 1):  # noqa: B007
            found.append(System.from_dict(entry))
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}; it belongs to the library, install it anew") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{file}: entry {number}: {error}; make it with python -m figures.validation DATA_FOLDER --fit") from None
    return tuple(found)


def systems_of(fingerprint: Fingerprint) -> Sequence[System]:
    """The measured systems of a fingerprint's model, GPU and precision, by engine version, the newest last."""
    return sorted((one for one in systems() if one.serves(fingerprint)), key=lambda one: _order(one.version))


def system_of(fingerprint: Fingerprint, version: str) -> System:
    """The system under that engine version.

    Raises:
        InputError: it was not measured; those that were are named.
    """
    known = systems_of(fingerprint)
    for one in known:
        if one.version == version:
            return one
    others = ", ".join(f"@{one.version}" for one in known) or "none"
    raise InputError(
        f"{fingerprint.name}@{version}: no correction for engine version {version} (there are: {others}); "
        f"write one of them, or @{AS_ASSEMBLED}"
    )


def _order(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))
