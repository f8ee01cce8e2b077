"""Charts put what they are given where it belongs, and say in words what they show."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from figures.cells import axis_ticks, interval_dot, sparkline
from figures.svg import (
    Axis,
    Band,
    Chart,
    Limit,
    Line,
    Points,
    Shade,
    linear_axis,
    log_axis,
    nice_step,
    share_axis,
    shortened,
    spread,
)
from figures.units import limit

SVG = "{http://www.w3.org/2000/svg}"


def parsed(markup: str) -> ElementTree.Element:
    return ElementTree.fromstring(str(markup).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def chart(*marks: Line | Band | Points | Limit | Shade, **more: int) -> Chart:
    return Chart(
        "c", "Title", "Description", Axis(0, 10, ((0, "0"), (10, "10 s"))), Axis(0, 1, ((0, "0"), (1, "1"))), marks, **more
    )


def path_of(drawing: ElementTree.Element, css: str) -> str:
    return next(p.get("d", "") for p in drawing.iter(f"{SVG}path") if css in (p.get("class") or "").split())


def test_ticks_fall_on_round_numbers_and_cover_the_range() -> None:
    axis = linear_axis(0, 604, str)
    values = [value for value, _ in axis.ticks]
    assert values == [0, 100, 200, 300, 400, 500, 600, 700]
    assert axis.hi == 700
    assert linear_axis(0, 604, str, round_up=False).hi == 604
    assert linear_axis(3, 3, str).hi > 3, "an empty range still makes an axis"
    assert [nice_step(x) for x in (0.9, 1.0, 1.1, 3, 7, 0.03)] == pytest.approx([1, 1, 2, 5, 10, 0.05])


def test_a_log_axis_never_crowds_its_ticks() -> None:
    assert [label for _, label in log_axis(0.05, 0.8, limit).ticks] == ["50 ms", "100 ms", "200 ms", "500 ms"]
    assert [label for _, label in log_axis(0.04, 5, limit).ticks] == ["100 ms", "300 ms", "1 s", "3 s"]
    assert all(2 <= len(log_axis(1e-3, 1e-3 * 10**k, limit).ticks) <= 5 for k in range(1, 12))


def test_equal_ratios_are_equal_distances_on_a_log_axis() -> None:
    axis = log_axis(0.1, 10, limit)
    assert axis.at([0.1, 1, 10, 100, 0]) == pytest.approx([0, 0.5, 1, 1, 0])


def test_a_share_axis_may_begin_where_the_shares_do() -> None:
    assert [label for _, label in share_axis().ticks] == ["0 %", "25 %", "50 %", "75 %", "100 %"]
    assert [label for _, label in share_axis(0.7, parts=2).ticks] == ["70 %", "85 %", "100 %"]


def test_a_line_goes_through_its_points() -> None:
    drawing = parsed(chart(Line([0, 5, 10], [0, 0.5, 1], "s0")).svg())
    assert path_of(drawing, "line") == "M0 1000L1000 500L2000 0"


def test_a_step_line_holds_each_level_until_the_next_edge_and_breaks_where_nothing_is_known() -> None:
    drawing = parsed(chart(Line([0, 2, 4, 6, 8], [0.5, 0.5, np.nan, 1], "s0", step=True)).svg())
    assert path_of(drawing, "line") == "M0 500H800M1200 0H1600"


def test_a_band_closes_around_its_area() -> None:
    drawing = parsed(chart(Band([0, 5, 10], [0, 0], [0.5, 1], "s1", solid=True)).svg())
    assert path_of(drawing, "layer") == "M0 500H1000V0H2000L2000 1000H0Z"


def test_a_chart_is_one_image_unless_its_dots_have_names() -> None:
    plain, named = (
        parsed(chart(Points([1, 2], [0.5, 1], [0.4, 0.9], [0.6, 1], "s0", "a", told)).svg()) for told in ((), ("x", "<y>"))
    )
    assert (plain.get("role"), named.get("role")) == ("img", "group")
    assert [c.get("aria-label") for c in plain.iter(f"{SVG}circle")] == [None, None]
    assert [(c.get("role"), c.get("aria-label")) for c in named.iter(f"{SVG}circle")] == [("img", "x"), ("img", "<y>")]


def test_a_limit_is_told_in_words_on_the_side_that_has_room() -> None:
    drawing = parsed(chart(Limit(2, "chat ≤ 2 s", "s0", 0.5), Limit(9, "batch ≤ 9 s", "s1")).svg())
    near, far = (t for t in drawing.iter(f"{SVG}text") if "direct" in (t.get("class") or ""))
    assert (near.text, near.get("text-anchor"), near.get("x")) == ("chat ≤ 2 s", "start", "20.00%")
    assert (far.text, far.get("text-anchor")) == ("batch ≤ 9 s", "end")
    assert near.get("y") != far.get("y"), "labels of two limits never share a line"
    assert len(list(drawing.iter(f"{SVG}circle"))) == 1


def test_charts_with_room_for_the_same_limits_share_their_base_line() -> None:
    few, many = chart(Limit(2, "a", "s0"), limit_rows=2), chart(Limit(2, "a", "s0"), Limit(3, "b", "s0"))
    assert parsed(few.svg()).get("height") == parsed(many.svg()).get("height")


def test_labels_at_the_ends_of_lines_are_pushed_apart_and_keep_their_order() -> None:
    places = spread([50, 52, 51, 10], 15, 0, 100)
    assert places[3] == 10
    assert places[0] < places[2] < places[1]
    assert np.diff(sorted(places)).min() >= 15
    assert max(spread([98, 99, 100], 15, 0, 100)) == 100


def test_an_end_label_stands_at_the_lines_end() -> None:
    drawing = parsed(chart(Line([0, 5, 10], [1.0, 0.25], "s0", "served", step=True), height_px=100).svg())
    label = next(t for t in drawing.iter(f"{SVG}text") if "end" in (t.get("class") or "").split())
    assert (label.text, label.get("y")) == ("served", str(6 + 75 + 4))
    assert len(shortened("a-very-long-tier-name")) == 14


def test_every_chart_is_one_image_with_a_title_and_a_description() -> None:
    drawing = parsed(chart(Line([0, 10], [0, 1], "s0")).svg())
    assert drawing.get("role") == "img"
    ids = (drawing.get("aria-labelledby") or "").split()
    assert [drawing.find(f".//*[@id='{i}']").text for i in ids] == ["Title", "Description"]  # type: ignore[union-attr]


def test_names_cannot_inject_markup() -> None:
    evil = "<script>alert(1)</script>"
    markup = Chart("c", evil, evil, Axis(0, 1, ((0, evil),)), Axis(0, 1, ((0, evil),)), [Limit(0.5, evil, "s0")]).svg()
    assert "<script" not in markup + sparkline([0.5], evil)
    parsed(markup)


def test_a_sparkline_draws_shares_from_the_floor_and_nothing_for_the_unknown() -> None:
    drawing = parsed(sparkline([0.5, np.nan, 2.0, 1.0], "busy"))
    assert path_of_any(drawing) == "M0 500H500V1000H1000V0H2000V1000H0Z"


def path_of_any(drawing: ElementTree.Element) -> str:
    return next(drawing.iter(f"{SVG}path")).get("d", "")


def test_an_interval_reaches_the_axis_end_where_it_is_open() -> None:
    axis = share_axis(0.5)
    dot = interval_dot(axis, 0.75, None, 0.9, 0.9, "s0")
    assert re.search(r'class="whisker s0" x1="0.00%" x2="80.00%"', dot)
    assert 'cx="50.00%"' in dot
    assert "whisker" not in interval_dot(axis, None, None, None, 0.9, "s0"), "no value, no dot"
    assert axis_ticks(axis).count("<text") == 5
