"""Every command that a document or the README shows can be given: all are parsed, and all run but those that have a reason."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.docs.commands import command_of, lines, parse, run, spans, words
from tests.docs.documents import DOCUMENTS, ROOT, blocks, commands
from traces import gallery

README = ROOT / "README.md"
ELSEWHERE = {
    "replay": "tests/parity",
    "calibrate": "tests/parity",
    "shadow": "tests/replay/test_replay_cli.py",
    "figures": "tests/figures",
    "recheck": "tests/test_cli_replay.py",
}
"""Verbs of the README that need vLLM, servers or minutes, and where they are run."""

NOT_HERE = {
    r"make ": "CI calls its targets",
    r"python -m ": "tests, benchmarks and records of runs: themselves what is run",
    r"sweep figures/scenarios/": "thirty runs of a paper's scenario: tests/figures/hygen makes such from small ones",
    r"figures ": "minutes each: tests/figures makes them from small runs",
    r"(replay|calibrate|capture|shadow) ": "vLLM, servers or a GPU: tests/parity, tests/replay",
    r"policies recheck ": "a record that a replay writes: tests/test_cli_replay.py",
    r"fingerprint measure ": "vLLM: tests/replay/test_measuring.py, tests/parity",
    r"fingerprint (fit .*--tables|fit mine.json|validate|noise .*requests.jsonl)": "published data: tests/test_cli_fingerprint.py",
    r"fingerprint noise .*--scenario": "two minutes of runs: tests/sim/test_noiseshare.py",
    r"tune .*--(world|parallel|canary)": "real engines, or several studies at once: tests/test_cli_tune.py",
    r"run SCENARIO": "a name that stands for any: tests/test_cli.py",
}
"""Commands in documents' blocks that are not `sh`: those that are parsed only, why, and where what they do is tested."""

_MAKE = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with the gallery in it; modules that are imported from there are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "traces").symlink_to(ROOT / "traces")
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(tmp_path) in str(getattr(module, "__file__", None)):
            del sys.modules[name]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_every_command_of_a_document_can_be_given(document: Path) -> None:
    for line in lines(document):
        found = words(line)
        program = Path(found[0]).name
        if program == "twinserve":
            parse(found[1:])
        elif program == "make":
            assert {word for word in found[1:] if "=" not in word} <= _MAKE, line
        elif program == "python" and "-m" in found:
            assert find_spec(found[found.index("-m") + 1]) is not None, line
        elif program == "python" and found[1].endswith(".py"):
            assert (ROOT / found[1]).exists(), line


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_verbs_and_options_that_sentences_name_are_there(document: Path) -> None:
    for span in spans(document):
        found = [word for word in span.replace("…", " ").split()[1:] if not re.fullmatch(r"[A-Z_]+", word)]
        command, _, rest = command_of(found)
        known = {option for parameter in command.params for option in parameter.opts} | {"--help", "--version"}
        assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= known, span


@pytest.mark.parametrize("name", gallery.names())
def test_every_command_of_the_gallery_can_be_given(name: str) -> None:
    shown = re.findall(r"^#   (twinserve .*)$", gallery.example(name).text, re.MULTILINE)
    assert shown
    for line in shown:
        parse(words(line)[1:])


def test_extras_that_documents_name_are_there() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    for document in DOCUMENTS:
        assert set(re.findall(r"twinserve\[(\w+)\]", document.read_text("utf-8"))) <= set(extras)


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if commands(d)], ids=lambda d: d.name)
def test_the_commands_of_a_document_run(document: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, in a folder with the files that the document shows."""
    for block in blocks(document):
        if block.kind != "sh" and block.label:
            (folder / block.label).write_text(block.text, encoding="utf-8")
    for text in commands(document):
        for line in text.replace("\\\n", " ").splitlines():
            if line.startswith("export "):
                monkeypatch.setenv(*line.removeprefix("export ").split("=", 1))
            elif line.strip():
                run(line, folder)


def shown_only(document: Path) -> Iterator[str]:
    """Commands outside `sh` blocks."""
    run_already = {line.strip() for text in commands(document) for line in text.replace("\\\n", " ").splitlines()}
    return (line for line in lines(document) if line not in run_already)


def called(line: str) -> str:
    """What a line calls, without the folder of the program, nor the program where it is ours."""
    return re.sub(r"^\S*/", "", line).removeprefix("twinserve ")


def reason(line: str) -> str | None:
    return next((why for pattern, why in NOT_HERE.items() if re.match(pattern, called(line))), None)


@pytest.mark.parametrize(
    "document", [d for d in DOCUMENTS if d != README and not all(map(reason, shown_only(d)))], ids=lambda d: d.name
)
def test_the_commands_that_a_document_only_shows_run_too_unless_there_is_a_reason(document: Path, folder: Path) -> None:
    (folder / "scenario.yaml").write_text(gallery.example("knobs").text, encoding="utf-8")
    (folder / "tpot.csv").write_text(next(b.text for b in blocks(ROOT / "docs/your-fleet.md") if b.label == "tpot.csv"))
    for line in shown_only(document):
        if not reason(line):
            run(f"twinserve {called(line)}", folder)


def test_no_reason_is_left_over() -> None:
    shown = [called(line) for document in DOCUMENTS if document != README for line in shown_only(document)]
    assert [pattern for pattern in NOT_HERE if not any(re.match(pattern, line) for line in shown)] == []


def test_the_commands_of_the_readme_run(folder: Path) -> None:
    """In order, on a trace of a newcomer's; the first writes the scenario."""
    (folder / "my-trace.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0.5,100,20\n1.5,900,40\n2.0,300,10\n")
    for line in lines(README):
        found = words(line)
        if found[0] == "twinserve" and not set(found[1:3]) & set(ELSEWHERE):
            run(line, folder)


def test_what_is_run_elsewhere_is() -> None:
    assert all((ROOT / place).exists() for place in ELSEWHERE.values())
