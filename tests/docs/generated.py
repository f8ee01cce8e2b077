"""The parts of documents that a command writes: ``python -m tests.docs.generated`` renews them, a test holds them to be current
(the README's, which a simulation prints, but for the last digits of numbers).

A part stands between ``<!-- generated: WHAT -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.docs.dictionary import aliases, columns, keys_of_manifest, keys_of_summary, metrics

DOCS = Path(__file__).parents[2] / "docs"
README = DOCS.parent / "README.md"
_PART = re.compile(r"(<!-- generated: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def renewed(text: str) -> str:
    """A document with its generated parts as they should be."""
    return _PART.sub(lambda match: f"{match[1]}\n{_part(match[2])}\n\n{match[3]}", text)


def pages() -> Iterator[Path]:
    """The documents that have such parts."""
    return (path for path in sorted(DOCS.glob("*.md")) if _PART.search(path.read_text(encoding="utf-8")))


def _part(what: str) -> str:
    kind, _, rest = what.partition(" ")
    return _PARTS[kind](rest)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _gallery(_: str) -> str:
    from traces import gallery

    found = [gallery.example(name) for name in gallery.names()]
    return table(["topic", "name", "question"], [[e.topic, f"`{e.name}`", e.question] for e in found])


def _verbs(_: str) -> str:
    import click

    from twinserve import VERBS, main

    context = click.Context(main)
    rows = []
    for name in VERBS:
        command = main.get_command(context, name)
        assert command is not None
        inner = ", ".join(command.list_commands(context)) if isinstance(command, click.Group) else ""
        sentence = " ".join((command.help or "").split("\n\n")[0].split()).split(". ")[0].rstrip(".")
        rows.append([f"`twinserve {name}`", f"{sentence}." + (f" Verbs: {inner}." if inner else "")])
    return table(["verb", "what it does"], rows)


def _table_of(place: str) -> str:
    """`PAGE.md, HEADING, N`: the Nth table below the first heading that begins so."""
    page, heading, number = (word.strip() for word in place.split(","))
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("#") and line.lstrip("# ").startswith(heading))
    end = next((i for i in range(start + 1, len(lines)) if lines[i].startswith("#")), len(lines))
    tables = re.findall(r"(?:^\|.*\|$\n?)+", "\n".join(lines[start:end]), re.MULTILINE)
    return str(tables[int(number) - 1]).strip()


def _output(command: str) -> str:
    """What `twinserve COMMAND` prints."""
    from click.testing import CliRunner

    from twinserve import main

    result = CliRunner().invoke(main, command.split(), catch_exceptions=False)
    return "```\n" + "\n".join(line.rstrip() for line in result.stdout.splitlines()) + "\n```"


_PARTS: Mapping[str, Callable[[str], str]] = {
    "gallery": _gallery,
    "output": _output,
    "verbs": _verbs,
    "table": _table_of,
    "metrics": lambda _: table(*metrics()),
    "aliases": lambda _: table(*aliases()),
    "columns": lambda name: table(*columns(name)),
    "summary": lambda _: table(*keys_of_summary()),
    "manifest": lambda _: table(*keys_of_manifest()),
}


if __name__ == "__main__":
    for path in (*pages(), README):
        path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")
