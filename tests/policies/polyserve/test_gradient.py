"""The router's index of engines by load: it says what a look at every engine says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.polyserve.gradient import Gradient, Gradients
from policies.views import Engine
from sim.run import simulate
from traces.scenario import Scenario

TIERS = [{"share": share, "tier": f"{ms}ms", "slo": {"ttft": "400ms", "tpot": f"{ms}ms"}} for share, ms in ((0.3, 20), (0.7, 60))]
CO = {"gpu": "h200", "gpus": 8, "parked": 6, "start_up": "0s"}
APART = [
    {"name": "prefill", "gpu": "h200", "gpus": 3, "role": "prefill"},
    {"name": "decode", "gpu": "h200", "gpus": 5, "role": "decode", "parked": 3, "start_up": "500ms"},
]


def scenario(router: str, fleet: Any, rate: float, seed: int) -> Scenario:
    """A few seconds of a load that fills the fleet."""
    return Scenario.model_validate(
        {
            "model": "llama-3.1-8b",
            "fleet": fleet,
            "engine": {"max_num_seqs": 48, "enable_prefix_caching": False},
            "workload": [{"name": "chat", "trace": "azure-2023-conv", "arrivals": "poisson", "rate": rate, "slo_mix": TIERS}],
            "policy": {"router": router, "scaler": {"polyserve": {"period_s": 2.0}}, "batcher": "polyserve"},
            "duration": 5.0,
            "drain": 30.0,
            "seed": seed,
        }
    )


@pytest.mark.parametrize("fleet", [CO, APART], ids=["together", "apart"])
@pytest.mark.parametrize("rate", [60.0, 260.0])
def test_the_index_places_every_request_where_a_look_at_every_engine_does(fleet: Any, rate: float) -> None:
    indexed, plain = (
        simulate(scenario(router, fleet, rate, seed=3)).requests
        for router in ("polyserve", "tests.policies.polyserve.plain:PlainScan")
    )
    assert indexed.num_rows > 250
    assert indexed.equals(plain)


def engines(loads: list[int]) -> list[Engine]:
    return [Engine(id=f"e{i}", running_count=load) for i, load in enumerate(loads)]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.lists(st.tuples(st.integers(0, 11), st.booleans()), max_size=40))
def test_engines_come_by_load_however_loads_have_changed_meanwhile(loads: list[int], events: list[tuple[int, bool]]) -> None:
    fleet = engines(loads)
    gradient = Gradient(range(len(fleet)), fleet, {})
    for place, sent in events:
        place %= len(fleet)
        now = fleet[place].running_count
        fleet[place] = replace(fleet[place], running_count=now + 1 if sent else max(0, now - 1))
        if sent:
            gradient.sent(place)
    expected = sorted(range(len(fleet)), key=lambda i: -fleet[i].running_count)
    assert list(gradient.fullest_first(fleet, {})) == expected
    assert list(gradient.fullest_first(fleet, {})) == expected


def test_a_full_engine_is_left_alone_until_a_request_has_left_it() -> None:
    fleet = [Engine(id="e0", tier="20ms", running_count=5), Engine(id="e1", tier="20ms", running_count=3)]
    index, asked = Gradients(), []

    def takes(engine: Engine) -> bool | None:
        asked.append(engine.id)
        return None if engine.id == "e0" else True

    index.see(fleet)
    assert index.fullest("m", "20ms", takes) is fleet[1]  # type: ignore[arg-type]
    assert index.fullest("m", "20ms", takes) is fleet[1]  # type: ignore[arg-type]
    assert asked == ["e0", "e1", "e1"]
    after = [replace(fleet[0], running_count=4), fleet[1]]
    index.see(after)  # another fleet, which may have an engine more: who is full is remembered by id
    assert index.fullest("m", "20ms", takes) is after[1]  # type: ignore[arg-type]
    assert asked[3:] == ["e0", "e1"]
