"""Fits the built-in workloads to the public traces: ``python -m traces.fit DATA_DIR --out traces/builtin.json``.

DATA_DIR holds the files that the built-in descriptions name. What is kept is quantiles, a 20 x 20 table of ranks, rates per step
and sharing by prompt length: a description, from which no request can be recovered. It is a way to describe any trace:
``lengths``, ``bursts``, ``profile`` and ``prefixes`` take a workload.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from traces.inspect import index_of_dispersion, prefix_hits, spearman
from traces.workload import Workload

PERCENT = (
    *(0, 0.1, 0.5, 1, 2, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 75, 80, 85, 90),
    *(92.5, 95, 97, 98, 99, 99.5, 99.9, 100),
)
"""Enough for means within 1 %: Azure's prompts jump from 1,200 to 4,000 tokens between p80 and p90."""
RANK_BANDS = 20
BURST_GAP_S = 1.0
PREFIX_BANDS = (2, 3, 4, 6, 10, 15, 20, 30, 40, 60, 100, 1000)
PREFIX_PERCENT = (0, 5, 10, 25, 50, 75, 90, 100)
PREFIX_WARM_UP = 2000
"""Conversations that began before the trace look new in it; after so many of its requests few are left (p98 of the lags)."""
LAG_PERCENT = (0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 100)


def quantiles(values: ArrayLike, percent: Sequence[float] = PERCENT) -> list[float]:
    """Quantiles at ``percent``, to 5 digits."""
    return [float(f"{q:.5g}") for q in np.percentile(np.asarray(values), percent)]


def lengths(workload: Workload, *, rank_grid: bool = True) -> dict[str, Any]:
    """Quantiles of prompt and output tokens, and how their ranks go together: a table of bands, or one correlation."""
    prompt, output = workload.prompt_tokens, workload.output_tokens
    fitted: dict[str, Any] = {"prompt_tokens": quantiles(prompt), "output_tokens": quantiles(output)}
    if rank_grid:
        grid = np.zeros((RANK_BANDS, RANK_BANDS), np.int64)
        np.add.at(grid, (_bands(prompt), _bands(output)), 1)
        return {**fitted, "rank_grid": grid.tolist()}
    return {**fitted, "spearman": round(spearman(prompt, output) or 0.0, 4)}


def bursts(workload: Workload) -> dict[str, Any]:
    """Sizes of bursts, gaps inside and between them; a gap of more than a second ends a burst."""
    gaps = np.diff(workload.arrival_s)
    ends = np.append(np.flatnonzero(gaps > BURST_GAP_S), len(gaps))
    return {
        "process": "bursts",
        "sizes": quantiles(np.diff(ends, prepend=-1)),
        "gaps_within_s": quantiles(gaps[gaps <= BURST_GAP_S]),
        "gaps_between_s": quantiles(gaps[gaps > BURST_GAP_S]),
    }


def profile(workload: Workload, step_s: float, burst_window_s: float | None = None) -> dict[str, Any]:
    """Requests per second in each full step, and the CV of a renewal process with the index of dispersion inside the steps.

    ``burst_window_s``: counts in windows so long are compared inside each step (for a renewal process, variance / mean of the
    counts in a long window is CV^2); ``None``: the process is Poisson, CV 1.
    """
    since = workload.arrival_s - workload.arrival_s[0]
    steps = int((since[-1] + 1e-3 * step_s) // step_s)
    counts = np.bincount((since // step_s).astype(np.int64), minlength=steps)[:steps]
    cv = 1.0
    if burst_window_s is not None:
        bounds = np.searchsorted(since, np.arange(steps + 1) * step_s)
        inside = [index_of_dispersion(since[a:b], burst_window_s) for a, b in pairwise(bounds) if b > a]
        cv = float(np.sqrt(np.mean([x for x in inside if x is not None])))
    return {"process": "varying", "step_s": step_s, "rates": [round(float(c) / step_s, 3) for c in counts], "cv": round(cv, 3)}


def prefixes(workload: Workload) -> dict[str, Any]:
    """Prefix sharing by prompt length, see ``traces.prefixes.PrefixModel``."""
    offsets, ids = workload.block_offsets, workload.block_ids
    if offsets is None or ids is None:
        raise ValueError("the workload has no prefix blocks")
    hits, blocks = prefix_hits(workload), np.diff(offsets)
    band = np.searchsorted(PREFIX_BANDS, blocks)
    goes_on, warm = hits > 1, np.arange(len(blocks)) >= PREFIX_WARM_UP
    part = (hits - 1) / np.maximum(blocks - 1, 1)
    return {
        "block_tokens": workload.block_tokens,
        "bands": list(PREFIX_BANDS),
        "continues": [round(float(goes_on[warm & (band == k)].mean()), 3) for k in range(len(PREFIX_BANDS))],
        "shared_percent": list(PREFIX_PERCENT),
        "shared": [quantiles(part[goes_on & (band == k)], PREFIX_PERCENT) for k in range(len(PREFIX_BANDS))],
        "lag_percent": list(LAG_PERCENT),
        "lag": quantiles(_lags(offsets, ids, hits)[goes_on], LAG_PERCENT),
    }


def built_ins(data: Path) -> dict[str, Any]:
    """The fitted numbers of every built-in workload, from the traces and length lists under ``data``."""
    from traces.readers import read

    conv = read(data / "traces/azure2023/AzureLLMInferenceTrace_conv.first40min.csv.gz")
    code = read(data / "traces/azure2023/AzureLLMInferenceTrace_code.first40min.csv.gz")
    chat = read(data / "traces/mooncake/conversation_trace.first40min.jsonl.gz")
    reason = read(data / "traces/servegen/reason_deepseek-r1.h00-18.tar.gz", duration_s=64_800.0)
    arxiv = _length_list(data / "lengths/arxiv_summarization_stats_llama2_tokenizer_filtered_v2.csv.gz")
    sharegpt = _length_list(data / "lengths/sharegpt-vicuna.csv.gz")
    return {
        "azure-2023-conv": {"arrivals": profile(conv, 60.0), "lengths": lengths(conv)},
        "azure-2023-code": {"arrivals": bursts(code), "lengths": lengths(code)},
        # Arrivals sit on 3-second ticks, 9.8 at a time with variance / mean 1.12: Poisson under the ticks.
        "mooncake-conversation": {"arrivals": profile(chat, 60.0), "lengths": lengths(chat), "prefix": prefixes(chat)},
        "servegen-deepseek-r1": {"arrivals": profile(reason, 600.0, burst_window_s=10.0), "lengths": lengths(reason)},
        "arxiv-summarization": {"lengths": lengths(arxiv)},
        "sharegpt": {"lengths": lengths(sharegpt, rank_grid=False)},
    }


def main() -> None:
    """Refit the numbers in ``--out``; what each workload is and where it comes from stays as written there."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    document = json.loads(options.out.read_text("utf-8"))
    document["percent"] = list(PERCENT)
    for name, fitted in built_ins(options.data).items():
        document["workloads"][name].update(fitted)
    options.out.write_text(_readable(document), "utf-8")


def _length_list(path: Path) -> Workload:
    """Prompt and output tokens from the first two columns, rows with a 0 left out; everything arrives at once."""
    import pandas as pd

    table = pd.read_csv(path).iloc[:, :2].to_numpy()
    table = table[(table > 0).all(axis=1)]
    return Workload.make(np.zeros(len(table)), table[:, 0], table[:, 1], source={"name": path.name})


def _readable(document: dict[str, Any]) -> str:
    """JSON with lists of numbers on one line."""
    text = json.dumps(document, indent=1, ensure_ascii=False)
    return re.sub(r"\[[^\[\]{}\"]*\]", lambda found: json.dumps(json.loads(found[0])), text) + "\n"


def _lags(offsets: NDArray[np.int64], ids: NDArray[np.int64], hits: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many requests ago the last block that each request found was last used."""
    last: dict[int, int] = {}
    lags = np.zeros(len(hits), np.int64)
    for row, hit in enumerate(hits.tolist()):
        own = ids[offsets[row] : offsets[row + 1]].tolist()
        lags[row] = row - last[own[hit - 1]] if hit else 0
        last.update(dict.fromkeys(own, row))
    return lags


def _bands(values: NDArray[np.int32]) -> NDArray[np.int64]:
    """The band of each value's rank; ties in order of arrival, which says nothing about lengths."""
    ranks = np.empty(len(values), np.int64)
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return ranks * RANK_BANDS // len(values)


if __name__ == "__main__":
    main()
