"""The table, its summaries and what the command prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from figures.validation import __main__ as command
from figures.validation import peer, report
from figures.validation.measured import Measured
from figures.validation.table import Validation, measured_system, replay_errors, summary, validate
from tests.figures.validation.rows import SILICON, data_folder, row
from traces.errors import InputError

ROWS = [{**SILICON, "id": f"c{c}", "batch_size": c, "silicon_tpot_ms": 7.0 + c / 30} for c in range(1, 21)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Validation:
    folder = data_folder(tmp_path_factory.mktemp("data"), [*ROWS, {**SILICON, "id": "node", "tp_size": 16}])

    def other_tool(rows: Sequence[Measured]) -> list[tuple[float, float] | None]:
        return [(r.ttft_s * 1.5, r.tpot_s * 1.2) if r.concurrency else None for r in rows]

    return validate(folder, jobs=1, peer=other_tool)


def test_every_row_is_predicted_or_accounted_for(found: Validation) -> None:
    assert len(found.rows) + sum(found.left_out.values()) == 20 + 1 + 1 + 1 + 1


def test_a_row_has_the_correction_of_its_own_engine_version_or_none() -> None:
    gpt_oss = row(model="gpt-oss-120b", gpu="h200", tensor_parallel=2, precisions=("mxfp4",))
    found = measured_system(gpt_oss)
    assert found is not None
    assert found.engine == "vllm 0.18.0"
    assert measured_system(replace(gpt_oss, version="0.17.0")) is None
    assert measured_system(replace(gpt_oss, engine="SGLang")) is None
    assert measured_system(row()) is None


def test_a_summary_holds_medians_and_tails_by_value(found: Validation) -> None:
    vllm = found.rows[found.rows["concurrency"] > 0]
    line = summary(vllm).iloc[0]
    assert line["tpot_peer_median"] == pytest.approx(0.2)
    assert line["ttft_peer_p90"] == pytest.approx(0.5)
    assert line["tpot_assembled_median"] == pytest.approx(vllm["assembled_tpot_error"].abs().median())
    assert summary(vllm, "concurrency")["concurrency"].tolist() == list(range(1, 21))


def test_replays_are_compared_request_by_request(found: Validation) -> None:
    lines = replay_errors(found)
    assert lines["metric"].tolist() == ["ttft", "tpot"]
    assert lines["requests"].tolist() == [8, 8]
    assert lines["measured_s"].tolist() == pytest.approx([0.05, 0.01])


def test_the_report_says_which_goals_are_not_met(found: Validation) -> None:
    text = report.markdown(found)
    for metric, statistic, goal, value in report.goals(found):
        verdict = "met" if value <= goal else "NOT met"
        low, high = report.interval(found, metric, statistic)
        assert low <= value <= high
        said = f"absolute error {value:.1%} (95 % interval {low:.1%} to {high:.1%}); goal at most {goal:.0%}: {verdict}"
        assert f"- {metric.upper()} {statistic} {said}" in text
    assert "| 1 | silicon sample | more than 8 GPUs in one node: the converter's error |" in text
    assert "nan" not in text


def test_the_command_writes_what_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = str(data_folder(tmp_path / "data", ROWS[:6]))
    assert command.main([data, "--jobs", "1", "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == (tmp_path / "out" / "validation.md").read_text("utf-8")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "validation.md", "rows.csv", "scatter.png", "scatter.svg", "errors.png", "errors.svg",
    }  # fmt: skip
    assert command.main([data, "--jobs", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["left_out"]


def test_a_wrong_folder_is_one_line_and_no_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([str(tmp_path / "nothing")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "give the folder that holds the measured data" in error


def test_a_peer_that_is_not_installed_is_told_and_kept_answers_are_not_asked_again(tmp_path: Path) -> None:
    kept = tmp_path / "answers.jsonl"
    with pytest.raises(InputError, match="install aiconfigurator there"):
        peer.ask(Path(sys.executable), [row()], kept)
    kept.write_text(json.dumps([peer.asked(row()), {"ttft_s": 0.1, "tpot_s": 0.01}]) + "\n")
    assert peer.ask(Path("/no/such/python"), [row(), row(engine="SGLang")], kept) == [(0.1, 0.01), None]


def test_a_sample_of_the_real_rows_comes_near_what_was_measured(shared_data: Path) -> None:
    from figures.validation import silicon_sample
    from figures.validation.predict import predict_all
    from figures.validation.scenarios import uncovered

    rows = [r for r in silicon_sample.read(shared_data) if not r.excluded and not uncovered(r) and r.part == "held out"]
    chosen = [r for r in rows if r.engine == "vLLM" and r.model in ("qwen3-32b", "llama-3.1-70b")][::6]
    errors = sorted(
        abs(p.tpot_s / r.tpot_s - 1) for r, p in zip(chosen, predict_all([(r, None) for r in chosen], jobs=1), strict=True)
    )
    assert len(errors) > 5
    assert errors[len(errors) // 2] < 0.1
