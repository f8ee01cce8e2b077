"""Trees, chains and known drafters on a simulated engine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from policies.decisions import Drafts, DraftShape, Selection
from policies.drafting.known import DRAFTERS
from policies.drafting.world import DraftWorld
from policies.redecide import redecide_record
from policies.speculators import FixedK
from policies.types import DraftView
from sim.drafters import KnownDrafter
from sim.run import simulate
from tests.sim.test_pipeline import STEP_S, play, requests
from traces.errors import InputError
from traces.scenario import Scenario

EAGLE3 = "eagle3/llama-3.1-8b/mt-bench"
WORK = requests(np.linspace(0, 1, 30).tolist(), [20] * 30, [60] * 30)


def drafter(widest: int, name: str = EAGLE3, seed: int = 3) -> KnownDrafter:
    return KnownDrafter(DraftWorld(seed, [DRAFTERS[name]]), [0], widest)


class Trees:
    """Asks for trees of ``width``; verifies of each the nodes that ``choose`` names, or all."""

    def __init__(self, width: int, choose: object = None) -> None:
        self.width, self.choose, self.seen = width, choose, []

    def shape(self, engine: DraftView) -> DraftShape:
        return DraftShape(3, width=self.width)

    def select(self, engine: DraftView, drafts: Drafts) -> Selection:
        self.seen.append(drafts)
        return Selection(nodes=None if self.choose is None or not drafts.trees else dict.fromkeys(drafts.trees, self.choose))


def test_a_wider_tree_has_more_accepted_in_fewer_steps() -> None:
    chains, trees = (play(WORK, drafts=3, speculator=Trees(width), drafter=drafter(4)) for width in (1, 4))
    assert trees.column("accepted").sum() > 1.1 * chains.column("accepted").sum()
    assert trees.column("last_token_s").max() < chains.column("last_token_s").max()
    assert trees.column("drafted").sum() > 2 * chains.column("drafted").sum()


def test_a_tree_is_cut_to_a_chain_on_an_engine_that_verifies_chains() -> None:
    wide = Trees(4)
    cut, chains = (play(WORK, drafts=3, speculator=asked, drafter=drafter(1)) for asked in (wide, Trees(1)))
    assert all(drafts.trees is None for drafts in wide.seen)
    assert cut.column("last_token_s").tolist() == chains.column("last_token_s").tolist()


def test_the_first_choice_of_a_tree_is_the_chain_of_one() -> None:
    first, chain = (play(WORK, drafts=3, speculator=asked, drafter=drafter(4)) for asked in (Trees(4, [0]), FixedK(k=1)))
    for column in ("drafted", "accepted", "last_token_s"):
        assert first.column(column).tolist() == chain.column(column).tolist()


@pytest.mark.parametrize("nodes", [[4], [0, 0], [99], [-1]])
def test_nodes_without_their_parents_twice_or_from_nowhere_are_refused(nodes: Sequence[int]) -> None:
    with pytest.raises(InputError, match=r"policy.speculator: on engine e0 verifies node .* after its parent"):
        play(WORK, drafts=3, speculator=Trees(4, nodes), drafter=drafter(4))


def test_lengths_where_there_are_trees_are_refused() -> None:
    class Lengths(Trees):
        def select(self, engine: DraftView, drafts: Drafts) -> Selection:
            return Selection(dict.fromkeys(drafts.trees or {}, 1))

    with pytest.raises(InputError, match="gives lengths where there are trees"):
        play(WORK, drafts=3, speculator=Lengths(4), drafter=drafter(4))


def test_a_fixed_length_accepts_what_its_drafter_was_measured_to() -> None:
    work = requests([0.1 * i for i in range(40)], [20] * 40, [200] * 40)
    run = play(work, drafts=3, speculator=FixedK(k=3), drafter=drafter(1))
    share = run.column("accepted").sum() / run.column("drafted").sum()
    assert 3 * share == pytest.approx(0.7296 + 0.5208 + 0.3545, abs=0.08)


def test_an_engine_that_plans_ahead_accepts_at_the_same_rates() -> None:
    work = requests([0.1 * i for i in range(40)], [20] * 40, [200] * 40)
    run = play(work, drafts=3, speculator=FixedK(k=3), drafter=drafter(1), async_scheduling=True)
    share = run.column("accepted").sum() / run.column("drafted").sum()
    assert 3 * share == pytest.approx(0.7296 + 0.5208 + 0.3545, abs=0.08)


def test_every_layer_of_a_tree_is_a_pass_of_the_drafter() -> None:
    work = requests([0.0], [10], [2])
    run = play(work, drafts=3, speculator=Trees(4), drafter=drafter(4), draft_s=2e-3)
    assert run.column("last_token_s")[0] == pytest.approx(2 * STEP_S + 3 * 2e-3)


def scenario(**speculative: object) -> Scenario:
    entry = {"slo": {"tpot": "30ms"}, "rate": 6.0}
    return Scenario.model_validate(
        {
            "model": "llama-3.1-8b",
            "fleet": {"gpu": "h100", "gpus": 1},
            "engine": {"speculative": {"method": "draft_model", "num_speculative_tokens": 5, "draft_time": "1ms", **speculative}},
            "policy": {"speculator": {"adaserve": {"budget": 128, "count_prompts": True, "prompts": "in-time"}}},
            "workload": [
                {"name": "code", "trace": {"prompt_tokens": 200, "output_tokens": 60}, **entry},
                {"name": "chat", "trace": {"prompt_tokens": 400, "output_tokens": 60}, **entry},
            ],
            "duration": 4,
            "decisions": "full",
        }
    )


@pytest.mark.parametrize("width", [1, 3])
def test_what_was_decided_on_trees_is_decided_again_from_the_log(width: int) -> None:
    record = simulate(scenario(drafter="specbundle/llama-3.1-8b/humaneval", tree_width=width))
    trees = [entry for entry in record.decisions or () if "trees" in entry]
    assert bool(trees) == (width > 1)
    again = redecide_record(record.manifest, record.decisions or ())
    assert again.same, again.differences[:1]
    assert again.decisions > 100


def test_each_workload_entry_has_its_own_drafter() -> None:
    names = {"code": "specbundle/llama-3.1-8b/humaneval", "chat": "eagle3/qwen3-vl-30b-a3b/mt-bench"}
    table = simulate(scenario(drafter=names)).requests.to_pydict()
    share = {
        name: sum(a for a, t in zip(table["accepted_tokens"], table["tier"], strict=True) if t == name)
        / sum(d for d, t in zip(table["drafted_tokens"], table["tier"], strict=True) if t == name)
        for name in names
    }
    assert share["code"] > 2 * share["chat"]
