"""What a study is to make large or small: metrics of the dictionary under the names that tuners use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from traces.errors import InputError

_NAMED: Mapping[str, tuple[str, bool]] = {
    "throughput": ("throughput_req_s", True),
    "token-throughput": ("throughput_tok_s", True),
    "goodput": ("goodput_req_s", True),
    "attainment": ("attainment", True),
    "p95-latency": ("e2e_s.p95", False),
    "ttft": ("ttft_s.mean", False),
    "tpot": ("tpot_s.mean", False),
}
_MOST = 3


@dataclass(frozen=True, slots=True)
class Objective:
    """A metric and its direction. ``name``: what the user calls it."""

    name: str
    metric: str
    maximise: bool

    @property
    def latency(self) -> bool:
        """Whether it is known of finished requests only, so that unfinished ones would flatter it."""
        return self.metric.partition(".")[0] in ("ttft_s", "tpot_s", "e2e_s", "itl_s", "queue_s")

    def value(self, metrics: Mapping[str, Any]) -> float | None:
        """Out of the ``metrics`` of a summary as plain JSON."""
        found = metrics.get(self.metric)
        return None if found is None else float(found)

    def cost(self, value: float) -> float:
        """Positive, and small is good: the latency, or seconds per unit of what is to be large."""
        return 1 / max(value, 1e-9) if self.maximise else value


def parse_objectives(text: str) -> tuple[Objective, ...]:
    """Of ``throughput``, ``ttft+tpot`` or any metric's key such as ``ttft_s.p99``, joined by ``+``.

    Raises:
        InputError: an unknown or repeated one, or more than three.
    """
    names = [name.strip() for name in text.split("+")]
    found = tuple(_objective(name) for name in names)
    if len({objective.metric for objective in found}) < len(found):
        raise InputError(f"--objective {text}: names one of them twice; give each once")
    if len(found) > _MOST:
        raise InputError(f"--objective {text}: has {len(found)} objectives; up to {_MOST} can be weighed against each other")
    return found


def _objective(name: str) -> Objective:
    from traces.metrics import METRICS
    from traces.scenario.document import nearest

    if name in _NAMED:
        return Objective(name, *_NAMED[name])
    keys = {key: metric for metric in METRICS for key in metric.keys}
    if name not in keys:
        raise InputError(f"--objective {name}: there is none; {nearest(name, [*_NAMED, *keys])}")
    return Objective(name, name, name.startswith(("throughput", "goodput", "attainment", "prefix_hit", "busy")))
