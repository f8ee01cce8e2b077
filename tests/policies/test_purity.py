"""What every policy promises: no clock, no I/O, no world, no global randomness, legal decisions, equal ones from equal calls."""

from __future__ import annotations

import ast
import copy
import math
import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import registry
from policies.decisions import Assign, Hold, Shed, StepPlan
from policies.fingerprint import Fingerprint
from policies.latency import FingerprintLatency
from policies.views import Engine, Fleet, Request

FOLDER = Path(__file__).parents[2] / "policies"
MODULES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.py"))
ROUTERS = registry.names("router")
BASELINES = [name for name in ROUTERS if name != "polyserve"]  # which refuse no request that an engine could serve
BATCHERS = ("vllm", "sarathi")
"""Those that go by counts alone; the others read requests, and have tests of their own."""

STANDARD = "__future__ array bisect collections dataclasses enum functools heapq itertools math operator statistics types typing"
ALLOWED = {*STANDARD.split(), "numpy", "policies"}
# The registry finds and reads classes; streams names its streams by a hash; logs are JSON. None of it runs inside a decision.
ALSO = {"registry.py": {"importlib", "difflib"}, "card.py": {"inspect"}, "streams.py": {"hashlib"}, "redecide.py": {"json"}}
ALSO["iserve/optimum.py"] = {"scipy"}  # HiGHS, bounded by nodes rather than by time
# The tuner stands on scikit-learn and Optuna; its streams are handed to it, as policies.streams has named them.
TUNER = {"optuna", "scipy", "sklearn", "threadpoolctl", "warnings"}
FORBIDDEN_CALLS = {"open", "print", "input", "exec", "eval", "globals", "id", "hash"}


def imported(tree: ast.AST) -> set[str]:
    """Top-level names of all imported modules."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("policies" if node.level else (node.module or "").partition(".")[0])
    return found


def offences(source: str, name: str) -> list[str]:
    tree = ast.parse(source)
    tuner = name.startswith("scoot/")
    allowed = ALLOWED | ALSO.get(name, set()) | (TUNER if tuner else set())
    found = [f"imports {module}" for module in sorted(imported(tree) - allowed)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN_CALLS:
            found.append(f"calls {node.func.id}")
        if isinstance(node, ast.Attribute) and node.attr == "random" and name != "streams.py" and not tuner:
            found.append("uses numpy.random")
        if isinstance(node, ast.Global):
            found.append("changes a global")
    return found


@pytest.mark.parametrize("module", MODULES)
def test_a_policy_module_reaches_nothing_outside_its_arguments(module):
    assert offences((FOLDER / module).read_text(), module) == []


@pytest.mark.parametrize(
    ("source", "offence"),
    [
        ("import time", "imports time"),
        ("def f():\n    from datetime import datetime", "imports datetime"),
        ("import sim.kernel", "imports sim"),
        ("import numpy as np\nx = np.random.rand()", "uses numpy.random"),
        ("open('x')", "calls open"),
        ("order = sorted(x, key=lambda e: hash(e))", "calls hash"),
        ("def f():\n    global n\n    n = 1", "changes a global"),
    ],
)
def test_the_check_above_sees_an_offence(source, offence):
    assert offences(source, "some_policy.py") == [offence]


LATENCY = FingerprintLatency(Fingerprint.linear(overhead_s=5e-3, per_token_s=1e-5, per_decode_context_s=1e-8))


def engine(place: int, model: str, running: int, waiting: int, pending: int) -> Engine:
    lists = {"running": (), "waiting": ()}
    return Engine(f"e{place}", model, running, waiting, pending, kv_tokens_capacity=3000, latency=LATENCY, **lists)


engines = st.lists(
    st.builds(
        lambda model, running, waiting, pending: (model, running, waiting, pending),
        st.sampled_from("mmx"),
        st.integers(0, 300),
        st.integers(0, 50),
        st.integers(0, 100_000),
    ),
    max_size=7,
).map(lambda rows: [engine(i, *row) for i, row in enumerate(rows)])
requests = st.builds(
    lambda model, prompt, blocks: (model, prompt, tuple(blocks)),
    st.sampled_from("mx"),
    st.integers(1, 5000),
    st.lists(st.integers(0, 9), max_size=6, unique=True),
)
calls = st.lists(st.tuples(requests, engines), min_size=1, max_size=25).map(
    lambda pairs: [(Request(i, *request), Fleet(fleet)) for i, (request, fleet) in enumerate(pairs)]
)


def decide(router, some) -> list[Assign | Hold | Shed]:
    return [router.route(request, fleet) for request, fleet in some]


@pytest.mark.parametrize("name", BASELINES)
@given(calls=calls)
@settings(max_examples=40, deadline=None)
def test_a_router_assigns_to_an_engine_of_the_model_in_view_and_holds_only_where_there_is_none(name, calls):
    router = registry.build("router", name, {}, seed=1)
    for request, fleet in calls:
        decision = router.route(request, fleet)
        serving = [e.id for e in fleet.engines if e.model == request.model]
        assert decision.reason
        if serving:
            assert decision.engine in serving
            assert len(decision.scores) in (0, len(fleet.engines))
            assert set(decision.named_scores(fleet.engines)) <= set(serving)
            assert not decision.scores or decision.engine in decision.named_scores(fleet.engines)
        else:
            assert isinstance(decision, Hold)


@pytest.mark.parametrize("name", ROUTERS)
@given(calls=calls)
@settings(max_examples=25, deadline=None)
def test_a_fresh_router_fed_the_same_views_decides_the_same(name, calls):
    first, again = (registry.build("router", name, {}, seed=5) for _ in range(2))
    assert decide(first, calls) == decide(again, copy.deepcopy(calls))


@pytest.mark.parametrize("name", ROUTERS)
@given(calls=calls, cut=st.integers(0, 25))
@settings(max_examples=25, deadline=None)
def test_a_router_that_is_pickled_in_mid_run_goes_on_as_if_nothing_had_happened(name, calls, cut):
    whole = decide(registry.build("router", name, {}, seed=5), calls)
    router = registry.build("router", name, {}, seed=5)
    before = decide(router, calls[:cut])
    assert before + decide(pickle.loads(pickle.dumps(router)), calls[cut:]) == whole


@pytest.mark.parametrize("name", ROUTERS)
@given(calls=calls)
@settings(max_examples=25, deadline=None)
def test_a_router_leaves_the_views_as_they_are(name, calls):
    before = copy.deepcopy(calls)
    decide(registry.build("router", name, {}, seed=5), calls)
    assert calls == before


@pytest.mark.parametrize("name", ROUTERS)
def test_a_router_holds_with_a_reason_when_the_fleet_is_empty(name):
    decision = registry.build("router", name, {}, seed=0).route(Request(model="llama"), Fleet([]))
    assert isinstance(decision, Hold)
    assert decision.reason


@pytest.mark.parametrize(("point", "name"), [(p, n) for p in registry.POINTS for n in registry.names(p)])
def test_a_policy_object_has_no_stray_attributes(point, name):
    assert not hasattr(registry.build(point, name, {}, seed=0), "__dict__")


@pytest.mark.parametrize("name", BATCHERS)
@given(running=st.integers(0, 2000), budget=st.integers(1, 20_000))
@settings(max_examples=40, deadline=None)
def test_a_batcher_plans_within_the_engines_budget_and_the_same_again(name, running, budget):
    engine = Engine(running_count=running, max_batched_tokens=budget)
    first, again = (registry.build("batcher", name, {}, seed=0).plan(engine) for _ in range(2))
    assert isinstance(first, StepPlan)
    assert 1 <= first.token_budget <= budget
    assert first.valid_steps == math.inf
    assert first == again
