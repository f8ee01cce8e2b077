"""Fingerprints: the way to JSON and back, and what they refuse."""

from __future__ import annotations

import dataclasses
import json

import pytest

from policies.fingerprint import NOISE_LEVELS, Fingerprint


def test_a_fingerprint_survives_json() -> None:
    fingerprint = Fingerprint.linear(overhead_s=0.004, per_token_s=1e-5, per_prefill_attention_s=1e-10, per_decode_context_s=3e-8)
    assert Fingerprint.from_dict(json.loads(json.dumps(fingerprint.to_dict()))) == fingerprint


def test_a_fingerprint_with_a_missing_unknown_or_impossible_entry_says_which() -> None:
    good = Fingerprint.linear(overhead_s=0.004).to_dict()
    with pytest.raises(ValueError, match="missing gpu"):
        Fingerprint.from_dict({k: v for k, v in good.items() if k != "gpu"})
    with pytest.raises(ValueError, match="unknown colour"):
        Fingerprint.from_dict({**good, "colour": "green"})
    with pytest.raises(ValueError, match="terms: missing gemm"):
        Fingerprint.from_dict({**good, "terms": {k: v for k, v in good["terms"].items() if k != "gemm"}})
    with pytest.raises(ValueError, match=r"terms\.overhead is -1\.0; give a finite number of seconds"):
        Fingerprint.from_dict({**good, "terms": {**good["terms"], "overhead": -1}})
    with pytest.raises(ValueError, match="provenance is 'guessed'; it is one of measured"):
        Fingerprint.from_dict({**good, "provenance": "guessed"})
    with pytest.raises(ValueError, match="schema is 1, this version reads 2"):
        Fingerprint.from_dict({**good, "schema": 1})
    falling = {"x": [1, 8, 9], "y": [1e-3, 2e-3, 1e-3]}
    with pytest.raises(ValueError, match=r"terms\.gemm: row 2 \(x = 9\): y falls from 0.002 to 0.001"):
        Fingerprint.from_dict({**good, "terms": {**good["terms"], "gemm": falling}})
    with pytest.raises(ValueError, match="noise is"):
        Fingerprint.from_dict({**good, "noise": [1.0, 0.9]})
    with pytest.raises(ValueError, match=r"calibrated\.tokens is"):
        Fingerprint.from_dict({**good, "calibrated": {"tokens": [9, 1]}})


def test_a_name_tells_stages_experts_and_the_precision_of_keys_and_values() -> None:
    plain = Fingerprint.linear()
    assert plain.name == "linear/linear/tp1/bf16"
    special = dataclasses.replace(plain, tensor_parallel=8, pipeline_parallel=2, expert_parallel=True, kv_precision="fp8")
    assert special.name == "linear/linear/tp8pp2ep/bf16+kv-fp8"


def test_noise_survives_json() -> None:
    noisy = dataclasses.replace(Fingerprint.linear(), noise=tuple(0.9 + 0.02 * i for i in range(len(NOISE_LEVELS))))
    assert Fingerprint.from_dict(json.loads(json.dumps(noisy.to_dict()))) == noisy
