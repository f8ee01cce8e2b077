"""The study on real engines that is kept as an example."""

from __future__ import annotations

from figures.scoot.example import FOLDER, compared
from figures.tuning.carry import agreements
from figures.tuning.knobs import space_of
from traces.scenario import load_scenario


def test_the_example_is_of_todays_space_and_its_trials_can_be_held_against_the_simulator() -> None:
    found, itself, objectives, seed = compared()
    bounds = ["max_num_seqs=2..64", "max_num_batched_tokens=64..1024"]
    space = space_of(load_scenario(FOLDER / "cpu.yaml"), bounds=bounds, on_cpu=True)
    assert len(found) == 30
    assert found[0].config == space.default
    assert all(space.allows(one.config) for one in found)
    assert all(one.simulated.values is not None for one in found)
    for pairs in (found, itself):
        (agreement,) = agreements(pairs, objectives, seed)
        assert agreement.n == sum(one.real.values is not None for one in pairs) == 30
