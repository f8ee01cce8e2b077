"""What PolyServe is measured on: workloads, systems, and the optimum that rates are given in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from figures.frame import SCENARIOS

if TYPE_CHECKING:
    from policies.latency import FingerprintLatency
    from policies.polyserve.optimal import EngineRoom, Lengths

CO, PD = "co", "pd"
"""Serving styles: prefill and decode on the same engines, or apart."""
SCENARIO = SCENARIOS / "polyserve.yaml"
TPOT = {"20ms": 0.1, "30ms": 0.2, "50ms": 0.3, "100ms": 0.4}
"""Tier → its share of requests."""
TTFT = (300, 500, 1000)
_SAMPLE = 50_000


@dataclass(frozen=True)
class Workload:
    """``trace``: as a scenario has it. ``warmup_s``, ``window_s``: a few times as long as most requests take. ``longest``: context
    to which prompts are cut, where some are longer than step times are known for.
    """

    key: str
    title: str
    trace: str
    warmup_s: float
    window_s: float
    drain_s: float
    longest: int | None = None

    def sets(self, *, quick: bool) -> list[str]:
        """The scenario's overrides."""
        share = 0.5 if quick else 1.0
        cut = [] if self.longest is None else [f"engine.max_model_len={self.longest}", "workload.chat.truncate=true"]
        return [
            *cut,
            f"workload.chat.trace={self.trace}",
            f"warmup={share * self.warmup_s:g}s",
            f"duration={share * (self.warmup_s + self.window_s):g}s",
            f"drain={self.drain_s:g}s",
        ]

    @cached_property
    def lengths(self) -> Lengths:
        """Means of a sample of its requests."""
        from policies.polyserve.optimal import Lengths
        from policies.streams import generator
        from traces.builtin import BUILTIN
        from traces.lengths import LengthModel, Uniform

        if self.trace in BUILTIN:
            model = BUILTIN[self.trace].lengths
        else:
            longest_prompt, longest_output = self.uniform
            model = LengthModel(Uniform(1, longest_prompt), Uniform(1, longest_output))
        drawn = model.sample(_SAMPLE, generator(0, "polyserve", self.key))
        prompt, output = (tokens.clip(max=self.longest or 2**31 - 1).astype(float) for tokens in drawn)
        context = (output * (prompt + output / 2)).sum() / output.sum()
        return Lengths(float(prompt.mean()), float(output.mean()), float(context), float((prompt**2).mean() / prompt.mean() / 2))

    @property
    def uniform(self) -> tuple[int, int]:
        """The longest prompt and output of a uniform workload."""
        prompt, output = self.key.removeprefix("uniform-").split("-")
        return int(prompt), int(output)


def _uniform(prompt: int, output: int, warmup_s: float, window_s: float, drain_s: float) -> Workload:
    trace = f"{{prompt_tokens: {{uniform: {{min: 1, max: {prompt}}}}}, output_tokens: {{uniform: {{min: 1, max: {output}}}}}}}"
    return Workload(f"uniform-{prompt}-{output}", f"uniform {prompt}/{output}", trace, warmup_s, window_s, drain_s)


WORKLOADS = {
    workload.key: workload
    for workload in (
        Workload("azure-conv", "Azure conversations", "azure-2023-conv", 16, 8, 25),
        Workload("azure-code", "Azure code", "azure-2023-code", 10, 8, 10),
        Workload("mooncake-conv", "Mooncake conversations", "mooncake-conversation", 60, 60, 40, 65_000),
        Workload("servegen", "ServeGen (DeepSeek-R1)", "servegen-deepseek-r1", 200, 60, 300),
        _uniform(512, 512, 14, 5, 25),
        _uniform(4096, 1024, 40, 20, 50),
    )
}

OURS = "PolyServe"
GUESTS = "PolyServe, guests in the loosest tier"
SYSTEMS = {
    CO: {
        OURS: "polyserve",
        "CO-Random": "co-random",
        "CO-Minimal": "co-minimal",
        "CO-Chunk": "co-chunk",
    },
    PD: {OURS: "polyserve", "PD-Random": "pd-random", "PD-Minimal": "pd-minimal"},
}
"""Style → the paper's systems, and the stacks that they are here."""
MORE = {
    "LMetric": "{router: lmetric, batcher: polyserve}",
    "Llumnix-like": "{router: llumnix, batcher: polyserve}",
    "QoServe": "qoserve",
}
"""Systems that the paper does not compare with."""


def policy_sets(system: str, stack: str, style: str, engines: int, prefillers: int = 0) -> list[str]:
    """Overrides that give a system its policies and its fleet: PolyServe starts with an engine per tier, the others with all."""
    serving = engines - prefillers
    role = "" if style == CO else ", role: decode"
    pools = (
        tiered(dict.fromkeys(list(TPOT)[:serving], 1), serving, role) if system in (OURS, GUESTS) else [_pool("all", serving, role)]
    )
    sets = [f"policy={stack}"]
    if style == PD:
        pools.append(_pool("prefill", prefillers, ", role: prefill"))
        # The paper's KV transfer is not recovered: as good as free here.
        sets.append("kv_transfer={bandwidth: 10TB/s, latency: 0s}")
    return [*sets, f"fleet=[{', '.join(pools)}]"]


def tiered(up: Mapping[str, int], engines: int, more: str = "", start_up: str = "0s") -> list[str]:
    """The pools of a fleet that starts with so many engines ``up`` in each tier, and with the rest of them parked."""
    more = f"{more}, start_up: {start_up}"
    pools = [_pool(f"first-{tier}", count, f"{more}, tier: {tier}") for tier, count in up.items()]
    rest = engines - sum(up.values())
    return [*pools, _pool("pool", rest, f"{more}, parked: {rest}")] if rest else pools


def _pool(name: str, engines: int, more: str) -> str:
    return f"{{name: {name}, gpu: h200, gpus: {engines}{more}}}"


def optimum(workload: Workload, style: str, engines: int, tiers: Mapping[str, float] = TPOT) -> tuple[float, int]:
    """The optimal rate in requests per second, and how many engines compute prompts where that is apart (else 0)."""
    from policies.polyserve.optimal import optimal_rate, optimal_rate_apart

    latency, room = engine()
    fractions = {float(tier.removesuffix("ms")) / 1e3: share for tier, share in tiers.items()}
    if style == CO:
        return optimal_rate(engines, fractions, latency, room, workload.lengths), 0
    return optimal_rate_apart(engines, fractions, latency, room, workload.lengths)


def engine() -> tuple[FingerprintLatency, EngineRoom]:
    """What is believed of the scenario's engines, and what bounds their batches."""
    from policies.latency import FingerprintLatency
    from policies.polyserve.optimal import EngineRoom
    from traces.fingerprints import pool_fingerprint
    from traces.scenario import load_scenario

    pool = load_scenario(SCENARIO).pools[0]
    room = EngineRoom(pool.engine.max_num_seqs, pool.engine.max_num_batched_tokens, pool.kv_tokens)
    return FingerprintLatency(pool_fingerprint(pool.model, pool.hardware)), room


def tier_metrics(tier: str) -> list[str]:
    """The attainment of a TPOT tier's requests, by TTFT."""
    return [f"attainment_dslo@{tier}-{ttft}" for ttft in TTFT]
