"""The report tells the verdict first, stands on its own, stays small, and shows no more than it knows."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from figures.report import render, write_report
from tests.figures.synthetic import KV_CAPACITY, synthetic_record
from traces.errors import InputError
from traces.metrics import Summary, summarise
from traces.record import Record
from traces.tables import floats

SECTIONS = ["Key figures", "Latency against the SLO", "Over the run", "Load per engine", "Per tier", "Where this comes from"]


class Page(HTMLParser):
    """Headings in order, ids, table heads without scope, and the page's text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.headings: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.labels: list[str] = []
        self.unscoped = 0
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self._open.append(tag)
        self.ids += [found["id"]] if found.get("id") else []
        self.labels += (found.get("aria-labelledby") or "").split()
        self.unscoped += tag == "th" and "scope" not in found
        if tag in ("h1", "h2", "h3"):
            self.headings.append((tag, ""))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if {"style", "script", "nav"} & set(self._open):
            return
        self.words.append(data)
        if any(tag in self._open for tag in ("h1", "h2", "h3")):
            tag, text = self.headings[-1]
            self.headings[-1] = tag, (text + data).strip()

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def record() -> Record:
    return synthetic_record(manifest={"warnings": ["step times are extrapolated"], "scenario": {"name": "demo", "model": "m"}})


@pytest.fixture(scope="module")
def html(record: Record) -> str:
    return render(record, summarise(record))


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_the_verdict_comes_first_then_the_sections_in_order(page: Page) -> None:
    assert page.headings[0] == ("h1", "Too close to call")
    assert [text for tag, text in page.headings if tag == "h2"] == ["Before you trust this", *SECTIONS]
    words = ["90.7 % of 4,787", "What it delivers", "What binds", "step times are extrapolated", "Key figures"]
    places = [page.text.index(word) for word in words]
    assert places == sorted(places)


def test_the_page_needs_nothing_from_elsewhere(html: str, page: Page) -> None:
    assert not re.search(r"<img|<iframe|@import|url\(|https?://", html)
    assert html.count("<script") == 1
    places = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert places[0] == "data:,"
    assert all(place.startswith("#") for place in places[1:]), "the rest leads to places on the page"
    assert {place[1:] for place in places[1:]} <= {*page.ids}


def test_every_chart_has_words_and_every_table_head_a_scope(html: str, page: Page) -> None:
    charts = re.findall(r'<svg class="chart" role="img" aria-labelledby="([^"]*)"', html)
    assert len(charts) == 6
    assert page.unscoped == 0
    assert len(page.ids) == len(set(page.ids))
    assert set(page.labels) <= set(page.ids)
    assert html.count('role="img"') == html.count("<title>") - 1 + len(charts), "each picture has a title (the page's own aside)"


def test_the_curves_and_limits_agree_with_a_plain_count(record: Record, page: Page) -> None:
    tier = np.array(record.requests.column("tier").to_pylist())
    rows = (tier == "chat") & (floats(record.requests, "arrival_s") >= record.window_s[0])
    within = np.mean(floats(record.requests, "ttft_s")[rows] <= 0.5)  # NaN compares as late, as it should
    assert f"≤ 500 ms: {100 * within:.1f} %" in page.text


def test_a_request_with_one_token_is_left_out_of_tpot_but_not_an_unserved_one() -> None:
    record = synthetic_record(300, 1, 300.0, shed_share=0.0)
    output = np.ones(300, int)
    output[:100] = 5
    lame = record.requests
    lame = lame.set_column(
        lame.column_names.index("output_tokens"), lame.schema.field("output_tokens"), pa.array(output, pa.int32())
    )
    tpot = pa.array(np.where(output > 1, 0.01, np.nan), pa.float64(), from_pandas=True)
    lame = lame.set_column(lame.column_names.index("tpot_s"), lame.schema.field("tpot_s"), tpot)
    outcome = pa.DictionaryArray.from_arrays(pa.array(np.r_[np.zeros(250), np.ones(50)], pa.int32()), ["completed", "failed"])
    lame = lame.set_column(lame.column_names.index("outcome"), lame.schema.field("outcome"), outcome)
    record = dataclasses.replace(record, requests=lame)
    arrived = floats(lame, "arrival_s") >= record.window_s[0]
    chat = np.array(lame.column("tier").to_pylist()) == "chat"
    judged = (arrived & chat & ((output > 1) | (np.arange(300) >= 250))).sum()
    share = (arrived & chat & (output > 1)).sum() / judged
    assert f"≤ 40 ms: {100 * share:.1f} %" in Page(render(record, summarise(record))).text


def test_names_from_the_record_cannot_inject_script() -> None:
    evil = '"><script>alert(1)</script>'
    record = synthetic_record(400, 2, 60.0, manifest={"warnings": [evil], "scenario": {"name": evil}, "workload": {"name": evil}})
    tiers = pa.DictionaryArray.from_arrays(pa.array(np.arange(400) % 2, pa.int32()), [evil, "b" * 60])
    column = record.requests.column_names.index("tier")
    record = dataclasses.replace(record, requests=record.requests.set_column(column, record.requests.schema.field("tier"), tiers))
    html = render(record, summarise(record))
    assert html.count("<script") == 1, "the page's own"
    assert html.count("&lt;script&gt;") >= 4


def test_the_same_record_gives_the_same_page(record: Record, html: str) -> None:
    assert render(record, summarise(record)) == html


def test_a_partial_run_says_so_before_anything_else() -> None:
    text = Page(render(*_with_summary(synthetic_record(400, 2, 60.0, manifest={"partial": True})))).text
    assert text.index("Before you trust this") < text.index("the run was stopped at 60 s") < text.index("Key figures")


def test_what_the_manifest_does_not_tell_is_a_dash_not_a_zero() -> None:
    text = Page(render(*_with_summary(synthetic_record(400, 2, 60.0, manifest={"engines": {}, "usd_per_gpu_hour": None})))).text
    assert "Cost per M output tokens –" in text
    assert "KV memory used –" in text
    assert "tokens per engine" in text, "KV is shown in tokens where the capacity is unknown"


@pytest.mark.parametrize("gone", ["requests", "steps", "fleet"])
def test_a_record_with_an_empty_table_still_makes_a_page(gone: str) -> None:
    record = synthetic_record(400, 2, 60.0)
    record = dataclasses.replace(record, **{gone: getattr(record, gone).slice(0, 0)})
    headings = [text for _, text in Page(render(*_with_summary(record))).headings]
    assert "Where this comes from" in headings


def test_a_run_that_ended_at_once_still_makes_a_page() -> None:
    record = synthetic_record(400, 2, 60.0, manifest={"window_s": [60.0, 60.0]})
    assert "No request got a token in the measured window." in Page(render(*_with_summary(record))).text


def test_of_many_engines_the_busiest_and_the_least_busy_are_shown() -> None:
    html = render(*_with_summary(synthetic_record(3000, 100, 60.0, slots=1)))
    assert html.count('<svg class="spark"') == 64
    assert "The 32 busiest and the 32 least busy of 100 engines." in html


def test_kv_peak_is_a_share_of_the_engines_capacity(record: Record, page: Page) -> None:
    peak = max(record.steps.column("kv_tokens_used").to_pylist()) / KV_CAPACITY
    assert f"{100 * peak:.1f} % at most" in page.text


def test_a_timeline_beside_the_page_is_linked_to(record: Record, tmp_path: Path) -> None:
    write_report(record, tmp_path / "report.html")
    assert "report RECORD --timeline" in Page((tmp_path / "report.html").read_text("utf-8")).text
    (tmp_path / "timeline.json.gz").write_bytes(b"")
    write_report(record, tmp_path / "report.html")
    assert '<a href="timeline.json.gz" download>' in (tmp_path / "report.html").read_text("utf-8")


def test_half_a_million_requests_stay_a_small_page() -> None:
    html = render(*_with_summary(_tiled(synthetic_record(5000, 64, 150.0, leap_s=1.0), 100)))
    assert len(html.encode()) < 1_000_000


def test_the_page_is_written_whole_or_not_at_all(record: Record, html: str, tmp_path: Path) -> None:
    write_report(record, tmp_path / "new" / "report.html")
    assert (tmp_path / "new" / "report.html").read_text(encoding="utf-8") == html
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["report.html"]
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_report(record, tmp_path / "file" / "report.html")


def _with_summary(record: Record) -> tuple[Record, Summary]:
    return record, summarise(record)


def _tiled(record: Record, times: int) -> Record:
    """The record repeated ``times`` times, one run after the other."""
    end_s = record.manifest["end_s"]

    def tiled(table: pa.Table, *clocks: str) -> pa.Table:
        parts = []
        for k in range(times):
            part = table
            for clock in clocks:
                part = part.set_column(
                    part.column_names.index(clock), part.schema.field(clock), pa.array(floats(table, clock) + k * end_s)
                )
            parts.append(part)
        return pa.concat_tables(parts).combine_chunks()

    return dataclasses.replace(
        record,
        manifest={**record.manifest, "end_s": times * end_s, "window_s": [0.0, times * end_s]},
        requests=tiled(record.requests, "arrival_s", "intended_arrival_s"),
        steps=tiled(record.steps, "start_s"),
    )
