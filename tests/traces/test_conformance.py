"""The conformance kit: sound policies pass, each broken one is caught by the check that is meant for it, and messages teach."""

from __future__ import annotations

import ast
import builtins
import datetime
import importlib
import os
import pkgutil
import random
import threading
import time

import numpy as np
import pytest

from policies import registry
from policies.registry import PolicyError
from policies.routers import LMetric
from policies.views import Engine, Fleet, Request
from sim.policycheck import examine_with_simulation
from tests.policies import broken
from tests.policies.specimens import Both, Modest, OracleShortest, Pairs, PeekingShortest, Spread, Terse, Tuned
from traces.conformance import speed
from traces.conformance.examination import CHECKS, Level, Outcome, check, examine, find, subject_of
from traces.conformance.modules import modules_of
from traces.conformance.stories import stories
from traces.conformance.traps import Traps

BUILT_IN = [(point, name) for point in registry.POINTS for name in registry.names(point)]
ZOO = [module.name for module in pkgutil.iter_modules(broken.__path__)]


@pytest.mark.parametrize(("point", "name"), BUILT_IN)
def test_every_built_in_policy_keeps_every_promise(point: str, name: str) -> None:
    found = examine_with_simulation(find(name, point))
    assert [f for f in found.findings if f.level is not Level.INFO] == []
    assert {v.outcome for v in found.verdicts} == {Outcome.PASSED}


@pytest.mark.parametrize("specimen", ZOO)
def test_a_broken_policy_is_caught_by_the_check_meant_for_it_and_by_no_other(specimen: str) -> None:
    module = importlib.import_module(f"{broken.__name__}.{specimen}")
    found = examine_with_simulation(subject_of(module.Policy))
    errors = [f for f in found.findings if f.level is Level.ERROR]
    assert [f.check for f in errors] == [module.CAUGHT_BY]
    assert not found.sound
    for finding in found.findings:
        if finding.level is not Level.INFO:  # what was done, why it matters, what to do instead
            assert finding.what
            assert finding.why.endswith(".")
            assert finding.instead.endswith(".")


def test_the_zoo_has_a_specimen_for_every_check() -> None:
    caught = {importlib.import_module(f"{broken.__name__}.{name}").CAUGHT_BY for name in ZOO}
    assert caught == {check.name for check in CHECKS} | {"simulation"}


def errors(target: type | object, point: str | None = None) -> list[str]:
    return [f.check for f in check(target, point) if f.level is Level.ERROR]


def warnings(target: type | object) -> dict[str, str]:
    return {f.check: f.what for f in check(target) if f.level is Level.WARNING}


def test_a_finding_names_the_line_at_fault() -> None:
    module = importlib.import_module(f"{broken.__name__}.survival_engine_left")
    (finding,) = [f for f in check(module.Policy) if f.level is Level.ERROR]
    assert "KeyError: 'e4' (survival_engine_left.py:21)" in finding.what
    assert "engines that join, fail and drain" in finding.what


def test_the_cost_of_a_decision_is_told_as_a_ratio_and_in_seconds() -> None:
    (speed,) = [f for f in check(Modest) if f.check == "speed"]
    assert speed.level is Level.INFO
    assert "µs per decision at 64 engines" in speed.what
    assert "× join-shortest-queue" in speed.what


def test_a_policy_that_grows_faster_than_the_fleet_is_warned() -> None:
    found = examine(subject_of(Pairs), [speed.CHECK]).findings
    assert [(f.check, f.level) for f in found] == [("speed", Level.WARNING)]
    assert "keep sums and indexes in the policy" in found[0].instead


def test_a_check_that_would_only_repeat_an_error_is_not_made() -> None:
    module = importlib.import_module(f"{broken.__name__}.clock_hidden")
    verdicts = {v.check: v for v in examine(subject_of(module.Policy)).verdicts}
    assert verdicts["clock"].outcome is Outcome.FAILED
    assert (verdicts["determinism"].outcome, verdicts["determinism"].because) == (Outcome.SKIPPED, "clock")


# --- what is good to know, and no error -------------------------------------------------------------------------------


def test_a_policy_that_does_not_explain_itself_is_warned() -> None:
    what = [f.what for f in check(Terse) if f.level is Level.WARNING]
    assert what == ["the class has no docstring", "width lacks a type or a line under `Args:` in the class docstring"]
    assert errors(Terse) == []


def test_a_class_that_no_other_process_can_import_is_warned() -> None:
    class Local(Modest):
        """Takes the first engine of the model."""

    assert list(warnings(Local)) == ["determinism"]
    assert errors(Local) == []


def test_a_use_of_hash_that_does_no_harm_is_a_warning() -> None:
    assert "hash()" in warnings(Spread)["determinism"]
    assert errors(Spread) == []


def test_only_a_policy_that_calls_itself_an_oracle_may_know_the_future() -> None:
    assert errors(OracleShortest) == []
    assert errors(PeekingShortest) == ["future"]


def test_parameters_that_are_needed_can_be_given() -> None:
    (missing,) = [f for f in check(Tuned) if f.level is Level.ERROR]
    assert missing.check == "parameters"
    assert "needs a value for weight" in missing.what
    assert [f for f in check(Tuned, weight=2) if f.level is Level.ERROR] == []
    (refused,) = [f for f in check(Tuned, weight=-1) if f.level is Level.ERROR]
    assert "weight is -1; it is at least 0" in refused.what


def test_an_object_is_checked_through_copies_and_stays_as_it_is() -> None:
    router = registry.build("router", "round-robin", {}, seed=0)
    router.route(Request(), Fleet.at_rest(3))
    assert errors(router) == []
    assert router.route(Request(id=1), Fleet.at_rest(3)).engine == "e1"


def test_an_object_has_its_parameters_already() -> None:
    with pytest.raises(PolicyError, match="an object has its parameters already"):
        check(Tuned(1.0), weight=2)


# --- which decision point ---------------------------------------------------------------------------------------------


def test_the_decision_point_is_told_from_the_method() -> None:
    assert subject_of(Modest).point == "router"
    assert subject_of(Terse).point == "batcher"
    assert errors(Both, "batcher") == []
    with pytest.raises(PolicyError, match=r"several decision points \(router, batcher\); say which"):
        check(Both)
    with pytest.raises(PolicyError, match=r"none of the methods of a decision point \(route\(\) for a router"):
        check(int)
    with pytest.raises(PolicyError, match=r"is not a batcher: it has no method plan\(\)"):
        check(Modest, "batcher")


def test_a_name_finds_its_decision_point() -> None:
    assert find("lmetric").point == "router"
    assert find("sarathi").point == "batcher"
    with pytest.raises(PolicyError, match="vllm is a router and a batcher and a speculator; say which"):
        find("vllm")
    with pytest.raises(PolicyError, match="no router 'lmetrik'; did you mean 'lmetric'"):
        find("lmetrik")


# --- the kit itself ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", registry.POINTS)
def test_the_stories_are_the_same_every_time_and_consistent(point: str) -> None:
    told = stories(point)
    assert told == stories(point)
    for call in (call for story in told for call in story.calls):
        for engine in call[1].engines if point == "router" else call[0].members if point == "scaler" else call:
            assert isinstance(engine, Engine)
            assert engine.running_count == len(engine.running)
            assert engine.waiting_count == len(engine.waiting)
            assert engine.kv_tokens_used <= engine.kv_tokens_capacity


def test_what_a_policy_is_made_of_is_read_and_nothing_beside_it() -> None:
    def reached(cls: type) -> dict[str, set[str]]:
        return {
            module.name: {s.name for s in module.reached if isinstance(s, ast.FunctionDef | ast.ClassDef)}
            for module in modules_of(*cls.__mro__)
        }

    assert reached(LMetric) == {
        "policies.routers": {"LMetric", "_smallest", "_none_serves"},
        "policies.prefixes": {"PrefixIndex"},
    }
    assert reached(PeekingShortest) == {"tests.policies.specimens": {"PeekingShortest", "OracleShortest"}}


def test_traps_leave_no_trace() -> None:
    def trapped() -> tuple[object, ...]:
        clock = (time.time, datetime.datetime, importlib.import_module(f"{broken.__name__}.clock_today").when)
        return (*clock, random.random, np.random.normal, os.environ, builtins.print, threading.Thread.start)

    before, state = trapped(), random.getstate()
    for specimen in ("clock_today", "randomness_module", "environment_variable", "threads_timer", "io_print"):
        check(importlib.import_module(f"{broken.__name__}.{specimen}").Policy)
    assert all(now is then for now, then in zip(trapped(), before, strict=True))
    assert random.getstate() == state


def test_traps_spring_in_their_own_thread_only() -> None:
    """Test runners and servers have threads that look at the clock all the time."""
    seen: list[float] = []
    with Traps(()) as traps:
        other = threading.Thread(target=lambda: seen.append(time.time()))
        other.start()
        with traps.armed():
            other.join()
        with traps.armed():
            seen.append(time.time())
    assert len(seen) == 1
    assert [offence.what for offence in traps.offences] == ["calls time.time()"]


def test_an_import_within_a_call_is_no_file_access() -> None:
    import colorsys  # any module that nothing else has loaded under this name
    import sys

    del sys.modules["colorsys"]
    with Traps(()) as traps, traps.armed():
        importlib.import_module("colorsys")
    assert traps.offences == []
    assert colorsys.__name__ == "colorsys"
