"""What share of a run's TPOT tail step noise explains: the same run with and without it."""

from __future__ import annotations

from dataclasses import dataclass

from sim.run import simulate
from traces.errors import InputError
from traces.intervals import Estimate
from traces.metrics import summarise
from traces.scenario import Scenario


@dataclass(frozen=True, slots=True)
class NoiseShare:
    """p99 TPOT in seconds with the fingerprint's noise, with its 95 % interval (``None`` = unknown on that side), without any
    noise, and with log-normal noise of ten times its size."""

    noisy_s: float
    interval_s: tuple[float | None, float | None]
    silent_s: float
    tenfold_s: float

    @property
    def share(self) -> float:
        """Of the p99 with noise, what goes away without it. Noise also changes which request goes where, so a share within the
        interval is none that one could tell from 0."""
        return 1 - self.silent_s / self.noisy_s


def noise_share(scenario: Scenario, sigma: float) -> NoiseShare:
    """``sigma``: of the fingerprint's noise.

    Raises:
        InputError: the scenario cannot be run.
    """

    def p99(noise: float | None) -> Estimate:
        sim = scenario.sim.model_copy(update={"noise": noise})
        return summarise(simulate(scenario.model_copy(update={"sim": sim}))).metrics["tpot_s.p99"]

    noisy, silent, tenfold = p99(None), p99(0.0), p99(10 * sigma)
    if noisy.value is None or silent.value is None or tenfold.value is None:
        raise InputError(f"{scenario.name}: has no request with two tokens in the measured window; run it longer")
    return NoiseShare(noisy.value, (noisy.lo, noisy.hi), silent.value, tenfold.value)
