"""GPUs that servers share one after the other: each is one server's at a time, and free when that server has been stopped."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from replay.cards import Cards, cards_of
from replay.launch import parking
from replay.managed import ManagedServer, tail
from replay.vllm_serve import CORES
from replay.world import World
from tests.ports import free_ports
from traces.errors import InputError
from traces.scenario import Scenario

_TELLS = """
import asyncio, os, sys
from tests.replay.fake_server import FakeServer
async def main():
    print("on", os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
    await FakeServer().start(int(sys.argv[1]))
    await asyncio.Event().wait()
asyncio.run(main())
"""


def test_a_gpu_is_one_servers_until_it_is_given_back() -> None:
    async def run() -> list[Mapping[str, str]]:
        cards = Cards(["0", "1", "2"])
        seen = [await cards.take("e0", 2)]
        waiting = asyncio.ensure_future(cards.take("e1", 2))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await cards.give_back("e0")
        await cards.give_back("e0")  # it holds nothing any more
        return [*seen, await waiting]

    first, second = asyncio.run(run())
    assert first == {"CUDA_VISIBLE_DEVICES": "0,1"}
    assert sorted(second["CUDA_VISIBLE_DEVICES"].split(",")) == ["0", "1"]


def test_a_gpu_with_places_is_shared_by_as_many_servers_and_the_emptiest_is_taken_first() -> None:
    async def run() -> list[str]:
        cards = Cards(["0", "1"], CORES, places=2)
        seen = [(await cards.take(server, 1))[CORES] for server in ("e0", "e1", "e2", "e3")]
        waiting = asyncio.ensure_future(cards.take("e4", 1))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await cards.give_back("e3")
        return [*seen, (await waiting)[CORES]]

    assert asyncio.run(run()) == ["0", "1", "0", "1", "1"]


def test_servers_start_on_the_gpus_that_are_free_then(tmp_path: Path) -> None:
    def server(name: str, cards: Cards, gpus: int) -> ManagedServer:
        made = ManagedServer(name, [], port := free_ports(), tmp_path / f"{name}.log", dict(os.environ), cards=cards, gpus=gpus)
        made._command = [sys.executable, "-c", _TELLS, str(port)]
        return made

    async def run() -> None:
        cards = Cards(["4", "5"])
        small, large = server("e0", cards, 1), server("e1", cards, 2)
        await small.start(30)
        with pytest.raises(InputError, match="e1: no 2 GPUs were free within"):
            await large.start(0.05)
        start = asyncio.ensure_future(large.start(30))
        await small.stop()
        await start
        await large.stop()

    asyncio.run(run())
    assert "on 4" in tail(tmp_path / "e0.log")
    assert any(line in ("on 5,4", "on 4,5") for line in tail(tmp_path / "e1.log"))


@pytest.mark.parametrize(("parked", "answer"), [("auto", "stop"), ("stop", "stop"), ("sleep", None), ("idle", None)])
def test_parked_servers_of_a_small_inventory_hold_no_gpu(parked: str, answer: str | None) -> None:
    world = World(
        Scenario.model_validate(
            {
                "model": "llama-3.1-8b",
                "inventory": {"h200": 1},
                "fleet": {"gpu": "h200", "gpus": 2, "parked": 1},
                "workload": [{"name": "c", "trace": {"prompt_tokens": 9, "output_tokens": 9}, "rate": 1, "requests": 2}],
                "replay": {"engines": "managed", "device": "cuda", "parked": parked},
            }
        )
    )
    if answer is None:
        with pytest.raises(InputError, match=r"replay\.parked: servers that (idle|sleep) keep their GPUs"):
            parking(world)
    else:
        assert parking(world) == answer


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="processes are not pinned on this system")
@pytest.mark.parametrize(
    ("cores", "fault"),
    [([[0], [9999]], "names core 9999, and there are"), ([[0]], "stands for 1 GPUs, and there are 2")],
)
def test_cores_that_cannot_stand_for_the_gpus_are_told(cores: list[list[int]], fault: str) -> None:
    there = min(os.sched_getaffinity(0))
    scenario = Scenario.model_validate(
        {
            "model": "llama-3.1-8b",
            "inventory": {"h200": 2},
            "fleet": {"gpu": "h200", "gpus": 2},
            "workload": [{"name": "c", "trace": {"prompt_tokens": 9, "output_tokens": 9}, "rate": 1, "requests": 2}],
            "replay": {"cores": [[core or there for core in some] for some in cores]},
        }
    )
    assert scenario.replay is not None
    with pytest.raises(InputError, match=fault):
        cards_of(scenario, scenario.replay)
