"""The documents' commands for machines with vLLM run."""

from pathlib import Path

import pytest

from tests.docs.documents import DOCUMENTS, commands, run


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if commands(d, "vllm")], ids=lambda d: d.name)
def test_the_commands_of_a_document_run_on_vllm(document: Path, tmp_path: Path) -> None:
    run(document, tmp_path, "vllm")
