"""The commands that documents show: found in their code blocks, parsed as the command line parses them, run in a cheap variant."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
from click.testing import CliRunner

from tests.docs.documents import blocks
from twinserve import main

_SHORT = ("--set", "duration=6s", "--set", "warmup=1s")
_FEW = ("--jobs", "1", "--quiet")
CHEAP: Mapping[str, tuple[str, ...]] = {
    "run": (*_SHORT, "--quiet"),
    "compare": (*_SHORT, *_FEW, "--seeds", "2"),
    "sweep": (*_SHORT, *_FEW, "--seeds", "1", "--no-cache"),
    "search": (*_SHORT, *_FEW, "--seeds", "2", "--within", "30%", "--no-cache"),
    "plan": (*_SHORT, *_FEW, "--most", "1", "--seeds", "1"),
    "tune": (*_SHORT, "--quiet", "--trials", "2", "--retests", "1", "--sampler", "random"),
}
"""Verb → options that make it short; of an option given twice the last one holds, and so do these."""

MAY_SAY_NO = {"search", "plan", "tune"}
"""Verbs whose exit code 1 is an answer: nothing found, within a few seconds of simulated time."""


def lines(document: Path) -> Iterator[str]:
    """Every command line in a document's code blocks, continued lines joined, prompts and comments left out."""
    for block in blocks(document):
        if block.kind not in ("python", "yaml", "csv", "json") or not block.label:
            for line in block.text.replace("\\\n", " ").splitlines():
                if re.match(r"(\S+/bin/)?(twinserve|python|make|mypy|pip)\s", line):
                    yield line.strip()


def spans(document: Path) -> Iterator[str]:
    """The commands named in a document's sentences."""
    prose = re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"`(twinserve [^`]+)`", prose)


def words(line: str) -> list[str]:
    """A command's words up to a pipe or redirection; square brackets around what may be left out are taken off."""
    found = shlex.split(re.sub(r"\[(--[^\]]+)\]", r"\1", line), comments=True)
    end = next((i for i, word in enumerate(found) if word in ("|", ">", "&&", ";")), len(found))
    return found[:end]


def command_of(arguments: list[str]) -> tuple[click.Command, str, list[str]]:
    """The command that arguments of ``twinserve`` call, its name, and what is left for it.

    Raises:
        ValueError: there is no such verb.
    """
    command: click.Command = main
    name = "twinserve"
    while isinstance(command, click.Group):
        if not arguments or arguments[0].startswith("-"):
            break
        name, *arguments = arguments
        inner = command.get_command(click.Context(command), name)
        if inner is None:
            raise ValueError(f"there is no verb {name}")
        command = inner
    return command, name, arguments


def parse(arguments: list[str]) -> None:
    """Read arguments as the command line does, without doing anything.

    Raises:
        click.UsageError: an option or argument is unknown, missing, or has no such value.
        ValueError: there is no such verb.
    """
    command, name, rest = command_of(arguments)
    if not isinstance(command, click.Group):
        command.make_context(name, list(rest))


def run(line: str, folder: Path) -> None:
    """Run a line in a folder, which is the working directory: a call of ``twinserve`` alone in this process and cheaply, anything
    else in a shell.

    Raises:
        AssertionError: it failed.
    """
    found = shlex.split(line, comments=True)
    if found[0] == "twinserve" and not re.search(r"[|>;&`$]", line.partition("#")[0].replace(">=", "")):
        verb = found[1]
        result = CliRunner().invoke(main, [*found[1:], *CHEAP.get(verb, ())])
        assert result.exit_code == 0 or (result.exit_code == 1 and verb in MAY_SAY_NO), (
            f"{line}\n{result.output}\n{result.exception}"
        )
        assert result.exception is None or isinstance(result.exception, SystemExit), f"{line}\n{result.exception!r}"
        return
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    script = f"set -euo pipefail\n{line}"
    done = subprocess.run(["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
