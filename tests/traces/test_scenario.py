"""A scenario file is read whole, or refused with one line per fault that says where and what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from traces.errors import InputError
from traces.hardware import gpu
from traces.scenario import Scenario, load_scenario
from traces.scenario.fleet import default_knobs
from traces.scenario.workload import Builtin, Synthetic, TraceFile

GALLERY = Path(__file__).parents[2] / "traces" / "gallery"

PLAIN = """\
model: llama-3.1-8b
fleet: {gpu: h200, gpus: 8}
workload:
  - name: chat
    trace: {prompt_tokens: 1024, output_tokens: 128}
    rate: 12/s
    slo: {ttft: 500ms, tpot: 30ms}
duration: 20min
"""


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Scenario]:
    """Writes the text into a scenario file and loads it."""

    def load(text: str, *sets: str) -> Scenario:
        path = tmp_path / "scenario.yaml"
        path.write_text(text, encoding="utf-8")
        return load_scenario(path, sets)

    return load


@pytest.fixture
def refuse(load: Callable[..., Scenario], tmp_path: Path) -> Callable[..., list[str]]:
    """The lines that refuse the text, the folder's name left out."""

    def refuse(text: str, *sets: str) -> list[str]:
        with pytest.raises(InputError) as refusal:
            load(text, *sets)
        assert all("\n" not in line for line in refusal.value.faults)
        return [line.replace(f"{tmp_path}/", "") for line in refusal.value.faults]

    return refuse


# --- what is read -----------------------------------------------------------------------------------------------------


def test_units_are_read_into_si(load: Callable[..., Scenario]) -> None:
    scenario = load(PLAIN + "warmup: 30s\nsim: {observe: 100ms, noise: 2%, leap: off}\n")
    (chat,) = scenario.workload
    assert chat.rate_per_s == 12.0
    assert chat.slo is not None
    assert chat.slo.slo().ttft_s == 0.5
    assert chat.slo.slo().tpot_s == 0.03
    assert chat.slo.slo().e2e_s is None
    assert (scenario.duration_s, scenario.warmup_s, scenario.end_s) == (1200.0, 30.0, 1500.0)
    assert (scenario.sim.observe_s, scenario.sim.noise, scenario.sim.leap) == (0.1, 0.02, False)


def test_on_and_off_are_words_and_numbers_may_have_exponents(load: Callable[..., Scenario]) -> None:
    text = PLAIN.replace("rate: 12/s", "rate: 1e1\n    arrivals: {onoff: {on: 10s, off: 20s}}")
    scenario = load(text + "decisions: off\nsim: {noise: off, steps: off}\n")
    assert scenario.workload[0].rate_per_s == 10.0
    assert scenario.workload[0].arrivals is not None
    assert scenario.workload[0].arrivals.onoff is not None
    assert scenario.workload[0].arrivals.onoff.off_s == 20.0
    assert (scenario.decisions, scenario.sim.noise, scenario.sim.steps) == ("off", 0.0, False)


def test_the_three_kinds_of_trace_are_told_apart(load: Callable[..., Scenario], tmp_path: Path) -> None:
    (tmp_path / "my.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,1,1\n")
    more = """\
  - {name: b, trace: azure-2023-conv}
  - {name: c, trace: {file: my.csv, options: {sort: true}, start: 1min, thin: 50%}}
duration:"""
    scenario = load(PLAIN.replace("duration:", more))
    kinds = [type(entry.trace) for entry in scenario.workload]
    assert kinds == [Synthetic, Builtin, TraceFile]
    file = scenario.workload[2].trace
    assert isinstance(file, TraceFile)
    assert (file.file, file.options, file.start_s, file.thin) == (str(tmp_path / "my.csv"), {"sort": True}, 60.0, 0.5)


def test_engines_have_the_defaults_of_vllms_server_on_their_gpu(load: Callable[..., Scenario]) -> None:
    knobs = load(PLAIN).engine
    assert (knobs.max_num_seqs, knobs.max_num_batched_tokens, knobs.block_size, knobs.gpu_memory_utilization) == (
        1024,
        8192,
        16,
        0.92,
    )
    on_a100 = load(PLAIN.replace("h200", "a100"), "engine.max_model_len=8192").engine
    assert (on_a100.max_num_seqs, on_a100.max_num_batched_tokens) == (256, 2048)
    assert default_knobs({"max_num_batched_tokens": 128}, gpu("h100"))["max_num_seqs"] == 128


def test_a_policy_is_a_stack_a_name_or_a_name_with_parameters(load: Callable[..., Scenario]) -> None:
    assert load(PLAIN).resolved()["policy"] == load(PLAIN + "policy: vllm\n").resolved()["policy"]
    chosen = load(PLAIN + "policy: {stack: sarathi, router: {power-of-two: {choices: 3}}}\n").policy
    assert (chosen.router.name, chosen.router.params) == ("power-of-two", {"choices": 3})
    assert chosen.batcher.name == "sarathi"


def test_quantities_in_policy_parameters_reach_the_policy_as_numbers(load: Callable[..., Scenario]) -> None:
    chosen = load(PLAIN + "policy: {router: {prefix-affinity: {min_match: 60%}}}\n").policy
    assert chosen.router.params == {"min_match": 0.6}


def test_anchors_and_merge_keys_work(load: Callable[..., Scenario]) -> None:
    scenario = load(
        """\
model: llama-3.1-8b
fleet: {gpu: h200, gpus: 1}
workload:
  - &chat {name: a, trace: {prompt_tokens: 8, output_tokens: 8}, rate: 1/s, requests: 5}
  - {<<: *chat, name: b, rate: 2/s}
"""
    )
    assert [(entry.name, entry.rate_per_s, entry.requests) for entry in scenario.workload] == [("a", 1.0, 5), ("b", 2.0, 5)]


def test_without_a_duration_a_run_has_no_end_of_its_own(load: Callable[..., Scenario]) -> None:
    scenario = load(PLAIN.replace("duration: 20min", "").replace("rate: 12/s", "rate: 12/s\n    requests: 10"))
    assert scenario.end_s is None
    assert "drain" not in scenario.resolved()


def test_the_fleet_knows_its_engines_and_its_price(load: Callable[..., Scenario]) -> None:
    fleet = load(PLAIN, "fleet.tensor_parallel=2").fleet
    assert (fleet.engines, fleet.price_usd_per_gpu_hour) == (4, gpu("h200").usd_per_hour)
    assert load(PLAIN, "fleet.usd_per_gpu_hour=1.25").fleet.price_usd_per_gpu_hour == 1.25


def test_kv_blocks_follow_memory_unless_overridden(load: Callable[..., Scenario]) -> None:
    scenario = load(PLAIN)
    assert scenario.kv_blocks * 16 > 131072
    assert load(PLAIN, "engine.gpu_memory_utilization=0.5").kv_blocks < scenario.kv_blocks
    assert load(PLAIN, "engine.num_gpu_blocks_override=100").kv_blocks == 100


@pytest.mark.parametrize("path", sorted(GALLERY.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_gallery_loads(path: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.touch()
    sets = [f"workload.0.trace.file={trace}"] if " file:" in path.read_text() else []
    assert load_scenario(path, sets).pools


# --- overrides --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "get", "value"),
    [
        ("workload.chat.rate=20/s", lambda s: s.workload[0].rate_per_s, 20.0),
        ("workload.0.rate=20/s", lambda s: s.workload[0].rate_per_s, 20.0),
        ("workload[0].slo.e2e = 3s", lambda s: s.workload[0].slo.e2e_s, 3.0),
        ("workload.chat.slo={ttft: 1s}", lambda s: s.workload[0].slo.slo().tpot_s, None),
        ("workload.chat.slo=null", lambda s: s.workload[0].slo, None),
        ("fleet.gpus=16", lambda s: s.fleet.engines, 16),
        ("policy=sarathi", lambda s: s.policy.batcher.name, "sarathi"),
        ("policy.router=least-loaded", lambda s: s.policy.router.name, "least-loaded"),
        ("policy.batcher.sarathi.chunk_tokens=256", lambda s: s.policy.batcher.params, {"chunk_tokens": 256}),
        ("sim.leap=off", lambda s: s.sim.leap, False),
        ("engine.max_num_seqs=64", lambda s: s.engine.max_num_seqs, 64),
        ("seed=9", lambda s: s.seed, 9),
    ],
)
def test_any_field_can_be_overridden(
    load: Callable[..., Scenario], option: str, get: Callable[[Scenario], Any], value: object
) -> None:
    assert get(load(PLAIN + "policy: vllm\n", option)) == value


def test_later_overrides_build_on_earlier_ones(load: Callable[..., Scenario]) -> None:
    chosen = load(PLAIN, "policy=sarathi", "policy.router=power-of-two", "policy.router.power-of-two.choices=4").policy
    assert (chosen.router.name, chosen.router.params, chosen.batcher.name) == ("power-of-two", {"choices": 4}, "sarathi")


def test_entries_are_addressed_by_names_with_dots(load: Callable[..., Scenario]) -> None:
    assert load(PLAIN.replace("chat", "v1.chat"), "workload.v1.chat.rate=3/s").workload[0].rate_per_s == 3.0


def test_a_trace_lies_relative_to_the_scenario_and_an_override_relative_to_the_shell(
    load: Callable[..., Scenario], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (tmp_path, tmp_path / "shell"):
        folder.mkdir(exist_ok=True)
        (folder / "trace.csv").touch()
    monkeypatch.chdir(tmp_path / "shell")
    text = PLAIN.replace("{prompt_tokens: 1024, output_tokens: 128}", "{file: trace.csv}")

    def file(*sets: str) -> str:
        trace = load(text, *sets).workload[0].trace
        assert isinstance(trace, TraceFile)
        return trace.file

    assert file() == str(tmp_path / "trace.csv")
    assert file("workload.chat.trace.file=trace.csv") == str(tmp_path / "shell" / "trace.csv")


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("workload.chat.rat=20/s", "--set workload.chat.rat: workload[0].rat: unknown key; did you mean `rate`?"),
        ("workload.chatt.rate=20/s", "--set workload.chatt.rate: workload has no entry `chatt`; did you mean `chat`?"),
        ("flet.gpus=3", "--set flet.gpus: flet: unknown key; did you mean `fleet`?"),
        ("model.size=3", "--set model.size: `model` is `llama-3.1-8b`, which has no keys; set it whole, as a mapping"),
        ("fleet.gpus", "--set fleet.gpus: names no value; write it like --set workload.chat.rate=20/s"),
        ("=3", "--set =3: names no value; write it like --set workload.chat.rate=20/s"),
        ("warmup=1h", "--set warmup: is 3600 s, which leaves nothing of a duration of 1200 s; shorten it"),
        ("fleet.gpu=b20", "--set fleet.gpu: GPU `b20` is not known; did you mean `b200`?"),
        (
            "seed=[1]]",
            "--set seed: is not valid YAML: expected '<document start>', but found ']'; check indentation, quotes and brackets",
        ),
    ],
)
def test_a_bad_override_is_named_as_the_place(refuse: Callable[..., list[str]], option: str, line: str) -> None:
    assert any(fault.startswith(line) for fault in refuse(PLAIN, option))


# --- faults -----------------------------------------------------------------------------------------------------------


def test_all_faults_are_reported_at_once_with_their_lines(refuse: Callable[..., list[str]]) -> None:
    faults = refuse(
        """\
model: llama-3.1-8
fleet: {gpu: h2000, gpus: 8}
engine:
  max_num_seqs: 1.5
  max_seqs: 3
workload:
  - name: chat
    trace: azure-2023-con
    rate: 12 per s
    slo:
      tfft: 500ms
      tpot: 30mm
  - {trace: {prompt_tokens: 0, output_tokens: {lognormal: {mean: 3, sigma: 1, mx: 3}}}, rate: 0/s, arrivals: gama}
policy:
  router: least-loded
decisions: fully
"""
    )
    where = [re.match(r"scenario\.yaml:(\d+): ([\w.\[\]]+): ", fault) for fault in faults]
    assert [(int(m[1]), m[2]) for m in where if m] == [
        (1, "model"),
        (2, "fleet.gpu"),
        (4, "engine.max_num_seqs"),
        (5, "engine.max_seqs"),
        (8, "workload[0].trace"),
        (9, "workload[0].rate"),
        (11, "workload[0].slo.tfft"),
        (12, "workload[0].slo.tpot"),
        (13, "workload[1].name"),
        (13, "workload[1].trace.prompt_tokens"),
        (13, "workload[1].trace.output_tokens.lognormal.mx"),
        (13, "workload[1].rate"),
        (13, "workload[1].arrivals"),
        (15, "policy.router"),
        (16, "decisions"),
    ]
    assert len(faults) == 15
    assert "scenario.yaml:11: workload[0].slo.tfft: unknown key; did you mean `ttft`?" in faults
    assert "scenario.yaml:16: decisions: `fully` is not known; did you mean `full`?" in faults


ENTRY = "trace: {prompt_tokens: 1024, output_tokens: 128}"

BAD = {  # what is replaced in PLAIN: by what: the line of the fault, a part of its text
    "no rate": ("    rate: 12/s\n", "", 4, "workload[0]: says what requests are but not when they come"),
    "two drivers": ("rate: 12/s", "rate: 12/s\n    load: {concurrency: 4}\n    requests: 9", 7, "load: stands beside `rate`"),
    "endless loop": ("rate: 12/s", "load: {concurrency: 4}", 6, "add `requests:`"),
    "online backlog": ("rate: 12/s", "backlog: 4", 6, "add `offline: true`"),
    "backlog and requests": (
        "rate: 12/s",
        "offline: true\n    backlog: 4\n    requests: 3",
        8,
        "requests: stands beside `backlog`",
    ),
    "arrivals without rate": (
        f"{ENTRY}\n    rate: 12/s",
        "trace: azure-2023-conv\n    arrivals: poisson",
        6,
        "arrivals: needs a rate",
    ),
    "two slos": ("slo: {", "slo_mix: [{share: 1, tier: a, slo: {}}]\n    slo: {", 8, "slo: stands beside `slo_mix`"),
    "shares": ("slo: {ttft: 500ms, tpot: 30ms}", "slo_mix: [{share: 60%, tier: a, slo: {}}]", 7, "shares add up to 0.6"),
    "share over 1": ("slo: {ttft: 500ms, tpot: 30ms}", "slo_mix: [{share: 160%, tier: a, slo: {}}]", 7, "more than the whole"),
    "same tier": (
        "slo: {ttft: 500ms, tpot: 30ms}",
        "slo_mix: [{share: 60%, tier: a, slo: {}}, {share: 40%, tier: a, slo: {}}]",
        7,
        "tier `a` is listed twice",
    ),
    "zero slo": ("ttft: 500ms", "ttft: 0ms", 7, "slo.ttft: is `0ms`; it must be more than 0"),
    "no end": ("duration: 20min\n", "", 4, "has no end"),
    "gpus": ("gpus: 8", "gpus: 7, tensor_parallel: 2", 2, "do not make whole engines"),
    "odd shards": ("gpus: 8", "gpus: 6, tensor_parallel: 3", 2, "tensor_parallel: llama-3.1-8b cannot be split 3 ways"),
    "no switch": ("rate: 12/s", "rate: 12/s\n    offline: maybe", 7, "offline: `maybe` is neither true nor false"),
    "not finite": ("gpus: 8", "gpus: 8, usd_per_gpu_hour: .nan", 2, "usd_per_gpu_hour: "),
    "no gpus": ("gpus: 8", "gpus: 0", 2, "gpus: is `0`; it must be at least 1"),
    "boolean": ("gpus: 8", "gpus: true", 2, "`True` is not a whole number"),
    "precision": ("gpus: 8", "gpus: 8, precision: fp4", 2, "precision: `fp4` is not known; did you mean `mxfp4`?"),
    "weights": ("llama-3.1-8b\nfleet: {gpu: h200", "llama-3.1-70b\nfleet: {gpu: h100", 2, "weights 131 GiB per GPU"),
    "context": ("gpus: 8}", "gpus: 8}\nengine: {max_model_len: 200000}", 3, "max_model_len: is 200000, more than the 131072"),
    "kv": (
        "llama-3.1-8b\nfleet: {gpu: h200",
        "llama-3.1-70b\nfleet: {tensor_parallel: 2, gpu: h100",
        1,
        "set max_model_len to at most",
    ),
    "batch": ("gpus: 8}", "gpus: 8}\nengine: {max_num_seqs: 64, max_num_batched_tokens: 32}", 3, "less than max_num_seqs (64)"),
    "utilisation": ("gpus: 8}", "gpus: 8}\nengine: {gpu_memory_utilization: 1.5}", 3, "it must be at most 1"),
    "no workload": (
        PLAIN[PLAIN.index("workload:") : PLAIN.index("duration")],
        "workload: []\n",
        3,
        "workload: is empty; give at least one",
    ),
    "not a list": (PLAIN[PLAIN.index("workload:") : PLAIN.index("duration")], "workload: 3\n", 3, "workload: `3` is not a list"),
    "not a mapping": ("{gpu: h200, gpus: 8}", "8", 2, "fleet: `8` is not a mapping; write keys under it (gpu, gpus,"),
    "missing part": ("fleet: {gpu: h200, gpus: 8}\n", "", 1, "fleet: is missing; add `fleet:`"),
    "no trace": (ENTRY, "trace: 7", 5, "trace: is no trace"),
    "no file": (ENTRY, "trace: {file: none.csv}", 5, "none.csv: no such file"),
    "format": (ENTRY, "trace: {file: scenario.yaml, format: azur}", 5, "there is no trace format `azur`; did you mean `azure`?"),
    "option": (ENTRY, "trace: {file: scenario.yaml, format: mooncake, options: {jiter: 1}}", 5, "did you mean `jitter`?"),
    "slice": (ENTRY, "trace: {file: scenario.yaml, start: 2min, end: 1min}", 5, "trace.end: the slice ends at 60 s"),
    "two lengths": (ENTRY, "trace: {prompt_tokens: {fixed: 1, uniform: {min: 1, max: 2}}, output_tokens: 1}", 5, "names 2 of"),
    "lengths swapped": (ENTRY, "trace: {prompt_tokens: {uniform: {min: 9, max: 2}}, output_tokens: 1}", 5, "swap them"),
    "same name": (
        "duration:",
        "  - {name: chat, trace: azure-2023-conv}\nduration:",
        8,
        "workload[1].name: `chat` is the name of another",
    ),
    "number for a name": ("name: chat", "name: 2024", 4, "name: `2024` is not a text; put it in quotes"),
    "twice": ("duration:", "fleet: {}\nduration:", 8, "fleet: is written twice (first on line 2)"),
    "code": ("duration:", "policy: {router: os:system}\nduration:", 8, "a file cannot name a class to import"),
    "policy parameter": ("duration:", "policy: {batcher: {sarathi: {chunk: 5}}}\nduration:", 8, "no parameter 'chunk'"),
    "two routers": ("duration:", "policy: {router: {random: {}, vllm: {}}}\nduration:", 8, "is no policy; write a name"),
    "stack": ("duration:", "policy: polly\nduration:", 8, "there is no stack 'polly'"),
    "python object": ("duration:", "x: !!python/object/apply:os.system [ls]\nduration:", 8, "is not valid YAML"),
    "syntax": ("duration:", "x: [1\nduration:", 9, "is not valid YAML"),
    "list as key": ("duration:", "[1]: 2\nduration:", 8, "keys are plain words"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_fault_gets_one_line_with_its_place_and_a_remedy(refuse: Callable[..., list[str]], name: str) -> None:
    old, new, line, text = BAD[name]
    assert old in PLAIN
    (fault,) = refuse(PLAIN.replace(old, new))
    assert fault.startswith(f"scenario.yaml:{line}: ")
    assert text in fault
    assert ";" in fault


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    plain, windows = tmp_path / "plain.yaml", tmp_path / "windows.yaml"
    plain.write_text(PLAIN)
    windows.write_bytes(b"\xef\xbb\xbf" + PLAIN.replace("\n", "\r\n").encode())
    resolved = [load_scenario(path).resolved() | {"name": ""} for path in (plain, windows)]
    assert resolved[0] == resolved[1]


def test_a_drain_needs_a_duration(refuse: Callable[..., list[str]]) -> None:
    text = PLAIN.replace("duration: 20min", "drain: 1min").replace("rate: 12/s", "rate: 12/s\n    requests: 3")
    (fault,) = refuse(text)
    assert fault.startswith("scenario.yaml:9: drain: counts from `duration`, which is not set")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is empty; a scenario starts with"),
        (b"- 1", "holds no keys at its top level"),
        (b"\xff\xfe\x00", "is not text in UTF-8"),
        (b"model: \x00", "holds a character that YAML forbids"),
        (b"&a [*a]", "unfolds to more than"),
        (b"[" * 3000, "nested too deeply"),
        (b"seed: " + b"9" * 5000, "too many digits"),
        (b"seed: !!int x", "does not fit its tag"),
        (b"a: 1\n---\nb: 2", "expected a single document"),
    ],
)
def test_what_is_no_scenario_file_is_refused_in_one_line(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(text)) as refusal:
        load_scenario(path)
    (fault,) = refusal.value.faults
    assert fault.startswith(str(path))


def test_what_the_user_wrote_cannot_break_the_line(refuse: Callable[..., list[str]]) -> None:
    (fault,) = refuse(PLAIN.replace("llama-3.1-8b", '"a\\nb"'))
    assert fault.startswith("scenario.yaml:1: model: model `a b` is not known; ")
    (fault,) = refuse(PLAIN.replace("llama-3.1-8b", '"a\\e[31m"'))
    assert fault == "scenario.yaml:1: holds the character U+001B, which nobody can see; remove it"


def test_a_missing_or_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml: no such file; "):
        load_scenario(tmp_path / "none.yaml")
    with pytest.raises(InputError, match=r"cannot be read .*; "):
        load_scenario(tmp_path)


def test_a_person_at_the_command_line_may_name_a_class(load: Callable[..., Scenario]) -> None:
    scenario = load(PLAIN, "policy.router=policies.routers:Random")
    assert scenario.policy.router.name == "policies.routers:Random"


# --- resolved ---------------------------------------------------------------------------------------------------------

positive = st.floats(1e-3, 1e4)
lengths = st.one_of(
    st.integers(1, 4096),
    st.fixed_dictionaries(
        {"lognormal": st.fixed_dictionaries({"mean": st.floats(1, 5000), "sigma": st.floats(0, 2)}, optional={"min": st.just(2)})}
    ),
    st.just({"uniform": {"min": 3, "max": 30}}),
)
synthetic = st.fixed_dictionaries({"prompt_tokens": lengths, "output_tokens": lengths})
arrivals = st.sampled_from(
    [
        "poisson",
        "even",
        {"gamma": {"cv": 2}},
        {"weibull": {"cv": 0.5}},
        {"onoff": {"on": "10s", "off": 5}},
        {"varying": {"profile": [1, 0.5], "step": "1min"}},
    ]
)
objective = st.fixed_dictionaries({}, optional={"ttft": st.sampled_from(["500ms", 1]), "tpot": positive, "e2e": positive})
driven = st.one_of(
    st.fixed_dictionaries(
        {"rate": st.one_of(positive, st.just("720/min"))}, optional={"arrivals": arrivals, "requests": st.integers(1, 99)}
    ),
    st.fixed_dictionaries({"load": st.fixed_dictionaries({"concurrency": st.integers(1, 99)}), "requests": st.integers(1, 99)}),
    st.fixed_dictionaries({"backlog": st.integers(1, 99), "offline": st.just(True)}),
)
promised = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"slo": objective, "tier": st.text(min_size=1)}),
)
entries = st.builds(
    lambda trace, drive, promise, rest: {"trace": trace, **drive, **promise, **rest},
    synthetic,
    driven,
    promised,
    st.fixed_dictionaries({}, optional={"truncate": st.booleans(), "expected_output_tokens": st.floats(1, 9999)}),
)
documents = st.fixed_dictionaries(
    {
        "model": st.just("llama-3.1-8b"),
        "fleet": st.fixed_dictionaries(
            {"gpu": st.sampled_from(["h200", "h100", "a100"]), "gpus": st.sampled_from([4, 8])},
            optional={"tensor_parallel": st.sampled_from([1, 2, 4]), "precision": st.just("fp8"), "usd_per_gpu_hour": positive},
        ),
        "workload": st.lists(entries, min_size=1, max_size=3).map(
            lambda found: [{"name": f"e{i}", **e} for i, e in enumerate(found)]
        ),
        "duration": st.sampled_from(["20min", 300]),
        "engine": st.fixed_dictionaries(
            {"max_model_len": st.just(8192)}, optional={"max_num_batched_tokens": st.integers(1, 9999), "block_size": st.just(32)}
        ),
    },
    optional={
        "policy": st.sampled_from(["vllm", {"router": "random"}, {"batcher": {"sarathi": {"chunk_tokens": 99}}}]),
        "drain": positive,
        "warmup": st.just("10s"),
        "seed": st.integers(0, 2**63 - 1),
        "sim": st.fixed_dictionaries(
            {}, optional={"noise": st.sampled_from(["off", "3%", 0.01]), "leap": st.sampled_from(["on", "off", True])}
        ),
        "decisions": st.sampled_from(["off", "summary", "full"]),
    },
)


@settings(max_examples=150, deadline=None)
@given(documents)
def test_a_resolved_scenario_is_plain_json_that_reads_back_to_itself(document: dict[str, Any]) -> None:
    scenario = Scenario.model_validate(document)
    resolved = scenario.resolved()
    text = json.dumps(resolved, allow_nan=False)
    again = Scenario.model_validate(json.loads(text))
    assert again == scenario
    assert json.dumps(again.resolved()) == text


def test_a_resolved_scenario_can_be_saved_and_loaded(load: Callable[..., Scenario]) -> None:
    scenario = load(PLAIN + "policy: {router: {power-of-two: {choices: 3}}}\nsim: {noise: off}\n")
    assert load(json.dumps(scenario.resolved())) == scenario


def test_the_order_of_keys_in_the_file_does_not_matter(load: Callable[..., Scenario]) -> None:
    data = yaml.safe_load(PLAIN)
    backwards = yaml.safe_dump(dict(reversed(data.items())), sort_keys=False)
    assert json.dumps(load(backwards).resolved()) == json.dumps(load(PLAIN).resolved())


def test_a_scenario_is_read_only(load: Callable[..., Scenario]) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(PLAIN).seed = 3  # type: ignore[misc]


junk = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)
ENTRY_KEYS = ["", ".name", ".trace", ".trace.prompt_tokens", ".rate", ".slo", ".slo_mix", ".arrivals", ".load", ".backlog"]
KEYS = [
    *Scenario.json_schema()["properties"],
    *("fleet.gpu", "fleet.gpus", "engine.max_num_seqs", "engine.max_num_batched_tokens", "policy.router", "sim.noise"),
    *(f"workload.0{key}" for key in ENTRY_KEYS),
]


@settings(max_examples=200, deadline=None)
@given(key=st.sampled_from(KEYS), value=junk)
def test_junk_in_any_place_is_read_or_refused_in_lines(tmp_path_factory: pytest.TempPathFactory, key: str, value: object) -> None:
    path = tmp_path_factory.getbasetemp() / "junk.yaml"
    path.write_text(PLAIN)
    faults: list[str] = []
    try:
        load_scenario(path, [f"{key}={json.dumps(value)}"])
    except InputError as error:
        faults = list(error.faults)
    assert all("\n" not in fault and ": " in fault for fault in faults)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_in_lines(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "text.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(InputError) as refusal:
        load_scenario(path)
    assert all("\n" not in fault for fault in refusal.value.faults)


def test_the_json_schema_allows_the_short_forms() -> None:
    schema = Scenario.json_schema()
    assert json.dumps(schema)
    assert set(schema["required"]) == {"model", "fleet", "workload"}
    parts = schema["$defs"]
    assert "ttft" in parts["Objective"]["properties"]
    assert any("sharegpt" in form.get("enum", ()) for form in parts["Builtin"]["anyOf"])
    assert any("enum" in form for form in parts["Policy"]["anyOf"])
