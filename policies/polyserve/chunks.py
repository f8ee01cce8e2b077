"""Dynamic chunking: how many prompt tokens a step of decodes can take along (arXiv 2507.17769, §4.7)."""

from __future__ import annotations

from policies.latency import LatencyModel, StepShape

_CLOSE_ENOUGH = 16
PREFILL_TOKENS = 2048
"""Of a step on an engine that only computes prompts: enough for full speed, and no one waits long for another's prompt."""


def largest_chunk(
    latency: LatencyModel, decode_seqs: int, decode_context: float, budget_s: float, limit: int, computed: int = 0
) -> int:
    """The most prompt tokens that a step of ``decode_seqs`` decodes can take along within ``budget_s``.

    ``computed``: tokens of the prompt that are there already and that the chunk attends to. At most ``limit``; to within 16 tokens,
    never too many; 0 where not even 16 fit. Step time is monotone in the tokens and close to a line, so that a line through the
    ends of the bracket (regula falsi, the weight of an end that stays halved: the Illinois rule) takes fewer looks than bisection.
    """
    if limit <= 0:
        return 0
    seconds, context = latency.seconds, int(decode_context)

    def spare(chunk: int) -> float:
        return budget_s - seconds(StepShape(chunk, chunk * (computed + chunk / 2), 1, decode_seqs, context))

    over = spare(limit)
    if over >= 0:
        return limit
    low, high, side = min(_CLOSE_ENOUGH, limit), limit, 0
    left = spare(low)
    if left < 0:
        return 0
    while high - low > _CLOSE_ENOUGH:
        guess = low + int((high - low) * left / (left - over))
        guess = min(max(guess, low + _CLOSE_ENOUGH // 2), high - _CLOSE_ENOUGH // 2)
        found = spare(guess)
        if found >= 0:
            low, left = guess, found
            if side > 0:
                over /= 2
            side = 1
        else:
            high, over = guess, found
            if side < 0:
                left /= 2
            side = -1
    return low
