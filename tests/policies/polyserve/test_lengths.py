"""What PolyServe believes of output lengths: the prior at first, then what has come, tier by tier, and never the future."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies.completions import completed
from policies.polyserve.admission import Admission
from policies.polyserve.fixed import Fixed
from policies.polyserve.lengths import MEMORY, PRIOR_WEIGHT, OutputLengths
from policies.polyserve.router import PolyServe
from policies.redecide import redecide_record
from policies.types import SLO, Completed
from policies.views import Fleet, Request
from sim.run import simulate
from traces.scenario import Scenario

TIGHT = Request(slo=SLO(ttft_s=0.5, tpot_s=0.02), expected_output_tokens=100)
LOOSE = replace(TIGHT, slo=SLO(ttft_s=0.5, tpot_s=0.1))


def done(request: Request, tokens: int, times: int = 1) -> list[Completed]:
    return [completed(replace(request, generated_tokens=tokens), 1.0)] * times


def test_before_any_answer_is_complete_the_prior_is_believed() -> None:
    lengths = OutputLengths()
    assert lengths.expected(TIGHT) == 100
    assert lengths.expected(replace(TIGHT, expected_output_tokens=7)) == 7


def test_the_estimate_is_the_mean_of_the_prior_and_of_what_has_come() -> None:
    lengths = OutputLengths()
    lengths.learn(done(TIGHT, 300))
    assert lengths.expected(TIGHT) == pytest.approx((PRIOR_WEIGHT * 100 + 300) / (PRIOR_WEIGHT + 1))
    lengths.learn(done(TIGHT, 300, PRIOR_WEIGHT - 1))
    assert lengths.expected(TIGHT) == pytest.approx(200)


def test_a_tier_learns_from_its_own_requests_alone_and_so_does_a_model() -> None:
    lengths = OutputLengths()
    lengths.learn(done(TIGHT, 300, 1000))
    assert lengths.expected(LOOSE) == 100
    assert lengths.expected(replace(TIGHT, model="another")) == 100
    assert lengths.expected(TIGHT) > 250


def test_a_workload_that_changes_is_followed() -> None:
    lengths = OutputLengths()
    lengths.learn(done(TIGHT, 100, 20 * MEMORY))
    lengths.learn(done(TIGHT, 500, 3 * MEMORY))
    assert 450 < lengths.expected(TIGHT) < 500


@pytest.mark.parametrize("projection", ["bound", "simulate"])
def test_admission_goes_by_what_was_learned(projection: str) -> None:
    from tests.policies.polyserve.test_admission import engine, request

    lengths = OutputLengths()
    admission = Admission(projection=projection, expected=lengths.expected)  # type: ignore[arg-type]
    small = engine(kv_tokens_capacity=1200)
    assert admission.decode(request(output=100), small, 0.05, prefill=True).refused == ""
    lengths.learn(done(request(output=100), 900, 100))
    assert admission.decode(request(output=100), small, 0.05, prefill=True).refused == "kv"


def test_a_router_learns_from_what_the_fleet_tells_and_so_does_the_scaler_of_a_fixed_fleet() -> None:
    router, scaler = PolyServe(), Fixed()
    fleet = replace(Fleet.at_rest(0), completed=tuple(done(TIGHT, 900, 50)))
    router.route(TIGHT, fleet)
    scaler.scale(fleet)
    for policy in (router, scaler):
        assert policy._lengths.expected(TIGHT) == pytest.approx((PRIOR_WEIGHT * 100 + 50 * 900) / (PRIOR_WEIGHT + 50))


def test_in_a_run_tiers_with_a_wrong_prior_come_to_their_own_means_and_the_log_rebuilds_them() -> None:
    """Both tiers are told 500 tokens; answers have 20 and 60."""
    tiers = (("tight", 20, 20), ("loose", 60, 100))
    scenario = Scenario.model_validate(
        {
            "model": "llama-3.1-8b",
            "fleet": {"gpu": "h200", "gpus": 3, "parked": 2, "start_up": "0s"},
            "workload": [
                {
                    "name": name,
                    "trace": {"prompt_tokens": 200, "output_tokens": tokens},
                    "expected_output_tokens": 500,
                    "rate": "60/s",
                    "slo": {"ttft": "500ms", "tpot": f"{tpot}ms"},
                }
                for name, tokens, tpot in tiers
            ],
            "policy": "polyserve",
            "duration": "6s",
            "decisions": "full",
            "seed": 2,
        }
    )
    record = simulate(scenario)
    again = redecide_record(record.manifest, record.decisions or ())
    assert again.same, again.differences
    lengths: OutputLengths = again.policies["router"]._lengths
    for _, tokens, tpot in tiers:
        count, mean = lengths._means["llama-3.1-8b", tpot / 1e3]
        assert count > PRIOR_WEIGHT + 200
        assert mean == pytest.approx((PRIOR_WEIGHT * 500 + (count - PRIOR_WEIGHT) * tokens) / count)
