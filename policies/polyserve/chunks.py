"""Dynamic chunking: how many prompt tokens a step of decodes can take along (arXiv 2507.17769, §4.7)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from policies.latency import LatencyModel, StepShape, beside
from policies.types import RequestView

_CLOSE_ENOUGH = 16
_APART = _CLOSE_ENOUGH // 2
"""Of a guess from the ends of its bracket."""
PREFILL_TOKENS = 2048
"""Of a step on an engine that only computes prompts: enough for full speed, and no one waits long for another's prompt."""
GROWTH = 8192
"""Tokens of context over which it is judged by how much chunks shrink."""


Attended = Callable[[int], tuple[float, int]]
"""Prompt tokens of a step → their attention in token² (as in ``StepShape``), and the number of prompts that they are of."""


class Prompt(NamedTuple):
    """A prompt that is not computed to its end: ``left`` tokens, behind ``computed`` ones."""

    left: int
    computed: int = 0

    @classmethod
    def of(cls, request: RequestView) -> Prompt:
        """What a request has to compute; what it has generated, too, where it lost that."""
        computed = request.prefilled_tokens
        return cls(request.prompt_tokens + request.generated_tokens - computed, computed)

    def attention(self, tokens: int) -> float:
        """Of its next ``tokens``, in token²."""
        return tokens * (self.computed + tokens / 2)


def prefilling(running: Sequence[RequestView]) -> list[RequestView]:
    """Of those that run, who has no token yet, in the order of admission: they stand at the end."""
    found: list[RequestView] = []
    for request in reversed(running):
        if request.prefilled_tokens >= request.prompt_tokens:
            break
        found.append(request)
    return found[::-1]


def in_order(prompts: Sequence[Prompt]) -> Attended:
    """Each prompt is computed to its end before the next one begins."""
    ends, attentions = [0], [0.0]  # once the first, the first two … are computed
    for prompt in prompts:
        ends.append(ends[-1] + prompt.left)
        attentions.append(attentions[-1] + prompt.attention(prompt.left))

    def attended(tokens: int) -> tuple[float, int]:
        if tokens >= ends[-1]:
            return attentions[-1], max(1, len(prompts))
        whole = bisect_left(ends, tokens, 1) - 1
        return attentions[whole] + prompts[whole].attention(tokens - ends[whole]), whole + 1

    return attended


def evenly(per_token: float) -> Attended:
    """Every token attends to ``per_token`` tokens: a mean over prompts."""
    return lambda tokens: (tokens * per_token, 1)


def after(prompts: Iterable[Prompt], tokens: int) -> list[Prompt]:
    """What is left of the prompts once the first ``tokens`` of them are computed."""
    rest = []
    for prompt in prompts:
        taken = min(tokens, prompt.left)
        tokens -= taken
        if taken < prompt.left:
            rest.append(Prompt(prompt.left - taken, prompt.computed + taken))
    return rest


def largest_chunk(
    latency: LatencyModel, decode_seqs: int, decode_context: float, budget_s: float, limit: int, attended: Attended
) -> int:
    """The most prompt tokens that a step of ``decode_seqs`` decodes can take along within ``budget_s``.

    At most ``limit``; to within 16 tokens, never too many; 0 where not even 16 fit. Step time is monotone in the tokens and close
    to a line, so that a line through the ends of the bracket (regula falsi, the weight of an end that stays halved: the Illinois
    rule) takes fewer looks than bisection.
    """
    if limit <= 0:
        return 0
    seconds = beside(latency, decode_seqs, int(decode_context))
    attention, prompts = attended(limit)
    over = budget_s - seconds(limit, attention, prompts)
    if over >= 0:
        return limit
    low, high, side = min(_CLOSE_ENOUGH, limit), limit, 0
    attention, prompts = attended(low)
    left = budget_s - seconds(low, attention, prompts)
    if left < 0:
        return 0
    while high - low > _CLOSE_ENOUGH:
        guess = low + int((high - low) * left / (left - over))
        if guess < low + _APART:
            guess = low + _APART
        elif guess > high - _APART:
            guess = high - _APART
        attention, prompts = attended(guess)
        spare = budget_s - seconds(guess, attention, prompts)
        if spare >= 0:
            low, left = guess, spare
            if side > 0:
                over /= 2
            side = 1
        else:
            high, over = guess, spare
            if side < 0:
                left /= 2
            side = -1
    return low


def shrinks(latency: LatencyModel, decode_seqs: int, decode_context: int, budget_s: float, chunk: int, per_token: float) -> float:
    """By how many tokens the largest chunk shrinks with every token that the decodes' context grows: as told by the excess over the
    budget once it has grown by ``GROWTH`` tokens, and by what prompt tokens cost.
    """
    if chunk < 2:
        return 0.0
    whole, half = (StepShape(tokens, tokens * per_token, 1, decode_seqs, decode_context) for tokens in (chunk, chunk // 2))
    grown = whole._replace(decode_context=decode_context + GROWTH)
    excess = latency.seconds(grown) - budget_s
    if excess <= 0:
        return 0.0
    token_s = (latency.seconds(whole) - latency.seconds(half)) / (chunk - chunk // 2)
    return min(chunk / GROWTH, excess / token_s / GROWTH) if token_s > 0 else 0.0
