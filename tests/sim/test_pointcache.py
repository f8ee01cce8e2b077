"""Results of points on disk, and the keys that they lie under."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sim.pointcache import Keys, PointCache
from traces.errors import InputError
from traces.scenario import load_scenario

SCENARIO = """
model: llama-3.1-8b
fleet: {{gpu: h200, gpus: 2}}
workload: [{{name: chat, trace: {trace}, rate: 4/s}}]
policy: {{router: {router}}}
"""


@pytest.fixture
def cache(tmp_path: Path) -> PointCache:
    return PointCache(tmp_path / "cache")


def only_file(cache_folder: Path) -> Path:
    (file,) = cache_folder.rglob("*.zst")
    return file


def key(folder: Path, *sets: str, trace: str = "azure-2023-conv", router: str = "random", name: str = "s.yaml") -> str:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(SCENARIO.format(trace=trace, router=router))
    return Keys().key(load_scenario(folder / name, sets))


def test_what_was_put_is_got_and_nothing_else(cache: PointCache) -> None:
    assert cache.get("ab12") is None
    cache.put("ab12", "text ≥ 90 %")
    assert cache.get("ab12") == "text ≥ 90 %"
    assert cache.get("ab13") is None


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-3], lambda b: b"", lambda b: b[:20] + bytes([b[20] ^ 1]) + b[21:], lambda b: b"{}"]
)
def test_a_damaged_entry_counts_as_absent_and_is_written_anew(cache: PointCache, tmp_path: Path, damage: object) -> None:
    cache.put("ab12", "text " * 100)
    file = only_file(tmp_path)
    file.write_bytes(damage(file.read_bytes()))  # type: ignore[operator]
    assert cache.get("ab12") is None
    cache.put("ab12", "text")
    assert cache.get("ab12") == "text"


def test_an_entry_under_a_wrong_name_is_not_believed(cache: PointCache, tmp_path: Path) -> None:
    cache.put("ab12", "text")
    file = only_file(tmp_path)
    file.rename(file.with_name("ab99.json.zst"))
    assert cache.get("ab99") is None


def test_writers_of_the_same_entry_do_not_disturb_each_other(cache: PointCache, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: (cache.put("ab12", "text"), cache.get("ab12") == "text" or pytest.fail(str(i))), range(200)))
    assert [file.name for file in (tmp_path / "cache" / "ab").iterdir()] == ["ab12.json.zst"]


def test_the_folder_stays_out_of_version_control_and_must_be_a_folder(tmp_path: Path) -> None:
    PointCache(tmp_path / "a" / "cache")
    assert (tmp_path / "a" / "cache" / ".gitignore").read_text() == "*\n"
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot keep results .*; choose another with --cache"):
        PointCache(tmp_path / "file")


def test_a_key_does_not_change_with_names_and_defaults(tmp_path: Path) -> None:
    first = key(tmp_path)
    assert first == key(tmp_path, name="other.yaml")
    assert first == key(tmp_path, "engine.block_size=16") == key(tmp_path, "sweep={vary: {seed: [1]}}")


@pytest.mark.parametrize("override", ["seed=1", "workload.chat.rate=5/s", "fleet.gpu=h100", "policy.router=vllm", "sim.noise=off"])
def test_a_key_changes_with_all_that_decides_the_outcome(tmp_path: Path, override: str) -> None:
    assert key(tmp_path) != key(tmp_path, override)


def test_a_trace_counts_by_its_content_and_not_by_its_folder(tmp_path: Path) -> None:
    keys = []
    for folder, tokens in (("a", 10), ("b", 10), ("c", 11)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "t.csv").write_text(f"arrival,prompt,output\n0,{tokens},5\n1,20,5\n")
        keys.append(key(tmp_path / folder, trace="{file: t.csv}"))
    assert keys[0] == keys[1] != keys[2]


def test_editing_a_policy_of_ones_own_makes_a_new_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "my_own_routers.py"
    monkeypatch.syspath_prepend(tmp_path)
    keys = []
    for comment in ("", "# edited\n", ""):
        module.write_text(f"{comment}from policies.routers import Random\n\n\nclass Mine(Random):\n    pass\n")
        sys.modules.pop("my_own_routers", None)
        keys.append(key(tmp_path, "policy.router=my_own_routers:Mine"))
    assert keys[0] == keys[2] != keys[1]
