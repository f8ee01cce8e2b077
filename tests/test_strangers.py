"""A scenario from a stranger: it cannot make TwinServe import code, send secrets, or eat the machine."""

from __future__ import annotations

import ast
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from traces.errors import InputError
from traces.readers import read
from traces.scenario import Scenario, load_scenario
from twinserve import main

ROOT = Path(__file__).parents[1]
PACKAGES = ("policies", "traces", "sim", "replay", "figures")
RICH = """
name: rich
model: llama-3.1-8b
fleet:
  - {name: a, gpu: h200, gpus: 2, model: llama-3.1-8b, precision: bf16}
  - {name: b, gpu: h100, gpus: 1, engine: {max_num_seqs: 64}}
engine: {scheduling_policy: fcfs, vllm_version: "0.32"}
workload:
  - {name: chat, rate: 2/s, trace: {prompt_tokens: 20, output_tokens: 4}, slo: {ttft: 1s}, tier: gold, model: llama-3.1-8b}
  - {name: built, rate: 1/s, trace: azure-2023-conv}
  - {name: file, trace: {file: t.csv, format: azure, options: {sort: true}}}
policy: {router: least-loaded, batcher: vllm, scaler: target-load}
duration: 2s
replay: {engines: attached, urls: ["http://127.0.0.1:1"], weights: w, drafter: d, device: cpu}
decisions: off
sweep: {vary: {policy.router: [vllm, random]}, seeds: 1}
"""
TRAP = "trap_of_a_stranger"


def texts(node: Any, keys: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The key paths of every text in a document, and of every mapping key."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from texts(value, (*keys, key))
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from texts(value, (*keys, i))
    else:
        yield keys


PATHS = sorted(texts(yaml.safe_load(RICH)), key=str)


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module in the working directory whose import would be seen."""
    (tmp_path / f"{TRAP}.py").write_text("class Policy:\n    def __init__(self, **_): ...\n")
    (tmp_path / "t.csv").write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,3,4\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize("shape", ["text", "mapping", "list", "tagged"])
def test_no_field_of_a_file_makes_us_import_a_module(trap: Path, shape: str) -> None:
    name = f"{TRAP}:Policy"
    for path in PATHS:
        document = yaml.safe_load(RICH)
        node = document
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = {"text": name, "mapping": {name: {}}, "list": [name], "tagged": "@@"}[shape]
        text = yaml.safe_dump(document).replace("'@@'", f"!!python/name:{TRAP}.Policy")
        (trap / "s.yaml").write_text(text)
        try:
            scenario = load_scenario(trap / "s.yaml")
            if scenario.sweep is not None:
                scenario.sweep.axes(trap)
        except InputError:
            pass
        assert TRAP not in sys.modules, f"{path} made us import it"


def test_neither_do_merge_keys_aliases_or_keys_of_other_types(trap: Path) -> None:
    for policy in (
        f"{{<<: {{router: '{TRAP}:Policy'}}}}",
        f"{{router: &x '{TRAP}:Policy', batcher: *x}}",
        f"{{? router : ['{TRAP}:Policy']}}",
        f"{{!!str router: '{TRAP}:Policy'}}",
        f"'{TRAP}:Policy'",
        f"{{stack: '{TRAP}:Policy'}}",
    ):
        (trap / "s.yaml").write_text(RICH.replace("{router: least-loaded, batcher: vllm, scaler: target-load}", policy))
        with pytest.raises(InputError):
            load_scenario(trap / "s.yaml")
        assert TRAP not in sys.modules


def test_the_person_at_the_command_line_can(trap: Path) -> None:
    (trap / "s.yaml").write_text(RICH)
    with pytest.raises(InputError):  # it is no router, but it was looked at
        load_scenario(trap / "s.yaml", [f"policy.router={TRAP}:Policy"])
    assert sys.modules.pop(TRAP)


def test_a_file_cannot_choose_both_a_secret_and_where_it_goes(trap: Path) -> None:
    stolen = RICH.replace("weights: w,", "api_key_env: AWS_SECRET_ACCESS_KEY,")
    (trap / "s.yaml").write_text(stolen)
    with pytest.raises(InputError, match="cannot name both the servers and the key"):
        load_scenario(trap / "s.yaml")
    (trap / "s.yaml").write_text(RICH)
    mine = load_scenario(trap / "s.yaml", ["replay.api_key_env=SERVER_KEY"])
    assert mine.replay is not None
    assert mine.replay.api_key_env == "SERVER_KEY"


def nested_merges(levels: int) -> str:
    text = "&n0 {p: 1, q: 2}"
    for i in range(1, levels + 1):
        text = f"&n{i} {{<<: [{text}{f', *n{i - 1}' * 9}]}}"
    return f"x: {text}\n"


BOMBS = {
    "aliases": "a: &a [x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
    "merges": nested_merges(12),
    "merges of another tag": nested_merges(12).replace("{<<", "!!set {<<"),
    "itself": "a: &a {b: *a}\n",
    "itself, merged": "a: &a {<<: *a, b: *a}\n",
    "depth": "a: " + "[" * 5000,
    "depth of mappings": "a: " + "{a: " * 5000,
    "digits": "seed: " + "9" * 100_000,
    "a long key": "? " + "k" * 500_000 + "\n: 1\n",
    "size": "# " + "x" * (3 << 20),
    "nodes": "a: [" + "1," * 30_000 + "]",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_yaml_bomb_is_refused_before_it_grows(tmp_path: Path, name: str) -> None:
    (tmp_path / "bomb.yaml").write_text(BOMBS[name])
    start = time.process_time()
    with pytest.raises(InputError) as caught:
        load_scenario(tmp_path / "bomb.yaml")
    assert len("".join(caught.value.faults)) < 20_000
    assert time.process_time() - start < 30, "seconds, on however slow a machine; unbounded it would be hours"


def test_characters_that_a_terminal_obeys_do_not_get_in(tmp_path: Path) -> None:
    for character in ("\\e[2J", "\\x07", "\\u202e", "\\x9b"):
        (tmp_path / "s.yaml").write_text(f'name: "demo{character}"\nmodel: llama-3.1-8b\n')
        with pytest.raises(InputError, match="nobody can see"):
            load_scenario(tmp_path / "s.yaml")


def test_what_is_no_trace_is_not_read_through(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="a pipe or a device"):
        read(tmp_path / "pipe")
    with pytest.raises(InputError, match="a pipe or a device"):
        read(Path("/dev/zero"))


def test_a_folder_of_everything_is_not_searched_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("traces.readers.files._MOST_FILES", 3)
    for name in "abcde":
        (tmp_path / name).touch()
    with pytest.raises(InputError, match="more than 3 files"):
        read(tmp_path)


NAMES_WITH_A_REASON = {
    ("traces/conformance", "pickle"),  # of our own objects, to our own child process
    ("sim/backends.py", "import_module"),  # dask and ray
    ("replay/run.py", "import_module"),  # the engines' modules
    ("policies/registry.py", "import_module"),  # a class named on the command line
    ("figures/gallery.py", "import_module"),  # the figures' own modules
}
FORBIDDEN = {"eval", "exec", "compile", "__import__", "import_module", "literal_eval", "unsafe_load", "full_load", "load_all"}
FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "dbm", "code"}


def suspicions(file: Path) -> Iterator[tuple[int, str]]:
    """Line and name of whatever could turn data into code."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            yield from ((node.lineno, module) for module in modules if module.partition(".")[0] in FORBIDDEN_MODULES)
        elif isinstance(node, ast.Call):
            called = node.func
            name = called.id if isinstance(called, ast.Name) else called.attr if isinstance(called, ast.Attribute) else ""
            owner = ast.unparse(called.value) if isinstance(called, ast.Attribute) else ""
            risky = name in FORBIDDEN and not (name == "compile" and owner in ("re", "torch", "pattern"))
            risky = risky or (owner, name) in {
                ("yaml", "load"),
                ("torch", "load"),
                ("os", "system"),
                ("np", "load"),
                ("joblib", "load"),
            }
            risky = risky or any(
                k.arg == "shell" and not (isinstance(k.value, ast.Constant) and k.value.value is False) for k in node.keywords
            )
            if risky:
                yield node.lineno, name


def test_nothing_that_users_give_is_evaluated_unpickled_or_loaded_unsafely() -> None:
    found = []
    for file in [ROOT / "twinserve.py", *(path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))]:
        place = file.relative_to(ROOT).as_posix()
        for line, name in suspicions(file):
            if not any(place.startswith(where) and name == what for where, what in NAMES_WITH_A_REASON):
                found.append(f"{place}:{line}: {name}")
    assert [one for one in found if not one.startswith("twinserve.py")] == []


def test_what_no_machine_can_hold_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_much(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 15.0 TiB")

    monkeypatch.setattr("sim.run.simulate", too_much)
    result = CliRunner().invoke(main, ["run", str(ROOT / "traces" / "gallery" / "demo.yaml")])
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "not enough memory (Unable to allocate 15.0 TiB)" in result.stderr


def test_names_with_slashes_and_spaces_go_through_run_report_and_sweep(tmp_path: Path) -> None:
    folder = tmp_path / "my runs" / "a&b"
    folder.mkdir(parents=True)
    file = folder / "to day.yaml"
    file.write_text(
        "name: team/prod <x>\nmodel: llama-3.1-8b\nfleet: {gpu: h200, gpus: 1}\nduration: 5s\n"
        "workload: [{name: 'a/b c', tier: 'gold/../x', rate: 4/s, trace: {prompt_tokens: 20, output_tokens: 4}, slo: {ttft: 1s}}]\n"
    )

    def call(*arguments: object) -> str:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        return result.output

    call("run", file, "--out", folder / "the record", "--quiet")
    call("report", folder / "the record")
    call("report", folder / "the record", "--timeline")
    call("sweep", file, "--seeds", 2, "--jobs", 1, "--no-cache", "--out", folder / "all of it.parquet", "--quiet")
    call("report", folder / "all of it.parquet")
    call("compare", file, "--vary", "fleet.gpus=1,2", "--seeds", 1, "--jobs", 1, "--out", folder / "a b", "--quiet")
    call("report", folder / "a b")
    assert "gold/../x" in (folder / "the record" / "report.html").read_text("utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my runs"]
    assert {path.name for path in folder.iterdir()} == {
        "to day.yaml", "the record", "all of it.parquet", "all of it.html", "a b",
    }  # fmt: skip


def test_every_text_field_of_the_schema_is_among_those_that_were_tried() -> None:
    """A new part of the scenario must not slip past the trap above."""
    tried = {str(path[0]) for path in PATHS}
    known = {info.alias or name for name, info in Scenario.model_fields.items()}
    quantities = {"seed", "warmup", "drain", "extrapolate", "sim", "frontend", "kv_transfer", "faults", "inventory", "intents"}
    quantities |= {"interference"}
    assert known - tried <= quantities, f"new: {known - tried - quantities}"
