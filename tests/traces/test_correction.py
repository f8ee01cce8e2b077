"""What end-to-end corrections do to a fingerprint, and how the library's are asked for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from policies.fingerprint import Fingerprint
from policies.latency import FingerprintLatency, StepShape
from traces.assembly.correction import Correction, corrected, rounded
from traces.corrections import System, system_of, systems, systems_of
from traces.errors import InputError
from traces.fingerprints import load_fingerprint, named_fingerprint
from traces.hardware import gpu, model

NAME = "gpt-oss-120b/h200/tp2/mxfp4"
PLAIN = named_fingerprint(f"{NAME}@assembled")
DECODE = StepShape(decode_seqs=16, decode_context=16 * 4000)
PREFILL = StepShape(4096, 4096**2 / 2, 1)
SMALL = StepShape(256, 256**2 / 2, 1)


def seconds(by: Correction, step: StepShape, fingerprint: Fingerprint = PLAIN) -> float:
    return FingerprintLatency(corrected(fingerprint, by)).seconds(step)


def test_a_correction_of_nothing_changes_no_step() -> None:
    for step in (DECODE, PREFILL, SMALL):
        assert seconds(Correction(), step) == pytest.approx(FingerprintLatency(PLAIN).seconds(step), rel=1e-12)


def test_pace_and_host_work_are_in_every_step() -> None:
    plain = FingerprintLatency(PLAIN).seconds(DECODE)
    assert seconds(Correction(pace=1.1), DECODE) == pytest.approx(1.1 * plain)
    assert seconds(Correction(step_s=1e-3, request_s=1e-5), DECODE) == pytest.approx(plain + 1e-3 + 16e-5)


@pytest.mark.parametrize("by", [Correction(prefill_pace=2.0), Correction(eager_s=0.02)])
def test_what_concerns_steps_beyond_the_captured_graphs_leaves_decodes_alone(by: Correction) -> None:
    assert seconds(by, DECODE) == pytest.approx(FingerprintLatency(PLAIN).seconds(DECODE))
    assert seconds(by, PREFILL) > FingerprintLatency(PLAIN).seconds(PREFILL) + 0.015


def test_an_eager_step_waits_for_its_launches_once() -> None:
    plain = FingerprintLatency(PLAIN)
    for tokens in (513, 8192):
        step = StepShape(tokens, 0.0, 1)
        assert seconds(Correction(eager_s=0.02), step) == pytest.approx(plain.seconds(step) + 0.02)


def test_experts_that_are_read_without_tokens_make_small_steps_as_slow_as_large_ones() -> None:
    all_read = corrected(PLAIN, Correction(idle_experts=1.0)).terms.experts
    assert all_read.at(1) == pytest.approx(all_read.at(512))
    assert all_read.at(8192) == pytest.approx(PLAIN.terms.experts.at(8192))


@pytest.mark.parametrize("pace", [0.5, 2.0])
def test_a_correction_of_the_context_lets_no_lines_cross_within_the_memory(pace: float) -> None:
    fingerprint = named_fingerprint("llama-3.1-70b/h200/tp4/fp8+kv-fp8@assembled")
    held = gpu("h200").memory_bytes / model("llama-3.1-70b").kv_bytes_per_token(4, kv_precision="fp8")
    found = corrected(fingerprint, Correction(context_pace=pace)).terms.decode
    assert found.crossing() >= 0.99 * min(held, fingerprint.terms.decode.crossing())
    assert min(found.per_context) >= min(fingerprint.terms.decode.per_context)


@pytest.mark.parametrize("wrong", [{"pace": 0.0}, {"step_s": -1e-3}, {"idle_experts": float("nan")}, {"speed": 1.0}])
def test_an_impossible_correction_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Correction.from_dict(wrong)


def test_a_correction_says_what_it_changes() -> None:
    assert Correction().words() == "nothing"
    assert rounded(Correction(pace=0.912345678, eager_s=0.02)).words() == "pace 0.912, eager step + 20 ms"


# --- the library's ------------------------------------------------------------------------------------------------------


def test_every_system_was_measured_often_enough_and_tells_its_errors_on_rows_it_was_not_fitted_to() -> None:
    assert systems()
    for one in systems():
        assert one.rows >= 8
        assert {"TPOT, cross-validated", "TTFT, cross-validated"} <= one.errors.keys()
        assert System.from_dict(json.loads(json.dumps(one.to_dict()))) == one


def test_a_plain_name_is_as_the_newest_measured_version_serves_it() -> None:
    found = named_fingerprint(NAME)
    assert found == named_fingerprint(f"{NAME}@0.18.0")
    assert found.provenance == "end-to-end"
    assert found.engine == "vllm 0.18.0"
    assert "Without it: the same name @assembled" in found.source
    assert PLAIN.provenance == "assembled"
    assert found.name == PLAIN.name == NAME


def test_versions_that_schedule_synchronously_are_only_for_those_who_ask() -> None:
    name = "qwen3-32b/h100/tp2/bf16"
    assert named_fingerprint(name) == named_fingerprint(f"{name}@assembled")
    old = named_fingerprint(f"{name}@0.12.0")
    assert old == load_fingerprint("qwen3-32b", "h100", 2, async_scheduling=False)
    assert old.engine == "vllm 0.12.0"


def test_a_deployment_that_nobody_measured_is_as_assembled() -> None:
    assert not systems_of(named_fingerprint("llama-3.1-8b/h200/tp1/bf16"))
    assert named_fingerprint("llama-3.1-8b/h200/tp1/bf16").provenance == "assembled"


def test_another_engine_version_is_answered_with_those_there_are() -> None:
    with pytest.raises(InputError, match=r"tp2/mxfp4@0\.17: no correction for engine version 0\.17 \(there are: @0\.18\.0\)"):
        named_fingerprint(f"{NAME}@0.17")
    with pytest.raises(InputError, match="there are: none"):
        system_of(named_fingerprint("llama-3.1-8b/h200/tp1/bf16"), "0.18.0")


def test_a_broken_file_names_the_entry(tmp_path: Path) -> None:
    good = systems()[0].to_dict()
    path = tmp_path / "corrections.json"
    for entry, line in (
        ({**good, "colour": "red"}, "entry 2: system: unknown colour"),
        ({**good, "correction": {"pace": -1}}, "entry 2: pace is -1"),
    ):
        path.write_text(json.dumps([good, entry]), encoding="utf-8")
        systems.cache_clear()
        with pytest.raises(InputError, match=line):
            systems(path)


def test_the_newest_version_is_the_highest_number() -> None:
    one = systems()[0]
    versions = [replace(one, engine=f"vllm {v}") for v in ("0.9.0", "0.18.0", "unknown", "0.16.0")]
    from traces.corrections import _order

    assert [v.version for v in sorted(versions, key=lambda v: _order(v.version))] == ["unknown", "0.9.0", "0.16.0", "0.18.0"]
