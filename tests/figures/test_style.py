"""The colours can be read by everyone: contrast as WCAG 2.1 computes it, colour blindness after Machado et al. (2009)."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from figures.style import DARK, LIGHT, Theme, css_tones, css_variables, matplotlib_rc, series_tone

_VISION = {
    "normal": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]),
}
_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])


def linear_rgb(colour: str) -> np.ndarray:
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    dark, light = sorted(float(_XYZ[1] @ linear_rgb(c)) for c in (one, other))
    return (light + 0.05) / (dark + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    x = _XYZ @ np.clip(rgb, 0, 1) / [0.95047, 1, 1.08883]
    f = np.where(x > 0.008856, np.cbrt(x), 7.787 * x + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_text_and_lines_stand_out_from_the_page(theme: Theme) -> None:
    for colour in (theme.ink, theme.muted, theme.good, theme.bad, theme.caution, *theme.series):
        assert contrast(colour, theme.page) >= 4.5, colour
    for colour in (theme.ink, theme.muted, theme.caution):
        assert contrast(colour, theme.panel) >= 4.5, colour


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize("vision", _VISION)
def test_series_stay_apart_for_every_kind_of_colour_vision(theme: Theme, vision: str) -> None:
    seen = [lab(_VISION[vision] @ linear_rgb(colour)) for colour in theme.series]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 12  # a just noticeable difference is 2.3


def test_fifteen_series_differ_in_colour_or_dash() -> None:
    assert len({series_tone(i) for i in range(15)}) == 15
    assert "dash" not in series_tone(0)
    assert all(f".{part}" in css_tones() for i in range(15) for part in series_tone(i).split())


def test_matplotlib_and_the_page_draw_from_the_same_colours() -> None:
    import matplotlib

    with matplotlib.rc_context(matplotlib_rc(DARK)):
        assert [c["color"] for c in matplotlib.rcParams["axes.prop_cycle"]] == list(DARK.series)
    assert all(colour in css_variables(DARK) for colour in (DARK.page, DARK.ink, *DARK.series))
