from __future__ import annotations

import json

import numpy as np
import pytest

from tests.traces.golden import NAN, uniform_record
from traces.compare import Finding, compare
from traces.errors import InputError
from traces.metrics import summarise
from traces.record import Record


def run(n=600, seed=7, **columns) -> Record:
    """Requests with latencies of their own, the same for every run of a seed."""
    rng = np.random.default_rng(seed)
    ttft = rng.exponential(0.4, n)
    settled = {
        "ttft_s": ttft,
        "queue_s": ttft / 2,
        "e2e_s": ttft + 0.5,
        "prompt_tokens": rng.integers(10, 1000, n),
        "tier": ["fast" if i % 3 else "slow" for i in range(n)],
        "class": ["chat" if i % 3 else "bulk" for i in range(n)],
    }
    record = uniform_record(n, **(settled | columns))
    return with_manifest(record, seed=seed)


def with_manifest(record: Record, **keys) -> Record:
    return Record({**record.manifest, **keys}, record.requests, record.steps, record.fleet, record.gaps)


def shifted(record: Record, seconds: float, **columns) -> Record:
    """The same requests, each with a TTFT later by ``seconds`` give or take some noise."""
    table = {name: record.requests.column(name).to_pylist() for name in record.requests.column_names}
    ttft = (
        np.array(table["ttft_s"])
        + seconds
        + np.random.default_rng(100 + record.manifest["seed"]).normal(0, 0.02, record.requests.num_rows)
    )
    table |= {"ttft_s": np.maximum(ttft, 1e-3), "e2e_s": np.maximum(ttft, 1e-3) + 0.5, **columns}
    return with_manifest(uniform_record(record.requests.num_rows, **table), seed=record.manifest["seed"])


def test_a_run_against_itself_differs_in_nothing():
    found = compare([run()], [run()])
    assert {d.finding for d in found.differences} == {Finding.SAME}
    assert {(d.difference, d.lo, d.hi) for d in found.differences if d.lo is not None} == {(0, 0, 0)}
    assert (found.apart_share, found.notes) == (0, [])


def test_both_arms_have_the_values_of_the_metric_dictionary():
    a, b = run(), shifted(run(), 0.1)
    found = compare([a], [b])
    for record, arm in ((a, "a"), (b, "b")):
        summary = summarise(record)
        for d in found.differences:
            group = summary.metrics if d.group == "all" else summary.tiers[d.group]
            assert getattr(d, arm) == pytest.approx(group[d.metric].value, rel=1e-12), (d.group, d.metric)
    assert {"attainment", "goodput_req_s", "ttft_s.p99", "tpot_s.mean", "usd_per_mtok", "busy"} <= {
        d.metric for d in found.differences
    }


def test_a_shift_of_all_requests_is_found_and_measured_in_every_tier():
    found = compare([run(seed=s) for s in (1, 2, 3)], [shifted(run(seed=s), 0.1) for s in (1, 2, 3)])
    assert found.groups() == ["all", "fast", "slow"]
    for group in found.groups():
        for metric in ("ttft_s.mean", "ttft_s.p50"):
            d = found.get(metric, group)
            assert d.finding is Finding.SHOWN
            assert d.difference == pytest.approx(0.1, abs=0.02)
            assert d.lo < 0.1 < d.hi
        assert found.get("attainment", group).difference < 0
        assert found.get("tpot_s.p99", group).finding is Finding.SAME


def test_pairing_makes_a_small_shift_visible():
    a, b = [run(seed=s) for s in (1, 2, 3)], [shifted(run(seed=s), 0.01) for s in (1, 2, 3)]
    d = compare(a, b).get("ttft_s.mean")
    assert d.finding is Finding.SHOWN
    assert d.gain > 100


def test_noise_without_a_shift_shows_no_difference():
    found = compare([run(seed=s) for s in (1, 2, 3)], [shifted(run(seed=s), 0.0) for s in (1, 2, 3)])
    assert found.get("ttft_s.mean").finding is Finding.NOT_SHOWN
    assert found.get("attainment").finding is Finding.NOT_SHOWN


def test_arms_that_differ_only_in_latency_are_not_called_the_same_in_attainment():
    d = compare([run(ttft_s=0.25)], [run(ttft_s=0.26)]).get("attainment")
    assert (d.a, d.b, d.finding) == (1.0, 1.0, Finding.NOT_SHOWN)
    assert d.lo < 0 < d.hi


def test_requests_that_one_arm_sheds_count_against_it_and_have_no_latency_there():
    a = run()
    n = a.requests.num_rows
    shed = np.arange(n) % 5 == 0
    ttft = np.where(shed, NAN, np.array(a.requests.column("ttft_s").to_pylist()))
    b = run(ttft_s=ttft, queue_s=ttft / 2, e2e_s=ttft + 0.5, tpot_s=np.where(shed, NAN, 0.05),
            outcome=["shed" if s else "completed" for s in shed], engine=[None if s else "e0" for s in shed],
            output_tokens=np.where(shed, 0, 11))  # fmt: skip
    found = compare([a], [b])
    assert found.get("attainment").finding is Finding.SHOWN
    assert found.get("attainment").difference < -0.1
    assert abs(found.get("attainment_admitted").difference) < 0.02
    assert found.get("ttft_s.mean").n == n - shed.sum()


def test_a_closed_loop_that_got_further_in_one_arm_is_paired_by_what_the_requests_are():
    whole = run(900)
    whole = with_manifest(whole, window_s=[0.0, 600.0])
    a = Record(whole.manifest, whole.requests.slice(0, 600), whole.steps, whole.fleet, whole.gaps)
    faster = whole.requests.set_column(
        whole.requests.schema.get_field_index("arrival_s"), whole.requests.schema.field("arrival_s"), [np.arange(900) * 600 / 900]
    )
    found = compare([a], [Record(whole.manifest, faster, whole.steps, whole.fleet, whole.gaps)])
    assert "paired by what they are, not by when they come" in found.notes[0]
    assert "some requests came in B only, and count there" in found.notes
    assert found.get("goodput_req_s").finding is Finding.SHOWN


def test_other_windows_leave_rates_unpaired_and_say_so():
    b = run()
    found = compare([run()], [with_manifest(b, window_s=[0.0, 590.0])])
    assert "rates are compared without pairing" in found.notes[0]
    assert found.get("goodput_req_s").gain == pytest.approx(1.0)
    assert found.get("ttft_s.mean").gain > 10


def test_a_tier_that_only_one_arm_serves_has_no_difference():
    a = run()
    chat = a.requests.filter(np.array(a.requests.column("tier").to_pylist()) == "fast")
    found = compare([a], [Record(a.manifest, chat, a.steps, a.fleet, a.gaps)])
    assert "class bulk is served in one arm only" in found.notes
    assert found.get("ttft_s.p50", "slow") is None
    assert found.get("ttft_s.p50", "fast").finding is not Finding.UNKNOWN


def test_arms_that_serve_other_requests_are_refused_with_the_request_that_differs():
    other = run(prompt_tokens=np.full(600, 77))
    with pytest.raises(
        InputError, match=r"A and B: do not serve the same requests .* request 0 of class bulk is .* cannot be paired"
    ):
        compare([run()], [other])
    with pytest.raises(InputError, match="no class of requests in common"):
        compare([run()], [run(**{"class": "other"})])


def test_arms_with_other_seeds_are_refused():
    with pytest.raises(InputError, match="arm A ran with 1, 2, arm B with 2, 3; run both with the same seeds"):
        compare([run(seed=1), run(seed=2)], [run(seed=2), run(seed=3)])
    with pytest.raises(InputError, match="two runs with the same seed"):
        compare([run(seed=1), run(seed=1)], [run(seed=1), run(seed=2)])


def test_runs_are_matched_by_seed_not_by_place():
    runs = [run(seed=s) for s in (1, 2, 3)]
    assert {d.finding for d in compare(runs, runs[::-1]).differences} == {Finding.SAME}


def test_where_requests_went_apart_is_told():
    engines = ["e1" if i >= 450 else "e0" for i in range(600)]
    assert compare([run()], [run(engine=engines)]).apart_share == pytest.approx(0.25)


def test_different_code_is_noted():
    b = with_manifest(run(), hashes={"code": "1", "config": "0", "trace": "0", "fingerprint": "0"})
    assert compare([run()], [b]).notes == ["the arms ran with different code"]


def test_how_many_intervals_may_mislead_is_said():
    found = compare([run(seed=s) for s in (1, 2, 3)], [shifted(run(seed=s), 0.0) for s in (1, 2, 3)])
    judged = sum(d.finding not in (Finding.SAME, Finding.UNKNOWN) for d in found.differences)
    assert found.multiplicity().startswith(f"of {judged} intervals, about {max(1, round(0.05 * judged))} miss 0 by chance alone")
    assert compare([run()], [run()]).multiplicity() == ""


def test_a_comparison_is_plain_json():
    data = json.loads(json.dumps(compare([run()], [shifted(run(), 0.1)], ("old", "new")).to_json(), allow_nan=False))
    assert data["names"] == ["old", "new"]
    assert data["groups"]["all"]["ttft_s.mean"]["finding"] == "shown"
    assert data["groups"]["all"]["ttft_s.mean"].keys() >= {"a", "b", "difference", "lo", "hi", "n", "gain"}
