"""What is read off the paper's figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from figures.adaserve import digitised
from figures.adaserve.arrivals import LENGTH_S, named
from figures.adaserve.readings import BY_PLACE, BY_TOKEN
from figures.adaserve.settings import ADASERVE, DEPLOYMENTS, LLAMA, QWEN, Deployment
from policies.drafting.known import DRAFTERS


@pytest.mark.parametrize(("deployment", "least", "most"), [(LLAMA, 209, 214), (QWEN, 211, 216)], ids=["llama", "qwen"])
def test_goodput_over_attainment_is_the_same_length_at_all_rates(
    deployment: Deployment, least: int, most: int, shared_data: Path
) -> None:
    """With as many requests as the artifact's files have: a hundred fewer or more would be 6 to 12 % off."""
    attained = digitised.curve("fig8", deployment.name, "SLO", ADASERVE)
    goodput = digitised.curve("fig9", deployment.name, "goodput", ADASERVE)
    lengths = [goodput[rate] / (share / 100) * (LENGTH_S + 9) / (named(rate).rate * LENGTH_S) for rate, share in attained.items()]
    assert len(lengths) >= 10
    assert least <= round(min(lengths)) <= BY_TOKEN.output_tokens + 1
    assert round(max(lengths)) <= most


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda each: each.key)
def test_readings_name_drafters_that_there_are(deployment: Deployment) -> None:
    for reading in (BY_PLACE, BY_TOKEN):
        assert reading.sets(deployment).partition("=")[2] in DRAFTERS
