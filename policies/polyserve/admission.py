"""May an engine take one more request? PolyServe's wait-time-aware admission (arXiv 2507.17769, §4.6 and §4.7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf
from typing import Literal, NamedTuple

from policies.latency import StepShape, decoding
from policies.polyserve.chunks import PREFILL_TOKENS, Prompt, after, evenly, in_order, largest_chunk, prefilling, shrinks
from policies.polyserve.outlook import Expected, Outlook, stated
from policies.types import EngineView, RequestView

Projection = Literal["simulate", "bound"]
HAND_OVER_STEPS = 2
"""Steps of a decode engine that a request waits for there: the one in progress, and the one in which its KV is pulled."""


class Verdict(NamedTuple):
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


_Chunks = dict[int, tuple[int, float]]
"""Tokens that each token of a chunk attends to → the largest chunk, and by how much it shrinks with every token of context."""


@dataclass(frozen=True, slots=True)
class _Backlog:
    """What is left to prefill on an engine once the step in progress has ended: ``tokens``, and the ``attention`` that they take,
    in token²; and the ``chunks`` of the next step. ``at``: tells states apart.
    """

    at: tuple[int, bool, float, int, int, int, int]
    tokens: int
    attention: float
    chunks: _Chunks


_ATTENDED = 512
"""To which attended tokens are rounded up, so that chunks are worked out once for many prompts."""
_NO_SEAT = Verdict(inf, inf, inf, "seats", True)


class Admission:
    """Judges engines for requests.

    Checks, in the order of what they cost: seats and KV memory hold the batch at its peak; the longest step to come keeps the TPOT
    budget; the first token comes within TTFT; the second within TTFT + TPOT. A request waits for the end of the step in progress.

    Where prefill and decode share an engine, the chunks that dynamic chunking will grant are foreseen to the end of the prefill
    (continuous chunked-prefill prediction): full ones take the budget each, and shrink in proportion as the context grows, so that
    the first and the last tell how many there are. The step in progress has its chunk of the prompts that run, not of those that
    wait. Where they are apart, the KV is pulled in one step of the decode engine and decodes in the next; so that engines that
    compute prompts must leave ``HAND_OVER_STEPS`` of the tier's budget over for the second token.

    Args:
        projection: how the batch's KV peak is foreseen. ``bound``: every request grows by what is expected of the new one, however
            long it has been growing (the closed form of PolyServe's port to vLLM, and the literal reading of the paper's "grow by
            the average decode length"; right for lengths without memory). ``simulate``: where the bound does not fit, each grows
            until it has the expected length, and leaves (``policies.polyserve.outlook``; right for lengths that vary little).
        reserve: share of the TTFT objective that predictions must leave over.
        expected: how many tokens a request is expected to generate.
    """

    def __init__(self, *, projection: Projection = "bound", reserve: float = 0.0, expected: Expected = stated) -> None:
        if projection not in ("simulate", "bound"):
            raise ValueError(f"projection is {projection!r}; choose simulate or bound")
        if not 0 <= reserve < 1:
            raise ValueError(f"reserve is {reserve}; it is a share of the TTFT objective, from 0 to below 1")
        self.projection: Projection = projection
        self.reserve = reserve
        self._expected = expected
        self._outlooks: dict[str, Outlook] = {}
        self._steps: dict[str, tuple[tuple[float, ...], _Chunks]] = {}
        self._backlogs: dict[str, _Backlog] = {}
        self._runs: dict[str, tuple[tuple[int, bool, float, int], Sequence[Prompt]]] = {}

    def decode(self, request: RequestView, engine: EngineView, budget_s: float, *, prefill: bool, timely: bool = True) -> Verdict:
        """Judge an engine that is to decode a request within ``budget_s`` per token, and with ``prefill`` to compute its prompt.

        ``timely``: whether the first two tokens must be in time.
        """
        seqs = engine.running_count + engine.waiting_count + 1
        if seqs > engine.max_seqs:
            return _NO_SEAT
        latency, capacity = engine.latency, engine.kv_tokens_capacity
        prompt, expected = request.prompt_tokens, self._expected(request)
        used = engine.kv_tokens_used
        present = used + (engine.pending_prefill_tokens if prefill else 0)
        peak = present + prompt + seqs * expected
        iter_max = decoding(latency, seqs, int(peak))
        if self.projection == "simulate" and (peak > capacity or iter_max > budget_s):
            peak = self._outlook(engine).peak(engine, prompt, expected)
            iter_max = decoding(latency, seqs, int(peak))
        if peak > capacity:
            return Verdict(inf, inf, iter_max, "kv", peak - prompt > capacity)
        if iter_max > budget_s:
            least = decoding(latency, seqs, int(peak) - prompt)
            return Verdict(inf, inf, iter_max, "tpot", least > budget_s)
        return self._in_time(request, engine, used, budget_s, iter_max, prefill) if timely else Verdict(inf, inf, iter_max)

    def _outlook(self, engine: EngineView) -> Outlook:
        found = self._outlooks.get(engine.id)
        if found is None:
            found = self._outlooks[engine.id] = Outlook(self._expected)
        return found

    def _in_time(
        self, request: RequestView, engine: EngineView, used: int, budget_s: float, iter_max: float, prefill: bool
    ) -> Verdict:
        """The checks on the first and the second token. ``used``: the engine's KV tokens."""
        slo, now = request.slo, engine.now_s
        ttft = inf if slo.ttft_s is None else slo.ttft_s * (1 - self.reserve)
        own = inf if slo.tpot_s is None else slo.tpot_s
        busy = max(0.0, engine.step_ends_s - now)
        waited = now - request.arrival_s + busy
        if prefill:
            takes, iter_now = self._prefill_beside_decodes(engine, used, busy > 0, request.prompt_tokens, budget_s, ttft - waited)
            first = waited + takes
            second = first + iter_now
        else:
            first = waited if request.first_token_s is None else request.first_token_s - request.arrival_s
            context = used + request.prompt_tokens
            seqs = engine.running_count + engine.waiting_count + 1
            iter_now = decoding(engine.latency, seqs, context)
            second = waited + (HAND_OVER_STEPS if engine.running_count else 1) * iter_now
        refused = "ttft" if first > ttft else "second token" if second > ttft + own else ""
        return Verdict(first, iter_now, iter_max, refused)

    def _prefill_beside_decodes(
        self, engine: EngineView, context: int, busy: bool, prompt: int, budget_s: float, left_s: float
    ) -> tuple[float, float]:
        """Seconds from the end of the step in progress until the prompt is computed behind what is pending, and of the step after;
        ``inf`` if chunks run dry or late.
        """
        decodes = engine.running_count
        at = (engine.step, busy, budget_s, decodes, context, engine.pending_prefill_tokens, engine.waiting_count)
        backlog = self._backlogs.get(engine.id)
        if backlog is None or backlog.at != at:
            backlog = self._backlogs[engine.id] = self._looked_at(engine, at)
        left, attention, seconds = backlog.tokens + prompt, backlog.attention + prompt * prompt / 2, 0.0
        chunk = engine.max_batched_tokens
        if decodes:
            attended = ceil(attention / left / _ATTENDED) * _ATTENDED
            found = backlog.chunks.get(attended)
            if found is None:
                found = backlog.chunks[attended] = _chunk(engine, decodes, context, budget_s, attended)
            chunk, shrinking = found
            if chunk <= 0:
                return inf, inf
            if chunk < left:
                grown = left + left / chunk * decodes
                last = int(chunk - shrinking * grown)
                if last <= 0:
                    return inf, inf
                seconds = ceil(2 * left / (chunk + last)) * budget_s  # the last one is filled up by whoever comes next
                if seconds > left_s:
                    return inf, inf
                left, context = 0, int(context + grown)
        latency, per_token = engine.latency, attention / left if left else 0.0
        while left > 0:
            size = min(chunk, left)
            seconds += latency.seconds(StepShape(size, size * per_token, 1, decodes, context))
            left -= size
            context += size
        if seconds > left_s:
            return inf, inf
        return seconds, decoding(latency, decodes + 1, context + decodes)

    def _looked_at(self, engine: EngineView, at: tuple[int, bool, float, int, int, int, int]) -> _Backlog:
        """What will be pending on an engine in that state."""
        step, busy, budget_s, decodes, context, pending, _ = at
        tokens, attention = 0, 0.0
        for request in engine.waiting if pending else ():
            left = request.prompt_tokens + request.generated_tokens
            tokens += left
            attention += left * left / 2
        if pending > tokens:
            runs = self._under_way(engine, step, busy, budget_s)
            tokens += sum(prompt.left for prompt in runs)
            attention += sum(prompt.attention(prompt.left) for prompt in runs)
        then, chunks = self._steps.get(engine.id, (None, {}))
        if then != (step, decodes, context, budget_s):
            chunks = {}
            self._steps[engine.id] = (step, decodes, context, budget_s), chunks
        return _Backlog(at, tokens, attention, chunks)

    def _under_way(self, engine: EngineView, step: int, busy: bool, budget_s: float) -> Sequence[Prompt]:
        """What is left of the prompts that run once the step in progress, where there is one, has computed its chunk."""
        at = (step, busy, budget_s, engine.running_count)
        then, known = self._runs.get(engine.id, (None, ()))
        if then == at:
            return known
        prompts: Sequence[Prompt] = [Prompt.of(request) for request in prefilling(engine.running)]
        if busy and prompts:
            decodes = engine.running_count - len(prompts)
            context, limit = engine.kv_tokens_used, engine.max_batched_tokens - decodes
            chunk = largest_chunk(engine.latency, decodes, context, budget_s, limit, in_order(prompts)) if decodes else limit
            prompts = after(prompts, chunk)
        self._runs[engine.id] = at, prompts
        return prompts

    def prefill(self, request: RequestView, engine: EngineView) -> Verdict:
        """Judge an engine that computes prompts and decodes nothing; the more is pending on it, the later the first token.

        Such an engine's steps are of ``PREFILL_TOKENS``, the last one of the prompt filled up by whoever comes next. Which engine
        will decode is not known yet: its steps are taken to be as long as the request's own objective allows.
        """
        own = 0.0 if request.slo.tpot_s is None else request.slo.tpot_s
        ttft = inf if request.slo.ttft_s is None else request.slo.ttft_s * (1 - self.reserve)
        size, latency = min(PREFILL_TOKENS, engine.max_batched_tokens), engine.latency
        prompt, under_way = request.prompt_tokens, 0
        left, attention = engine.pending_prefill_tokens + prompt, prompt * prompt / 2
        busy = max(0.0, engine.step_ends_s - engine.now_s)
        if left > prompt:
            running, waiting = engine.running, engine.waiting
            attention += sum(r.prompt_tokens**2 - r.prefilled_tokens**2 for r in (*running, *waiting)) / 2
            under_way = sum(r.prompt_tokens - r.prefilled_tokens for r in running) if busy else 0
        step = latency.seconds(StepShape(size, attention / left * size, 1))
        first = engine.now_s - request.arrival_s + busy + ceil((left - min(size, under_way)) / size) * step
        refused = "ttft" if first > ttft else "second token" if first + HAND_OVER_STEPS * own > ttft else ""
        return Verdict(first, own, step, refused)


def _chunk(engine: EngineView, decodes: int, context: int, budget_s: float, attended: int) -> tuple[int, float]:
    """The largest chunk of the next step, where each of its tokens attends to ``attended`` tokens, and by how much it shrinks with
    every token of context.
    """
    limit = engine.max_batched_tokens - decodes
    chunk = largest_chunk(engine.latency, decodes, context, budget_s, limit, evenly(attended))
    return chunk, shrinks(engine.latency, decodes, context, budget_s, chunk, attended)
