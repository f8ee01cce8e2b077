"""The library of fingerprints: one JSON file per deployment in ``traces/fingerprints/``."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from policies.fingerprint import Fingerprint
from traces.errors import InputError

FOLDER = Path(__file__).with_name("fingerprints")


def file_name(name: str) -> str:
    """The file of the fingerprint of that name: ``llama-3.1-8b/h200/tp1/bf16`` lies in ``llama-3.1-8b.h200.tp1.bf16.json``."""
    return name.replace("/", ".") + ".json"


def available() -> list[str]:
    """The names of all fingerprints, as ``model/gpu/tpN/precision``."""
    return sorted(path.stem[::-1].replace(".", "/", 3)[::-1] for path in FOLDER.glob("*.json"))


def load_fingerprint(model: str, gpu: str, tensor_parallel: int, precision: str = "bf16") -> Fingerprint:
    """The library's fingerprint of one deployment.

    Raises:
        InputError: there is none; the line lists what there is for this model on this GPU, or else this model, or else at all.
    """
    name = f"{model}/{gpu}/tp{tensor_parallel}/{precision}"
    if (FOLDER / file_name(name)).is_file():
        return read_fingerprint(FOLDER / file_name(name))
    known = [tuple(n.split("/")) for n in available()]
    for prefix, depth in (((model, gpu), 4), ((model,), 2), ((), 1)):
        if found := sorted({"/".join(n[:depth]) for n in known if n[: len(prefix)] == prefix}):
            break
    raise InputError(f"fingerprint: none for {name}; use one of {', '.join(found)}, or make it with python -m traces.assemble")


@cache
def read_fingerprint(path: Path) -> Fingerprint:
    """A fingerprint from its JSON file.

    Raises:
        InputError: the file is not a valid fingerprint.
    """
    try:
        return Fingerprint.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give the path of a fingerprint's JSON file") from None
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: not a fingerprint ({error}); make one with python -m traces.assemble") from None
