from __future__ import annotations

import pytest

from tests.traces.golden import NAN, golden_record, uniform_record
from traces.verdicts import judge


def met(record, mode):
    return judge(record.requests, mode).met.tolist()


def test_a_limit_that_is_just_reached_is_met():
    assert judge(golden_record().requests).met[0]


def test_requests_without_an_slo_are_not_judged():
    assert judge(golden_record().requests).judged.tolist() == [True, False, True, True, True, True, True]


def test_ttft_and_tpot_must_both_hold():
    record = uniform_record(3, ttft_s=[0.5, 1.5, 0.5], tpot_s=[0.05, 0.05, 0.2])
    assert met(record, "ttft+tpot") == [True, False, False]


def test_a_tpot_limit_alone_judges_tpot_alone():
    record = uniform_record(2, slo_ttft_s=NAN, ttft_s=99.0, tpot_s=[0.05, 0.2])
    assert met(record, "ttft+tpot") == [True, False]


def test_the_deadline_verdict_forgives_a_slow_stretch_that_early_slack_absorbs():
    # mean TPOT is over its limit, but no token came after its own deadline
    record = uniform_record(2, tpot_s=0.11, dslo_lateness_s=[-0.1, 0.02])
    assert met(record, "dslo") == [True, False]
    assert met(record, "ttft+tpot") == [False, False]


def test_the_deadline_verdict_needs_both_limits():
    assert not judge(uniform_record(1, slo_tpot_s=NAN).requests, "dslo").judged.any()


def test_a_shed_request_misses_its_deadlines():
    verdicts = judge(uniform_record(1, outcome="shed", dslo_lateness_s=[NAN], engine=[None]).requests, "dslo")
    assert verdicts.judged.all()
    assert not verdicts.met.any()


def test_e2e_judges_only_requests_with_an_e2e_limit():
    record = uniform_record(3, slo_e2e_s=[0.8, 0.7, NAN])
    assert met(record, "e2e") == [True, False, False]
    assert judge(record.requests, "e2e").judged.tolist() == [True, True, False]


def test_auto_holds_each_request_to_the_limits_that_it_states():
    record = uniform_record(4, slo_ttft_s=[1.0, NAN, NAN, 1.0], slo_tpot_s=[0.1, NAN, NAN, 0.1], slo_e2e_s=[NAN, 0.7, NAN, 0.7])
    verdicts = judge(record.requests, "auto")
    assert verdicts.judged.tolist() == [True, True, False, True]
    assert verdicts.met.tolist() == [True, False, False, False]


@pytest.mark.parametrize("outcome", ["shed", "unfinished", "failed"])
def test_only_completed_requests_meet_an_slo(outcome):
    assert not judge(uniform_record(1, outcome=outcome).requests).met.any()


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="'tpot'"):
        judge(golden_record().requests, "tpot")


def test_strain_is_the_share_of_the_tightest_limit_that_was_used():
    record = uniform_record(3, ttft_s=[0.5, 0.2, 1.5], tpot_s=[0.02, 0.09, 0.02], slo_ttft_s=1.0, slo_tpot_s=0.1)
    assert judge(record.requests, "ttft+tpot").strain.tolist() == pytest.approx([0.5, 0.9, 1.5])
    tpot_alone = uniform_record(1, ttft_s=99.0, tpot_s=0.05, slo_ttft_s=NAN, slo_tpot_s=0.1)
    assert judge(tpot_alone.requests).strain.tolist() == pytest.approx([0.5])


@pytest.mark.parametrize("mode", ["auto", "ttft+tpot", "dslo", "e2e"])
def test_requests_that_met_are_those_of_least_strain(mode):
    verdicts = judge(golden_record().requests, mode)
    strain, met = verdicts.strain[verdicts.judged], verdicts.met[verdicts.judged]
    assert max(strain[met], default=0.0) < min(strain[~met], default=2.0)


def test_a_request_that_did_not_complete_was_strained_without_end():
    assert judge(uniform_record(1, outcome="shed", engine=[None]).requests).strain.tolist() == [float("inf")]
