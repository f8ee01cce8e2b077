"""Every verb, given a file that is not what it wants: lines on stderr and exit code 2, never a traceback."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from twinserve import VERBS, main

GARBAGE: dict[str, bytes | None] = {
    "empty": b"",
    "binary": bytes(range(256)) * 4,
    "text": b"to whom it may concern\n",
    "object": b"{}",
    "list": b"[]",
    "null": b"null\n",
    "nested": b"[" * 50_000,
    "odd object": b'{"name": 1, "model": [], "fleet": {}, "workload": {}, "points": 3, "version": "x", "trials": [1]}',
    "lines": b'{"a": 1}\n[1]\n',
    "parquet": b"PAR1" + b"\0" * 40 + b"PAR1",
    "folder": None,
}


def commands(group: click.Group, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All verbs, those of groups too."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*words, name))
        else:
            yield (*words, name), command


def takes_a_file(command: click.Command) -> bool:
    return any(isinstance(p, click.Argument) and isinstance(p.type, click.Path) for p in command.params)


FILE_VERBS = [(words, command) for words, command in commands(main) if takes_a_file(command)]


def arguments(command: click.Command, file: Path) -> list[str]:
    """The file for each argument and needed option that wants one, and a plausible word for all else that is needed."""
    found: list[str] = []
    for param in command.params:
        value = str(file) if isinstance(param.type, click.Path) else "1"
        if isinstance(param.type, click.Choice):
            value = str(param.type.choices[0])
        if isinstance(param, click.Argument):
            found += [value] * (param.required or isinstance(param.type, click.Path))
        elif param.required:
            found += [param.opts[0], value]
    return found


@pytest.mark.parametrize(("words", "command"), FILE_VERBS, ids=[" ".join(words) for words, _ in FILE_VERBS])
def test_a_verb_refuses_what_it_cannot_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], command: click.Command
) -> None:
    monkeypatch.chdir(tmp_path)
    for (kind, content), ending in zip(GARBAGE.items(), itertools.cycle(["", ".yaml", ".json", ".parquet"]), strict=False):
        file = tmp_path / f"{kind} of any kind{ending}"
        if content is None:
            file.mkdir()
        else:
            file.write_bytes(content)
        result = CliRunner().invoke(main, [*words, *arguments(command, file)])
        assert result.exception is None or isinstance(result.exception, SystemExit), (kind, ending, result.exc_info)
        assert result.exit_code in (1, 2), f"{kind}{ending}: {result.output}"
        assert "Traceback" not in result.output
        assert result.stderr.strip(), "it says why"


def test_all_verbs_that_read_files_are_among_them() -> None:
    assert {words[0] for words, _ in FILE_VERBS} >= {"run", "report", "compare", "sweep", "search", "plan", "calibrate"}
    assert set(VERBS) >= {words[0] for words, _ in FILE_VERBS}
