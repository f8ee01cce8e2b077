"""May an engine take one more request? PolyServe's wait-time-aware admission (arXiv 2507.17769, §4.6 and §4.7)."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf
from typing import Literal

from policies.latency import StepShape
from policies.polyserve.chunks import PREFILL_TOKENS, largest_chunk
from policies.polyserve.outlook import Outlook
from policies.types import EngineView, RequestView

Projection = Literal["simulate", "bound"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an engine may take a request, and the estimates behind it, in seconds.

    ``ttft_s``: from arrival to the first token. ``iter_now_s``: the step that gives the second token. ``iter_max_s``: the longest
    step that is to come while the batch grows. ``refused``: which check failed, "" = none. ``full``: it would have failed for a
    request without a prompt too.
    """

    ttft_s: float
    iter_now_s: float
    iter_max_s: float
    refused: str = ""
    full: bool = False


_NO_SEAT = Verdict(inf, inf, inf, "seats", True)


class Admission:
    """Judges engines for requests.

    Checks, in the order of what they cost: seats and KV memory hold the batch at its peak; the longest step to come keeps the TPOT
    budget; the first token comes within TTFT; the second within TTFT + TPOT. Where prefill and decode share an engine, the chunks
    that dynamic chunking will grant are foreseen to the end of the prefill (continuous chunked-prefill prediction): full ones take
    the budget each, and shrink in proportion as the context grows, so that the first and the last tell how many there are. A step
    in progress is waited for only where no prompt is pending: where one is, the step computes part of what is counted as pending.

    Args:
        projection: how the batch's KV peak is foreseen. ``bound``: every request grows by what is expected of the new one, however
            long it has been growing (the closed form of PolyServe's port to vLLM, and the literal reading of the paper's "grow by
            the average decode length"; right for lengths without memory). ``simulate``: where the bound does not fit, each grows
            until it has the expected length, and leaves (``policies.polyserve.outlook``; right for lengths that vary little).
        reserve: share of the TTFT objective that predictions must leave over.
    """

    def __init__(self, *, projection: Projection = "bound", reserve: float = 0.0) -> None:
        if projection not in ("simulate", "bound"):
            raise ValueError(f"projection is {projection!r}; choose simulate or bound")
        if not 0 <= reserve < 1:
            raise ValueError(f"reserve is {reserve}; it is a share of the TTFT objective, from 0 to below 1")
        self.projection: Projection = projection
        self.reserve = reserve
        self._outlooks: dict[str, Outlook] = {}
        self._steps: dict[str, tuple[tuple[int, int, int, float], tuple[int, float]]] = {}

    def decode(self, request: RequestView, engine: EngineView, budget_s: float, *, prefill: bool) -> Verdict:
        """Judge an engine that is to decode a request within ``budget_s`` per token, and with ``prefill`` to compute its prompt."""
        seqs = engine.running_count + engine.waiting_count + 1
        if seqs > engine.max_seqs:
            return _NO_SEAT
        latency, capacity = engine.latency, engine.kv_tokens_capacity
        prompt, expected = request.prompt_tokens, request.expected_output_tokens
        present = engine.kv_tokens_used + (engine.pending_prefill_tokens if prefill else 0)
        peak = present + prompt + seqs * expected
        iter_max = latency.seconds(StepShape(decode_seqs=seqs, decode_context=int(peak)))
        if self.projection == "simulate" and (peak > capacity or iter_max > budget_s):
            peak = self._outlook(engine).peak(engine, prompt, expected)
            iter_max = latency.seconds(StepShape(decode_seqs=seqs, decode_context=int(peak)))
        if peak > capacity:
            return Verdict(inf, inf, iter_max, "kv", peak - prompt > capacity)
        if iter_max > budget_s:
            least = latency.seconds(StepShape(decode_seqs=seqs, decode_context=int(peak) - prompt))
            return Verdict(inf, inf, iter_max, "tpot", least > budget_s)
        return self._in_time(request, engine, budget_s, iter_max, prefill)

    def _outlook(self, engine: EngineView) -> Outlook:
        found = self._outlooks.get(engine.id)
        if found is None:
            found = self._outlooks[engine.id] = Outlook()
        return found

    def _in_time(self, request: RequestView, engine: EngineView, budget_s: float, iter_max: float, prefill: bool) -> Verdict:
        """The checks on the first and the second token."""
        slo, now = request.slo, engine.now_s
        ttft = inf if slo.ttft_s is None else slo.ttft_s * (1 - self.reserve)
        own = inf if slo.tpot_s is None else slo.tpot_s
        waited = now - request.arrival_s
        if prefill:
            if not engine.pending_prefill_tokens:
                waited += max(0.0, engine.step_ends_s - now)
            takes, iter_now = self._prefill_beside_decodes(engine, request.prompt_tokens, budget_s, ttft - waited)
            first = waited + takes
            second = first + iter_now
        else:
            first = waited if request.first_token_s is None else request.first_token_s - request.arrival_s
            context = engine.kv_tokens_used + request.prompt_tokens
            seqs = engine.running_count + engine.waiting_count + 1
            iter_now = engine.latency.seconds(StepShape(decode_seqs=seqs, decode_context=context))
            second = waited + max(0.0, engine.step_ends_s - now) + iter_now
        refused = "ttft" if first > ttft else "second token" if second > ttft + own else ""
        return Verdict(first, iter_now, iter_max, refused)

    def _prefill_beside_decodes(self, engine: EngineView, prompt: int, budget_s: float, left_s: float) -> tuple[float, float]:
        """Seconds until the prompt is computed behind what is pending, and of the step after; ``inf`` if chunks run dry or late."""
        latency, decodes = engine.latency, engine.running_count
        pending, context = engine.pending_prefill_tokens, engine.kv_tokens_used
        left, seconds = pending + prompt, 0.0
        chunk = engine.max_batched_tokens
        if decodes:
            chunk, shrinks = self._chunks(engine, decodes, context, budget_s)
            if chunk <= 0:
                return inf, inf
            if chunk < left:
                grown = left + left / chunk * decodes
                last = int(chunk - shrinks * grown)
                if last <= 0:
                    return inf, inf
                seconds = ceil(2 * left / (chunk + last)) * budget_s  # the last one is filled up by whoever comes next
                if seconds > left_s:
                    return inf, inf
                left, context = 0, int(context + grown)
        while left > 0:
            size = min(chunk, left)
            seconds += latency.seconds(StepShape(size, size * (max(0, prompt - left) + size / 2), 1, decodes, context))
            left -= size
            context += size
        return seconds, latency.seconds(StepShape(decode_seqs=decodes + 1, decode_context=context + decodes))

    def _chunks(self, engine: EngineView, decodes: int, context: int, budget_s: float) -> tuple[int, float]:
        """The largest chunk of the next step, and by how much it shrinks with every token of context; once for each step."""
        at = (engine.step, decodes, context, budget_s)
        known = self._steps.get(engine.id)
        if known is not None and known[0] == at:
            return known[1]
        limit = engine.max_batched_tokens - decodes
        chunk = largest_chunk(engine.latency, decodes, context, budget_s, limit)
        later = largest_chunk(engine.latency, decodes, context + limit, budget_s, chunk)
        found = chunk, (chunk - later) / limit if limit > 0 else 0.0
        self._steps[engine.id] = at, found
        return found

    def prefill(self, request: RequestView, engine: EngineView) -> Verdict:
        """Judge an engine that computes prompts and decodes nothing; the more is pending on it, the later the first token.

        Such an engine's steps are of ``PREFILL_TOKENS``, the last one of the prompt filled up by whoever comes next.
        """
        ttft = inf if request.slo.ttft_s is None else request.slo.ttft_s * (1 - self.reserve)
        size, latency = min(PREFILL_TOKENS, engine.max_batched_tokens), engine.latency
        step = latency.seconds(StepShape(size, size * size / 2, 1))
        prompt = request.prompt_tokens
        steps = ceil((engine.pending_prefill_tokens + prompt) / size)
        attends = latency.seconds(StepShape(size, prompt * prompt / 2, 1)) - latency.seconds(StepShape(size, prompt * size / 2, 1))
        first = engine.now_s - request.arrival_s + steps * step + max(0.0, attends)
        return Verdict(first, 0.0, step, "ttft" if first > ttft else "")
