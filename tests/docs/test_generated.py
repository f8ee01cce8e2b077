"""What a command wrote into documents is what it would write today."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sim.run import simulate
from tests.docs.dictionary import CENSORED, MANIFEST, SUMMARY
from tests.docs.generated import README, pages, renewed
from traces.metrics import METRICS, summarise
from traces.record import Record
from traces.scenario import Scenario


@pytest.mark.parametrize("page", list(pages()), ids=lambda page: page.name)
def test_generated_parts_are_current(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text == renewed(text), "run python -m tests.docs.generated"


def test_the_readme_shows_what_the_demo_prints() -> None:
    """Another processor may round otherwise, and a simulation carries that on: numbers may differ by 2 % or 1, words not at all."""
    shown = README.read_text(encoding="utf-8")
    number = re.compile(r"\d[\d,]*(?:\.\d+)?")
    text, numbers = zip(*((number.sub("", page), number.findall(page)) for page in (shown, renewed(shown))), strict=True)
    assert "".join(text[0].split()) == "".join(text[1].split()), "run python -m tests.docs.generated"
    there, now = ([float(one.replace(",", "")) for one in found] for found in numbers)
    assert there == pytest.approx(now, rel=0.02, abs=1), "run python -m tests.docs.generated"


def test_every_metric_says_where_it_is_censored() -> None:
    assert set(CENSORED) == {metric.key for metric in METRICS}


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    scenario = Scenario.model_validate(
        {
            "model": "llama-3.1-8b",
            "fleet": {"gpu": "h200", "gpus": 1},
            "workload": [{"name": "a", "trace": {"prompt_tokens": 50, "output_tokens": 5}, "rate": 5, "requests": 10}],
        }
    )
    folder = tmp_path_factory.mktemp("record") / "run"
    simulate(scenario).write(folder)
    return Record.read(folder)


def test_every_key_of_the_summary_is_described(record: Record) -> None:
    assert set(SUMMARY) == set(summarise(record).to_json())


def test_every_key_of_the_manifest_is_described(record: Record) -> None:
    assert set(MANIFEST) == set(record.manifest)


def test_every_metric_of_a_summary_is_in_the_dictionary(record: Record) -> None:
    assert set(summarise(record).metrics) == {key for metric in METRICS for key in metric.keys}
