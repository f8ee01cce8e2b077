"""MaverIQ's equations, worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from policies.extrapolation.maveriq import Decomposition, Exponents, batched, latency, memory

EXPONENTS = Exponents(0.1, 0.7, 0.2, 0.5)


def test_a_fingerprint_made_of_known_terms_gives_them_back() -> None:
    terms = Decomposition(ttft_layer=3e-3, ttft_other=1e-3, tpot_layer=0.7e-3, tpot_other=0.9e-3)
    seconds = {(n, o): float(terms.full(n, o)) for n in (1, 2) for o in (10, 20)}
    found = Decomposition.of(seconds)
    assert [found.ttft_layer, found.ttft_other, found.tpot_layer, found.tpot_other] == pytest.approx([3e-3, 1e-3, 0.7e-3, 0.9e-3])
    assert float(found.full(32, 100)) == pytest.approx(32 * 3e-3 + 1e-3 + 100 * (32 * 0.7e-3 + 0.9e-3))


def test_latency_follows_the_power_laws() -> None:
    assert latency(2.0, 1.4, 1, 1, EXPONENTS) == pytest.approx(2.0)
    assert latency(2.0, 1.4, 4, 1, EXPONENTS) == pytest.approx(0.5 + 3**0.7 * 0.4)
    pipeline = 2.0 - 2.0 / 2**0.1
    assert latency(2.0, 1.4, 2, 3, EXPONENTS) == pytest.approx(2 / (2 * 3**0.1) + 0.4 / 3**0.2 + math.sqrt(2) * pipeline)


def test_overheads_are_never_negative_and_absent_when_not_measured() -> None:
    assert latency(2.0, 0.8, 2, 1, EXPONENTS) == pytest.approx(1.0)
    assert latency(2.0, np.nan, 2, 1, EXPONENTS) == pytest.approx(1.0)


def test_memory_adds_per_rank_and_per_stage() -> None:
    assert memory(13.0, 14.0, 15.0, 4, 2) == pytest.approx(13 + 3 * 1 + 4 * 1 * 2)
    assert memory(13.0, np.nan, 12.0, 4, 2) == pytest.approx(13.0)


def test_batches_are_linear_and_never_cheaper() -> None:
    assert batched(1.0, 1.1, [1, 2, 8]) == pytest.approx([1.0, 1.1, 1.7])
    assert batched(1.0, 0.9, 8) == pytest.approx(1.0)
