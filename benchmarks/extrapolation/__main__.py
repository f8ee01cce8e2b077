"""How well one and two layers predict the whole model, on MaverIQ's measurements; the protocol is in docs/extrapolation.md.

    python -m benchmarks.extrapolation FOLDER              the headline, then by model, precision and (TP, PP); about a minute
    python -m benchmarks.extrapolation FOLDER --variants   every variant of the calibration, and the nested choice among them
    python -m benchmarks.extrapolation FOLDER --constants  the constants and residuals of RTX A6000, from all six models
    python -m benchmarks.extrapolation FOLDER --coverage   how often the prediction intervals hold a model that was left out

FOLDER holds maveriq_fingerprints.json and maveriq_profile_summary.json.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.extrapolation import batches, coverage, folds, paper
from benchmarks.extrapolation.measurements import SCORED_OUTPUT, read
from traces.errors import InputError
from traces.extrapolation import Samples, calibrate, calibrate_memory

Floats = NDArray[np.float64]
Predicted = dict[str, Floats]

WORST = 12


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.extrapolation", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--variants", action="store_true")
    parser.add_argument("--constants", action="store_true")
    parser.add_argument("--coverage", action="store_true")
    chosen = parser.parse_args()
    try:
        models = read(chosen.folder)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    if chosen.variants:
        show_variants(models)
    elif chosen.constants:
        print(calibrate([s for m in models.values() for s in (folds.latency_prints(m), m.whole)]))
        print(calibrate_memory([s for m in models.values() for s in (folds.memory_prints(m), m.whole)]))
        shipped = coverage.all_models(models)
        print(shipped.latency_residuals, shipped.memory_residuals, sep="\n")
    elif chosen.coverage:
        show_coverage(models)
    else:
        show_results(models)
    return 0


def show_results(models: folds.Models) -> None:
    published = {name: paper.predict(m) for name, m in models.items()}
    refitted = {name: paper.predict(m, paper.refit([x for k, x in models.items() if k != name])) for name, m in models.items()}
    ours = folds.left_out(models)
    table("Latency at 100 output tokens, error in %")
    row("MaverIQ, published exponents (in-sample)", pool(models, published))
    row("MaverIQ, exponents refitted, one model left out", pool(models, refitted))
    row("ours, one model left out", pool(models, ours))
    row("ours, one family left out", pool(models, folds.left_out(models, groups=folds.FAMILIES)))
    row("ours, own fingerprints alone, TP 1 and 2", pool(models, folds.own_prints_only(models)))
    row("MaverIQ, published exponents, TP 1 and 2", pool(models, published, lambda s: s.runs.tp <= 2))
    row("ours, own fingerprints and others' links", pool(models, folds.own_prints_and_links(models)))
    for reference in models:
        row(f"ours, {reference} and own fingerprints", pool(models, folds.one_reference(models, reference)))
    table("Latency at all five output lengths, error in %")
    row("MaverIQ, published exponents (in-sample)", pool(models, published, scored_only=False))
    row("MaverIQ, exponents refitted, one model left out", pool(models, refitted, scored_only=False))
    row("ours, one model left out", pool(models, ours, scored_only=False))
    by_group("Latency by group: ours, one model left out | MaverIQ, published", models, ours, published, seconds=True)

    memory, published_memory = folds.memory_left_out(models), {name: paper.predict_memory(m) for name, m in models.items()}
    table("Memory after the run, error in %")
    row("MaverIQ", pool(models, published_memory, of=memory_of))
    row("ours, one model left out", pool(models, memory, of=memory_of))
    by_group("Memory by group: ours, one model left out | MaverIQ", models, memory, published_memory, seconds=False)
    show_worst(models, ours)
    show_batches(models)


def show_variants(models: folds.Models) -> None:
    table("Latency at 100 output tokens, one model left out, error in %")
    for variant in folds.VARIANTS:
        row(variant.name, pool(models, folds.left_out(models, variant)))
    predicted, chosen = folds.nested(models)
    row("nested choice among all of these", pool(models, predicted))
    for name, variant_name in chosen.items():
        print(f"  {name}: {variant_name}")


def show_coverage(models: folds.Models, level: float = 0.9) -> None:
    found = list(coverage.held(models, level))
    for what in ("latency", "memory"):
        mine = [one for one in found if one.what == what]
        inside, half, ranks = (np.concatenate([getattr(one, name) for one in mine]) for name in ("inside", "half_width", "ranks"))
        print(f"\n{what.capitalize()}: intervals of {level:.0%}\n\n| | rows | inside | half-width, median |\n|---|--:|--:|--:|")
        groups = [("all", np.ones(len(inside), bool)), *((f"TP {n}", ranks == n) for n in np.unique(ranks))]
        for name, rows in groups:
            print(f"| {name} | {rows.sum()} | {inside[rows].mean():.1%} | {np.median(half[rows]):.1%} |")
        for one in mine:
            print(f"| {one.model} | {len(one.inside)} | {one.inside.mean():.1%} | {np.median(one.half_width):.1%} |")


def seconds_of(samples: Samples) -> Floats:
    return samples.seconds


def memory_of(samples: Samples) -> Floats:
    return samples.memory_bytes


def pool(
    models: folds.Models,
    predicted: Predicted,
    where: Callable[[Samples], NDArray[np.bool_]] | None = None,
    *,
    of: Callable[[Samples], Floats] = seconds_of,
    scored_only: bool = True,
) -> Floats:
    """Absolute percentage errors of all runs that were predicted and for which ``where`` holds."""
    errors = []
    for name, values in predicted.items():
        whole = models[name].whole
        rows = np.isfinite(values)
        if scored_only:
            rows &= whole.runs.output == SCORED_OUTPUT
        if where is not None:
            rows &= where(whole)
        errors.append(np.abs(values[rows] / of(whole)[rows] - 1) * 100)
    return np.concatenate(errors)


def table(title: str) -> None:
    print(f"\n{title}\n\n| | rows | median | mean | p90 | max |\n|---|--:|--:|--:|--:|--:|")


def row(name: str, errors: Floats) -> None:
    print(f"| {name} | {len(errors)} | " + " | ".join(f"{value:.2f}" for value in summary(errors)) + f" | {errors.max():.1f} |")


def summary(errors: Floats) -> tuple[float, float, float]:
    return float(np.median(errors)), float(errors.mean()), float(np.percentile(errors, 90))


def by_group(title: str, models: folds.Models, ours: Predicted, published: Predicted, *, seconds: bool) -> None:
    of = seconds_of if seconds else memory_of
    print(f"\n{title}\n\n| | rows | median | mean | p90 | median | mean | p90 |\n|---|--:|--:|--:|--:|--:|--:|--:|")

    def line(name: str, where: Callable[[Samples], NDArray[np.bool_]], of_model: Iterable[str]) -> None:
        names = set(of_model)
        errors = [pool(models, {m: p[m] for m in p if m in names}, where, of=of) for p in (ours, published)]
        figures = " | ".join(f"{value:.2f}" for e in errors for value in summary(e))
        print(f"| {name} | {len(errors[0])} | {figures} |")

    for name in models:
        line(name, lambda s: np.ones(len(s.runs), bool), [name])
    kinds = sorted({family for m in models.values() for family in paper.families(m.whole)})
    for kind in kinds:
        line(kind[0] + (", 8-bit KV" if kind[1] else ""), lambda s, k=kind: np.array([f == k for f in paper.families(s)]), models)
    layouts = sorted({(int(t), int(p)) for m in models.values() for t, p in zip(m.whole.runs.tp, m.whole.runs.pp, strict=True)})
    for tp, pp in layouts:
        line(f"TP {tp}, PP {pp}", lambda s, tp=tp, pp=pp: (s.runs.tp == tp) & (s.runs.pp == pp), models)


def show_worst(models: folds.Models, ours: Predicted) -> None:
    found = [
        (abs(values[i] / models[name].whole.seconds[i] - 1) * 100, name, i)
        for name, values in ours.items()
        for i in np.flatnonzero(models[name].whole.runs.output == SCORED_OUTPUT)
    ]
    print("\nWorst latencies at 100 output tokens\n\n| run | measured s | ours s | error % |\n|---|--:|--:|--:|")
    for error, name, i in sorted(found, reverse=True)[:WORST]:
        runs, measured = models[name].whole.runs, models[name].whole.seconds[i]
        kind = runs.precision[i] + (", 8-bit KV" if runs.kv_bytes[i] == 1 else "")
        print(f"| {name}, TP {runs.tp[i]}, PP {runs.pp[i]}, {kind} | {measured:.3f} | {ours[name][i]:.3f} | {error:.1f} |")


def show_batches(models: folds.Models) -> None:
    print("\nDecode step in ms, measured / ours, by batch (calibrated at batch 1 on the other four models)\n")
    print("| run | " + " | ".join(map(str, batches.BATCHES)) + " |\n|---|" + "--:|" * len(batches.BATCHES))
    errors = []
    for steps, values in batches.predict(models).items():
        cells = [f"{m:.1f} / {v:.1f}" for m, v in zip(steps.measured_ms, values, strict=True)]
        print(f"| {steps.model}, TP {steps.tp}, PP {steps.pp}, {steps.precision} | " + " | ".join(cells) + " |")
        errors.append(np.abs(values / np.array(steps.measured_ms) - 1) * 100)
    pooled = np.concatenate(errors)
    print("\nmedian, mean and p90 error: " + ", ".join(f"{value:.1f} %" for value in summary(pooled)))


if __name__ == "__main__":
    sys.exit(main())
