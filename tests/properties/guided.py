"""Coverage-guided fuzzing of the scenario parser and the trace readers, by hand:

    pip install atheris
    python -m tests.properties.guided scenario -max_total_time=300
    python -m tests.properties.guided trace -max_total_time=300

What follows the target goes to libFuzzer, such as a folder that keeps what reached new code. It begins with the scenarios of the
gallery, or a trace of each format, and mutates half of the scenarios by their structure, so that they stay YAML. The first input
that is neither read nor refused in one line ends it, is written to ``crash-…`` and is to become a test in ``test_any_bytes``.
"""

from __future__ import annotations

import copy
import gzip
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import atheris
import yaml
import zstandard

with atheris.instrument_imports(include=["traces"]):
    from traces.readers import read
    from traces.scenario import load_scenario
    from traces.workload import Workload
    from traces.writers import write

from tests.properties.test_any_bytes import DOCUMENTS, GALLERY, ODD, PLACES, SEEDS, keeps_the_rules, told

VALUES = (
    None, True, -1, 0, 1e308, float("nan"), "", "1/s", "10%", "5s", "8x", "h200", "off", "1..4:3", [], {}, "\u202e", [[0], [1]],
)  # fmt: skip
"""What takes the place of a value, beside the values of other places."""


def mutated(data: bytes, most: int, seed: int) -> bytes:
    """A scenario with one place of it another, or with other bytes."""
    draw = random.Random(seed)
    with suppress(yaml.YAMLError, RecursionError, UnicodeDecodeError, ValueError):
        document = yaml.safe_load(data.decode())
        if draw.random() < 0.5 and isinstance(document, dict):
            return changed(document, draw).encode()[:most]
    return bytes(atheris.Mutate(data, most))


def changed(document: dict[object, object], draw: random.Random) -> str:
    """The document as text, with one value of it replaced, removed, or put in a second place."""
    name, keys = draw.choice(PLACES)
    found = DOCUMENTS[name]
    for key in keys:
        found = found[key]
    value = copy.deepcopy(found if draw.random() < 0.7 else draw.choice(VALUES))
    node: object = document
    while True:
        places = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
        if not places:
            break
        key = draw.choice(places)
        below = node[key]  # type: ignore[index]
        if isinstance(below, dict | list) and below and draw.random() < 0.7:
            node = below
        elif draw.random() < 0.15:
            del node[key]  # type: ignore[attr-defined]
            break
        else:
            name = keys[-1] if isinstance(node, dict) and draw.random() < 0.3 else key
            node[name] = value  # type: ignore[index]
            break
    return yaml.safe_dump(document, sort_keys=False)


def scenario(path: Path) -> None:
    """Read or refuse the file as a scenario."""
    told(lambda: load_scenario(path))


def trace(path: Path) -> None:
    """Read or refuse the file as a trace."""
    workload = told(lambda: read(path))
    if workload is not None:
        keeps_the_rules(workload)


def traces() -> Iterator[tuple[str, bytes]]:
    """A trace of each format, plain and packed, and one of ours."""
    for name, data in SEEDS.items():
        yield name, data
        yield f"{name}-gz", gzip.compress(data)
        yield f"{name}-zst", zstandard.ZstdCompressor().compress(data)
    with TemporaryDirectory() as folder:
        write(Workload.make([0.0, 1.5], [3, 4], [5, 6]), Path(folder, "t.parquet"))
        yield "ours", Path(folder, "t.parquet").read_bytes()


def quoted(word: bytes) -> str:
    """A line of libFuzzer's dictionary."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n'


def main() -> None:
    """Runs libFuzzer, which ends the process."""
    targets: dict[str, Callable[[Path], None]] = {"scenario": scenario, "trace": trace}
    if len(sys.argv) < 2 or sys.argv[1] not in targets:
        sys.exit(f"name what to fuzz: {' or '.join(targets)}")
    name = sys.argv[1]
    act = targets[name]
    with TemporaryDirectory() as folder:
        corpus, file = Path(folder, "corpus"), Path(folder, "file")
        corpus.mkdir()
        for seed, data in ((path.name, path.read_bytes()) for path in GALLERY.glob("*.yaml")) if name == "scenario" else traces():
            (corpus / seed).write_bytes(data)
        words = Path(folder, "words")
        words.write_text("".join(quoted(odd) for odd in ODD if len(odd) < 60))

        def one(data: bytes) -> None:
            file.write_bytes(data)
            act(file)

        given = [argument for argument in sys.argv[2:] if not argument.startswith("-")]
        options = [argument for argument in sys.argv[2:] if argument.startswith("-")]
        arguments = [sys.argv[0], *options, f"-dict={words}", *given, str(corpus)]
        atheris.Setup(arguments, one, **({"custom_mutator": mutated} if name == "scenario" else {}))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
