"""Says so when parity with vLLM is not checked in this environment."""

from importlib.util import find_spec

import pytest


@pytest.mark.skipif(
    find_spec("vllm") is None, reason="vLLM is not installed in this environment; `make parity` makes one that has it"
)
def test_parity_runs_here() -> None:
    import vllm

    assert vllm.__version__
