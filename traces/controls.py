"""Control variates: what chance did to the workloads of the seeds that were run is taken out of their figures.

Arms that share their arrivals still differ more in a busy run than in a quiet one, so common random numbers alone leave that luck
in the difference. A seed's workload is known without a run, and is cheap to draw: its prompt and output tokens, over the simulated
seeds and many others, tell how busy the simulated ones were beside the average. Least squares over the seeds tells what that is
worth; it is subtracted.

Source: Lavenberg and Welch, Management Science 27(3), 1981, with the controls' mean estimated from further draws (two-phase
regression: Cochran, Sampling Techniques, 3rd ed., §12.6; Schmeiser, Taaffe and Wang, IIE Transactions 33, 2001).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from traces.intervals import Floats

DRAWS_PER_SEED = 20
"""Workloads drawn for each one that is run: not knowing the controls' mean then costs a 20th of the variance that they take."""
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Controls:
    """``own``: a row per simulated seed, a column per control; ``drawn``: the same of seeds that were only drawn."""

    own: Floats
    drawn: Floats

    @property
    def usable(self) -> bool:
        """Whether the controls vary with the seed, and not together: a trace that is replayed as it is has no luck to take out."""
        deviations = self.drawn - self.drawn.mean(axis=0)
        scale = np.sqrt((deviations**2).mean(axis=0))
        if not (scale > _ROUNDING * np.abs(self.drawn).mean(axis=0)).all():
            return False
        return bool(np.linalg.matrix_rank(deviations / scale, tol=1e-3) == self.own.shape[1])


@dataclass(frozen=True, slots=True)
class Adjusted:
    """A mean over seeds as it would be at the average workload.

    ``variance``: of ``mean``, known with so many ``degrees`` of freedom. ``unexplained``: of one seed's value, what the controls
    leave.
    """

    mean: float
    variance: float
    degrees: float
    unexplained: float


def adjusted(y: Floats, controls: Controls) -> Adjusted:
    """``y``: one value per simulated seed, of which there must be at least three more than controls."""
    seeds, count = controls.own.shape
    centre = controls.own.mean(axis=0)
    x = controls.own - centre
    slope, *_ = np.linalg.lstsq(x, y - y.mean(), rcond=None)
    rest = y - y.mean() - x @ slope
    degrees = seeds - 1 - count
    shift = centre - controls.drawn.mean(axis=0)
    unexplained = float(rest @ rest) / degrees
    leverage = float(shift @ np.linalg.pinv(x.T @ x) @ shift)
    of_the_centre = float(((controls.drawn - controls.drawn.mean(axis=0)) @ slope).var(ddof=1)) / len(controls.drawn)
    return Adjusted(
        float(y.mean() - shift @ slope), unexplained * (1 / seeds + leverage) + of_the_centre, float(degrees), unexplained
    )
