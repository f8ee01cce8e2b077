"""The plan on the terminal, and what starts the fleet that was chosen."""

import io
import json
import re
import shlex
from html import unescape

import pytest
import yaml
from click.testing import CliRunner
from rich.console import Console

from figures.planning import words
from figures.planning.asked import inventory, knobs_of, precisions_of
from figures.planning.emit import emitted
from figures.planning.live import PlanProgress
from figures.planning.page import plan_page
from figures.planning.plain import plan_json
from figures.planning.prices import LISTED, LISTED_DATE, Prices, read_prices, shipped
from figures.planning.table import print_plan
from policies.iserve.configuration import Configuration
from sim.plan import Progress, Question, plan
from tests.sim.test_plan import SCENARIO
from traces.errors import InputError
from traces.hardware import GPUS
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


def test_a_scenario_keeps_the_fingerprint_that_the_fleet_was_planned_with(file):
    own = file.with_name("mine.json")
    own.write_text("{}")
    asked = load_scenario(file, [f"fleet={{gpu: h100, gpus: 2, fingerprint: {own}}}"])
    assert yaml.safe_load(emitted("scenario", TWO, 2, asked))["fleet"]["fingerprint"] == str(own)


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


def test_a_kind_of_output_that_is_none_is_told_before_the_search(file, monkeypatch):
    monkeypatch.setattr("sim.plan.plan", lambda *_, **__: pytest.fail("it searched"))
    result = CliRunner().invoke(main, ["plan", str(file), "--emit", "helm"])
    assert (result.exit_code, result.stderr) == (
        2,
        "error: --emit helm: is no kind of output; choose from vllm, compose, kubernetes, scenario\n",
    )


def test_too_few_gpus_are_a_failure_with_its_own_exit_code(asked):
    asked[3] = "a100=1"
    result = CliRunner().invoke(main, asked)
    assert result.exit_code == 1
    assert "no fleet" in result.output


PRICES = "source: our contract\ndate: 2026-03-01\ngpus:\n  a100: 0.80\n  h100: {usd_per_hour: 2.00, source: cloud X}\n"


def test_the_shipped_prices_are_the_list_prices(tmp_path):
    path = tmp_path / "prices.yaml"
    path.write_text(shipped())
    read = read_prices(path)
    assert read.usd_per_gpu_hour == {name: device.usd_per_hour for name, device in GPUS.items()}
    assert (read.source, read.date) == (LISTED, LISTED_DATE)


def test_a_users_prices_are_read_with_where_they_are_from(tmp_path):
    path = tmp_path / "prices.yaml"
    path.write_text(PRICES)
    read = read_prices(path)
    assert read.usd_per_gpu_hour == {"a100": 0.8, "h100": 2.0}
    assert "our contract" in read.told()
    assert "2026-03-01" in read.told()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gpus: {a100: cheap}", "is no price"),
        ("gpus: {a100: -1}", "is no price"),
        ("gpus: {a100: true}", "is no price"),
        ("gpus: {h300: 2.0}", "h300"),
        ("gpu: {a100: 1.0}", "no `gpus:`"),
        ("gpus: {a100: 1.0}\nfrom: me", "`from` is not known"),
        ("gpus: [", "no YAML"),
        ("", "no `gpus:`"),
    ],
)
def test_a_price_table_that_is_none_is_refused_in_a_line(tmp_path, text, said):
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_prices(path)


def test_the_verb_prints_the_prices_to_start_from():
    assert CliRunner().invoke(main, ["plan", "any.yaml", "--print-prices"]).output == shipped()


def test_knobs_are_combined_and_the_fleet_is_not_one():
    assert knobs_of([]) == [()]
    assert knobs_of(["engine.max_num_seqs=64,128", "engine.block_size=16"]) == [
        ("engine.max_num_seqs=64", "engine.block_size=16"),
        ("engine.max_num_seqs=128", "engine.block_size=16"),
    ]
    with pytest.raises(InputError, match="a plan varies no more"):
        knobs_of(["fleet.gpus=1,2"])


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    path = tmp_path_factory.mktemp("plan") / "chat.yaml"
    path.write_text(SCENARIO)
    policies = [("policy=vllm",), ("policy=sarathi",)]
    question = Question({"a100": 8, "h100": 8}, precisions={"bf16": ("bf16",)}, most=2, seeds=1, policies=policies)
    return plan(path, question, jobs=1)


def printed(found, width=80):
    console = Console(file=io.StringIO(), width=width)
    print_plan(found, console, Prices())
    return console.file.getvalue()


def test_the_answer_stands_first_and_its_reasons_beside_it(found):
    text = printed(found)
    assert text.index(f"{found.best.gpus} × {found.best.candidate.configuration.gpu} for $") < text.index("engine ")
    for label in ("Binds: ", "Headroom: ", "If wrong: ", "Policies on it: "):
        assert label in text
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "tok/s/user" in text


def test_the_page_tells_the_same_and_escapes_every_name(found):
    page = plan_page(found, "<script>alert(1)</script>", Prices(source="<b>me</b>"))
    assert "<script>alert" not in page
    assert "<b>me</b>" not in page
    assert words.answer(found) in unescape(page)
    assert page.count('<circle class="dot') == len(found.alternatives)


def test_a_pointer_over_a_dot_is_told_which_alternative_it_is(found):
    page = plan_page(found, "chat", Prices())
    told = [unescape(text) for text in re.findall(r"<circle[^>]*><title>(.*?)</title>", page)]
    assert told == [unescape(text) for text in re.findall(r'<circle[^>]* aria-label="(.*?)"', page)], "by the keyboard the same"
    assert '<svg class="chart" role="group"' in page, "dots within an image have no names"
    shown = [a for a in found.alternatives if a.tokens_s_per_gpu]
    assert len(told) == len(shown)
    assert {text.partition(",")[0] for text in told} == {words.engine(a.arm) for a in shown}


def test_json_has_every_alternative_and_no_infinity(found):
    told = json.loads(json.dumps(plan_json(found), allow_nan=False))
    assert len(told["alternatives"]) == len(found.alternatives)
    assert {one["change"] for one in told["sensitivity"]} == {"load", "prompt lengths", "output lengths"}
    assert told["headroom"]["load"] > 0.9


def test_the_standings_are_drawn_while_the_plan_is_made(found):
    live = PlanProgress("usd", enabled=False)
    live.watch(Progress("short runs", 3, 8, found.alternatives))
    console = Console(file=io.StringIO(), width=100)
    console.print(live.drawn())
    text = console.file.getvalue()
    assert "short runs: 3 of 8" in text
    assert words.engine(found.best.arm) in text


def test_the_verb_writes_a_page(asked, tmp_path):
    result = CliRunner().invoke(main, [*asked, "--html", str(tmp_path / "plan.html")])
    assert result.exit_code == 0, result.output
    assert "Users against GPUs" in (tmp_path / "plan.html").read_text()
