"""Terms are found again from the times of steps, for whole engines and from engines with a few of the layers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from policies.curve import Curve, Lines
from policies.fingerprint import NOISE_LEVELS, NOTHING, Fingerprint, Terms
from policies.latency import FingerprintLatency, StepShape
from replay.measuring import held_out
from replay.samples import Room, Sample, check, grid, steps_of
from replay.stepfit import fit_steps
from tests.replay.test_knobs import scenario

ROOM = Room(step_tokens=2048, seqs=64, window=8192, kv_tokens=200_000)


def model(layers: int) -> Fingerprint:
    """Host work, embedding and head, and so much per layer."""
    terms = Terms(
        overhead=1e-3 + 2e-5 * layers,
        gemm=Curve((1.0, 64.0, 2048.0), (1e-5 * layers, 2e-5 * layers, 9e-4 * layers + 1e-3)),
        sampled=NOTHING,
        prefill_chunk=3e-6 * layers,
        prefill_token=0.0,
        prefill_attention=4e-11 * layers,
        decode=Lines.proportional(2e-9 * layers),
    )
    return Fingerprint("made-up", "none", 1, "bf16", "test", "analytic", "made up", terms, {}, 0.0)


def shapes() -> list[tuple[str, StepShape]]:
    """One step of every probe of the grid, and a mixture of each decode batch with each chunk."""
    found: list[tuple[str, StepShape]] = []
    for probe in grid(ROOM):
        (prompt, _), n = probe.requests[0], len(probe.requests)
        chunk = min(prompt, ROOM.step_tokens)
        match probe.kind:
            case "decode":
                found.append(("decode", StepShape(0, 0.0, 0, n, n * prompt)))
            case "mixed":
                later = min(probe.later[0][0], ROOM.step_tokens - n)
                found.append(("mixed", StepShape(later, later**2 / 2, 1, n, n * prompt)))
            case _:
                found.append((probe.kind, StepShape(chunk, chunk**2 / 2, 1)))
    return found


def measured(layers: int, noise: float = 0.0, rounds: int = 4) -> list[Sample]:
    truth, rng = FingerprintLatency(model(layers)), np.random.default_rng(layers)
    return [
        Sample(kind, layers, shape, truth.seconds(shape) * float(np.exp(rng.normal(0.0, noise)) if noise else 1.0))
        for _ in range(rounds)
        for kind, shape in shapes()
    ]


def fitted(samples: list[Sample], layers: int) -> Fingerprint:
    terms = fit_steps(steps_of(samples), layers).terms
    return Fingerprint("made-up", "none", 1, "bf16", "test", "measured", "test", terms, {}, 0.0)


def test_a_whole_engine_is_told_by_its_steps() -> None:
    assert check(fitted(measured(8), 8), measured(8)).error < 0.01


def test_two_engines_with_a_layer_and_two_tell_of_thirty_two() -> None:
    few = [*measured(1, noise=0.03), *measured(2, noise=0.03)]
    held = check(fitted(few, 32), measured(32))
    assert held.error < 0.05
    assert set(held.by_kind) == {"prefill", "prefill-context", "decode", "mixed"}


def test_the_deepest_engine_is_held_against_what_the_others_tell_of_it() -> None:
    small = scenario()
    samples = [*measured(1, noise=0.03), *measured(2, noise=0.03), *measured(8)]
    assert held_out(small, samples).error < 0.05
    another = [dataclasses.replace(sample, layers=8) for sample in measured(12)]
    assert held_out(small, [*samples[: -len(another)], *another]).error > 0.1


def test_a_step_that_stalled_hardly_counts_in_what_is_checked() -> None:
    stalled = [dataclasses.replace(s, seconds=50 * s.seconds) if i < 20 else s for i, s in enumerate(measured(8))]
    assert check(model(8), stalled).error == 0


def test_a_wrong_depth_is_found_out_by_the_check() -> None:
    assert check(fitted(measured(8), 8), measured(12)).error > 0.1


def test_the_check_tells_how_noisy_the_measurement_was() -> None:
    slower = [dataclasses.replace(sample, seconds=1.2 * sample.seconds) for sample in measured(8)]
    assert check(model(8), measured(8), slower).noise == pytest.approx(0.2)
    assert check(model(8), measured(8), measured(8)).noise == 0


def test_stalls_are_left_out_and_noise_has_mean_one() -> None:
    samples = measured(8, noise=0.05)
    stalled = [Sample(s.kind, s.layers, s.shape, 20 * s.seconds if i % 50 == 0 else s.seconds) for i, s in enumerate(samples)]
    fit = fit_steps(steps_of(stalled), 8)
    assert np.isnan(fit.ratio).sum() == len(samples[::50])
    assert fit.stalls.startswith(f"{len(samples[::50])} stalls of the machine left out")
    assert fit.residual == pytest.approx(0.05, rel=0.3)
    levels, values = np.asarray(NOISE_LEVELS), np.asarray(fit.noise)
    assert (np.diff(values) >= 0).all()
    assert ((values[1:] + values[:-1]) / 2 * np.diff(levels)).sum() == pytest.approx(1.0)


def test_rare_kinds_of_steps_count_as_much_as_frequent_ones() -> None:
    samples = measured(8)
    decodes = [sample for sample in samples if sample.kind == "decode"]
    rare = check(fitted([*samples, *decodes * 20], 8), [sample for sample in samples if sample.kind == "prefill"])
    assert rare.error < 0.02


def test_what_a_step_pays_for_any_prefill_is_not_charged_to_large_batches_of_decodes() -> None:
    truth = FingerprintLatency(model(8))
    bursts = [StepShape(size * n, n * size**2 / 2, n) for size in (32, 128, 250) for n in (1, 2, 4, 8)]
    decodes = [StepShape(0, 0.0, 0, n, n * context) for n in (1, 2, 4, 8) for context in (100, 300)]
    samples = [Sample("prefill", 8, shape, truth.seconds(shape) + 2e-3) for shape in bursts]
    samples += [Sample("decode", 8, shape, truth.seconds(shape)) for shape in decodes]
    held = check(fitted(samples, 8), samples)
    assert max(held.by_kind.values()) < 0.01
