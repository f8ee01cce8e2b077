"""What ``benchmarks.peers`` prints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.simulators import Case, Result

OURS = "TwinServe"
YARDSTICK = (50_000, 64)
"""The size at which the targets are set."""

RECORDED_VIDUR_LOOP_S = {(10_000, 1): 7.9, (50_000, 1): 41.0, (50_000, 8): 39.0, (50_000, 64): 47.0}
"""CPU seconds of Vidur's event loop, metrics off, on this workload's sizes: commit 7d47513, Llama-2-7B on A100, Sarathi chunks of
512, Python 3.11, 2 cores. The Vidur on PyPI (0.0.26) downloads its profiles when it starts, so these stand in for it."""

RECORDED_AISIMULATE_PROCESS_S = {(10_000, 8): 4.9, (50_000, 64): 19.2}
"""AISimulate as a whole process, on the machine of the Vidur figures: how fast that machine is against this one."""

Measured = Sequence[tuple[Case, Mapping[str, Sequence[Result]]]]


def startup(runs: Mapping[str, Sequence[Result]]) -> str:
    process = [r.cost.wall_s for r in runs[OURS]]
    loop = [r.loop_s for r in runs[OURS]]
    return (
        f"\nStart-up: 10 requests on 1 engine take {_min_median(process)} s as a whole process, "
        f"{_min_median([p - q for p, q in zip(process, loop, strict=True)])} s of it outside the loop (min/median)"
    )


def case(case: Case, runs: Mapping[str, Sequence[Result]]) -> str:
    """Times and ratios, memory and answers of one size."""
    rows = [["", "process s", "loop s", "requests/s of loop", "peak MB", "bytes/request"]]
    for name, results in runs.items():
        loop = [r.loop_s for r in results]
        peak = max(r.cost.peak_bytes for r in results)
        rate = f"{case.requests / min(loop):,.0f}"
        process = _min_median([r.cost.wall_s for r in results])
        rows.append([name, process, _min_median(loop), rate, f"{peak / 1e6:,.0f}", f"{peak / case.requests:,.0f}"])
    blocks = [f"\n== {case} (min/median of {len(runs[OURS])}) ==", _table(rows)]
    if len(runs) > 1:
        ratios = [["TwinServe is faster by", "process ×", "loop ×"]]
        ratios += [[name, _ratio(runs, name, _process), _ratio(runs, name, _loop)] for name in runs if name != OURS]
        blocks.append(_table(ratios))
    answered = {name: results[0].answer for name, results in runs.items() if results[0].answer}
    metrics = list(answered[OURS])
    answers = [["answer, ms (other models: sanity, not equality)", *metrics]]
    answers += [[name, *(f"{answer[m] * 1e3:.2f}" for m in metrics)] for name, answer in answered.items()]
    blocks.append(_table(answers))
    return "\n\n".join(blocks)


def verdicts(measured: Measured) -> str:
    """One line per target that these sizes can show."""
    by_size = {(case.requests, case.engines): runs for case, runs in measured}
    lines = ["\n== Targets =="]
    if runs := by_size.get(YARDSTICK):
        for name in runs:
            if name.startswith("AISimulate"):
                ratio = _factor(runs, name, _process)
                lines.append(
                    _verdict(f"50,000 on 64: whole process {ratio:.1f} × faster than {name}", ratio >= 3, "≥ 3 ×, aim 8 ×")
                )
        lines += _against_vidur(runs)
    flat = {engines: min(map(_loop, by_size[50_000, engines][OURS])) for engines in (1, 8, 64) if (50_000, engines) in by_size}
    if len(flat) == 3:
        spread = flat[64] / flat[1]
        lines.append(
            _verdict(f"50,000: the loop on 64 engines takes {spread:.2f} × the time on 1", spread <= 1.25, "flat: ≤ 1.25 ×")
        )
    for (requests, engines), runs in by_size.items():
        if requests >= 1_000_000:
            seconds = min(map(_process, runs[OURS]))
            per_request = max(r.cost.peak_bytes for r in runs[OURS]) / requests
            lines.append(_verdict(f"{requests:,} on {engines}: {seconds:.1f} s as a whole process", seconds < 90, "< 90 s"))
            what = f"{requests:,} on {engines}: {per_request:,.0f} bytes of peak memory per request, interpreter included"
            lines.append(_verdict(what, per_request < 1024, "< 1,024"))
        elif requests <= 10:
            outside = min(_process(r) - r.loop_s for r in runs[OURS])
            lines.append(_verdict(f"start-up {outside:.2f} s", outside < 1, "< 1 s"))
    return "\n".join(lines)


def _against_vidur(runs: Mapping[str, Sequence[Result]]) -> list[str]:
    if "Vidur" in runs:
        ratio = _factor(runs, "Vidur", _loop)
        return [_verdict(f"50,000 on 64: loop {ratio:.0f} × faster than Vidur's", ratio >= 20, "≥ 20 ×, aim 50 ×")]
    recorded = RECORDED_VIDUR_LOOP_S[YARDSTICK]
    ours = min(map(_loop, runs[OURS]))
    text = (
        f"50,000 on 64: loop {recorded / ours:.0f} × faster than Vidur's as recorded ({recorded:g} s), which was not measured here"
    )
    lines = [_verdict(text, recorded / ours >= 20, "≥ 20 ×, aim 50 ×")]
    if "AISimulate" in runs:
        here = min(map(_process, runs["AISimulate"]))
        there = RECORDED_AISIMULATE_PROCESS_S[YARDSTICK]
        scaled = recorded * here / there / ours
        lines.append(
            f"{'':8}   … {scaled:.0f} ×, this machine being {there / here:.1f} × as fast as that one by AISimulate ({there:g} s)"
        )
    return lines


def as_json(environment: str, measured: Measured) -> dict[str, Any]:
    """Every run in full; times in seconds, memory in bytes."""
    return {
        "environment": environment,
        "recorded": {"vidur_loop_s": {f"{n}x{e}": s for (n, e), s in RECORDED_VIDUR_LOOP_S.items()}},
        "runs": [
            {
                "simulator": name,
                "requests": case.requests,
                "engines": case.engines,
                "process_s": result.cost.wall_s,
                "cpu_s": result.cost.cpu_s,
                "loop_s": result.loop_s,
                "events": result.events,
                "peak_bytes": result.cost.peak_bytes,
                "answer_s": dict(result.answer),
            }
            for case, runs in measured
            for name, results in runs.items()
            for result in results
        ],
    }


def _process(result: Result) -> float:
    return result.cost.wall_s


def _loop(result: Result) -> float:
    return result.loop_s


def _factor(runs: Mapping[str, Sequence[Result]], name: str, figure: Any) -> float:
    """The peer's best time over ours."""
    return float(min(map(figure, runs[name])) / min(map(figure, runs[OURS])))


def _ratio(runs: Mapping[str, Sequence[Result]], name: str, figure: Any) -> str:
    medians = median(map(figure, runs[name])) / median(map(figure, runs[OURS]))
    return f"{_factor(runs, name, figure):.1f}/{medians:.1f}"


def _min_median(values: Iterable[float]) -> str:
    values = list(values)
    return f"{min(values):.2f}/{median(values):.2f}"


def _verdict(text: str, met: bool, target: str) -> str:
    return f"{'met' if met else 'NOT MET':>8}   {text} ({target})"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
