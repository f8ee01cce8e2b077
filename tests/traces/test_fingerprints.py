"""The library of fingerprints: what it holds, what it computes, and how it is asked."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from policies.latency import FingerprintLatency, StepShape
from traces.assembly.library import to_json
from traces.errors import InputError
from traces.fingerprints import available, file_name, load_fingerprint, named_fingerprint, read_fingerprint
from traces.hardware import KV_BYTES, gpu, model

DECODE = StepShape(decode_seqs=32, decode_context=32 * 1000)


def seconds(name: str, step: StepShape = DECODE) -> float:
    return FingerprintLatency(named_fingerprint(name)).seconds(step)


def test_the_library_covers_common_pairs() -> None:
    names = set(available())
    for chip in ("a100", "h100", "h200", "b200", "l40s", "rtx-pro-6000"):
        assert f"llama-3.1-8b/{chip}/tp1/bf16" in names
    for wanted in (
        "llama-3.1-405b/h200/tp8/fp8",
        "llama-2-70b/a100/tp4/bf16",
        "mixtral-8x7b/h100/tp2/bf16",
        "gpt-oss-120b/h100/tp2/mxfp4",
        "qwen3-235b-a22b/h200/tp8ep/fp8_block",
        "deepseek-v3/h200/tp8/fp8_block",
        "qwen3-0.6b/h100/tp1/bf16",
    ):
        assert wanted in names


def test_every_file_is_sound_says_where_it_is_from_and_bears_its_own_name() -> None:
    for name in available():
        fingerprint = named_fingerprint(f"{name}@assembled")
        assert fingerprint.name == name
        assert fingerprint.provenance == "assembled"
        assert "AIConfigurator (Apache-2.0)" in fingerprint.source
        assert fingerprint.engine.startswith("vllm 0.")
        assert fingerprint.hashes
        assert fingerprint.errors
        assert fingerprint.noise


@pytest.mark.parametrize("name", available()[::4])
def test_no_step_beats_the_memory_or_the_tensor_cores(name: str) -> None:
    fingerprint = named_fingerprint(name)
    shape, chip, tp = model(fingerprint.model), gpu(fingerprint.gpu), fingerprint.tensor_parallel
    if shape.experts is None:
        streaming = shape.weight_bytes(tp, fingerprint.precision) - 2 * shape.vocab * shape.hidden // tp
        assert seconds(name, StepShape(decode_seqs=1, decode_context=1)) > streaming / chip.hbm_bytes_s
        flops = 2 * 8192 * shape.other_weights / tp
        peak = chip.bf16_flops if fingerprint.precision == "bf16" else chip.fp8_flops or chip.bf16_flops
        assert seconds(name, StepShape(8192, 8192**2 / 2, 1)) > flops / peak
    kv = shape.kv_bytes_per_token(tp) * KV_BYTES[fingerprint.kv_precision] / KV_BYTES["bf16"]
    assert min(fingerprint.terms.decode.per_context) >= 0.999 * kv / chip.hbm_bytes_s


@pytest.mark.parametrize("name", available()[::4])
def test_one_more_request_never_makes_a_step_faster_while_the_memory_holds_it(name: str) -> None:
    fingerprint = named_fingerprint(name)
    shape = model(fingerprint.model)
    room = gpu(fingerprint.gpu).memory_bytes - shape.weight_bytes(fingerprint.tensor_parallel, fingerprint.precision)
    held = room / shape.kv_bytes_per_token(fingerprint.tensor_parallel, kv_precision=fingerprint.kv_precision)
    assert fingerprint.terms.decode.crossing() > 0.99 * held


def test_more_gpus_fewer_bits_and_newer_chips_are_faster() -> None:
    def falling(*names: str) -> bool:
        times = [seconds(name) for name in names]
        return times == sorted(times, reverse=True)

    assert falling(*(f"llama-3.1-70b/h100/tp{n}/bf16" for n in (4, 8)))
    assert falling("llama-3.1-70b/h100/tp4/bf16", "llama-3.1-70b/h100/tp4/fp8")
    assert falling(*(f"llama-3.1-8b/{chip}/tp1/bf16" for chip in ("l40s", "a100", "h100", "h200", "b200")))
    assert falling("llama-3.1-8b/a6000/tp1/bf16", "llama-3.1-8b/a6000/tp1/int8", "llama-3.1-8b/a6000/tp1/int4")


def test_what_has_no_file_is_computed_from_data_sheets_and_says_so() -> None:
    found = load_fingerprint("llama-3.1-8b", "a6000", 1)
    assert found.provenance == "analytic"
    assert "Roofline of NVIDIA RTX A6000" in found.source
    assert found.errors["whole steps, on GPUs held out"][0] > 0.1


def test_pipeline_stages_add_hops_and_share_the_decodes() -> None:
    one, two = load_fingerprint("llama-3.1-70b", "h200", 4), load_fingerprint("llama-3.1-70b", "h200", 4, pipeline_parallel=2)
    assert two.name == "llama-3.1-70b/h200/tp4pp2/bf16"
    assert two.provenance == "assembled"
    prompt = StepShape(2048, 2048**2 / 2, 1)
    more = FingerprintLatency(two).seconds(prompt) - FingerprintLatency(one).seconds(prompt)
    assert 10e-6 < more < 0.5e-3
    half = StepShape(decode_seqs=16, decode_context=16 * 1000)
    assert FingerprintLatency(two).seconds(DECODE) == pytest.approx(FingerprintLatency(one).seconds(half), rel=0.01)


def test_synchronous_scheduling_adds_host_work_per_step_and_request() -> None:
    free, bound = (load_fingerprint("llama-3.1-8b", "h100", 1, async_scheduling=on) for on in (True, False))
    more = FingerprintLatency(bound).seconds(DECODE) - FingerprintLatency(free).seconds(DECODE)
    assert more == pytest.approx(0.7e-3 + 32 * 40e-6)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("gpt-2/h200/tp1/bf16", "did you mean gpt-oss"),
        ("llama-3.1-8b/h2000/tp1/bf16", "did you mean h200"),
        ("llama-3.1-8b/h200/tp3/bf16", "cannot be split 3 ways"),
        ("llama-3.1-8b/h200/tp1/int3", "use one of bf16, fp8"),
        ("llama-3.1-8b/h200/tp1/mxfp4", "mxfp4 is for the experts"),
        ("llama-3.1-8b/h200/tp2ep/bf16", "has no experts"),
        ("llama-3.1-8b/h200/tp1pp64/bf16", "not enough for 64 stages"),
        ("deepseek-v3/a100/tp8/bf16", "latent attention: has no roofline.*the library has deepseek-v3/b200"),
        ("h200", "is no fingerprint; write model/gpu/tpN/precision"),
    ],
)
def test_an_impossible_name_is_answered_with_what_to_do(name: str, line: str) -> None:
    with pytest.raises(InputError, match=line):
        named_fingerprint(name)


def test_a_written_fingerprint_reads_back_equal_and_has_no_long_columns_of_numbers(tmp_path: Path) -> None:
    fingerprint = named_fingerprint("gpt-oss-120b/h200/tp2/mxfp4")
    path = tmp_path / file_name(fingerprint.name)
    path.write_text(to_json(fingerprint), encoding="utf-8")
    assert read_fingerprint(path) == named_fingerprint(str(path)) == fingerprint
    assert len(path.read_text(encoding="utf-8").splitlines()) < 90


@pytest.mark.parametrize("factor", [1e3, 1e-3])
def test_terms_in_another_unit_are_told_by_the_weights_that_a_step_reads(tmp_path: Path, factor: float) -> None:
    from traces.assembly.endtoend import rescaled

    good = named_fingerprint("llama-3.1-8b/h200/tp1/bf16")
    path = tmp_path / f"off-{factor:g}.json"
    path.write_text(to_json(dataclasses.replace(good, terms=rescaled(good.terms, factor, 0.0, 0.0))), encoding="utf-8")
    with pytest.raises(InputError, match=r"of which terms\.gemm is .* reading its weights 0\.00\d+ s; terms are in seconds"):
        read_fingerprint(path)


def test_a_broken_fingerprint_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    for text, line in (
        ('{"model": "m"}', "schema is missing, this version reads 2"),
        ('{"schema": 2, "model": "m"}', "fingerprint: missing"),
        ("[1, 2]", "not a fingerprint"),
        ("{", "not a fingerprint"),
    ):
        path.write_text(text, encoding="utf-8")
        read_fingerprint.cache_clear()
        with pytest.raises(InputError, match=rf"mine\.json: not a fingerprint.*{line if line != 'not a fingerprint' else ''}"):
            read_fingerprint(path)
    with pytest.raises(InputError, match="No such file"):
        read_fingerprint(tmp_path / "none.json")
