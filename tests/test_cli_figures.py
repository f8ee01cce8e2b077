"""`twinserve figures` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from figures import gallery
from twinserve import main


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["figures", *map(str, arguments)])


@pytest.mark.parametrize("words", [(), ("list",)])
def test_the_list_names_every_figure(words: tuple[str, ...]) -> None:
    result = call(*words)
    assert result.exit_code == 0, result.output
    assert all(name in result.stdout for name in gallery.names())


def test_the_list_as_json_tells_what_is_expected_of_each() -> None:
    figures = json.loads(call("list", "--json").stdout)
    assert [figure["figure"] for figure in figures] == gallery.names()
    assert all(figure["source"] and figure["expected"] for figure in figures)


def test_a_figure_is_made_and_the_second_time_it_comes_out_of_the_cache(tmp_path: Path) -> None:
    options = ("budget-pareto", "--quick", "--jobs", 2, "--out", tmp_path / "out", "--cache", tmp_path / "cache")
    first = call(*options)
    assert first.exit_code == 0, first.output
    assert first.stderr == ""
    assert "agrees" in first.stdout
    assert "not for quoting" in first.stdout
    assert "reproduction.html" in first.stdout
    assert "made with --quick, and not for quoting: budget-pareto" in (tmp_path / "out" / "reproduction.html").read_text("utf-8")
    pictures = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("budget-pareto*")}
    assert {Path(name).suffix for name in pictures} == {".png", ".svg", ".csv", ".md", ".json", ".txt"}
    kept = sorted((tmp_path / "cache").rglob("*.zst"))
    assert call(*options).stdout == first.stdout
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").glob("budget-pareto*")} == pictures
    assert sorted((tmp_path / "cache").rglob("*.zst")) == kept
    answer = json.loads(call(*options, "--json").stdout)
    (figure,) = answer["figures"]
    assert Path(answer["page"]).is_file()
    assert figure["figure"] == "budget-pareto"
    assert {row["verdict"] for row in figure["reproduction"]} <= {"agrees", "differs", "cannot tell", "not comparable"}
    assert all(Path(path).exists() for path in figure["files"])


def test_names_that_are_none_are_told_before_anything_runs(tmp_path: Path) -> None:
    result = call("budget-parete", "router-atainment", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "error: figure budget-parete: there is none; did you mean budget-pareto?",
        "error: figure router-atainment: there is none; did you mean router-attainment?",
    ]
    assert not (tmp_path / "out").exists()


def test_ctrl_c_tells_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import figures.frame

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(figures.frame, "produce", interrupted)
    result = call("all", "--out", tmp_path / "out", "--no-cache", "--jobs", 1)
    assert result.exit_code == 130
    assert result.stderr.startswith("interrupted: 0 figures are done")


def test_help_fits_one_screen() -> None:
    result = call("--help")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) <= 30
