"""``policies check`` and ``policies new`` as a policy author meets them, with a policy in its own package."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from policies.redecide import redecide_record
from tests.policies.installing import forget, install
from traces.record import Record
from twinserve import main

ROOT = Path(__file__).parents[2]


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


# --- check ------------------------------------------------------------------------------------------------------------


def test_a_sound_policy_is_told_so_promise_by_promise() -> None:
    result = call("policies", "check", "power-of-two", "--param", "choices=3")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("router power-of-two  policies.routers:PowerOfTwo  choices=3\n")
    assert "✓ determinism" in result.stdout
    assert result.stdout.endswith("Sound. 19 checks: no errors, no warnings.\n")
    assert all(len(line) <= 100 for line in result.stdout.splitlines())


def test_a_broken_policy_is_told_what_it_did_why_it_matters_and_what_to_do() -> None:
    result = call("policies", "check", "tests.policies.broken.clock_monotonic:Policy")
    assert result.exit_code == 1
    assert "✗ clock" in result.stdout
    assert "clock_monotonic.py:20 calls time.monotonic()" in result.stdout
    assert "why  Simulated time is not the machine's" in result.stdout
    assert "instead  Read `fleet.now_s`" in result.stdout
    assert "not tried  until clock is mended: future," in result.stdout
    assert "Not sound. 19 checks: 1 error, no warnings, 12 checks not tried." in result.stdout


def test_json_holds_the_same() -> None:
    result = call("policies", "check", "auto", "tests.policies.broken.legality_no_reason:Policy", "--json")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert (answer["point"], answer["sound"]) == ("batcher", False)
    assert [f["check"] for f in answer["findings"] if f["level"] == "error"] == ["legality"]
    assert {v["outcome"] for v in answer["checks"]} == {"passed", "failed", "skipped"}


def test_a_module_in_the_working_directory_is_found(tmp_path: Path) -> None:
    (tmp_path / "lone_router.py").write_text(
        '"""One file."""\n\nfrom lone_reason import REASON\nfrom policies.decisions import Hold\n\n\n'
        'class Never:\n    """Holds every request."""\n\n    def route(self, request, fleet):\n        return Hold(REASON)\n'
    )
    (tmp_path / "lone_reason.py").write_text("import time\n\nREASON = f'closed at {time.time()}'\n")
    command = [sys.executable, "-m", "twinserve", "policies", "check", "lone_router:Never", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    found = [(f["check"], f["what"]) for f in json.loads(done.stdout)["findings"] if f["level"] == "error"]
    assert found == [("clock", "lone_reason.py:1 imports time")], "the file beside it is read too"
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "needs a policy; name it, as `[router|batcher] NAME` or as module:Class"),
        (("vllm",), "vllm is a router and a batcher and a speculator; say which"),
        (("router", "sarathy"), "there is no router 'sarathy'"),
        (("nowhere_at_all:Policy",), "nowhere_at_all:Policy cannot be imported: ModuleNotFoundError"),
        (("lmetric", "--param", "choices"), "--param choices: names no value; write it like --param choices=3"),
    ],
)
def test_a_target_that_cannot_be_checked_is_one_line_and_exit_code_2(words: tuple[str, ...], says: str) -> None:
    result = call("policies", "check", *words)
    assert result.exit_code == 2
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_an_unknown_parameter_is_a_finding() -> None:
    result = call("policies", "check", "lmetric", "--param", "alpha=1")
    assert result.exit_code == 1
    assert "router lmetric has no parameter 'alpha'; it takes none" in result.stdout


# --- a policy in its own package --------------------------------------------------------------------------------------


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    install(Path(__file__).with_name("third_party"), tmp_path / "site", monkeypatch)
    yield
    forget("acme_routing")


@pytest.mark.usefixtures("acme")
def test_a_third_partys_policy_is_listed_explained_and_checked_by_its_name() -> None:
    cards = json.loads(call("policies", "list", "--json").stdout)
    (card,) = [card for card in cards if card["name"] == "acme-tiers"]
    assert (card["point"], card["origin"]) == ("router", "package acme-routing")
    assert "requests per seat" in call("policies", "show", "router", "acme-tiers").stdout
    checked = call("policies", "check", "acme-tiers", "--param", "margin=10%")
    assert checked.exit_code == 0, checked.output
    assert "router acme-tiers  acme_routing.tiers:Tiers  margin=0.1" in checked.stdout


@pytest.mark.usefixtures("acme")
def test_a_third_partys_policy_runs_in_a_scenario_and_is_rebuilt_from_the_record(tmp_path: Path) -> None:
    (tmp_path / "scenario.yaml").write_text(
        """
model: llama-3.1-8b
fleet: {gpu: h200, gpus: 3}
workload: [{name: chat, trace: azure-2023-conv, rate: 20/s, requests: 200, slo: {ttft: 500ms, tpot: 30ms}}]
policy: {router: {acme-tiers: {margin: 2%, remember: 1}}}
decisions: full
"""
    )
    result = call("run", tmp_path / "scenario.yaml", "--out", tmp_path / "record", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["metrics"]["requests.completed"] == 200
    record = Record.read(tmp_path / "record")
    assert record.manifest["policies"]["router"] == {"name": "acme-tiers", "params": {"margin": 0.02, "remember": 1}}
    assert redecide_record(record.manifest, record.decisions or ()).same


def test_a_policy_that_is_being_written_runs_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scratch_router.py").write_text(
        """
from policies.decisions import Assign

class First:
    def route(self, request, fleet):
        return Assign(fleet.engines[0].id, "the first")
"""
    )
    (tmp_path / "scenario.yaml").write_text(
        """
model: llama-3.1-8b
fleet: {gpu: h200, gpus: 1}
workload: [{name: chat, trace: azure-2023-conv, rate: 5/s, requests: 20}]
"""
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    result = call("run", "scenario.yaml", "--set", "policy.router=scratch_router:First", "--json")
    forget("scratch_router")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["metrics"]["requests.completed"] == 20


# --- new --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["router", "scaler", "batcher"])
def test_a_new_policy_is_sound_and_its_own_tests_pass_as_it_is(point: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = call("policies", "new", point, f"my-{point}", "--dir", tmp_path / "project")
    assert result.exit_code == 0, result.output
    assert f"twinserve policies check my_{point}:My{point.capitalize()}" in result.stdout
    policy = (tmp_path / "project" / f"my_{point}.py").read_text()
    code = [line for line in policy.splitlines() if line.strip() and not line.lstrip().startswith(('"', "#", "from", "import"))]
    assert len(code) < 25

    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", str(tmp_path / "project")]
    done = subprocess.run(tests, cwd=tmp_path / "project", capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout

    install(tmp_path / "project", tmp_path / "site", monkeypatch)
    checked = call("policies", "check", f"my-{point}")
    forget(f"my_{point}", f"test_my_{point}")
    assert checked.exit_code == 0, checked.output
    assert checked.stdout.endswith("no errors, no warnings.\n")


def test_a_new_policy_is_formatted_and_without_a_lint(tmp_path: Path) -> None:
    for point in ("router", "scaler", "batcher"):
        call("policies", "new", point, f"fresh-{point}", "--dir", tmp_path / point)
        for action in (["check", "--select", "E,F,W,I,B,UP,SIM,RUF"], ["format", "--check"]):
            command = [sys.executable, "-m", "ruff", *action, "--isolated", "--line-length", "120", "."]
            done = subprocess.run(command, cwd=tmp_path / point, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("point", "name", "says"),
    [
        ("router", "MyRouter", "`MyRouter` is no policy name; use lower-case words joined by hyphens"),
        ("router", "lmetric", "there is a router lmetric already"),
        ("router", "json", "Python has a module json already; choose another name, such as my-json"),
        ("tuner", "mine", "there is no decision point 'tuner'"),
    ],
)
def test_a_name_that_cannot_be_is_refused(point: str, name: str, says: str, tmp_path: Path) -> None:
    result = call("policies", "new", point, name, "--dir", tmp_path / "project")
    assert result.exit_code == 2
    assert says in result.stderr
    assert not (tmp_path / "project").exists()


def test_a_folder_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    result = call("policies", "new", "router", "my-router", "--dir", tmp_path)
    assert result.exit_code == 2
    assert "exists already, and will not be overwritten" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
