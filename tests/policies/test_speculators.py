"""The baseline speculators."""

from __future__ import annotations

import pytest

from policies.decisions import Drafts
from policies.registry import build
from policies.speculators import VLLM, FixedK, Off
from policies.views import Engine


def test_each_drafts_its_number_whatever_the_engine_looks_like() -> None:
    for engine in (Engine(), Engine(running_count=900)):
        assert VLLM().shape(engine).tokens is None
        assert FixedK(k=6).shape(engine).tokens == 6
        assert Off().shape(engine).tokens == 0


def test_all_that_is_drafted_is_verified() -> None:
    for speculator in (VLLM(), FixedK(), Off()):
        assert speculator.select(Engine(), Drafts({1: (0.9, 0.1)})).tokens is None


def test_they_are_known_by_name() -> None:
    assert isinstance(build("speculator", "fixed-k", {"k": 2}, 0), FixedK)


def test_no_draft_at_all_has_a_name_of_its_own() -> None:
    with pytest.raises(ValueError, match="choose the speculator `none`"):
        FixedK(k=0)
