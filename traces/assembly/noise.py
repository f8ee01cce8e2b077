"""Step-time noise from measured replays: ``requests.jsonl`` of LLMServingSim's bench folder (vLLM 0.19, RTX PRO 6000).

A replay holds per request when it was scheduled and when its first and last token came: ends of steps. Between two of them without
any prefill lie k decode steps of a known batch, so their mean duration is known. Divided by what a fingerprint says and by the
running median of that ratio (which takes out the fingerprint's own error, slowly varying), what is left is noise.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from policies.fingerprint import NOISE_LEVELS, Fingerprint
from policies.latency import FingerprintLatency, StepShape
from traces.errors import InputError

Floats = NDArray[np.float64]
SAME_STEP_S = 0.004
"""Token times closer than this are of one step: a process hands out a step's tokens one after the other."""
NEIGHBOURS = 7
"""Observations on either side of a running median."""
STEP_NOISE = (0.92278, 0.96566, 0.97792, 0.98605, 0.99519, 1.0009, 1.0031, 1.0079, 1.0345, 1.0395, 1.0858)
"""``quantiles`` of the 77 single steps of both replays, Llama-3.1-8B and Qwen3-32B (LLMServingSim, MIT), for fingerprints that were
not measured on a running engine. Standard deviation ``STEP_SIGMA``. ``twinserve fingerprint noise`` computes them."""
STEP_SIGMA = 0.0183
_KEYS = ("input_toks", "output_toks", "scheduled_ts", "first_token_ts", "last_token_ts")


@dataclass(frozen=True)
class Gaps:
    """Runs of decode steps in a replay: ``steps`` in each, and ``factor``, their mean duration over the local trend.

    ``drift``: relative standard deviation of the trend, the fingerprint's slowly varying error. ``ratio``: its median.
    """

    steps: NDArray[np.int64]
    factor: Floats
    drift: float
    ratio: float

    @property
    def single(self) -> Floats:
        """Factors of single steps."""
        return np.asarray(self.factor[self.steps == 1], float)

    @property
    def correlation(self) -> float:
        """Of the factors of successive gaps."""
        return float(np.corrcoef(self.factor[:-1], self.factor[1:])[0, 1])


def decode_gaps(requests: Path, fingerprint: Fingerprint) -> Gaps:
    """The gaps of one replay of the deployment of the fingerprint.

    Raises:
        InputError: the file is no replay, or holds too few gaps.
    """
    prompt, output, scheduled, first, last = _columns(requests)
    latency = FingerprintLatency(fingerprint)
    ends = np.sort(np.concatenate([first, last]))
    ends = ends[np.append(np.diff(ends) > SAME_STEP_S, True)]
    ratios = []
    for start, end in pairwise(ends.tolist()):
        prefilling = (scheduled < end) & (first > start + SAME_STEP_S)
        decoding = (first < start + SAME_STEP_S) & (last > start + SAME_STEP_S)
        if prefilling.any() or not decoding.any():
            continue
        done = (start - first[decoding]) / (last[decoding] - first[decoding]) * (output[decoding] - 1)
        step = StepShape(decode_seqs=int(decoding.sum()), decode_context=int((prompt[decoding] + done).sum()))
        ratios.append((end - start) / latency.seconds(step))
    ratio = np.array(ratios)
    if len(ratio) < 4 * NEIGHBOURS:
        raise InputError(f"{requests}: {len(ratio)} gaps without prefill are too few to tell noise; use a longer replay")
    return _detrend(ratio)


def _detrend(ratio: Floats) -> Gaps:
    """Tells apart how many steps a gap holds and how long a step takes, by turns: the trend is that of whole steps."""
    single = ratio[ratio < 1.6 * np.median(ratio[ratio < 2])]
    trend = np.full(len(ratio), np.median(single))
    for _ in range(5):
        steps = np.maximum(1, np.rint(ratio / trend)).astype(np.int64)
        each = ratio / steps
        trend = np.array([np.median(each[max(0, i - NEIGHBOURS) : i + NEIGHBOURS + 1]) for i in range(len(each))])
    return Gaps(steps, each / trend, float(np.std(trend / np.median(trend))), float(np.median(trend)))


def quantiles(factors: Floats) -> tuple[float, ...]:
    """Factors at ``NOISE_LEVELS``, of mean 1 when drawn by linear interpolation between them."""
    values = np.quantile(factors, NOISE_LEVELS)
    mean = float(np.trapezoid(values, NOISE_LEVELS))
    return tuple(float(f"{v / mean:.5g}") for v in values)


def _columns(requests: Path) -> list[Floats]:
    try:
        rows = [json.loads(line) for line in requests.read_text(encoding="utf-8").splitlines() if line.strip()]
        return [np.array([row[key] for row in rows], float) for key in _KEYS]
    except OSError as error:
        raise InputError(f"{requests}: {error.strerror}; give a replay's requests.jsonl") from None
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{requests}: not a replay ({error}); each line holds {', '.join(_KEYS)}") from None
