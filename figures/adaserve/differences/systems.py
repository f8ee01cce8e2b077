"""Llama-3.1-70B's Figure 8, one assumption exchanged at a time.

The first rows follow each other, from what the figures first rested on to what `adaserve-rates` and then `adaserve-sourced` rest
on; each has a source and was fixed before its outcome was seen. The rows after them are tried on top of that one by one. Those are
read off the compared figures, or off one source among several that disagree.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from figures.adaserve import curves, digitised
from figures.adaserve.deviations import cells
from figures.adaserve.differences import SEEDS
from figures.adaserve.differences.machines import scaled, straight
from figures.adaserve.differences.verification import verify
from figures.adaserve.readings import BY_TOKEN
from figures.adaserve.settings import (
    ADASERVE,
    LLAMA,
    OUTPUT_TOKENS,
    PAPERS,
    SPEC,
    TRACE_SETS,
    adaserve,
    rivals,
    traced,
    workload,
)
from figures.adaserve.time import PAPER_S, PASS_S, SHEET, TOLD
from figures.runner import Runner

if TYPE_CHECKING:
    from pandas import DataFrame

SLOW_PASS_S = 12e-3
"""Of vLLM's drafter: near the 12 to 22 ms that vLLM-Spec(4) would have 36 ms per token with at 4 requests per second, if acceptance
were 3.37 draft tokens of 4."""


VERIFY = verify(LLAMA)
"""87 of 125 ms."""
RELEASED = {"order": "ascending", "formula": "code", "margin": 1.05, "unconstrained": "chat,summary"}


@dataclass(frozen=True, slots=True)
class Assumed:
    """What a run rests on.

    ``by_trace``: arrivals are the artifact's, not Poisson at the rate that it names. ``pass_s``: of AdaServe's drafter,
    ``spec_pass_s`` of vLLM's. ``own``: AdaServe's drafts are accepted as in its own curve of Figure 12, rate by rate.
    ``straight``: steps below 128 tokens lie on a line. ``apart``: AdaServe computes prompts in steps of their own.
    ``released``: it chooses as its engine does, of which objectives in milliseconds get throughput tokens only. ``verify``: of the
    time in the artifact's table, in AdaServe's engine alone.
    """

    by_trace: bool = True
    pass_s: float = PASS_S[TOLD]["llama"]
    spec_pass_s: float = PASS_S[TOLD]["llama"]
    by_token: bool = True
    output_tokens: int = BY_TOKEN.output_tokens
    own: bool = False
    straight: bool = False
    apart: bool = False
    released: bool = False
    verify: float = 1.0
    seats: int | None = None


NOW = Assumed(by_token=False, output_tokens=OUTPUT_TOKENS)
"""`adaserve-rates`."""
ALL = Assumed()
"""`adaserve-sourced`, and the figures after it."""
IN_TURN: Sequence[tuple[str, str, Assumed]] = (
    (
        "nothing: what the figures first rested on",
        "–",
        replace(NOW, by_trace=False, pass_s=PASS_S[SHEET]["llama"], spec_pass_s=PASS_S[SHEET]["llama"]),
    ),
    (
        "the artifact's arrivals for Poisson ones",
        "its traces; §6.1",
        replace(NOW, pass_s=PASS_S[SHEET]["llama"], spec_pass_s=PASS_S[SHEET]["llama"]),
    ),
    ("a pass of the drafter takes 5 ms for 3.5: **`adaserve-rates`**", "§6.3", NOW),
    ("Figure 12's vLLM-Spec curves count matching tokens", "vLLM V0's counter; inferred", replace(NOW, by_token=True)),
    ("requests end at 210 tokens: **`adaserve-sourced`**", "Figures 8 and 9, engine; inferred", ALL),
)
ON_TOP: Sequence[tuple[str, str, Assumed]] = (
    ("steps below 128 tokens lie on a line", "none", replace(ALL, straight=True)),
    (
        "AdaServe's drafts are accepted as in its own curve, a pass takes 7.2 ms",
        "Figures 12, 15",
        replace(ALL, own=True, pass_s=PAPER_S["llama"]),
    ),
    ("AdaServe's prompts have steps of their own", "released engine", replace(ALL, apart=True)),
    ("AdaServe's order, depth, margin and unconstrained classes", "released engine", replace(ALL, released=True)),
    ("AdaServe has 96 seats for 64", "some of its scripts", replace(ALL, seats=96)),
    ("a pass of vLLM's drafter takes 12 ms", "none", replace(ALL, spec_pass_s=SLOW_PASS_S)),
    (f"AdaServe verifies in {VERIFY:.2f} of the table's time", "Figure 15 with §6.3", replace(ALL, verify=VERIFY)),
    (f"the line, and {VERIFY:.2f} for AdaServe", "none; Figure 15 with §6.3", replace(ALL, straight=True, verify=VERIFY)),
)


def rate_of_chain(accepted: float, depth: int = 8) -> float:
    """The rate at which each token of a chain is accepted if the chain brings ``accepted`` tokens in the mean."""
    low, high = 0.0, 1.0
    for _ in range(40):
        rate = (low + high) / 2
        low, high = (rate, high) if sum(rate**place for place in range(1, depth + 1)) < accepted else (low, rate)
    return low


def rows(runner: Runner, folder: Path) -> Iterator[str]:
    """Markdown: what was exchanged, its source, the pairs in the paper's order, AdaServe's attainment, and each system's mean
    deviation, in brackets of its absolute value. ``folder``: for a fingerprint.
    """
    yield "| exchanged | source | order | AdaServe, first → last rate (%) | " + " | ".join(PAPERS) + " |"
    yield "|---|---|---|---|" + "---|" * len(PAPERS)
    for name, source, assumed in IN_TURN:
        yield _row(name, source, runs(runner, assumed, folder))
    yield "| *then one by one:* |" + " |" * (3 + len(PAPERS))
    for name, source, assumed in ON_TOP:
        yield _row(name, source, runs(runner, assumed, folder))


def runs(runner: Runner, assumed: Assumed, folder: Path) -> DataFrame:
    """Attainment of the paper's systems at the paper's rates. ``folder``: for fingerprints."""
    import pandas as pd

    rules = RELEASED if assumed.released else {}
    policies: Mapping[str, Mapping[str, Any]] = {ADASERVE: adaserve(LLAMA, **rules), **rivals()}
    if assumed.apart:
        policies = {**policies, ADASERVE: {**policies[ADASERVE], "batcher": "prefill-first"}}
    others = [name for name in PAPERS if name not in (ADASERVE, *SPEC.values())]
    parts = [
        ((ADASERVE,), assumed.pass_s, assumed.seats),
        (tuple(SPEC.values()), assumed.spec_pass_s, None),
        (others, PASS_S[TOLD]["llama"], None),
    ]
    frames = []
    for systems, pass_s, seats in parts:
        chosen = {name: policies[name] for name in systems}
        ours = ADASERVE in systems
        sets = (*TRACE_SETS, f"engine.speculative.draft_time={pass_s}", *_times(assumed, folder, ours=ours))
        if assumed.by_token:
            sets = (*sets, BY_TOKEN.sets(LLAMA))
        for rate in LLAMA.rates:
            more = _own(rate, pass_s) if assumed.own and ours else ()
            x = {rate: (traced if assumed.by_trace else workload)(LLAMA, rate, output_tokens=assumed.output_tokens)}
            frames.append(curves.swept(runner, LLAMA, x, chosen, SEEDS, ["attainment"], (*sets, *more), seats=seats))
    return pd.concat(frames, ignore_index=True)


def _times(assumed: Assumed, folder: Path, *, ours: bool) -> tuple[str, ...]:
    """Step times otherwise than the deployment has them. ``ours``: AdaServe's."""
    verify = assumed.verify if ours else 1.0
    if assumed.straight:
        return (straight(folder, verify),)
    return () if verify == 1 else (scaled(LLAMA, folder, verify),)


def _own(rate: float, pass_s: float) -> tuple[str, ...]:
    """Chains of 8 that bring what AdaServe's curve in Figure 12 has at ``rate``, less the added token."""
    told = digitised.between(digitised.curve("fig12", LLAMA.name, "mean", ADASERVE), rate)
    drafts = {"method": "draft_model", "num_speculative_tokens": 8, "acceptance": rate_of_chain((told or 1.0) - 1)}
    return (f"engine.speculative={json.dumps({**drafts, 'draft_time': pass_s})}",)


def _row(name: str, source: str, frame: DataFrame) -> str:
    ends = (LLAMA.rates[0], LLAMA.rates[-1])
    first, last = (curves.value_at(frame, LLAMA.key, ADASERVE, "attainment", rate, 100.0).value for rate in ends)
    kept, gaps = cells(frame, "fig8", LLAMA)
    return f"| {name} | {source} | {kept} | {first:.0f} → {last:.0f} | {gaps} |"
