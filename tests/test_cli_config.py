"""Scenario files from the gallery: every one is valid, runs, and says which question it answers; editors know every key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner, Result

from sim.run import simulate
from traces import gallery
from traces.scenario import Scenario, load_scenario
from traces.scenario.document import read
from twinserve import main

FOLDER = Path(gallery.__file__).parent
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(
    f"2023-11-16 18:15:{second:02}.0000000,{100 + second},20\n" for second in range(30)
)
SHORT = ("duration=4s", "drain=60s", "warmup=0s")
"""Of every example whose load does not change with time or end by itself."""
OWN_LENGTH = {
    "load-test": ("workload.bench.requests=64",),
    "cpu-calibration": (),
    "offline-batch": (*SHORT, "workload.summaries.backlog=200"),
}


@pytest.fixture(params=gallery.names())
def example(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a scenario of the gallery, as `config init` makes it, with the trace beside it that one of them reads."""
    (tmp_path / "AzureLLMInferenceTrace_conv.csv").write_text(AZURE)
    path = tmp_path / f"{request.param}.yaml"
    gallery.copy(request.param, path)
    return path


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_the_gallery_lists_every_file_once() -> None:
    assert sorted(gallery.names()) == sorted(path.stem for path in FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("name", gallery.names())
def test_a_file_begins_with_the_question_that_it_answers_and_tells_a_command(name: str) -> None:
    found = gallery.example(name)
    assert found.question.endswith("?")
    assert re.search(rf"^#   twinserve \w+ traces/gallery/{name}\.yaml", found.text, re.MULTILINE)


def test_every_example_runs(example: Path) -> None:
    scenario = load_scenario(example, OWN_LENGTH.get(example.stem, SHORT))
    assert simulate(scenario).requests.num_rows > 0


def test_every_key_that_an_example_sweeps_is_there(example: Path) -> None:
    scenario = load_scenario(example)
    for axis in scenario.sweep.axes(example.parent) if scenario.sweep is not None else ():
        for value in axis.values:
            load_scenario(example, [f"{axis.key}={value}"])


def test_the_schema_accepts_every_example(example: Path) -> None:
    jsonschema.validate(json.loads(json.dumps(read(example).data)), Scenario.json_schema())


@pytest.mark.parametrize(
    "wrong", ["fleets: {}", "model: llama-9", "policy: {router: {least-loaded: {k: 1}}}", "workload: [{name: a, trace: b}]"]
)
def test_the_schema_refuses_what_the_parser_refuses(wrong: str, tmp_path: Path) -> None:
    path = tmp_path / "demo.yaml"
    key = wrong.partition(":")[0]
    kept = {name: value for name, value in read(FOLDER / "demo.yaml").data.items() if name != key}
    path.write_text(f"{json.dumps(kept)[:-1]}, {wrong}}}")
    assert call("config", "validate", path).exit_code == 2
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(json.dumps(read(path).data)), Scenario.json_schema())


def test_the_schema_describes_every_key() -> None:
    schema = Scenario.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert [where for part in (schema, *schema["$defs"].values()) for where in _without_description(part)] == []


def _without_description(node: dict[str, Any], where: str = "") -> Iterator[str]:
    for name, inner in node.get("properties", {}).items():
        if "description" not in inner:
            yield f"{where}.{name}"
        yield from _without_description(inner, f"{where}.{name}")
    for key in ("anyOf", "oneOf", "allOf"):
        for inner in node.get(key, ()):
            yield from _without_description(inner, where)


def test_init_lists_the_questions() -> None:
    listed = call("config", "init")
    assert listed.exit_code == 0
    words = " ".join(listed.stdout.split())
    assert all(gallery.example(name).question in words for name in gallery.names())


def test_init_writes_a_scenario_that_names_itself_and_its_schema(tmp_path: Path) -> None:
    path = tmp_path / "new" / "mine.yaml"
    done = call("config", "init", "peak-load", path)
    assert done.exit_code == 0, done.stderr
    first, rest = path.read_text().split("\n", 1)
    schema = path.parent / first.removeprefix("# yaml-language-server: $schema=")
    assert json.loads(schema.read_text()) == Scenario.json_schema()
    assert f"twinserve search {path} --highest" in rest
    assert "traces/gallery" not in rest
    valid = call("config", "validate", path)
    assert valid.exit_code == 0
    assert valid.stdout.startswith(f"{path}: valid: llama-3.1-8b on 4 × h200")


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("mine")
    again = call("config", "init", "demo", path)
    assert (again.exit_code, path.read_text()) == (2, "mine")
    assert again.stderr == f"error: {path}: is there already; choose another name, or remove it first\n"


def test_init_knows_what_was_meant(tmp_path: Path) -> None:
    wrong = call("config", "init", "peek-load", tmp_path / "x.yaml")
    assert wrong.exit_code == 2
    assert "did you mean `peak-load`?" in wrong.stderr
    assert list(tmp_path.iterdir()) == []
