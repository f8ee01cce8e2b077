"""Step times of a scenario's engine with different numbers of layers, each in a process of its own, which gives memory back."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from replay.run import prepare_environment
from replay.samples import to_data, whole
from traces.scenario import Scenario
from traces.scenario.pools import EnginePool
from traces.scenario.replay import Replay

if TYPE_CHECKING:
    from replay.vllm_measure import Measured


def measure_layers(
    scenario: Scenario, layers: Sequence[int], seconds: float, tell: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Samples of the first pool's engine with each number of layers, and where there are two or more those of the whole model.

    ``seconds``: for all of them, start-up not counted. Plain JSON-able data, as ``replay.samples.to_data`` makes it.
    """
    pool, choice = scenario.pools[0], scenario.replay or Replay()
    samples, about = [], []
    with tempfile.TemporaryDirectory(prefix="twinserve-") as folder:
        for count in layers:
            if tell is not None:
                tell(f"{count} layers")
            truncated = choice.model_copy(update={"layers": count})
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as child:
                found = child.submit(_measure, pool, truncated, Path(folder), seconds / len(layers)).result()
            samples += found.samples
            about.append({**found.about, "complete": found.complete})
    data = to_data(samples, {"model": pool.model, "engines": about})
    if len(set(layers)) > 1:
        data["whole"] = to_data(whole(samples, pool.shape.layers), {})["samples"]
    return data


def _measure(pool: EnginePool, choice: Replay, folder: Path, seconds: float) -> Measured:
    prepare_environment()
    from replay.vllm_measure import measure

    return measure(pool, choice, folder, seconds=seconds)
