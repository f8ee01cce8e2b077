"""What share of a run's TPOT tail step noise explains: the same run with and without it, over several seeds."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

from sim.run import simulate
from traces.errors import InputError
from traces.intervals import students_t
from traces.metrics import summarise
from traces.scenario import Scenario


@dataclass(frozen=True, slots=True)
class NoiseShare:
    """p99 TPOT in seconds with the fingerprint's noise and without any, by seed; the pairs share workload and seed. ``tenfold_s``:
    of the first seed with log-normal noise of ten times its size."""

    noisy_s: tuple[float, ...]
    silent_s: tuple[float, ...]
    tenfold_s: float

    @property
    def shares(self) -> list[float]:
        """Of each p99 with noise, what goes away without it; noise also changes which request goes where, so it may be negative."""
        return [1 - silent / noisy for noisy, silent in zip(self.noisy_s, self.silent_s, strict=True)]

    @property
    def share(self) -> float:
        """The mean over seeds."""
        return fmean(self.shares)

    @property
    def interval(self) -> tuple[float, float]:
        """Of the mean, 95 % (Student's t over seeds)."""
        shares = self.shares
        half = students_t(len(shares) - 1) * stdev(shares) / sqrt(len(shares))
        return self.share - half, self.share + half


def noise_share(scenario: Scenario, sigma: float, seeds: int = 5) -> NoiseShare:
    """``sigma``: of the fingerprint's noise. ``seeds``: the scenario's and those after it, two or more.

    Raises:
        InputError: the scenario cannot be run.
    """
    if seeds < 2:
        raise InputError(f"--seeds {seeds}: one run tells no interval; use 2 or more")

    def p99(noise: float | None, seed: int) -> float:
        sim = scenario.sim.model_copy(update={"noise": noise, "steps": False})
        run = scenario.model_copy(update={"sim": sim, "seed": scenario.seed + seed})
        found = summarise(simulate(run)).metrics["tpot_s.p99"].value
        if found is None:
            raise InputError(f"{scenario.name}: has no request with two tokens in the measured window; run it longer")
        return found

    return NoiseShare(
        tuple(p99(None, seed) for seed in range(seeds)), tuple(p99(0.0, seed) for seed in range(seeds)), p99(10 * sigma, 0)
    )
