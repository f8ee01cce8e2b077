"""Links between documents, and the files that they name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.documents import DOCUMENTS, ROOT


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
