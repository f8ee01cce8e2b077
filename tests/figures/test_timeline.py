"""The timeline of a record: what Perfetto is told."""

import gzip
import json
import math
from itertools import pairwise

import pytest
from click.testing import CliRunner

from figures.timeline import events, parse_window, write_timeline
from sim.run import simulate
from traces.errors import InputError
from traces.scenario import load_scenario
from twinserve import main

SCENARIO = """
model: llama-3.1-8b
fleet: {gpu: h200, gpus: 2}
workload:
  - {name: chat, rate: 10/s, trace: {prompt_tokens: 500, output_tokens: 40}, slo: {ttft: 1s}}
duration: 4s
seed: 5
decisions: full
"""


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    folder = tmp_path_factory.mktemp("timeline")
    file = folder / "two.yaml"
    file.write_text(SCENARIO)
    return simulate(load_scenario(file)).write(folder / "record")


def of(found, phase):
    return [event for event in found if event["ph"] == phase]


def test_every_step_is_a_slice_of_its_engine_with_what_was_in_it(record):
    found = list(events(record))
    steps = [event for event in of(found, "X") if "step" in event["args"]]
    assert len(steps) == record.steps.num_rows
    total = sum(record.steps.column("duration_s").to_pylist())
    assert sum(event["dur"] for event in steps) == pytest.approx(1e6 * total)
    assert any("prefill 500" in event["name"] for event in steps)


def test_steps_of_an_engine_do_not_overlap(record):
    for pid in (1, 2):
        steps = sorted((e["ts"], e["dur"]) for e in of(events(record), "X") if e["pid"] == pid and "step" in e["args"])
        assert all(a + d <= b + 0.01 for (a, d), (b, _) in pairwise(steps))


def test_every_request_begins_and_ends_and_its_phases_nest(record):
    found = list(events(record))
    begins, ends = of(found, "b"), of(found, "e")
    assert len(begins) == len(ends) == 4 * record.requests.num_rows
    for row in record.requests.to_pylist():
        mine = {e["name"]: e["ts"] for e in begins if e["id"] == row["id"]}
        assert mine["decode"] == pytest.approx(1e6 * (row["arrival_s"] + row["ttft_s"]), abs=0.01)
        outer = mine[f"{row['tier']} {row['id']}"]
        assert outer == min(mine.values())


def test_an_arrow_leads_from_arrival_to_the_engine_that_served(record):
    found = list(events(record))
    starts, ends = ({e["id"]: e for e in of(found, phase)} for phase in ("s", "f"))
    assert starts.keys() == ends.keys() == set(record.requests.column("id").to_pylist())
    assert all(starts[i]["ts"] <= ends[i]["ts"] for i in starts)


def test_the_routers_decisions_are_instants_with_reason_and_scores(record):
    routed = [e for e in of(events(record), "i") if e["cat"] == "router"]
    assert len(routed) == record.requests.num_rows
    assert routed[0]["args"]["reason"]
    assert set(routed[0]["args"]["scores"]) == {"e0", "e1"}


def test_a_window_keeps_what_touches_it(record):
    part = list(events(record, (1.0, 2.0)))
    assert 0 < len(part) < len(list(events(record)))
    assert all(e["ts"] + e["dur"] >= 1e6 and e["ts"] < 2e6 for e in of(part, "X"))


def test_the_file_is_json_and_equal_runs_give_equal_bytes(record, tmp_path):
    paths = [write_timeline(record, tmp_path / name) for name in ("a.json.gz", "b.json.gz")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    packed = json.loads(gzip.decompress(paths[0].read_bytes()))
    plain = json.loads(write_timeline(record, tmp_path / "c.json").read_text(encoding="utf-8"))
    assert packed == plain
    assert len(plain["traceEvents"]) == len(list(events(record)))


def test_windows_are_read_with_their_units():
    assert parse_window("500ms..2s") == (0.5, 2.0)
    assert parse_window("30s..") == (30.0, math.inf)
    with pytest.raises(InputError, match=r"30s\.\.40s"):
        parse_window("soon..later")


def test_the_verb_writes_it_beside_the_record(record, tmp_path):
    result = CliRunner().invoke(
        main, ["report", str(record.path), "--timeline", "--window", "0s..1s", "--out", str(tmp_path / "t.json")]
    )
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    empty = CliRunner().invoke(main, ["report", str(record.path), "--timeline", "--window", "2s..1s"])
    assert empty.exit_code == 2
    assert "empty" in empty.output
