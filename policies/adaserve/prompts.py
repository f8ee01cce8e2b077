"""A step's tokens, shared between draft tokens and prompts: what AdaServe's throughput phase leaves to prompts that wait.

Not in the paper, whose drafts come first and whose objectives leave first tokens out.
"""

from __future__ import annotations

import numpy as np

from policies.adaserve.decoding import StepTime, prompts_beside, tokens_left
from policies.adaserve.tree import Floats
from policies.types import DraftView

_TRIED = 9
"""Numbers of draft tokens that are looked at."""


def after_prompts(engine: DraftView, time: StepTime, least: int, most: int) -> int:
    """How many draft tokens, from ``least`` to ``most``, are left when the step holds all prompt tokens that it can."""
    held = prompts_beside(engine, time.requests + least)
    return max(least, min(most, engine.token_budget - time.requests - held))


def most_in_time(engine: DraftView, time: StepTime, depth: int, least: int, most: int) -> int:
    """The most draft tokens, from ``least`` to ``most``, with which no first token is late that would be in time with ``least``.

    Prompts are computed in the order of running, then waiting, in steps like the next one: of ``depth`` passes of the drafter and
    the tokens that decodes and drafts leave. Offline work gives way, and no one waits for what nothing can save.
    """
    ahead, slack_s = _first_tokens(engine)
    if not len(ahead) or most <= least:
        return max(least, most)
    drafts = np.unique(np.linspace(least, most, _TRIED).astype(np.int64))
    room = np.maximum(engine.token_budget - time.requests - drafts, 1)
    step_s = np.array([time.seconds(depth, int(d), int(min(r, ahead[-1]))) for d, r in zip(drafts, room, strict=True)])
    late = np.ceil(ahead[:, None] / room) * step_s > slack_s[:, None]
    missed = (late & ~late[:, :1]).any(axis=0)
    return int(drafts[~missed].max())


def _first_tokens(engine: DraftView) -> tuple[Floats, Floats]:
    """Of every online request without a first token: prompt tokens up to its last one, and seconds until it is due."""
    seats = engine.max_seqs - engine.running_count
    waiting = [request for request in engine.waiting if not request.offline][: max(seats, 0)]
    ahead, slack_s, total = [], [], 0
    for request in (*engine.running, *waiting):
        left = tokens_left(request)
        if left <= 0 or request.offline:
            continue
        total += left
        if request.first_token_s is None and request.slo.ttft_s is not None:
            ahead.append(total)
            slack_s.append(request.arrival_s + request.slo.ttft_s - engine.now_s)
    return np.array(ahead, np.float64), np.array(slack_s, np.float64)
