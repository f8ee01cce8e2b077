"""What a fleet could serve at most: every engine in one tier, always full, no queue, no variance (arXiv 2507.17769, §5).

The paper gives throughput in shares of an optimum that it does not define in recoverable text. This one is
N / Σ fraction(tier) · cost(tier), cost in engine-seconds per request, with every batch at the largest size whose step takes no
longer than the tier's TPOT. Apart, a request costs prompt / (prefill tokens per second) on one engine and output · step / batch on
another. Together, every step decodes a batch and computes as many prompt tokens as its requests bring on average.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from policies.latency import LatencyModel, StepShape


@dataclass(frozen=True, slots=True)
class Lengths:
    """Means over requests. ``context``: of a request that decodes, over the time it does, E[out · (prompt + out / 2)] / E[out].
    ``attended``: tokens that a prompt's token attends to, over all prompts' tokens, E[prompt²] / 2 E[prompt].
    """

    prompt: float
    output: float
    context: float
    attended: float


@dataclass(frozen=True, slots=True)
class EngineRoom:
    """What bounds a batch."""

    max_seqs: int
    max_batched_tokens: int
    kv_tokens: int


def prefill_tokens_per_s(latency: LatencyModel, room: EngineRoom, lengths: Lengths) -> float:
    """Prompt tokens that an engine computes per second when it does nothing else, at its best batch of such prompts."""
    rates = []
    whole = room.max_batched_tokens
    for share in (0.25, 0.5, 1.0):
        tokens = whole * share
        seqs = max(1, round(tokens / lengths.prompt))
        rates.append(tokens / latency.seconds(StepShape(int(tokens), tokens * lengths.attended, seqs)))
    return max(rates)


def largest_batch(latency: LatencyModel, room: EngineRoom, lengths: Lengths, tpot_s: float, *, prefill: bool) -> int:
    """Decodes in a step of at most ``tpot_s``; with ``prefill`` beside the prompt tokens that keep their number up."""

    def fits(seqs: int) -> bool:
        tokens = seqs * (1 + lengths.prompt / lengths.output) if prefill else seqs
        if seqs > room.max_seqs or seqs * lengths.context > room.kv_tokens or tokens > room.max_batched_tokens:
            return False
        return step_s(latency, lengths, seqs, prefill=prefill) <= tpot_s

    low, high = 0, room.max_seqs + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def step_s(latency: LatencyModel, lengths: Lengths, seqs: int, *, prefill: bool) -> float:
    """A step of so many decodes; with ``prefill`` beside the prompt tokens that keep their number up."""
    tokens = seqs * lengths.prompt / lengths.output if prefill else 0.0
    chunks = max(1, round(tokens / lengths.prompt)) if tokens else 0
    return latency.seconds(StepShape(int(tokens), tokens * lengths.attended, chunks, seqs, int(seqs * lengths.context)))


def decode_cost_s(latency: LatencyModel, room: EngineRoom, lengths: Lengths, tpot_s: float, *, prefill: bool) -> float:
    """Engine-seconds of one request's steps at the largest batch, which take the budget or, where memory bounds it, less."""
    batch = largest_batch(latency, room, lengths, tpot_s, prefill=prefill)
    return lengths.output * step_s(latency, lengths, batch, prefill=prefill) / batch if batch else float("inf")


def costs_s(latency: LatencyModel, room: EngineRoom, lengths: Lengths, tpot_s: float) -> tuple[float, float]:
    """Engine-seconds of one request of a tier where prefill and decode are apart: (prefill, decode)."""
    decode = decode_cost_s(latency, room, lengths, tpot_s, prefill=False)
    return lengths.prompt / prefill_tokens_per_s(latency, room, lengths), decode


def optimal_rate(
    engines: int, fractions: Mapping[float, float], latency: LatencyModel, room: EngineRoom, lengths: Lengths
) -> float:
    """Requests per second that ``engines`` that do both serve at most; ``fractions``: of requests by TPOT in seconds."""
    cost = sum(share * decode_cost_s(latency, room, lengths, tpot, prefill=True) for tpot, share in fractions.items())
    return engines / cost


def optimal_rate_apart(
    engines: int, fractions: Mapping[float, float], latency: LatencyModel, room: EngineRoom, lengths: Lengths
) -> tuple[float, int]:
    """The same with prefill and decode apart, and how many of the engines then compute prompts."""
    both = [(share, *costs_s(latency, room, lengths, tpot)) for tpot, share in fractions.items()]
    prefill = sum(share * cost for share, cost, _ in both)
    decode = sum(share * cost for share, _, cost in both)
    prefillers = min(max(1, round(engines * prefill / (prefill + decode))), engines - 1)
    return min(prefillers / prefill, (engines - prefillers) / decode), prefillers
