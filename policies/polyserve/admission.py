"""May an engine take one more request? PolyServe's wait-time-aware admission (arXiv 2507.17769, §4.6 and §4.7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf
from typing import Literal

from policies.latency import LatencyModel, StepShape
from policies.types import EngineView, RequestView

Projection = Literal["simulate", "bound"]

_SMALLEST_CHUNK = 16


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an engine may take a request, and the estimates behind it, in seconds.

    ``ttft_s``: from arrival to the first token. ``iter_now_s``: the step that gives the second token. ``iter_max_s``: the longest
    step that is to come while the batch grows. ``refused``: which check failed, "" = none.
    """

    ttft_s: float
    iter_now_s: float
    iter_max_s: float
    refused: str = ""


def largest_chunk(latency: LatencyModel, decode_seqs: int, decode_context: float, budget_s: float, limit: int) -> int:
    """Dynamic chunking: the most prompt tokens that a step of ``decode_seqs`` decodes can take along within ``budget_s``.

    At most ``limit``; 0 where not even 16 tokens fit. By bisection: step time is monotone in the tokens.
    """

    def fits(chunk: int) -> bool:
        shape = StepShape(chunk, chunk * chunk / 2, 1, decode_seqs, int(decode_context))
        return latency.seconds(shape) <= budget_s

    if limit <= 0 or fits(limit):
        return max(limit, 0)
    low, high = 0, limit
    while high - low > _SMALLEST_CHUNK:
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low


def kv_peak(running: Sequence[RequestView], kv_tokens: float, prompt_tokens: int, output_tokens: float, how: Projection) -> float:
    """The most KV tokens that the batch will hold once a request of ``prompt_tokens`` has joined it.

    Every request is taken to generate ``output_tokens`` in all. ``bound``: all of them that much more from now on, the closed form
    of PolyServe's port to vLLM. ``simulate``: each grows until it is done, and leaves, as the paper's text has it.
    """
    if how == "bound":
        return kv_tokens + prompt_tokens + (len(running) + 1) * output_tokens
    contexts = [(max(1.0, output_tokens - r.generated_tokens), r.prompt_tokens + r.generated_tokens) for r in running]
    contexts.append((max(1.0, output_tokens), prompt_tokens))
    contexts.sort()
    held = float(sum(context for _, context in contexts))
    alive = len(contexts)
    peak = held
    for left, context in contexts:
        peak = max(peak, held + alive * left)
        held -= context
        alive -= 1
    return peak


class Admission:
    """Judges engines for requests.

    Checks, in the order of what they cost: seats and KV memory hold the batch at its peak; the longest step to come keeps the TPOT
    budget; the first token comes within TTFT; the second within TTFT + TPOT. Where prefill and decode share an engine, the prefill
    is played through with the chunks that dynamic chunking will grant (continuous chunked-prefill prediction).

    Args:
        projection: how the batch's KV peak is foreseen (``kv_peak``).
    """

    def __init__(self, *, projection: Projection = "simulate") -> None:
        if projection not in ("simulate", "bound"):
            raise ValueError(f"projection is {projection!r}; choose simulate or bound")
        self.projection: Projection = projection

    def decode(self, request: RequestView, engine: EngineView, budget_s: float, *, prefill: bool) -> Verdict:
        """Judge an engine that is to decode a request within ``budget_s`` per token, and with ``prefill`` to compute its prompt."""
        slo = request.slo
        ttft = inf if slo.ttft_s is None else slo.ttft_s
        own = inf if slo.tpot_s is None else slo.tpot_s
        seqs = engine.running_count + engine.waiting_count + 1
        pending = engine.pending_prefill_tokens
        prompt = request.prompt_tokens
        if seqs > engine.max_seqs:
            return Verdict(inf, inf, inf, "seats")
        present = engine.kv_tokens_used + pending
        peak = kv_peak(engine.running, present, prompt, request.expected_output_tokens, self.projection)
        peak += engine.waiting_count * request.expected_output_tokens if self.projection == "simulate" else 0.0
        if peak > engine.kv_tokens_capacity:
            return Verdict(inf, inf, inf, "kv")
        latency = engine.latency
        iter_max = latency.seconds(StepShape(decode_seqs=seqs, decode_context=int(peak)))
        if iter_max > budget_s:
            return Verdict(inf, inf, iter_max, "tpot")
        waited = engine.now_s - request.arrival_s + max(0.0, engine.step_ends_s - engine.now_s)
        if prefill:
            first, iter_now = self._prefill_beside_decodes(engine, pending, prompt, budget_s, ttft - waited)
            first += waited
        else:
            first = engine.now_s - request.arrival_s if request.first_token_s is None else request.first_token_s - request.arrival_s
            iter_now = latency.seconds(StepShape(decode_seqs=seqs, decode_context=int(present + prompt)))
        if first > ttft:
            return Verdict(first, iter_now, iter_max, "ttft")
        second = (first if prefill else waited) + iter_now
        if second > ttft + own:
            return Verdict(first, iter_now, iter_max, "second token")
        return Verdict(first, iter_now, iter_max)

    def _prefill_beside_decodes(
        self, engine: EngineView, pending: int, prompt: int, budget_s: float, left_s: float
    ) -> tuple[float, float]:
        """Seconds until the prompt is computed behind what is pending, and of the step after; ``inf`` if chunks run dry or late."""
        latency = engine.latency
        decodes = engine.running_count
        context = float(engine.kv_tokens_used)
        limit = max(0, engine.max_batched_tokens - decodes)
        left, seconds = pending + prompt, 0.0
        while left > 0:
            chunk = min(left, largest_chunk(latency, decodes, context, budget_s, min(limit, left)))
            if chunk <= 0 or seconds > left_s:
                return inf, inf
            seconds += latency.seconds(StepShape(chunk, chunk * chunk / 2, 1, decodes, int(context)))
            left -= chunk
            context += chunk + decodes
        return seconds, latency.seconds(StepShape(decode_seqs=decodes + 1, decode_context=int(context)))

    def prefill(self, request: RequestView, engine: EngineView) -> Verdict:
        """Judge an engine that computes prompts and decodes nothing."""
        ttft = inf if request.slo.ttft_s is None else request.slo.ttft_s
        waited = engine.now_s - request.arrival_s + max(0.0, engine.step_ends_s - engine.now_s)
        tokens = engine.pending_prefill_tokens + request.prompt_tokens
        size = min(tokens, engine.max_batched_tokens)
        step = engine.latency.seconds(StepShape(size, size * size / 2, 1))
        first = waited + ceil(tokens / size) * step if size else waited
        return Verdict(first, 0.0, step, "ttft" if first > ttft else "")
