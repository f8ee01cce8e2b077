"""Words beside the data in place of a legend: a column of labels that never overlap, joined to the points that they name."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_LINE_HEIGHT = 1.3
_LEADER_PT = 9.0
"""Room for the leader lines between the axes and the labels."""
_TOUCHING_PX = 0.5

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Label:
    """``text`` for the point ``(x, y)`` in data coordinates, the end of a line as a rule."""

    text: str
    x: float
    y: float
    colour: str


def label_right(axes: Any, labels: Sequence[Label], *, size: float | None = None) -> None:
    """Write ``labels`` in a column right of the axes, each as close to the height of its point as the others allow.

    Their order is that of the points, so leader lines do not cross. Call it when limits and position of the axes are final; leave
    room in the right margin.
    """
    if not labels:
        return
    from matplotlib import rcParams

    points = 72 / axes.figure.dpi  # per pixel
    size = rcParams["font.size"] if size is None else size
    axes.get_xlim(), axes.get_ylim()  # settles limits that follow from the data
    box = axes.get_window_extent()
    anchors = axes.transData.transform([(label.x, label.y) for label in labels])
    order = np.argsort(anchors[:, 1], kind="stable")
    heights = np.array([(labels[i].text.count("\n") + 1) * size * _LINE_HEIGHT / points for i in order])
    places = spread(np.clip(anchors[order, 1], box.y0, box.y1), heights, box.y0 - heights[0] / 2, box.y1 + heights[-1] / 2)
    column = box.x1 + _LEADER_PT / points
    fraction = axes.transAxes.inverted()  # so that the places hold at any resolution
    for i, y in zip(order, places, strict=True):
        label, anchor = labels[i], anchors[i]
        ends = fraction.transform([(column, y), (column - 2 / points, y), anchor])
        axes.annotate(
            label.text,
            ends[0],
            xycoords="axes fraction",
            ha="left",
            va="center_baseline",
            color=label.colour,
            size=size,
            annotation_clip=False,
        )
        moved = abs(y - anchor[1]) > 0.35 * heights.min()
        if moved or anchor[0] < box.x1 - 1:
            elbow = fraction.transform((max(anchor[0], box.x1) + 1 / points, anchor[1]))
            path = [ends[2], elbow, ends[1]] if anchor[0] < box.x1 - 1 else [ends[2], ends[1]]
            axes.plot(
                *zip(*path, strict=True), transform=axes.transAxes, color=label.colour, linewidth=0.6, alpha=0.7, clip_on=False
            )


def spread(wanted: ArrayLike, heights: ArrayLike, low: float = -np.inf, high: float = np.inf) -> Floats:
    """Centres of boxes of these heights, stacked in the order given without overlap, as close to ``wanted`` as can be.

    The sum of squared moves is the least possible (isotonic regression, by pooling adjacent violators). The stack stays between
    ``low`` and ``high`` if it fits there, and starts at ``low`` if not.
    """
    tall = np.asarray(heights, np.float64)
    offsets = np.concatenate([[0.0], np.cumsum((tall[1:] + tall[:-1]) / 2)])
    pools: list[tuple[float, int]] = []
    for place in np.asarray(wanted, np.float64) - offsets:
        mean, count = float(place), 1
        while pools and pools[-1][0] > mean:
            below, members = pools.pop()
            mean, count = (below * members + mean * count) / (members + count), members + count
        pools.append((mean, count))
    level = np.repeat([mean for mean, _ in pools], [count for _, count in pools])
    least, most = low + tall[0] / 2, high - tall[-1] / 2 - offsets[-1]
    placed: Floats = np.maximum(np.minimum(level, most), least) + offsets
    return placed


def collisions(figure: Any) -> list[str]:
    """What is wrong with a drawn figure's words: texts that overlap one another, or leave the canvas. Empty when all is well."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    texts = [text for text in _texts(figure) if text.get_visible() and text.get_text().strip()]
    boxes = [text.get_window_extent(renderer) for text in texts]
    page = figure.bbox
    found = [
        f"{text.get_text()!r} leaves the canvas"
        for text, box in zip(texts, boxes, strict=True)
        if box.x0 < page.x0 or box.y0 < page.y0 or box.x1 > page.x1 or box.y1 > page.y1
    ]
    for (one, a), (other, b) in itertools.combinations(zip(texts, boxes, strict=True), 2):
        wide, tall = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        if wide > _TOUCHING_PX and tall > _TOUCHING_PX:
            found.append(f"{one.get_text()!r} overlaps {other.get_text()!r}")
    return found


def _texts(figure: Any) -> list[Any]:
    """Every text that is drawn; ticks beyond the limits of their axis exist but are not."""
    from matplotlib.text import Text

    hidden = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            shown = {id(tick) for tick in axis._update_ticks()}
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if id(tick) not in shown:
                    hidden |= {tick.label1, tick.label2}
    return [text for text in figure.findobj(Text) if text not in hidden]
