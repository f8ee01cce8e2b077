"""The report in headless Chromium: it fits a desk and a phone, in light and dark, and the console stays silent."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from figures.report import write_report
from figures.style import DARK, LIGHT
from tests.figures.browser import CHROMIUM, chromium, probed
from tests.figures.synthetic import synthetic_record
from tests.figures.test_console import with_tiers
from tests.figures.test_report import SECTIONS

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH: the report is not looked at in a browser")

_PROBE = """
<script>
addEventListener("load", () => {
  const frame = document.querySelector("iframe"), page = frame.contentDocument, root = page.documentElement;
  const boxes = [...page.querySelectorAll("main *")].filter(e => !e.closest(".scroll, pre, .hidden") && e.getClientRects().length);
  const texts = [...page.querySelectorAll("svg.chart")].map(chart =>
    [...chart.querySelectorAll("text")].filter(t => t.getClientRects().length).map(t => {
      const r = t.getBoundingClientRect(); return [t.getAttribute("class"), r.left, r.top, r.right, r.bottom]; }));
  document.body.dataset.found = JSON.stringify({
    width: root.clientWidth, scrollWidth: root.scrollWidth, height: root.scrollHeight,
    over: boxes.filter(e => e.getBoundingClientRect().right > root.clientWidth).map(e => e.tagName + e.textContent.slice(0, 30)),
    left: Math.min(...boxes.map(e => e.getBoundingClientRect().left)),
    headings: [...page.querySelectorAll("h1, h2")].map(e => e.textContent),
    charts: [...page.querySelectorAll("svg.chart .plot")].map(e => e.getBoundingClientRect()).map(r => [r.width, r.height]),
    page: getComputedStyle(page.body).backgroundColor, ink: getComputedStyle(page.body).color,
    smallest: Math.min(...boxes.filter(e => e.textContent.trim()).map(e => parseFloat(getComputedStyle(e).fontSize))),
    texts,
  });
});
</script>
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report in both themes, each with a probe that frames it at a width and tells what it measures there."""
    folder = tmp_path_factory.mktemp("browser")
    write_report(synthetic_record(3000, 8, 360.0), folder / "light.html")
    text = (folder / "light.html").read_text(encoding="utf-8")
    (folder / "dark.html").write_text(text.replace("<html ", '<html data-theme="dark" '), encoding="utf-8")
    write_report(with_tiers(6), folder / "crowded.html")
    return folder


def measured(folder: Path, theme: str, width: int) -> dict[str, Any]:
    return probed(folder, theme, _PROBE, width=width, budget_ms=2000)


@pytest.mark.parametrize(("theme", "width"), [("light", 400), ("dark", 1280), ("light", 320), ("crowded", 400)])
def test_nothing_overflows_and_every_section_is_there(folder: Path, theme: str, width: int) -> None:
    found = measured(folder, theme, width)
    assert found["width"] == width
    assert found["over"] == []
    assert found["left"] >= 0
    assert found["scrollWidth"] <= width
    assert [heading for heading in found["headings"][1:] if heading != "Before you trust this"] == SECTIONS
    assert len(found["charts"]) == 6
    assert all(w >= 0.6 * min(width, 320) and h >= 150 for w, h in found["charts"])
    assert found["smallest"] >= 11.5, "text keeps its size on a phone"
    colours = DARK if theme == "dark" else LIGHT
    assert (_hex(found["page"]), _hex(found["ink"])) == (colours.page, colours.ink)


@pytest.mark.parametrize(("page", "width"), [("light", 400), ("light", 1280), ("crowded", 400), ("crowded", 1280)])
def test_no_label_in_a_chart_covers_another(folder: Path, page: str, width: int) -> None:
    for chart in measured(folder, page, width)["texts"]:
        for i, (kind, left, top, right, bottom) in enumerate(chart):
            for other, l2, t2, r2, b2 in chart[i + 1 :]:
                across, down = min(right, r2) - max(left, l2), min(bottom, b2) - max(top, t2)
                assert across <= 0 or down <= 3, f"{kind} and {other} overlap by {across:.0f} × {down:.0f} px at {width} px"


def test_it_looks_different_in_light_and_dark_and_is_never_blank(folder: Path) -> None:
    from matplotlib.image import imread

    ground = {}
    for theme, width in (("light", 1280), ("dark", 400)):
        picture = folder / f"{theme}-{width}.png"
        chromium(folder, f"--window-size={width},2400", f"--screenshot={picture}", (folder / f"{theme}.html").as_uri())
        pixels = (imread(picture)[:, :, :3] * 255).round().astype(int)
        packed, counts = np.unique(pixels @ [65536, 256, 1], return_counts=True)
        most = int(packed[counts.argmax()])
        ground[theme] = f"#{most:06x}"
        marked = (np.abs(pixels - [most >> 16, most >> 8 & 255, most & 255]).max(axis=2) > 40).mean()
        assert 0.02 < marked < 0.5, f"{marked:.1%} of the {theme} page is marked"
        assert len(packed) > 100
    assert ground == {"light": LIGHT.page, "dark": DARK.page}


def test_it_prints_alike_in_light_and_dark(folder: Path) -> None:
    printed = {}
    for theme in ("light", "dark"):
        target = folder / f"{theme}.pdf"
        chromium(folder, "--no-pdf-header-footer", f"--print-to-pdf={target}", (folder / f"{theme}.html").as_uri())
        printed[theme] = re.sub(rb"/(CreationDate|ModDate) *\([^)]*\)", b"", target.read_bytes())
    assert printed["dark"].startswith(b"%PDF")
    assert printed["dark"] == printed["light"]


def _hex(rgb: str) -> str:
    return "#" + "".join(f"{int(part):02x}" for part in re.findall(r"\d+", rgb)[:3])
