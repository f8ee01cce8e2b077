"""The pages in headless Chromium: tables sort and charts tell their values, by mouse and by keyboard; nothing else runs."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from figures.pages.comparison import render_comparison
from figures.pages.sweep import render_sweep
from figures.report import render
from figures.style import DARK, LIGHT, Theme
from tests.figures.browser import CHROMIUM, chromium, probed
from tests.figures.pages.synthetic import comparison, sweep
from tests.figures.synthetic import synthetic_record
from traces.metrics import summarise

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH: the pages are not looked at in a browser")
PAGES = ("run", "comparison", "sweep")
_PROBE = """
<script>
addEventListener("load", () => {
  const page = document.querySelector("iframe").contentDocument, root = page.documentElement;
  const press = (element, key) => element.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
  const table = page.querySelector("table.sortable"), orders = {};
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const cells = () => [...table.tBodies[0].rows].map(row => row.cells[column].textContent);
    const found = orders[head.textContent] = [[head.getAttribute("aria-sort"), cells()]];
    for (let i = 0; i < 3 && head.querySelector("button"); i++) {
      head.querySelector("button").click();
      found.push([head.getAttribute("aria-sort"), cells()]);
    }
  });
  const across = {}, metrics = page.querySelector("table.across");
  for (const row of metrics ? [...metrics.tBodies].flatMap(body => [...body.rows]) : []) {
    const button = row.cells[0].querySelector("button");
    if (!button) continue;
    const heads = () => [...metrics.tHead.rows[0].cells].map(cell => cell.textContent);
    const told = () => [heads(), [...row.cells].slice(1).map(cell => cell.firstChild.textContent)];
    const found = across[button.firstChild.textContent.trim()] ??= [told()];
    for (let i = 0; i < 3; i++) {
      button.click();
      found.push(told());
    }
  }
  const read = [], box = page.querySelector(".plotbox");
  if (box) {
    const out = box.querySelector("output"), Pointer = page.defaultView.PointerEvent;
    const shown = () => out.hidden ? "" : [...out.children].map(e => e.textContent).join("; ");
    for (const key of ["End", "ArrowLeft", "Home", "Escape"]) { press(box, key); read.push(shown()); }
    const area = box.querySelector("svg").getBoundingClientRect();
    box.dispatchEvent(new Pointer("pointermove", {clientX: area.left + area.width / 2, clientY: area.top + 50}));
    read.push(shown());
    box.dispatchEvent(new Pointer("pointerleave"));
    read.push(shown());
  }
  const dots = [], circle = page.querySelector("circle[aria-label]");
  if (circle) {
    const own = circle.closest(".plotbox"), all = [...own.querySelectorAll("circle[aria-label]")];
    const panel = [...own.querySelectorAll("div.readout")].pop(), shown = () => panel.hidden ? "" : panel.textContent;
    const stops = () => all.filter(dot => dot.tabIndex === 0).length, Pointer = page.defaultView.PointerEvent;
    const tell = () => dots.push([page.activeElement.getAttribute("aria-label"), shown(), stops(),
      getComputedStyle(page.activeElement).r, own.querySelector(".rule")?.hidden ?? true]);
    const order = all.sort((a, b) => parseFloat(a.getAttribute("cx")) - parseFloat(b.getAttribute("cx")));
    order.find(dot => dot.tabIndex === 0).focus();
    tell();
    for (const key of ["ArrowRight", "End", "ArrowRight", "ArrowLeft", "Home"]) { press(page.activeElement, key); tell(); }
    page.activeElement.blur();
    dots.push(["left", shown(), order.map(dot => dot.getAttribute("aria-label"))]);
    order[1].dispatchEvent(new Pointer("pointerenter"));
    dots.push(["over", shown()]);
    order[1].dispatchEvent(new Pointer("pointerleave"));
    const role = own.querySelector("svg.chart").getAttribute("role");
    dots.push(["gone", shown(), role, own.querySelectorAll("circle > title").length]);
  }
  const seen = what => [...page.querySelectorAll(what)].filter(e => e.getClientRects().length);
  const focusable = seen("a[href], button, [tabindex='0'], circle[aria-label], summary");
  const named = e => e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.textContent.trim();
  const unnamed = focusable.filter(e => !named(e));
  const wide = [...page.querySelectorAll("main *")].filter(e => !e.closest(".scroll, pre, .hidden") && e.getClientRects().length
    && e.getBoundingClientRect().right > root.clientWidth);
  const skip = page.querySelector(".skip");
  skip.focus();
  document.body.dataset.found = JSON.stringify({
    orders, across, read, dots, unnamed: unnamed.length, focusable: focusable.length, title: page.title,
    first: focusable[0].className, wide: wide.map(e => e.tagName + e.className), skip: skip.getBoundingClientRect().top,
    lang: root.lang,
    landmarks: ["main", "nav", "header"].map(name => page.querySelectorAll(`body > ${name}, body > header > ${name}`).length),
    tones: seen("p, td, th, a:not(.skip), button, summary, dt, dd, figcaption, li")
      .map(e => getComputedStyle(e).color).filter((c, i, all) => all.indexOf(c) === i),
    ground: getComputedStyle(page.body).backgroundColor,
  });
});
</script>
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    record = synthetic_record(1200, 12, 240.0)
    pages = {
        "run": render(record, summarise(record)),
        "comparison": render_comparison(comparison()),
        "sweep": render_sweep(sweep().frame(), "rates"),
    }
    for name, html in pages.items():
        (folder / f"{name}.html").write_text(html, encoding="utf-8")
        (folder / f"{name}-dark.html").write_text(html.replace("<html ", '<html data-theme="dark" '), encoding="utf-8")
    injected = "<script>document.title = 'ran'</script><p onclick=\"document.title = 'ran'\" id=trap>x</p></main>"
    (folder / "injected.html").write_text(pages["run"].replace("</main>", injected), encoding="utf-8")
    return folder


@cache
def used(folder: Path, page: str, width: int = 1280) -> dict[str, Any]:
    """What a page is like, and what it answers when it is used."""
    return probed(folder, page, _PROBE, width=width, budget_ms=3000)


def test_a_table_sorts_by_its_numbers_both_ways_and_back(folder: Path) -> None:
    orders = used(folder, "run")["orders"]["Requests"]
    assert [order for order, _ in orders] == ["none", "descending", "ascending", "none"]
    numbers = [[int(text.replace(",", "")) for text in cells] for _, cells in orders]
    assert numbers[1] == sorted(numbers[0], reverse=True)
    assert numbers[2] == sorted(numbers[0])
    assert numbers[3] == numbers[0]


def test_a_metrics_name_puts_the_tiers_in_its_order_and_leaves_all_requests_first(folder: Path) -> None:
    (heads, told), falling, rising, back = used(folder, "run")["across"]["Attainment, of offered"][:4]
    assert heads == ["", "All", *heads[2:]]
    assert len(heads) == 4
    for (sorted_heads, values), reverse in ((falling, True), (rising, False)):
        numbers = [float(text.rstrip(" %")) for text in values[1:]]
        assert numbers == sorted(numbers, reverse=reverse)
        assert values[0] == told[0]
        assert dict(zip(sorted_heads[1:], values, strict=True)) == dict(zip(heads[1:], told, strict=True))
    assert back == [heads, told]


def test_names_sort_as_people_count(folder: Path) -> None:
    assert used(folder, "run")["orders"]["Engine"][2][1] == [f"engine-{i}" for i in range(12)]


@pytest.mark.parametrize("order", [1, 2])
def test_what_failed_comes_last_either_way(folder: Path, order: int) -> None:
    *cells, last = used(folder, "sweep")["orders"]["attainment%"][order][1]
    assert last == "failed"
    numbers = [float(text[:4]) for text in cells]
    assert numbers == sorted(numbers, reverse=order == 1)


def test_a_comparisons_rows_sort_by_what_their_plots_show(folder: Path) -> None:
    orders = used(folder, "comparison")["orders"]
    assert len(orders["B − A, relative"]) == 4
    assert len(orders["95 % interval"]) == 1, "intervals do not sort"


def test_a_chart_tells_its_values_under_the_pointer_and_the_arrow_keys(folder: Path) -> None:
    end, before, home, escaped, pointed, left = used(folder, "sweep")["read"]
    assert home == "4; vllm: 90.0 %; random: 81.0 %"
    assert end == "16; vllm: 54.0 %; random: 45.0 %"
    assert before.startswith("15.9; vllm: 54.")
    assert pointed.startswith("10; vllm: 67.")
    assert escaped == left == ""


def test_the_dots_of_a_chart_are_one_stop_of_the_tab_key_and_say_what_they_are_like_under_the_pointer(folder: Path) -> None:
    *pressed, (_, left, order), (_, over), (_, gone, role, titles) = used(folder, "sweep")["dots"]
    places = [0, 1, len(order) - 1, len(order) - 1, len(order) - 2, 0]
    assert [name for name, *_ in pressed] == [order[place] for place in places]
    assert [said for _, said, *_ in pressed] == [order[place] for place in places]
    assert {stops for _, _, stops, *_ in pressed} == {1}
    assert {radius for *_, radius, _ in pressed} == {"6px"}, "the one with the focus is seen"
    assert all(hidden for *_, hidden in pressed), "the arrow keys move either the rule or the dots"
    assert (left, over, gone) == ("", order[1], "")
    assert (role, titles) == ("group", 0)


def test_a_dot_of_a_sweep_tells_its_interval(folder: Path) -> None:
    assert used(folder, "sweep")["dots"][0][0].startswith("vllm, rate 4: 90.0 % (")


def test_a_runs_latency_curves_are_read_in_seconds_and_shares(folder: Path) -> None:
    pointed = used(folder, "run")["read"][4]
    assert re.match(r"[\d.]+ m?s; chat: [\d.]+ %; summarise: [\d.]+ %$", pointed), pointed


@pytest.mark.parametrize("page", PAGES)
def test_every_control_has_a_name_and_the_first_leads_to_the_answer(folder: Path, page: str) -> None:
    found = used(folder, page)
    assert found["unnamed"] == 0
    assert found["first"] == "skip"
    assert found["skip"] >= 0, "it shows itself when it has the focus"
    assert found["lang"] == "en"
    assert found["landmarks"] == [1, 1, 1]
    assert found["focusable"] > 5


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("page", ["comparison", "sweep"])
def test_nothing_overflows(folder: Path, page: str, width: int) -> None:
    assert used(folder, page, width)["wide"] == []


@pytest.mark.parametrize(("page", "theme"), [(page, LIGHT) for page in PAGES] + [(f"{page}-dark", DARK) for page in PAGES])
def test_all_text_keeps_its_contrast_in_light_and_dark(folder: Path, page: str, theme: Theme) -> None:
    found = used(folder, page)
    assert _luminance(found["ground"]) == pytest.approx(_luminance(_rgb(theme.page)))
    for colour in found["tones"]:
        high, low = sorted((_luminance(colour), _luminance(found["ground"])), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, f"{colour} on {found['ground']}"


def test_a_script_that_is_not_the_pages_own_never_runs(folder: Path) -> None:
    probe = folder / "trap.html"
    script = """<script>addEventListener("load", () => { const page = document.querySelector("iframe").contentDocument;
      page.getElementById("trap").click(); document.body.dataset.found = page.title; });</script>"""
    probe.write_text(f"<!doctype html><body>{script}<iframe src=injected.html></iframe></body>", encoding="utf-8")
    run = chromium(folder, "--enable-logging=stderr", "--virtual-time-budget=2000", "--dump-dom", probe.as_uri())
    assert "Content Security Policy" in run.stderr
    found = re.search(r'data-found="([^"]*)"', run.stdout)
    assert found is not None
    assert found.group(1).endswith("TwinServe")


def _rgb(colour: str) -> str:
    return f"rgb({int(colour[1:3], 16)}, {int(colour[3:5], 16)}, {int(colour[5:7], 16)})"


def _luminance(rgb: str) -> float:
    """WCAG 2.1's relative luminance."""
    parts = np.array([int(part) for part in re.findall(r"\d+", rgb)[:3]]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
