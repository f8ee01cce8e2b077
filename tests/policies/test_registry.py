"""The registry: names, cards, building, and errors that say what to do."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from policies import protocols, registry
from policies.registry import PolicyError

ROOT = Path(__file__).parents[2]
ALL = [(point, name) for point in registry.POINTS for name in registry.names(point)]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package ``outside``: a good router, a broken one, one called like a built-in, and a batcher that is none."""
    (tmp_path / "outside.py").write_text(
        textwrap.dedent(
            '''
            from policies.decisions import Hold

            class Never:
                """Holds every request.

                Args:
                    reason: what to say;
                        at length.
                    times: how often.

                Source: none.
                """

                def __init__(self, reason: str, times: "float" = 1.0, *, seed: int) -> None:
                    self.reason, self.times, self.seed = reason, times, seed

                def route(self, request, fleet):
                    return Hold(self.reason)

            class Mute: ...
            '''
        )
    )
    (tmp_path / "torn.py").write_text("1 / 0\n")
    info = tmp_path / "outside-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    entries = (
        "router.never = outside:Never",
        "router.torn = torn:Router",
        "router.vllm = torn:Router",
        "batcher.mute = outside:Mute",
    )
    (info / "entry_points.txt").write_text("\n".join(["[twinserve.policies]", *entries]))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for module in ("outside", "torn"):
        sys.modules.pop(module, None)


def test_importing_the_registry_loads_no_policy_no_numpy_and_scans_no_packages():
    heavy = "('numpy', 'policies.types', 'policies.routers', 'policies.batchers', 'importlib.metadata', 'inspect')"
    code = (
        "import sys; before = set(sys.modules); import policies.registry as r; r.stack('vllm');"
        f"print([m for m in {heavy} if m in sys.modules and m not in before])"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    # dataclasses, which the card needs, imports inspect itself
    assert json.loads(out.replace("'", '"')) in ([], ["inspect"])


def test_a_built_in_policy_is_built_without_scanning_packages(monkeypatch):
    import importlib.metadata

    def scan(**_):
        raise AssertionError("scanned the entry points for a built-in policy")

    monkeypatch.setattr(importlib.metadata, "entry_points", scan)
    registry.build("router", "round-robin", {}, seed=0)


@pytest.mark.parametrize(("point", "name"), ALL)
def test_every_policy_is_built_by_its_name_alone_and_follows_its_protocol(point, name):
    protocol = getattr(protocols, point.capitalize())
    assert isinstance(registry.build(point, name, {}, seed=3), protocol)


@pytest.mark.parametrize(("point", "name"), ALL)
def test_every_card_has_a_one_line_summary_and_documents_every_parameter(point, name):
    card = registry.describe(point, name)
    assert card.summary.endswith(".")
    assert "\n" not in card.summary
    assert 20 < len(card.summary) <= 130
    assert all(p.doc and p.type for p in card.parameters)
    assert "seed" not in [p.name for p in card.parameters]


def test_a_card_tells_parameters_with_type_default_and_meaning():
    (choices,) = registry.describe("router", "power-of-two").parameters
    assert (choices.name, choices.type, choices.default, choices.required) == ("choices", "int", 2, False)
    assert choices.doc == "different engines drawn per request, 1 to 16."
    assert "arXiv 2603.15202" in registry.describe("router", "lmetric").source


def test_the_catalogue_is_plain_data_over_all_points():
    cards = registry.catalogue()
    assert [(c.point, c.name) for c in cards] == ALL
    json.dumps([dataclasses.asdict(c) for c in cards])


def test_an_unknown_policy_names_the_nearest_and_lists_the_valid_ones():
    with pytest.raises(
        PolicyError, match=r"there is no router 'least-loded'; did you mean 'least-loaded'\? valid: round-robin, random"
    ):
        registry.build("router", "least-loded", {}, seed=0)


def test_an_unknown_parameter_names_the_nearest_and_lists_the_valid_ones():
    with pytest.raises(
        PolicyError, match=r"router power-of-two has no parameter 'choice'; did you mean 'choices'\? valid: choices"
    ):
        registry.build("router", "power-of-two", {"choice": 2}, seed=0)


def test_a_parameter_for_a_policy_without_any_is_refused():
    with pytest.raises(PolicyError, match="router least-loaded has no parameter 'd'; it takes none"):
        registry.build("router", "least-loaded", {"d": 2}, seed=0)


def test_the_seed_is_the_runs_and_no_user_parameter():
    with pytest.raises(PolicyError, match="has no parameter 'seed'"):
        registry.build("router", "random", {"seed": 1}, seed=0)


def test_an_unknown_point_names_the_nearest():
    with pytest.raises(PolicyError, match=r"no decision point 'routers'; did you mean 'router'\? valid: router, scaler"):
        registry.names("routers")


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"choices": "two"}, "choices is 'two'; it takes a value of type int"),
        ({"choices": 2.5}, "choices is 2.5; it takes a value of type int"),
        ({"choices": True}, "choices is True; it takes a value of type int"),
        ({"choices": 0}, "router power-of-two: choices is 0; draw 1 to 16 engines"),
    ],
)
def test_a_value_of_the_wrong_type_or_range_is_refused_with_the_parameters_name(params, says):
    with pytest.raises(PolicyError, match=says):
        registry.build("router", "power-of-two", params, seed=0)


def test_a_whole_number_is_a_valid_value_for_a_fractional_parameter():
    assert registry.build("router", "prefix-affinity", {"overload": 2}, seed=0).overload == 2


def test_a_stack_names_existing_policies_and_leaves_no_point_open_that_needs_one():
    for name in registry.STACKS:
        chosen = registry.stack(name)
        assert {"router", "batcher"} <= set(chosen) <= set(registry.POINTS)
        assert all(policy in registry.names(point) for point, policy in chosen.items())
    assert registry.DEFAULT_STACK in registry.STACKS


def test_a_stack_cannot_be_changed_through_what_was_handed_out():
    registry.stack("vllm")["router"] = "random"
    assert registry.stack("vllm")["router"] == "vllm"


def test_an_unknown_stack_names_the_nearest_and_a_policy_given_as_stack_is_pointed_to_its_point():
    with pytest.raises(PolicyError, match=r"no stack 'vlm'; did you mean 'vllm'\?"):
        registry.stack("vlm")
    with pytest.raises(PolicyError, match=r"but a router of that name; write \{router: lmetric\}"):
        registry.stack("lmetric")


def test_an_installed_package_adds_policies_after_the_built_in_ones(package):
    assert registry.names("router") == [name for point, name in ALL if point == "router"] + ["never", "torn"]
    router = registry.build("router", "never", {"reason": "closed", "times": 2}, seed=9)
    assert (router.reason, router.times, router.seed) == ("closed", 2, 9)
    card = registry.describe("router", "never")
    assert card.origin == "package outside"
    assert [(p.name, p.type, p.required, p.doc) for p in card.parameters] == [
        ("reason", "str", True, "what to say; at length."),
        ("times", "float", False, "how often."),
    ]


def test_an_installed_package_cannot_replace_a_built_in_policy(package):
    assert type(registry.build("router", "vllm", {}, seed=0)).__module__ == "policies.routers"
    assert registry.names("router").count("vllm") == 1


def test_a_required_parameter_that_is_missing_is_named(package):
    with pytest.raises(PolicyError, match="router never needs a value for reason"):
        registry.build("router", "never", {}, seed=0)


def test_a_package_that_fails_to_import_is_reported_and_does_not_hide_the_others(package):
    with pytest.raises(PolicyError, match="router torn: torn:Router cannot be imported: ZeroDivisionError"):
        registry.build("router", "torn", {}, seed=0)
    cards = {(c.point, c.name): c for c in registry.catalogue()}
    assert cards["router", "torn"].summary.startswith("cannot be loaded")
    assert cards["router", "never"].summary == "Holds every request."


def test_a_class_without_the_points_method_is_refused(package):
    with pytest.raises(PolicyError, match="it must be a class with a method 'plan'"):
        registry.build("batcher", "mute", {}, seed=0)


def test_a_policy_may_be_named_by_the_path_of_its_class(package):
    assert registry.build("router", "outside:Never", {"reason": "closed"}, seed=1).reason == "closed"
    with pytest.raises(PolicyError, match="outside:Nevr cannot be imported"):
        registry.build("router", "outside:Nevr", {}, seed=1)
