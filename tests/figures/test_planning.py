"""The plan on the terminal, and what starts the fleet that was chosen."""

import json
import shlex

import pytest
import yaml
from click.testing import CliRunner

from figures.planning.asked import inventory, precisions_of
from figures.planning.emit import emitted
from policies.iserve.configuration import Configuration
from tests.sim.test_plan import SCENARIO
from traces.errors import InputError
from traces.scenario import load_scenario
from twinserve import main

TWO = Configuration("llama-3.1-8b", "h100", 2, 1, "fp8", "fp8")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "chat.yaml"
    path.write_text(SCENARIO)
    return path


def test_commands_give_every_engine_gpus_and_a_port_of_its_own(file):
    text = emitted("vllm", TWO, 2, load_scenario(file))
    commands = [shlex.split(line.removesuffix(" &")) for line in text.splitlines() if "vllm serve" in line and line[0] != "#"]
    assert [words[0] for words in commands] == ["CUDA_VISIBLE_DEVICES=0,1", "CUDA_VISIBLE_DEVICES=2,3"]
    assert [words[words.index("--port") + 1] for words in commands] == ["8000", "8001"]
    assert all(words[words.index("--kv-cache-dtype") + 1] == "fp8" for words in commands)


def test_kubernetes_manifests_ask_for_the_gpus_of_one_engine_per_replica(file):
    deployment, service = yaml.safe_load_all(emitted("kubernetes", TWO, 3, load_scenario(file), "org/model"))
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert deployment["spec"]["replicas"] == 3
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 2
    assert container["args"][0] == "org/model"
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]


def test_compose_services_share_no_gpu_and_no_port(file):
    services = yaml.safe_load(emitted("compose", TWO, 2, load_scenario(file)))["services"]
    reserved = [s["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"] for s in services.values()]
    assert reserved == [["0", "1"], ["2", "3"]]
    assert len({s["ports"][0] for s in services.values()}) == 2


def test_four_bits_need_a_checkpoint(file):
    four = Configuration("llama-3.1-8b", "h100", 1, 1, "int4")
    with pytest.raises(InputError, match="checkpoint"):
        emitted("vllm", four, 1, load_scenario(file))
    assert "my-awq" in emitted("vllm", four, 1, load_scenario(file), "my-awq")
    with pytest.raises(InputError, match="kind"):
        emitted("helm", TWO, 1, load_scenario(file))


def test_gpus_are_read_as_counts():
    assert inventory(["h200=4", "l40s"]) == {"h200": 4, "l40s": 64}
    assert "b200" in inventory([])
    for wrong in ("h300", "h200=0", "h200=many"):
        with pytest.raises(InputError):
            inventory([wrong])
    with pytest.raises(InputError, match="precision"):
        precisions_of(["fp7"])


@pytest.fixture
def asked(file, tmp_path):
    return ["plan", str(file), "--gpu", "a100=8", "--precision", "bf16", "--most", "1", "--seeds", "2", "--jobs", "1", "--cache",
            str(tmp_path / "cache")]  # fmt: skip


def test_the_verb_prints_a_table_and_the_same_as_json(asked):
    table = CliRunner().invoke(main, asked)
    assert table.exit_code == 0, table.output
    assert "1×a100 bf16" in table.output
    answer = json.loads(CliRunner().invoke(main, [*asked, "--json"]).output)
    best = answer["alternatives"][0]
    assert best["gpus"] == best["engines"] * best["tensor_parallel"] * best["pipeline_parallel"]
    assert f"{best['engines']}" in table.output


def test_the_verb_emits_what_starts_the_cheapest(asked):
    assert "vllm serve llama-3.1-8b" in CliRunner().invoke(main, [*asked, "--emit", "vllm"]).output


def test_too_few_gpus_are_a_failure_with_its_own_exit_code(asked):
    asked[3] = "a100=1"
    result = CliRunner().invoke(main, asked)
    assert result.exit_code == 1
    assert "no fleet" in result.output
