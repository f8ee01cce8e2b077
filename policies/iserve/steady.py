"""The steady state of an engine with continuous batching, from its step times: what it can serve, and how fast.

An engine in which B requests of p prompt and o output tokens decode ends ν = B/o of them per step, so it takes in ν new prompts
per step, too. Prompts come whole, or in chunks of what a step holds. With D(B) the time of a step of decodes alone, and P(B) what a
prompt adds to the steps in which it is computed, the mean step of a decoding request takes T(B) = D + ν·P + L·P/o: L prompts wait
or are computed when its own is done (M/D/1), and few when its last token comes, since most steps are short and without a prompt.
The rate that is served is λ(B) = B / (o·T), by Little's law. One curve over B answers both questions: how fast at a rate, and which
rate within an objective. Mean values only: no burst, no spread of lengths.

    TPOT = T
    TTFT = T/2 (the step in progress) + the steps that the prompt takes + M/D/1 wait for the prompts before it
    KV   = B · (p + o/2), which must fit, as must B in max_seqs and a step's tokens in max_batched_tokens
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from policies.latency import LatencyModel

Floats = NDArray[np.float64]

POINTS = 400
"""Of the curve over B."""
ROUNDS = 8
"""In which the prompts left behind and the step time settle."""


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """What bounds a step: requests, tokens, and tokens of KV memory."""

    max_seqs: int
    max_batched_tokens: int
    kv_tokens: int


@dataclass(frozen=True, slots=True)
class Steady:
    """Per rate, arrays of shape (n,); ``inf`` where the engine cannot keep up. ``batch``: requests decoding."""

    ttft_s: Floats
    tpot_s: Floats
    batch: Floats


class Engine:
    """One engine under requests of ``prompt`` and ``output`` tokens.

    Attributes:
        rate_per_s: requests per second on the curve, rising; shape (n,).
        batch, tpot_s, ttft_s: at each of them.
    """

    def __init__(self, latency: LatencyModel, limits: EngineLimits, *, prompt: float, output: float) -> None:
        context = prompt + output / 2
        most = min(limits.max_seqs, limits.kv_tokens / context, limits.max_batched_tokens / (1 + prompt / output))
        batch = np.geomspace(1e-3, max(most, 1e-3), POINTS)
        decodes = np.maximum(batch, 1.0)
        none = np.zeros_like(batch)
        budget = np.maximum(limits.max_batched_tokens - batch, 1.0)
        steps = np.ceil(prompt / budget)
        beside = np.clip(batch / output, 1.0, np.maximum(budget // prompt, 1.0))

        def seconds(prompts: Floats) -> Floats:
            """Of a step with all decodes and a chunk of so many prompts."""
            chunk = prompt / steps * prompts
            return latency.seconds_many(chunk, chunk * prompt / 2, prompts, decodes, decodes * context, none)

        alone = seconds(none)
        adds = steps * (seconds(beside) - alone) / beside
        step = alone + batch / output * adds
        for _ in range(ROUNDS):
            rate = batch / (output * step)
            busy = np.minimum(rate * adds, 0.99)
            left = busy + busy * busy / (2 * (1 - busy))
            step = alone + (batch + left) / output * adds
        rate = batch / (output * step)
        rising = int(np.argmax(rate)) + 1
        prefill = steps * seconds(np.ones_like(batch))
        busy = np.minimum(rate * adds, 1 - 1e-9)
        self.rate_per_s: Floats = np.maximum.accumulate(rate)[:rising]
        self.batch: Floats = batch[:rising]
        self.tpot_s: Floats = np.maximum.accumulate(step)[:rising]
        self.ttft_s: Floats = np.maximum.accumulate(step / 2 + prefill + busy * prefill / (2 * (1 - busy)))[:rising]

    def at(self, rate_per_s: ArrayLike) -> Steady:
        """At each of the rates."""
        rates = np.atleast_1d(np.asarray(rate_per_s, np.float64))
        within = rates <= self.rate_per_s[-1]

        def read(curve: Floats) -> Floats:
            return np.where(within, np.interp(rates, self.rate_per_s, curve), np.inf)

        return Steady(read(self.ttft_s), read(self.tpot_s), read(self.batch))

    def capacity(self, *, ttft_s: float = float("inf"), tpot_s: float = float("inf")) -> float:
        """The highest rate within the objectives; 0 where one request alone misses them."""
        rate = float(self.rate_per_s[-1])
        for curve, most in ((self.ttft_s, ttft_s), (self.tpot_s, tpot_s)):
            if curve[0] > most:
                return 0.0
            if curve[-1] > most:
                rate = min(rate, float(np.interp(most, curve, self.rate_per_s)))
        return rate
