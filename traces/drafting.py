"""Fits the draft world to published measurements: ``python -m traces.drafting DATA`` prints what ``policies.drafting.known`` holds.

DATA is a folder with ``specdec/acceptance.json``, ``specdec/specbundle_eagle3.dev.csv.gz`` and ``papers/adaserve_figs.json``.
Accepted *lengths* count the token that the target adds, accepted *tokens* do not.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policies.drafting.drafter import Drafter, Kind
from policies.drafting.world import DraftWorld

Floats = NDArray[np.float64]


def falling(marginals: Sequence[float]) -> tuple[float, ...]:
    """The nearest shares of verifications that accept at least 1, 2, … tokens: from 0 to 1 and never rising.

    Least squares by pooling neighbours that rise, for differences of accepted lengths that were measured run by run.
    """
    pools: list[tuple[float, int]] = []
    for value in marginals:
        pools.append((value, 1))
        while len(pools) > 1 and pools[-2][0] < pools[-1][0]:
            (a, n), (b, m) = pools[-2:]
            pools[-2:] = [((a * n + b * m) / (n + m), n + m)]
    return tuple(min(max(value, 0.0), 1.0) for value, count in pools for _ in range(count))


def two_kinds(tokens: Mapping[int, float], *, over_verifications: bool = False) -> Drafter:
    """The mixture of requests that accept with one rate and with another one whose chains of k tokens have so many accepted, as the
    mean over requests or over verifications.

    Source of the form: the accepted tokens of AdaServe's Fig. 12 rise by the same amount from k = 4 to 6 and 8, which one rate
    cannot give.
    """
    from scipy.optimize import least_squares

    def mixture(p: Floats) -> Drafter:
        share, high, low = p.tolist()
        return Drafter((Kind((high,), share), Kind((low,), 1 - share)))

    def off(p: Floats) -> list[float]:
        drafter = mixture(p)
        mean = drafter.accepted_per_verification if over_verifications else drafter.accepted
        return [mean(k) - value for k, value in tokens.items()]

    bounds = [0.01, 0.9, 0.0], [0.99, 1.0, 0.9]
    starts = [0.9, 0.98, 0.3], [0.97, 0.999, 0.05]
    fits = [least_squares(off, start, bounds=bounds, xtol=1e-12, ftol=1e-12) for start in starts]
    return mixture(min(fits, key=lambda fit: float(fit.cost)).x)


def decaying(lengths: Mapping[int, float], places: int) -> tuple[float, ...]:
    """Rates α βʲ by place whose chains of k tokens have the accepted lengths measured, by least squares."""
    from scipy.optimize import least_squares

    def off(p: Floats) -> list[float]:
        return [1 + float(np.cumprod(p[0] * p[1] ** np.arange(k)).sum()) - length for k, length in lengths.items()]

    alpha, beta = least_squares(off, [0.7, 0.95], bounds=([0, 0.3], [1, 1])).x
    return tuple((alpha * beta ** np.arange(places)).tolist())


class Bundle(NamedTuple):
    """One drafter on one benchmark: accepted lengths of chains by their tokens, and of trees by (steps, fan, tokens)."""

    drafter: str
    benchmark: str
    chains: Mapping[int, float]
    trees: Mapping[tuple[int, int, int], float]


def read_bundles(path: Path) -> list[Bundle]:
    """SpecBundle's EAGLE-3 runs; repeated ones are averaged."""
    found: defaultdict[tuple[str, str], defaultdict[tuple[int, int, int], list[float]]] = defaultdict(lambda: defaultdict(list))
    with gzip.open(path, "rt") as file:
        for row in csv.DictReader(file):
            if row["baseline"] == "False":
                shape = (int(row["steps"]), int(row["topk"]), int(row["num_draft_tokens"]) - 1)
                found[row["draft"], row["benchmark"]][shape].append(float(row["accept_length"]))
    bundles = []
    for (drafter, benchmark), runs in sorted(found.items()):
        means = {shape: sum(lengths) / len(lengths) for shape, lengths in sorted(runs.items())}
        chains = {steps: length for (steps, fan, _), length in means.items() if fan == 1}
        bundles.append(Bundle(drafter, benchmark, chains, {shape: length for shape, length in means.items() if shape[1] > 1}))
    return bundles


class Trees(NamedTuple):
    """How drafters choose beside their first choice; the fields of ``Drafter`` of these names."""

    siblings: float
    spread: float
    confidence: float


def tree_lengths(bundles: Sequence[Bundle], trees: Trees, requests: int, seed: int = 1) -> tuple[Floats, Floats]:
    """Accepted lengths of all trees of all bundles, as measured and as the draft world gives them.

    A tree is the ``tokens`` likeliest nodes, by the drafter's belief, of a beam as deep as its steps and as wide as its fan.
    """
    drafters = [Drafter((Kind(decaying(bundle.chains, 8)),), *trees) for bundle in bundles]
    world = DraftWorld(seed, drafters)
    category = np.repeat(np.arange(len(bundles)), requests)
    measured, modelled = [], []
    for steps, fan, tokens in sorted({shape for bundle in bundles for shape in bundle.trees}):
        proposal = world.trees(np.arange(len(category)), category, np.zeros_like(category), steps, fan)
        accepted = proposal.tokens(proposal.forest.best_first(), np.full(len(category), tokens))
        lengths = 1 + accepted.reshape(len(bundles), requests).mean(axis=1)
        for bundle, length in zip(bundles, lengths.tolist(), strict=True):
            if (steps, fan, tokens) in bundle.trees:
                measured.append(bundle.trees[steps, fan, tokens])
                modelled.append(length)
    return np.array(measured), np.array(modelled)


def fit_trees(bundles: Sequence[Bundle], requests: int = 200) -> tuple[Trees, float]:
    """The choice with the least root mean square error over all trees, to two digits, and that error in tokens.

    A grid, then halved steps around its best point, with the same draws throughout.
    """

    def error(point: Trees) -> float:
        measured, modelled = tree_lengths(bundles, point, requests)
        return float(np.sqrt(np.mean((modelled - measured) ** 2)))

    grid = [Trees(a, b, c) for a in (0.25, 0.5, 0.75, 1.0) for b in (0.0, 0.5, 1.0) for c in (0.5, 1.0, 2.0, 4.0)]
    errors = {point: error(point) for point in grid}
    best = min(errors, key=lambda point: errors[point])
    step = (0.12, 0.24, 0.8)
    for _ in range(4):
        moves = [[0.0] * axis + [sign * step[axis]] + [0.0] * (2 - axis) for axis in range(3) for sign in (-1, 1)]
        for move in moves:
            siblings, spread, confidence = (round(value + by, 2) for value, by in zip(best, move, strict=True))
            point = Trees(min(max(siblings, 0.0), 1.0), min(max(spread, 0.0), 1.0), max(confidence, 0.05))
            errors.setdefault(point, error(point))
            best = min(best, point, key=lambda p: errors[p])
        step = (step[0] / 2, step[1] / 2, step[2] / 2)
    return best, errors[best]


def fig12(path: Path) -> dict[str, dict[int, float]]:
    """AdaServe's Fig. 12: accepted tokens of fixed-length speculation by model and length, averaged over the rates."""
    panels: list[dict[str, Any]] = json.loads(path.read_text())["fig12"]["panels"]
    return {
        panel["model"]: {
            k: sum(value for _, value in panel["series"][f"vLLM-Spec({k})"]) / len(panel["series"][f"vLLM-Spec({k})"])
            for k in (4, 6, 8)
        }
        for panel in panels
    }


def main(folder: Path) -> None:
    """Print every fit and every published row, to be held against ``policies.drafting.known``."""
    for model, tokens in fig12(folder / "papers/adaserve_figs.json").items():
        for over_verifications in (False, True):
            drafter = two_kinds(tokens, over_verifications=over_verifications)
            high, low = drafter.kinds
            kinds = f"share {high.share:.4f}, rates {high.rates[0]:.4f} and {low.rates[0]:.4f}"
            print(f"AdaServe Fig. 12, {model}, fitted over {'verifications' if over_verifications else 'requests'}: {kinds}")
            for k, value in tokens.items():
                means = f"{drafter.accepted(k):.3f} over requests, {drafter.accepted_per_verification(k):.3f} over verifications"
                print(f"  k = {k}: measured {value:.3f}; fitted {means}")
    for row in json.loads((folder / "specdec/acceptance.json").read_text()):
        about = f"{row['method']} on {row['target']}, {row['dataset']}, {row['mode']}"
        if row["kind"] == "per_position":
            print(f"{about}: {row['acceptance_by_pos']} as published")
        elif row["kind"] == "AL_by_k":
            print(f"{about}: {[round(s, 4) for s in falling(row['derived_marginal_acceptance_by_pos'])]}")
    bundles = read_bundles(folder / "specdec/specbundle_eagle3.dev.csv.gz")
    for bundle in bundles:
        rates = decaying(bundle.chains, 2)
        print(f"SpecBundle {bundle.drafter}, {bundle.benchmark}: first {rates[0]:.4f}, decay {rates[1] / rates[0]:.4f}")
    deficit = [b.trees[steps, fan, tokens] - b.chains[tokens] for b in bundles for steps, fan, tokens in b.trees]
    print(f"SpecBundle trees accept {np.mean(deficit):.3f} tokens more than chains of as many draft tokens, {len(deficit)} runs")
    best, _ = fit_trees(bundles)
    for trees in (best, best._replace(confidence=1.0), best._replace(spread=0.5)):
        measured, modelled = tree_lengths(bundles, trees, requests=200)
        rmse, bias = np.sqrt(np.mean((modelled - measured) ** 2)), np.mean(modelled - measured)
        print(f"  {trees}: RMSE {rmse:.3f}, bias {bias:.3f} of {measured.mean():.2f} tokens")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
