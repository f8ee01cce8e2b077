"""The fleets on which the statistics of runs are tried: ``twinserve``'s own road from scenario to record, many seeds of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.backends import run_all
from sim.run import simulate
from traces.metrics import summarise
from traces.record import Record
from traces.scenario import Scenario, load_scenario

_SCENARIO = """
model: {fleet.model}
fleet: {fleet.gpus}
engine: {fleet.engine}
workload:
  - {{name: load, trace: {fleet.trace}, arrivals: {fleet.arrivals}, rate: {fleet.rate_per_s!r}/s, {fleet.slo}}}
policy: {{router: {fleet.router}, batcher: {fleet.batcher}}}
duration: {duration!r}s
drain: 60s
warmup: {fleet.warmup_s!r}s
"""
_CAPACITY_RUNS = 3


@dataclass(frozen=True, slots=True)
class Fleet:
    """A fleet and its load, each part as a scenario has it. ``window_s``: measured, after the warm-up."""

    trace: str
    slo: str
    rate_per_s: float
    window_s: float
    warmup_s: float = 10.0
    gpus: str = "{gpu: h200, gpus: 2}"
    model: str = "llama-3.1-8b"
    engine: str = "{}"
    arrivals: str = "poisson"
    router: str = "least-loaded"
    batcher: str = "vllm"

    @property
    def text(self) -> str:
        """The scenario file."""
        return _SCENARIO.format(fleet=self, duration=self.window_s + self.warmup_s)

    def run(self, seed: int, *sets: str) -> Record:
        """One run, with overrides as `--set` takes them."""
        return simulate(self.scenario(seed, *sets))

    def scenario(self, seed: int, *sets: str) -> Scenario:
        """What is run."""
        return loaded(self.text, seed, *sets)

    def capacity_per_s(self) -> float:
        """Requests per second that it sustains: served over seven windows after a start of three, when a tenth more is offered.

        A flood says where to begin, but overstates it where engines' queues differ: those that drew light requests finish more of
        them. One run's requests may be light as a whole, too: hence the mean of several.
        """
        served = self._served_per_s(4 * self.rate_per_s, runs=1)
        while (again := self._served_per_s(1.1 * served, _CAPACITY_RUNS)) < 0.98 * served:
            served = again
        return again

    def _served_per_s(self, rate_per_s: float, runs: int) -> float:
        times = {"duration": 10, "warmup": 3}
        sets = [f"workload.load.rate={rate_per_s!r}/s", *(f"{key}={n * self.window_s!r}s" for key, n in times.items())]
        found = [summarise(self.run(seed, *sets, "drain=1s", "sim.steps=off")) for seed in range(runs)]
        return sum(float(one.metrics["throughput_req_s"].value or 0.0) for one in found) / runs


TIERS = (
    "slo_mix: [{share: 40%, tier: premium, slo: {ttft: 200ms, tpot: 15ms}}, "
    "{share: 60%, tier: standard, slo: {ttft: 1s, tpot: 30ms}}]"
)
CHAT = Fleet("azure-2023-conv", TIERS, 35.0, window_s=100.0)
"""Two engines with two tiers of chat at about 70 % of what they sustain."""
FLEETS = {
    "chat": CHAT,
    "long prompts": Fleet(
        "{prompt_tokens: {lognormal: {mean: 2000, sigma: 0.8, min: 10, max: 30000}}, output_tokens: 4}",
        "slo: {ttft: 300ms, tpot: 50ms}",
        30.7,
        window_s=200.0,
    ),
    "long answers": Fleet(
        "{prompt_tokens: 200, output_tokens: {lognormal: {mean: 400, sigma: 0.6, min: 10, max: 3000}}}",
        "slo: {ttft: 17ms, tpot: 6.8ms}",
        15.0,
        window_s=300.0,
        warmup_s=20.0,
        gpus="{gpu: h200, gpus: 1}",
        engine="{max_num_seqs: 64}",
    ),
}
"""Fleets at about 70 % load on which intervals are checked."""
TUNED = {
    **FLEETS,
    "70B chat on H100": Fleet(
        "sharegpt",
        "slo: {ttft: 1s, tpot: 60ms}",
        8.0,
        window_s=200.0,
        gpus="{gpu: h100, gpus: 8, tensor_parallel: 4}",
        model="llama-3.1-70b",
        router="vllm",
        batcher="sarathi",
    ),
    "reasoning": Fleet(
        "servegen-deepseek-r1",
        "slo: {ttft: 2s, tpot: 50ms}",
        2.0,
        window_s=600.0,
        warmup_s=120.0,
        gpus="{gpu: h200, gpus: 4, tensor_parallel: 2}",
        model="llama-3.1-70b",
        router="power-of-two",
    ),
}
"""Fleets on which the rules of ``traces.stationarity`` were tuned."""
UNSEEN = {
    "bursty code on A100": Fleet(
        "azure-2023-code",
        "slo: {ttft: 1s, tpot: 50ms}",
        10.0,
        window_s=200.0,
        gpus="{gpu: a100, gpus: 3}",
        arrivals="{gamma: {cv: 2}}",
        router="join-shortest-queue",
    ),
    "scarce KV memory": Fleet(
        "azure-2023-conv",
        "slo: {ttft: 1s, tpot: 50ms}",
        15.0,
        window_s=200.0,
        gpus="{gpu: h100, gpus: 2}",
        engine="{num_gpu_blocks_override: 2000, max_model_len: 16384}",
        router="round-robin",
    ),
    "shared prefixes": Fleet(
        "mooncake-conversation",
        "truncate: true, slo: {ttft: 2s, tpot: 50ms}",
        6.0,
        window_s=200.0,
        warmup_s=250.0,  # until prefix caches are full: nine in ten requests that go on from another come less than that after it
        gpus="{gpu: h200, gpus: 4}",
        engine="{max_model_len: 65536}",
        router="lmetric",
    ),
    "summaries of papers": Fleet(
        "arxiv-summarization",
        "slo: {ttft: 3s, tpot: 80ms}",
        9.0,
        window_s=200.0,
        warmup_s=100.0,  # until the longest answers, which take a minute, are as many as they will be
        gpus="{gpu: a100, gpus: 4, tensor_parallel: 2}",
        router="power-of-two",
        batcher="sarathi",
    ),
}
"""Fleets that no rule was tuned on. What crowds tell was given another rule after "shared prefixes" had been looked at."""


def loaded(text: str, seed: int, *sets: str) -> Scenario:
    """A scenario given as text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "benchmark.yaml"
        path.write_text(text)
        return load_scenario(path, (*sets, f"seed={seed}"))


def each(function: Callable[[int], Any], seeds: Sequence[int], jobs: int | None) -> list[Any]:
    """``function`` of every seed, in the seeds' order."""
    found = dict(run_all(function, seeds, jobs=jobs))
    return [found[i] for i in range(len(seeds))]


def chosen(fleets: dict[str, Fleet], names: Sequence[str]) -> dict[str, Fleet]:
    """Those named, or all.

    Raises:
        SystemExit: one is not there.
    """
    if unknown := [name for name in names if name not in fleets]:
        raise SystemExit(f"there is no fleet {unknown[0]!r}; there are {', '.join(fleets)}")
    return {name: fleets[name] for name in names} if names else fleets
