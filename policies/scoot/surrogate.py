"""What the tuner believes of one objective: a Gaussian process over the unit cube, fitted to transformed observations."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, WhiteKernel
from sklearn.preprocessing import PowerTransformer

from policies.scoot.warping import WarpedMatern

Floats = NDArray[np.float64]


_WARP_SIGMA = 0.75
"""A priori the logarithms of the warp's a and b are normal around 0, no warping."""
_NOISE_MU, _NOISE_SIGMA = -4.63, 0.5
"""A priori the logarithm of the noise's variance is normal: about a hundredth of the observations' variance."""
_GAMMA_SHAPE = 0.5
"""A priori the Matérn part's variance has a gamma distribution of this shape and rate 1."""


def _prior(theta: Floats) -> tuple[float, Floats]:
    """−log p(θ), up to a constant, and its gradient. θ: logarithms of the kernel's parameters in sklearn's order: Matérn variance,
    a, b and length scale of each knob, linear variance, its bias, noise.

    A dozen observations do not determine three numbers per knob: at the likelihood's own maximum, deviations away from the
    observations come out many times too small.

    Source: GPy's Kumaraswamy warping, and HEBO's Gaussian process on it, which SCOOT's code uses.
    """
    warps = slice(1, 1 + 2 * ((len(theta) - 4) // 3))
    warped, noisy = theta[warps] / _WARP_SIGMA, (theta[-1] - _NOISE_MU) / _NOISE_SIGMA
    cost = 0.5 * (warped @ warped + noisy**2) + np.exp(theta[0]) - _GAMMA_SHAPE * theta[0]
    slope = np.zeros(len(theta))
    slope[0], slope[warps], slope[-1] = np.exp(theta[0]) - _GAMMA_SHAPE, warped / _WARP_SIGMA, noisy / _NOISE_SIGMA
    return float(cost), slope


def _climb(objective: Any, start: Floats, bounds: Floats) -> tuple[Floats, float]:
    """Likelihood times prior, by sklearn's own optimiser with an end: far along a ridge, predictions no longer change."""

    def posterior(theta: Floats) -> tuple[float, Floats]:
        (cost, slope), (prior, by_prior) = objective(theta), _prior(theta)
        return cost + prior, slope + by_prior

    found = minimize(  # type: ignore[call-overload]
        posterior, start, method="L-BFGS-B", jac=True, bounds=bounds, options={"maxiter": 80, "ftol": 1e-6}
    )
    return found.x, found.fun


def _scale(values: Floats) -> Callable[[Floats], Floats]:
    """A power transform under which ``values`` have mean 0 and deviation 1; a straight line where none can be found."""
    largest = np.abs(values).max() or 1.0
    column = (values / largest).reshape(-1, 1)
    if np.ptp(column) == 0:
        return lambda given: np.zeros(len(given))
    power = PowerTransformer("box-cox" if column.min() > 0 else "yeo-johnson")

    def powered(given: Floats) -> Floats:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            moved: Floats = power.transform((given / largest).reshape(-1, 1))[:, 0]
        return moved

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        power.fit(column)
    moved = powered(values)
    if np.isfinite(moved).all() and np.ptp(moved) >= 1e-6:
        return powered
    mean, deviation = column.mean(), column.std()
    return lambda given: (given / largest - mean) / deviation


class Surrogate:
    """Posterior of an objective that is to be small, in units in which the observations have mean 0 and deviation 1.

    Observations go through a power transform first (Box–Cox where all are positive, else Yeo–Johnson), as in HEBO and SCOOT:
    latencies near saturation would otherwise rule the fit. Kernel: linear + Matérn 5/2 with input warping, and noise; its
    parameters are the most probable ones under ``_prior``.

    Args:
        points: shape (n, knobs), in the unit cube; n ≥ 2.
        values: shape (n,), finite.
        seed: of the fit's restarts.
    """

    def __init__(self, points: Floats, values: Floats, *, seed: int) -> None:
        self.scaled = _scale(values)
        """From the objective's own units to the model's, shape (n,) to (n,); rising."""
        self._points = points
        self.values = self.scaled(values)
        """The observations in the model's units, shape (n,)."""
        kernel = (
            ConstantKernel(1.0, (0.05, 20.0)) * WarpedMatern.unwarped(points.shape[1])
            + ConstantKernel(0.1, (1e-4, 10.0)) * DotProduct(1.0, (0.1, 10.0))
            + WhiteKernel(1e-2, (1e-5, 0.5))
        )
        self._process = GaussianProcessRegressor(kernel, optimizer=_climb, n_restarts_optimizer=1, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a length scale at its bound says: this knob does not matter
            self._process.fit(points, self.values)

    def predict(self, points: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the objective itself (noise left out), each of shape (n,)."""
        mean, deviation = self._process.predict(points, return_std=True)
        noise = self.noise
        return mean, np.sqrt(np.maximum(deviation**2 - noise**2, 1e-10))

    @property
    def noise(self) -> float:
        """Standard deviation of an observation around the objective."""
        return float(np.sqrt(self._process.kernel_.k2.noise_level))

    @property
    def best(self) -> float:
        """The mean at the lowest observation, in the model's units: what a suggestion has to improve on. The observation itself is
        lower than that by the luck that made it the lowest."""
        return float(self.predict(self._points[[int(np.argmin(self.values))]])[0][0])

    def believe(self, points: Floats) -> None:
        """Take for the time being the predicted means at ``points`` as observed: what pending trials are expected to say."""
        mean, _ = self._process.predict(points, return_std=True)
        process = self._process
        process.set_params(kernel=process.kernel_, optimizer=None)
        process.fit(np.concatenate([process.X_train_, points]), np.concatenate([process.y_train_, mean]))
