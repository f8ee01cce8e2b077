"""One measured serving run: what was served, how it was loaded, and the latencies that its client saw."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Part = Literal["fit", "held out"]
DEFAULT_REQUESTS_PER_SLOT = 10
"""Requests in all = this × concurrency, InferenceX's rule; assumed where a source does not say."""


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """``concurrency`` requests under way at any time, ``requests`` in all, all of the first at once.

    Lengths are drawn evenly from ``shortest`` × the nominal length to the nominal length; 1 = all alike.
    """

    concurrency: int
    requests: int
    shortest: float


@dataclass(frozen=True, slots=True)
class Stages:
    """Poisson arrivals at each rate (1/s) in turn, for so many seconds each."""

    rates: tuple[float, ...]
    seconds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Replay:
    """Recorded arrivals (s), prompt and output tokens, and each request's measured TTFT and TPOT (s, null for one token)."""

    arrival_s: tuple[float, ...]
    prompt_tokens: tuple[int, ...]
    output_tokens: tuple[int, ...]
    ttft_s: tuple[float, ...] = field(repr=False)
    tpot_s: tuple[float, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Measured:
    """A row of a measured data set.

    ``id``: unique in ``dataset``. ``precisions``: names of the precision in the library, best first. ``knobs``: the engine's, under
    vLLM's names, where the source tells them. ``prompt_tokens``, ``output_tokens``: nominal. ``ttft_s``, ``tpot_s``: as published;
    ``statistic``: of the requests ("mean", "median" or, where a source does not say, "unknown"). ``async_scheduling``: whether the
    engine plans a step while the one before it runs. ``client_known``: whether the source tells how the load was made.
    ``excluded``: the rule that leaves the row out, or ``None``.
    """

    dataset: str
    id: str
    model: str
    gpu: str
    engine: str
    version: str
    precisions: tuple[str, ...]
    kv_precision: Literal["bf16", "fp8"]
    tensor_parallel: int
    prompt_tokens: int
    output_tokens: int
    load: ClosedLoop | Stages | Replay
    knobs: Mapping[str, Any]
    ttft_s: float
    tpot_s: float
    statistic: Literal["mean", "median", "unknown"]
    expert_parallel: bool = False
    async_scheduling: bool = True
    client_known: bool = True
    excluded: str | None = None

    @property
    def concurrency(self) -> int | None:
        """Requests under way, of a closed loop."""
        return self.load.concurrency if isinstance(self.load, ClosedLoop) else None

    @property
    def configuration(self) -> str:
        """What the row is split by: repeated measurements of one configuration, on other days or in other dumps, stay together."""
        load = f"c{self.concurrency}" if isinstance(self.load, ClosedLoop) else self.id.split("/")[0]
        lengths = f"{self.prompt_tokens}x{self.output_tokens}"
        return "/".join((self.model, self.gpu, self.engine, self.precisions[0], f"tp{self.tensor_parallel}", lengths, load))

    @property
    def part(self) -> Part:
        """ "fit" where SHA-256 of ``configuration`` begins with an even byte, else "held out": about half each, by rule."""
        return "held out" if hashlib.sha256(self.configuration.encode()).digest()[0] % 2 else "fit"

    @property
    def system(self) -> str:
        """Rows of one system share what may be fitted: a model under one version of an engine on one type of GPU."""
        return f"{self.model}, {self.engine} {self.version}, {self.gpu}"


SAME_SHAPE = {"minimax-m2.5": "minimax-m2", "kimi-k2.5": "kimi-k2", "deepseek-r1": "deepseek-v3"}
"""Later models of one architecture and size (their config.json), and the library's name for it."""


def library_name(model: str) -> str:
    """A model's name in the library, from its name on the Hugging Face hub: ``Qwen/Qwen3-235B-A22B-FP8`` is ``qwen3-235b-a22b``."""
    name = model.rsplit("/", 1)[-1].lower()
    for suffix in ("-v0.1", "-hf", "-fp8", "-fp8-dynamic", "-instruct"):
        name = name.removesuffix(suffix)
    return SAME_SHAPE.get(name, name)
