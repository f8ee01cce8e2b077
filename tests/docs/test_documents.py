"""Every command in the documents that is marked as such runs, in order, in an empty folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.documents import DOCUMENTS, ROOT, commands, run


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if commands(d)], ids=lambda d: d.name)
def test_the_commands_of_a_document_run(document: Path, tmp_path: Path) -> None:
    run(document, tmp_path)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_modules_and_files_that_documents_name_are_there(document: Path) -> None:
    """Code spans that look like a path of this repository."""
    named = re.findall(
        r"`((?:policies|sim|replay|traces|figures|benchmarks|tests)/[\w./-]+\.(?:py|yaml|json|md))", document.read_text("utf-8")
    )
    assert [path for path in named if not (ROOT / path).exists()] == []
