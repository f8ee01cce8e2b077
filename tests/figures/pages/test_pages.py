"""Pages of comparisons and sweeps: verdict first, complete without their script, and deaf to what names say."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from figures.comparisonfile import read_comparison, write_comparison
from figures.pages.choice import write_page_of
from figures.pages.comparison import render_comparison
from figures.pages.page import HERE, security
from figures.pages.sweep import read_sweep, render_sweep
from figures.report import render
from figures.timeline import write_timeline
from tests.figures.pages.synthetic import comparison, sweep
from tests.figures.synthetic import synthetic_record
from tests.figures.test_report import Page
from traces.errors import InputError
from traces.metrics import summarise
from twinserve import main

EVIL = (
    "</script><script>alert(1)</script>",
    "\"onload='alert(1)",
    "<img src=x onerror=alert(1)>",
    "{{7*7}}",
    "]]><svg/onload=alert(1)>",
)
names = st.sampled_from(EVIL) | st.text("<>\"'&{}%#/=;x\u2028é ", min_size=1, max_size=20)


class Elements(HTMLParser):
    """Which elements and attributes a page has."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)


def own_script_only(html: str) -> None:
    """Nothing that a browser would take for code but the page's own script, nothing it would fetch."""
    page = Page(html)
    scripts = re.findall(r"<script>(.*?)</script>", html, re.S)
    assert scripts == [(HERE / "page.js").read_text("utf-8")]
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert f"script-src &#39;sha256-{digest}&#39;" in html
    elements = Elements(html)
    assert not {name for name in elements.attributes if name.startswith("on")}, "no element has a handler"
    assert not elements.tags & {"img", "iframe", "object", "embed", "base", "form"}
    assert set(page.labels) <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert page.unscoped == 0


@settings(max_examples=25, deadline=None)
@given(names, names, names, names)
def test_no_name_becomes_code_on_a_comparisons_page(a: str, b: str, tier: str, engine: str) -> None:
    own_script_only(render_comparison(comparison((a, b), tier, engine, warning=b)))


@settings(max_examples=15, deadline=None)
@given(names, names, names)
def test_no_name_becomes_code_on_a_sweeps_page(router: str, tier: str, name: str) -> None:
    own_script_only(render_sweep(sweep(routers=(router, "vllm"), tier=tier, warning=name).frame(), name))


@settings(max_examples=12, deadline=None)
@given(names, names, names, names)
def test_no_name_becomes_code_in_a_runs_report_or_timeline(
    tmp_path_factory: pytest.TempPathFactory, workload: str, tier: str, policy: str, pool: str
) -> None:
    fleet = [{"name": pool, "gpu": "h200", "gpus": 2, "engine": {}, "model": "m"}]
    record = synthetic_record(
        120, 2, 60.0,
        manifest={
            "scenario": {"name": workload, "fleet": fleet, "workload": [{"name": workload, "tier": tier}]}, "warnings": [tier],
            "policies": {"router": {"name": policy, "params": {policy: policy}}}, "workload": {"name": workload, "notes": [tier]},
            "versions": {pool: pool},
        },
    )  # fmt: skip
    tiers = pa.DictionaryArray.from_arrays(pa.array(np.arange(120) % 2, pa.int32()), [tier, f"{tier}2"])
    place = record.requests.column_names.index("tier")
    object.__setattr__(record, "requests", record.requests.set_column(place, record.requests.schema.field("tier"), tiers))
    own_script_only(render(record, summarise(record)))
    path = tmp_path_factory.mktemp("timeline") / "t.json"
    write_timeline(record, path)
    told = {e["name"] for e in json.loads(path.read_text("utf-8"))["traceEvents"]}
    assert any(name.startswith(tier) for name in told), "JSON quotes what a name holds; nothing of it is lost"


def test_a_comparison_tells_the_verdict_then_each_tier_then_where_the_arms_parted() -> None:
    page = Page(render_comparison(comparison()))
    assert page.headings[0] == ("h1", "B attains more")
    assert [text for tag, text in page.headings if tag == "h2"] == [
        "Before you trust this", "All requests", "Tier chat", "Where they went different ways", "What was compared",
    ]  # fmt: skip
    for words in ("bold attains 4.5 ± 1.8 points more", "B worse", "not shown", "→ e0: least of e0", "sheds it: short", "3, 4, 5"):
        assert words in page.text, words


def test_a_sweep_has_a_chart_per_metric_and_every_point_in_its_table() -> None:
    html = render_sweep(sweep().frame(), "rates")
    page = Page(html)
    assert page.headings[0] == ("h1", "rates: 7 points, 1 failed")
    assert html.count('<svg class="chart"') == 5
    assert html.count("<tr><th scope") == 2 * (1 + 7)
    assert "1 of 7 points failed: short: no room" in page.text
    assert "0 of 6 points attain 90 % for sure" in page.text


def test_a_sweep_over_names_alone_has_tables_and_no_charts() -> None:
    html = render_sweep(sweep(values=("a", "b")).frame(), "names")
    assert "svg" not in re.sub(r"<s(cript|tyle)>.*?</s(cript|tyle)>", "", html, flags=re.S)
    assert "goodput" in html


def test_what_was_written_gives_the_same_page(tmp_path: Path) -> None:
    found = comparison()
    write_comparison(found, tmp_path)
    assert render_comparison(read_comparison(tmp_path)) == render_comparison(found)
    sweep().write(tmp_path / "rates.parquet")
    assert render_sweep(read_sweep(tmp_path / "rates.parquet"), "rates") == render_sweep(sweep().frame(), "rates")


def test_the_verb_chooses_the_page_by_what_lies_there(tmp_path: Path) -> None:
    write_comparison(comparison(), tmp_path / "ab")
    sweep().write(tmp_path / "rates.parquet")
    for path, written in (
        (tmp_path / "ab", tmp_path / "ab" / "report.html"),
        (tmp_path / "rates.parquet", tmp_path / "rates.html"),
    ):
        result = CliRunner().invoke(main, ["report", str(path)])
        assert (result.exit_code, result.output) == (0, f"{written}\n")
        assert written.read_text("utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.json", b"{"), ("x.json", b"[" * 100_000), ("x.json", b"[]"), ("x.json", b'{"names": ["a", "b"], "seeds": "many"}'),
        ("x.parquet", b"PAR1"), ("x.parquet", b""), ("x.txt", b"\xff\x00"),
    ],
)  # fmt: skip
def test_what_is_none_of_these_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        write_page_of(tmp_path / name)
    assert len(caught.value.faults) == 1
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_parquet_file_of_another_kind_is_no_sweep(tmp_path: Path) -> None:
    pq.write_table(pa.table({"seed": ["a"], "metric": ["b"]}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match="is not the table of a sweep"):
        read_sweep(tmp_path / "x.parquet")


def test_a_browser_is_told_to_run_one_script_and_fetch_nothing() -> None:
    assert security("").startswith("default-src 'none'; script-src 'sha256-")
