"""The fits behind ``policies.drafting.known``, again from the measurements."""

from __future__ import annotations

import json

import numpy as np
import pytest

from policies.drafting.known import DRAFTERS, SIBLINGS, SPECBUNDLE_CONFIDENCE, SPREAD
from traces.drafting import Trees, decaying, falling, fig12, read_bundles, tree_lengths, two_kinds


def test_differences_of_accepted_lengths_are_made_to_fall_by_pooling_neighbours():
    assert falling([0.9, 0.5, 0.2]) == (0.9, 0.5, 0.2)
    assert falling([0.9, 0.2, 0.4, 0.3]) == pytest.approx((0.9, 0.3, 0.3, 0.3))
    assert falling([0.5, 0.1, -0.3]) == (0.5, 0.1, 0.0)


def test_two_kinds_are_found_again():
    tokens = {k: 0.8 * sum(0.99**j for j in range(1, k + 1)) + 0.2 * sum(0.3**j for j in range(1, k + 1)) for k in (4, 6, 8)}
    high, low = two_kinds(tokens).kinds
    assert (high.share, *high.rates, *low.rates) == pytest.approx((0.8, 0.99, 0.3), abs=1e-4)


def test_a_decay_is_found_again():
    lengths = {k: 1 + float(np.cumprod(0.8 * 0.95 ** np.arange(k)).sum()) for k in (3, 5, 7)}
    assert decaying(lengths, 3) == pytest.approx((0.8, 0.76, 0.722), abs=1e-4)


@pytest.mark.parametrize(("model", "name"), [("Llama-3.1-70B", "llama-3.1-70b"), ("Qwen2.5-32B", "qwen2.5-32b")])
def test_the_kinds_of_adaserves_requests_are_the_fitted_ones(shared_data, model, name):
    tokens = fig12(shared_data / "papers/adaserve_figs.json")[model]
    for known, fitted in zip(DRAFTERS[f"adaserve/{name}"].kinds, two_kinds(tokens).kinds, strict=True):
        assert (known.share, *known.rates) == pytest.approx((fitted.share, *fitted.rates), abs=1e-3)
    assert [DRAFTERS[f"adaserve/{name}"].accepted(k) for k in tokens] == pytest.approx(list(tokens.values()), abs=0.01)
    pooled = two_kinds(tokens, over_verifications=True)
    assert max(abs(pooled.accepted_per_verification(k) - value) for k, value in tokens.items()) > 0.1


@pytest.mark.parametrize(
    ("method", "target", "mode", "name"),
    [
        ("EAGLE3", "meta-llama/Llama-3.1-8B-Instruct", "T=0, k=3 chain", "eagle3/llama-3.1-8b/mt-bench"),
        ("EAGLE3", "openai/gpt-oss-20b", "T=0, k=3 chain", "eagle3/gpt-oss-20b/mt-bench"),
        ("EAGLE3", "kimi-k2.5-nvfp4", "thinking_on", "eagle3/kimi-k2.5/coding"),
        ("ngram (k=5, lookup 2..5)", "same", "k=5", "ngram/llama-3.1-8b/edits"),
        ("MTP", "deepseek-v4-pro", "thinking_on", "mtp/deepseek-v4-pro/coding"),
        ("MTP", "deepseek-v4-pro", "thinking_off", "mtp/deepseek-v4-pro/coding-no-thinking"),
        ("MTP", "glm-5.2-fp8", "thinking_on", "mtp/glm-5.2/coding"),
        ("MTP", "qwen3.5-397b-a17b-nvfp4", "thinking_on", "mtp/qwen3.5-397b-a17b/coding"),
    ],
)
def test_known_drafters_have_the_accepted_lengths_that_were_measured(shared_data, method, target, mode, name):
    rows = json.loads((shared_data / "specdec/acceptance.json").read_text())
    (row,) = [r for r in rows if (r["method"], r["target"], r["mode"]) == (method, target, mode)]
    if row["kind"] == "per_position":
        lengths = {len(row["acceptance_by_pos"]): 1 + sum(row["acceptance_by_pos"])}
    else:
        lengths = {int(k): length for k, length in row["al_by_k"].items()}
    modelled = {k: 1 + DRAFTERS[name].accepted(k) for k in lengths}
    # MTP's lengths fall from 6 to 7 tokens, which no chain's can.
    assert modelled == pytest.approx(lengths, abs=0.2 if mode == "thinking_off" else 0.05)


def test_known_bundles_have_the_accepted_lengths_that_were_measured(shared_data):
    targets = {"Llama-3.1-8B-Instruct-SpecForge": "llama-3.1-8b", "Qwen3-30B-A3B-Instruct-2507-SpecForge": "qwen3-30b-a3b"}
    checked = 0
    for bundle in read_bundles(shared_data / "specdec/specbundle_eagle3.dev.csv.gz"):
        for ending, target in targets.items():
            if bundle.drafter.endswith(f"EAGLE3-{ending}"):
                drafter = DRAFTERS[f"specbundle/{target}/{bundle.benchmark}"]
                assert {k: 1 + drafter.accepted(k) for k in bundle.chains} == pytest.approx(bundle.chains, abs=0.05)
                checked += 1
    assert checked == 14


def test_trees_accept_what_was_measured_to_half_a_token_and_a_drafter_right_about_itself_does_not(shared_data):
    bundles = read_bundles(shared_data / "specdec/specbundle_eagle3.dev.csv.gz")

    def error(confidence: float) -> tuple[float, float]:
        measured, modelled = tree_lengths(bundles, Trees(SIBLINGS, SPREAD, confidence), requests=200)
        return float(np.sqrt(np.mean((modelled - measured) ** 2))), float(np.mean(modelled - measured))

    fitted, right = error(SPECBUNDLE_CONFIDENCE), error(1.0)
    assert fitted[0] < 0.45
    assert abs(fitted[1]) < 0.05
    assert right[1] > 0.5
