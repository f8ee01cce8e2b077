"""The surrogate's kernel: Matérn 5/2 with a length scale per knob, over inputs that are warped one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.gaussian_process.kernels import Hyperparameter, Kernel

Floats = NDArray[np.float64]
_EDGE = 1e-6


class WarpedMatern(Kernel):  # type: ignore[misc]
    """Matérn 5/2 over w(x) = 1 − (1 − xᵃ)ᵇ, the Kumaraswamy distribution function, with a, b and a length scale per dimension.

    Warping lets a knob act on few of its levels and be flat over others, which a stationary kernel cannot say. Inputs lie in
    [0, 1]; ``a = b = 1`` is no warping.

    Source: Snoek et al., "Input Warping for Bayesian Optimization of Non-Stationary Functions", ICML 2014; SCOOT §4.2.
    """

    def __init__(
        self,
        length_scale: Floats,
        a: Floats,
        b: Floats,
        length_scale_bounds: tuple[float, float] = (0.05, 20.0),
        a_bounds: tuple[float, float] = (0.25, 4.0),
        b_bounds: tuple[float, float] = (0.25, 4.0),
    ) -> None:
        self.length_scale = length_scale
        self.a = a
        self.b = b
        self.length_scale_bounds = length_scale_bounds
        self.a_bounds = a_bounds
        self.b_bounds = b_bounds

    @classmethod
    def unwarped(cls, dimensions: int) -> WarpedMatern:
        one = np.ones(dimensions)
        return cls(one, one, one)

    @property
    def hyperparameter_a(self) -> Hyperparameter:
        return Hyperparameter("a", "numeric", self.a_bounds, np.size(self.a))

    @property
    def hyperparameter_b(self) -> Hyperparameter:
        return Hyperparameter("b", "numeric", self.b_bounds, np.size(self.b))

    @property
    def hyperparameter_length_scale(self) -> Hyperparameter:
        return Hyperparameter("length_scale", "numeric", self.length_scale_bounds, np.size(self.length_scale))

    def __call__(self, X: Floats, Y: Floats | None = None, eval_gradient: bool = False) -> Any:
        x = np.clip(X, _EDGE, 1 - _EDGE)
        y = x if Y is None else np.clip(Y, _EDGE, 1 - _EDGE)
        powered = x**self.a
        left = 1 - (1 - powered) ** self.b
        right = left if Y is None else 1 - (1 - y**self.a) ** self.b
        apart = left[:, None, :] - right[None, :, :]
        scaled = (apart / self.length_scale) ** 2
        r = np.sqrt(5 * scaled.sum(axis=2))
        fading = np.exp(-r)
        kernel = (1 + r + r**2 / 3) * fading
        if not eval_gradient:
            return kernel
        slope = -(5 / 6) * (1 + r) * fading  # of the kernel, by the squared distance
        rest = (1 - powered) ** (self.b - 1)
        by_a = self.b * rest * powered * np.log(x) * self.a  # of w, by log a
        by_b = -rest * (1 - powered) * np.log(1 - powered) * self.b  # of w, by log b
        per_distance = 2 * apart / self.length_scale**2
        gradient = np.concatenate(
            [
                slope[:, :, None] * per_distance * (by_a[:, None, :] - by_a[None, :, :]),
                slope[:, :, None] * per_distance * (by_b[:, None, :] - by_b[None, :, :]),
                slope[:, :, None] * (-2 * scaled),
            ],
            axis=2,
        )
        return kernel, gradient

    def diag(self, X: Floats) -> Floats:
        return np.ones(len(X))

    def is_stationary(self) -> bool:
        return False
