from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from policies.types import SLO
from traces.hashes import canonical_json, hash_code, hash_config, hash_fingerprint, hash_trace
from traces.workload import RequestClass, Workload


def workload(**changes):
    columns = {"arrival_s": [0.0, 1.0, 2.5], "prompt_tokens": [10, 20, 30], "output_tokens": [1, 2, 3], **changes}
    return Workload.make(columns.pop("arrival_s"), columns.pop("prompt_tokens"), columns.pop("output_tokens"), **columns)


def test_the_order_of_keys_does_not_change_a_configuration():
    assert hash_config({"seed": 7, "fleet": {"gpu": "h200", "gpus": 8}}) == hash_config(
        {"fleet": {"gpus": 8, "gpu": "h200"}, "seed": 7}
    )


@pytest.mark.parametrize("other", [{"seed": 8}, {"seed": 7, "name": ""}, {"seed": "7"}, {"seed": [7]}])
def test_any_difference_changes_a_configuration(other):
    assert hash_config(other) != hash_config({"seed": 7})


def test_canonical_json_is_strict_and_takes_numpy_and_infinity():
    value = {"b": np.float64(0.1), "a": (np.int32(1), True, None), "c": float("inf"), "d": np.array([1.5, float("nan")])}
    assert canonical_json(value) == '{"a":[1,true,null],"b":0.1,"c":"inf","d":[1.5,"nan"]}'


def test_an_object_without_a_plain_form_is_refused_rather_than_hashed_by_its_address():
    with pytest.raises(TypeError, match="object"):
        hash_config({"policy": object()})


def test_a_fingerprint_is_hashed_by_its_content():
    assert hash_fingerprint({"a": 1.0}) == hash_fingerprint({"a": 1.0})
    assert hash_fingerprint({"a": 1.0}) != hash_fingerprint({"a": 1.0000000000000002})


def test_equal_columns_have_equal_hashes_wherever_they_came_from():
    here = workload(source={"file": "a.csv"})
    there = workload(source={"file": "b.csv", "notes": ["moved"]})
    assert hash_trace(here) == hash_trace(there)


@pytest.mark.parametrize(
    "change",
    [
        {"arrival_s": [0.0, 1.0, 2.5000001]},
        {"prompt_tokens": [10, 20, 31]},
        {"output_tokens": [1, 2, 4]},
        {"classes": (RequestClass(slo=SLO(ttft_s=0.5)),)},
        {"classes": (RequestClass(expected_output_tokens=10.0),)},
        {"session": np.array([0, 0, 1])},
        {"block_offsets": np.array([0, 1, 1, 1]), "block_ids": np.array([5]), "block_tokens": 512},
    ],
)
def test_any_change_that_a_run_could_notice_changes_the_hash(change):
    assert hash_trace(workload(**change)) != hash_trace(workload())


def test_columns_do_not_run_into_each_other():
    base = workload()
    swapped = dataclasses.replace(base, prompt_tokens=base.output_tokens, output_tokens=base.prompt_tokens)
    assert hash_trace(swapped) != hash_trace(base)


@pytest.fixture
def package(tmp_path, monkeypatch):
    root = tmp_path / "twinserve_hash_probe"
    (root / "inner").mkdir(parents=True)
    (root / "__init__.py").write_text("")
    (root / "inner" / "engine.py").write_text("k = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    hash_code.cache_clear()
    yield root
    hash_code.cache_clear()


def code_of(package):
    hash_code.cache_clear()
    return hash_code((package.name,))


def test_code_is_hashed_by_path_and_text(package):
    before = code_of(package)
    assert code_of(package) == before
    (package / "inner" / "engine.py").write_text("k = 2\n")
    edited = code_of(package)
    assert edited != before
    (package / "inner" / "engine.py").rename(package / "inner" / "motor.py")
    assert code_of(package) not in (before, edited)


def test_caches_and_notes_beside_the_code_do_not_count(package):
    before = code_of(package)
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "engine.cpython-311.pyc").write_bytes(b"\0")
    (package / "README.md").write_text("words")
    assert code_of(package) == before


def test_the_real_packages_are_found():
    assert len(hash_code()) == 16
    assert hash_code() == hash_code()
