"""The conformance kit on the terminal: one line per promise, and under a broken one what was done, why it matters, what to do."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

from rich.console import Console
from rich.text import Text

from traces.conformance.examination import Examination, Finding, Level, Outcome, Subject, Verdict
from traces.conformance.scaffold import class_of, module_of

_PLAIN_WIDTH = 100  # where output is no terminal, so that it does not depend on one
_MARKS = {Outcome.PASSED: ("✓", "green"), Outcome.FAILED: ("✗", "bold red")}
_STYLES = {Level.ERROR: "bold red", Level.WARNING: "bold yellow", Level.INFO: "dim"}


def print_examination(subject: Subject, found: Examination, console: Console) -> None:
    """Every check with its outcome and findings, then the verdict."""
    if not console.is_terminal:
        console = Console(file=console.file, width=_PLAIN_WIDTH)
    head = Text.assemble((f"{subject.point} {subject.name}", "bold"))
    if subject.name != subject.path:
        head.append(f"  {subject.path}", "dim")
    if subject.params:
        head.append("  " + ", ".join(f"{name}={value!r}" for name, value in subject.params.items()), "dim")
    lines = [head, Text("")]
    width = max(len(verdict.check) for verdict in found.verdicts)
    for verdict in found.verdicts:
        if verdict.outcome is not Outcome.SKIPPED:
            lines += _check(verdict, [f for f in found.findings if f.check == verdict.check], width, console.width)
    for because in dict.fromkeys(v.because for v in found.verdicts if v.outcome is Outcome.SKIPPED):
        waiting = ", ".join(v.check for v in found.verdicts if v.because == because)
        lines += _paragraph("not tried", f"until {because} is mended: {waiting}", "dim", width, console.width, "dim")
    lines += [Text(""), _verdict(found)]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _check(verdict: Verdict, findings: Sequence[Finding], width: int, columns: int) -> Iterator[Text]:
    mark, style = _MARKS[verdict.outcome]
    yield Text.assemble((mark, style), f" {verdict.check:{width}}  {verdict.promise}")
    for finding in findings:
        tone = _STYLES[finding.level]
        label = "" if finding.level is Level.INFO else finding.level.value
        yield from _paragraph(label, finding.what, tone, width, columns, "dim" if finding.level is Level.INFO else "")
        if finding.why:
            yield from _paragraph("why", finding.why, "dim", width, columns)
        if finding.instead:
            yield from _paragraph("instead", finding.instead, "dim", width, columns)


def _paragraph(label: str, words: str, tone: str, width: int, columns: int, style: str = "") -> Iterator[Text]:
    """Words under their check, wrapped, with a label to their left."""
    for number, line in enumerate(wrap(words, max(40, columns - width - 5), break_on_hyphens=False)):
        yield Text.assemble(("  ", ""), (f"{'' if number else label:>{width}}", tone), "  ", (line, style))


def _verdict(found: Examination) -> Text:
    counts = {level: sum(f.level is level for f in found.findings) for level in Level}
    skipped = sum(v.outcome is Outcome.SKIPPED for v in found.verdicts)
    parts = [_count(counts[Level.ERROR], "error"), _count(counts[Level.WARNING], "warning")]
    if skipped:
        parts.append(f"{_count(skipped, 'check')} not tried")
    words = f"{_count(len(found.verdicts), 'check')}: {', '.join(parts)}."
    return Text.assemble(("Sound. ", "bold green") if found.sound else ("Not sound. ", "bold red"), words)


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def examination_json(subject: Subject, found: Examination) -> dict[str, Any]:
    """The same as one JSON object."""
    return {
        "point": subject.point,
        "name": subject.name,
        "class": subject.path,
        "params": dict(subject.params),
        "sound": found.sound,
        "checks": [dataclasses.asdict(verdict) for verdict in found.verdicts],
        "findings": [dataclasses.asdict(finding) for finding in found.findings],
    }


def print_scaffold(point: str, name: str, written: Sequence[Path], as_json: bool) -> None:
    """The files of a new policy, and what to do with them."""
    path = f"{module_of(name)}:{class_of(name)}"
    if as_json:
        print(json.dumps({"point": point, "name": name, "class": path, "files": [str(file) for file in written]}))
        return
    for file in written:
        print(file)
    print(f"\nNext:\n  cd {written[0].parent}")
    print(f"  twinserve policies check {path}")
    print("  python -m pip install --editable .")
    print(f"  twinserve run SCENARIO --set policy.{point}={name}")
