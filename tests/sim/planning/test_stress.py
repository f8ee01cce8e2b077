"""What becomes of an answer when something else comes than was said."""

import pytest

from sim.plan import Question, plan
from tests.sim.test_plan import SCENARIO

ONLY = {"bf16": ("bf16",)}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    file = tmp_path_factory.mktemp("stress") / "chat.yaml"
    file.write_text(SCENARIO)
    return plan(file, Question({"a100": 16}, precisions=ONLY, most=1, seeds=1), jobs=1)


def test_more_of_anything_takes_no_fewer_engines_and_less_no_more(found):
    best = found.best
    assert {one.what for one in found.shaken} == {"load", "prompt lengths", "output lengths"}
    for one in found.shaken:
        assert one.engines is not None
        assert (one.engines - best.engines) * (one.factor - 1) >= 0
    attained = {one.factor: one.attainment for one in found.shaken if one.what == "load"}
    assert attained[0.8] >= attained[1.2] - 0.02  # the strict 5 % miss at any load


def test_the_answer_carries_its_load_and_not_much_more(found):
    head = found.headroom
    assert head.lo <= head.load <= head.hi
    assert 0.9 < head.load < 1 + 2 / found.best.engines
    assert head.binds
