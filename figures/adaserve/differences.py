"""What would have to be otherwise for the paper's ranking: Llama-3.1-70B's Figure 8, one assumption exchanged at a time.

    .venv/bin/python -m figures.adaserve.differences

Each row keeps what the rows above it have changed. A row's assumption is not fixed by the paper's tables: it is read off the very
figures that are compared, so that agreement here explains and does not reproduce. Two seeds of a minute.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from figures.adaserve import curves
from figures.adaserve.deviations import off
from figures.adaserve.load import SHORT
from figures.adaserve.settings import ADASERVE, LLAMA, PAPERS, SPEC, adaserve, fingerprint, rivals, workload
from figures.adaserve.time import PAPER_S
from figures.runner import SweepRunner
from policies.curve import Curve

if TYPE_CHECKING:
    from pandas import DataFrame

RATES = (2.6, 3.4, 4.2, 4.8)
SEEDS = (1, 2)
OWN_RATE = 0.905
"""Of a chain of 8 that accepts 5.23 tokens, as AdaServe's own curve of Figure 12 has it at 2.6 requests per second."""
PASSES = (f"{1e3 * PAPER_S['llama']:g}ms", "12ms", "22ms")
"""Of vLLM's drafter: as long as AdaServe's by Figure 15, whose drafter it shares; 22 ms = what vLLM-Spec(4) would have 36 ms per
token with, at 4 requests per second, if it did nothing but decode (docs/adaserve.md); and one between the two."""


def straight(folder: Path) -> str:
    """A fingerprint whose steps below 128 tokens lie on the line from one token's time to 128 tokens', not on a roofline."""
    found = fingerprint(LLAMA)
    gemm = found.terms.gemm
    line = Curve((1.0, *gemm.x[1:]), (LLAMA.setting.tpot_s, *gemm.y[1:]))
    path = folder / "straight.json"
    path.write_text(json.dumps(dataclasses.replace(found, terms=dataclasses.replace(found.terms, gemm=line)).to_dict()), "utf-8")
    return f"fleet.fingerprint={path}"


def rows(folder: Path) -> Iterator[str]:
    """Markdown: what was exchanged, the pairs in the paper's order, AdaServe's attainment, and each system's mean deviation."""
    yield "| exchanged | order | AdaServe, first → last rate (%) | " + " | ".join(PAPERS) + " |"
    yield "|---|---|---|" + "---|" * len(PAPERS)
    line = straight(folder)
    drafts = {"method": "draft_model", "num_speculative_tokens": 8, "acceptance": OWN_RATE, "draft_time": PASSES[0]}
    own = f"engine.speculative={json.dumps(drafts)}"
    yield _row("nothing", _runs((), (), ()))
    yield _row("steps below 128 tokens lie on a line", _runs((line,), (), ()))
    yield _row("AdaServe's drafts are accepted as in its own Fig. 12, a pass as in Fig. 15", _runs((line,), (own,), ()))
    for taken in PASSES:
        yield _row(f"a pass of vLLM's drafter takes {taken}", _runs((line,), (own,), (f"engine.speculative.draft_time={taken}",)))


def _runs(all_sets: Sequence[str], for_adaserve: Sequence[str], for_spec: Sequence[str]) -> DataFrame:
    import pandas as pd

    policies: Mapping[str, Mapping[str, Any]] = {ADASERVE: adaserve(LLAMA), **rivals()}
    x = {rate: workload(LLAMA, rate) for rate in RATES}
    frames = []
    for systems, sets in (
        ([ADASERVE], for_adaserve),
        ([*SPEC.values()], for_spec),
        ([name for name in PAPERS if name != ADASERVE and name not in SPEC.values()], ()),
    ):
        chosen = {name: policies[name] for name in systems}
        frames.append(curves.swept(SweepRunner(), LLAMA, x, chosen, SEEDS, ["attainment"], (*SHORT, *all_sets, *sets)))
    return pd.concat(frames, ignore_index=True)


def _row(name: str, frame: DataFrame) -> str:
    order = curves.order_kept(frame, "fig8", LLAMA, "attainment", PAPERS).value
    first, last = (curves.value_at(frame, LLAMA.key, ADASERVE, "attainment", rate, 100.0).value for rate in (RATES[0], RATES[-1]))
    gaps = [off(frame, "fig8", LLAMA, system) for system in PAPERS]
    cells = ["–" if gap is None else f"{gap.mean:+.0f}" for gap in gaps]
    kept = "–" if order is None else f"{order:.2f}"
    return f"| {name} | {kept} | {first:.0f} → {last:.0f} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        for each in rows(Path(temporary)):
            print(each, flush=True)
