"""AdaServe's rivals in choosing how much to speculate: one length for the whole batch, blind to objectives or not."""

from __future__ import annotations

import numpy as np

from policies.adaserve.acceptance import ObservedAcceptance, expected_tokens
from policies.adaserve.decoding import StepTime, decoding, progress
from policies.adaserve.tree import Forest
from policies.decisions import Drafts, DraftShape, Selection
from policies.types import DraftView

_ALL = Selection(reason="all of every chain")


class TurboSpec:
    """Drafts and verifies the same number of tokens for all: the one with the most expected tokens per second.

    Tokens are expected from a moving estimate of the acceptance rate, seconds from the engine's latency model. Blind to objectives.

    Args:
        longest: draft tokens at most; 0 of them are always an option.
        prior: acceptance rate that is believed before anything was verified.
        memory: steps that the moving estimate remembers.

    Source: Liu et al., TurboSpec (at first SmartSpec), arXiv 2406.14066; the acceptance estimate is one for all requests.
    """

    __slots__ = ("acceptance", "longest")

    def __init__(self, *, longest: int = 8, prior: float = 0.7, memory: float = 20.0) -> None:
        _check(longest)
        self.longest = longest
        self.acceptance = ObservedAcceptance(prior=prior, memory=memory)

    def shape(self, engine: DraftView) -> DraftShape:
        requests = decoding(engine)
        self.acceptance.look(requests)
        seconds = StepTime.of(engine, requests).by_length(self.longest)
        tokens = expected_tokens(self.acceptance.rate, self.longest)
        best = int(np.argmax(tokens / seconds)) if requests else 0
        return DraftShape(best, reason=f"most tokens per second at an acceptance rate of {self.acceptance.rate:.2f}")

    def select(self, engine: DraftView, drafts: Drafts) -> Selection:
        return _ALL


class AdaSpec:
    """Drafts as many tokens for all as keep most TPOT objectives, and verifies only those that are worth their time.

    Of the lengths that put most requests on schedule by the end of the step, the one with the most expected tokens per second is
    drafted. Of the drafts, a token is verified while it adds more expected tokens per second than the batch has without any, by the
    drafter's confidence; nothing is left out where that would put a request behind schedule that is not so with all of it.

    Args:
        longest: draft tokens at most; 0 of them are always an option.
        prior: acceptance rate that is believed before anything was verified.
        memory: steps that the moving estimate remembers.

    Source: in the manner of Huang et al., AdaSpec (at first SpecServe), arXiv 2503.05096: a length for the batch by objectives and
    efficiency, pruned per request by confidence. Not a re-implementation of its estimators.
    """

    __slots__ = ("acceptance", "longest")

    def __init__(self, *, longest: int = 8, prior: float = 0.7, memory: float = 20.0) -> None:
        _check(longest)
        self.longest = longest
        self.acceptance = ObservedAcceptance(prior=prior, memory=memory)

    def shape(self, engine: DraftView) -> DraftShape:
        requests = decoding(engine)
        self.acceptance.look(requests)
        if not requests:
            return DraftShape(0, reason="nobody decodes")
        seconds = StepTime.of(engine, requests).by_length(self.longest)
        tokens = expected_tokens(self.acceptance.rate, self.longest)
        elapsed_s, done, tpot_s = progress(requests, engine.now_s)
        on_schedule = (elapsed_s[:, None] + seconds <= tpot_s[:, None] * (done[:, None] + tokens)).sum(axis=0)
        rated = np.where(on_schedule == on_schedule.max(), tokens / seconds, -1.0)
        best = int(np.argmax(rated))
        return DraftShape(best, reason=f"{on_schedule[best]} of {len(requests)} requests on schedule with {best} tokens each")

    def select(self, engine: DraftView, drafts: Drafts) -> Selection:
        requests = decoding(engine)
        if not requests:
            return _ALL
        path = Forest.of_chains([drafts.chains.get(request.id, ()) for request in requests]).path
        drafted = path >= 0
        step = StepTime.of(engine, requests)
        depth, whole = path.shape[1], int(drafted.sum())
        alone_s, whole_s = step.seconds(depth, 0), step.seconds(depth, whole)
        per_token_s = (whole_s - alone_s) / whole if whole else 0.0
        worth = drafted & (path * alone_s >= len(requests) * per_token_s)
        elapsed_s, done, tpot_s = progress(requests, engine.now_s)
        behind = elapsed_s + whole_s > tpot_s * (done + 1 + np.where(worth, path, 0.0).sum(axis=1))
        saved = elapsed_s + whole_s <= tpot_s * (done + 1 + np.where(drafted, path, 0.0).sum(axis=1))
        kept = np.where((behind & saved)[:, None], drafted, worth).sum(axis=1).tolist()
        chosen = {request.id: count for request, count in zip(requests, kept, strict=True)}
        return Selection(chosen, reason=f"{sum(kept)} of {whole} draft tokens are worth their time")


def _check(longest: int) -> None:
    if longest < 1:
        raise ValueError(f"longest is {longest}; give at least 1 token")
