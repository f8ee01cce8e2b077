"""Every verb speaks JSON: found by walking over the commands, so that a new verb without it fails here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner

from twinserve import main

SCENARIO = """
model: llama-3.1-8b
fleet: {gpu: h200, gpus: 2}
workload: [{name: chat, trace: {prompt_tokens: 500, output_tokens: 40}, rate: 20/s, slo: {ttft: 2s, tpot: 60ms}}]
duration: 4s
decisions: full
replay: {engines: attached, urls: ["http://127.0.0.1:9", "http://127.0.0.1:10"]}
"""
H200 = "llama-3.1-8b/h200/tp1/bf16"
MEASURED = "concurrency,prompt_tokens,output_tokens,tpot_ms\n" + "".join(
    f"{n},{prompt},512,{7 + n / 20 + prompt / 2000}\n" for n in (1, 4, 16, 64) for prompt in (512, 4096)
)

CHEAP: dict[str, str] = {
    "run": "run s.yaml",
    "replay": "replay s.yaml",
    "calibrate": "calibrate s.yaml",
    "capture": "capture s.yaml --out captured",
    "shadow": "shadow s.yaml --for 1s",
    "report": "report record",
    "compare": "compare s.yaml --vary policy.router=random,vllm --seeds 1 --jobs 1",
    "sweep": "sweep s.yaml --vary policy.router=random,vllm --jobs 1 --no-cache",
    "search": "search s.yaml --highest workload.chat.rate=1/s..2/s --seeds 2 --jobs 1 --no-cache",
    "plan": "plan s.yaml --gpu h200=2 --precision bf16 --most 1 --seeds 2 --jobs 1 --cache kept",
    "tune": "tune s.yaml --trials 2 --retests 1 --sampler random",
    "figures": "figures list",
    "fingerprint list": "fingerprint list llama-3.1-8b/h200/*",
    "fingerprint show": f"fingerprint show {H200}",
    "fingerprint predict": f"fingerprint predict {H200} --decode 8",
    "fingerprint compare": f"fingerprint compare {H200} llama-3.1-8b/h100/tp1/bf16",
    "fingerprint fit": f"fingerprint fit {H200} --measured tpot.csv",
    "fingerprint noise": f"fingerprint noise {H200} --scenario s.yaml --seeds 2",
    "fingerprint validate": "fingerprint validate . --jobs 1",
    "fingerprint measure": "fingerprint measure s.yaml --out measured.json",
    "traces list": "traces list",
    "traces inspect": "traces inspect sharegpt",
    "traces convert": "traces convert sharegpt t.csv",
    "traces synth": "traces synth sharegpt t.csv --requests 20",
    "traces get": "traces get azure-2023-conv",
    "policies list": "policies list",
    "policies show": "policies show router power-of-two",
    "policies check": "policies check router random",
    "policies new": "policies new router mine",
    "policies recheck": "policies recheck record",
    "config init": "config init",
    "config validate": "config validate s.yaml",
    "config schema": "config schema",
}
"""Verb → a cheap way to call it."""


def verbs(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from verbs(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


VERBS = dict(verbs(main))


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_json_switch(verb: str) -> None:
    assert any("--json" in parameter.opts for parameter in VERBS[verb].params)


def test_every_verb_is_called_below() -> None:
    assert set(CHEAP) == set(VERBS)


@pytest.mark.parametrize("verb", CHEAP)
def test_what_a_verb_prints_as_json_is_json(verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(SCENARIO)
    Path("tpot.csv").write_text(MEASURED)
    if "record" in CHEAP[verb].split():
        assert CliRunner().invoke(main, ["run", "s.yaml", "--out", "record"]).exit_code == 0
    if verb in PREPARED:
        PREPARED[verb](monkeypatch)
    result = CliRunner().invoke(main, [*CHEAP[verb].split(), "--json"])
    assert result.exit_code == 0 or verb == "tune", result.output  # two trials need not find anything better
    assert isinstance(json.loads(result.stdout), dict | list)


# --- verbs that need servers, vLLM, a network or data of their own: what they ask is answered here, what they print is theirs -----


def _replayed(patch: pytest.MonkeyPatch) -> None:
    from sim.run import simulate

    def replay(scenario, watch):  # type: ignore[no-untyped-def]
        record = simulate(scenario)
        record.manifest["sound"] = True
        return record

    patch.setattr("replay.run.replay", replay)


def _calibrated(patch: pytest.MonkeyPatch) -> None:
    from tests.figures.test_calibration import found, run

    patch.setattr("figures.calibration.calibrate", lambda *_, **__: found(run(), run()))


def _captured(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("figures.capture.Capture.run", lambda _: {"phases": {"fingerprint": "done in 1 s"}})


def _measured(patch: pytest.MonkeyPatch) -> None:
    from replay.measuring import Measurement
    from traces.fingerprints import named_fingerprint

    engines = ({"layers": 1, "device": "cpu", "start_s": 1.0, "complete": True},)
    answer = SimpleNamespace(fingerprint=named_fingerprint(H200), engines=engines, check=None, allowed=0.1, sound=True)
    assert {"fingerprint", "engines", "check"} <= {*Measurement.__dataclass_fields__}
    patch.setattr("replay.measuring.measure_fingerprint", lambda *_, **__: answer)


def _downloaded(patch: pytest.MonkeyPatch) -> None:
    from traces.catalog import Download, trace

    answer = Download(trace("azure-2023-conv"), Path("there.csv"), 10, "00", verified=True, fetched=True)
    patch.setattr("traces.catalog.get", lambda *_, **__: answer)


def _with_data(patch: pytest.MonkeyPatch) -> None:
    from tests.figures.validation.rows import data_folder

    data_folder(Path())


PREPARED: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "replay": _replayed,
    "calibrate": _calibrated,
    "capture": _captured,
    "shadow": lambda patch: patch.setattr("replay.shadow.shadow", lambda *_, **__: None),
    "fingerprint measure": _measured,
    "fingerprint validate": _with_data,
    "traces get": _downloaded,
}
