"""The share of the TPOT tail that step noise explains comes with an interval over seeds."""

from __future__ import annotations

import pytest

from sim.noiseshare import NoiseShare, noise_share
from traces.errors import InputError
from traces.scenario import Scenario


def test_the_share_and_its_interval_are_students_over_pairs() -> None:
    found = NoiseShare((1.0, 1.0, 1.0), (0.9, 0.8, 1.0), 2.0)
    assert found.share == pytest.approx(0.1)
    low, high = found.interval
    assert (high - low) / 2 == pytest.approx(4.303 * 0.1 / 3**0.5, rel=1e-3)


def test_noise_of_a_lone_stream_is_all_of_the_spread_between_runs() -> None:
    scenario = Scenario.model_validate(
        {
            "model": "llama-3.1-8b",
            "fleet": {"gpu": "h200", "gpus": 1},
            "workload": [
                {"name": "a", "trace": {"prompt_tokens": 8, "output_tokens": 4}, "load": {"concurrency": 1}, "requests": 200}
            ],
        }
    )
    found = noise_share(scenario, 0.02, seeds=3)
    assert len(set(found.silent_s)) == 1
    assert found.interval[0] > 0
    assert found.tenfold_s > found.noisy_s[0] > found.silent_s[0]
    with pytest.raises(InputError, match="one run tells no interval"):
        noise_share(scenario, 0.02, seeds=1)
