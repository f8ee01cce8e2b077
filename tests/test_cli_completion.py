"""Shell completion: click's own scripts, and the words that TwinServe offers in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from twinserve import main


def offered(line: str) -> list[str]:
    """What is offered for the last word of a command line."""
    *before, incomplete = line.split(" ")
    complete = ShellComplete(main, {}, "twinserve", "_TWINSERVE_COMPLETE")
    return [item.value for item in complete.get_completions(before, incomplete)]


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("fing", "fingerprint"),
        ("run s.yaml --ext", "--extrapolate"),
        ("config init peak", "peak-load"),
        ("policies show ba", "batcher"),
        ("policies show router leas", "least-loaded"),
        ("policies check router power", "power-of-two"),
        ("policies new rou", "router"),
        ("plan s.yaml --policy sar", "sarathi"),
        ("sweep s.yaml --metric ttft_s.p", "ttft_s.p99"),
        ("figures polyserve-c", "polyserve-cost"),
        ("figures al", "all"),
        ("fingerprint show llama-3.1-8b/h200", "llama-3.1-8b/h200/tp1/bf16"),
        ("traces inspect azure-2023-c", "azure-2023-conv"),
        ("traces get burst", "burstgpt-1"),
    ],
)
def test_words_are_offered(line: str, word: str) -> None:
    assert word in offered(line)


def test_policies_are_those_of_the_point_that_was_named() -> None:
    assert "hygen" not in offered("policies show router ")
    assert "hygen" in offered("policies show batcher ")


def test_where_a_file_may_stand_files_are_offered_too() -> None:
    complete = ShellComplete(main, {}, "twinserve", "_TWINSERVE_COMPLETE")
    assert "file" in {item.type for item in complete.get_completions(["traces", "inspect"], "my")}
    assert "file" in {item.type for item in complete.get_completions(["run"], "s")}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_script_and_its_words(shell: str) -> None:
    def call(instruction: str, **more: str) -> str:
        environment = {**os.environ, "_TWINSERVE_COMPLETE": f"{shell}_{instruction}", **more}
        command = [sys.executable, "-c", "import twinserve; twinserve.main(prog_name='twinserve')"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout

    assert "_TWINSERVE_COMPLETE" in call("source")
    words = {"COMP_WORDS": "twinserve policies sh", "COMP_CWORD": "sh" if shell == "fish" else "2"}
    assert "show" in call("complete", **words)


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_completes_a_word_with_the_script(tmp_path: Path) -> None:
    """The whole way: the script is sourced, its function called as readline calls it, and the reply read."""
    starter = tmp_path / "twinserve"
    starter.write_text(f'#!/bin/sh\nexec {sys.executable} -c "import twinserve; twinserve.main(prog_name=\'twinserve\')" "$@"\n')
    starter.chmod(0o755)
    script = """
    eval "$(_TWINSERVE_COMPLETE=bash_source twinserve)"
    COMP_WORDS=(twinserve config init peak); COMP_CWORD=3
    _twinserve_completion twinserve
    echo "${COMPREPLY[@]}"
    """
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["peak-load"]
