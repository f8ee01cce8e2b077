"""What a fingerprint says, on a terminal and as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.fingerprint import NOISE_LEVELS, NOTHING, Fingerprint
from policies.latency import FingerprintLatency, StepShape

Floats = NDArray[np.float64]
DECODES = (1, 8, 32, 128, 256)
CONTEXTS = (512, 4096, 16384)
PREFILLS = (128, 512, 2048, 8192)


def listing(names: Sequence[str]) -> str:
    """Names grouped by model and GPU, one line per pair."""
    pairs: dict[tuple[str, str], list[str]] = {}
    for name in names:
        model, gpu, rest = name.split("/", 2)
        pairs.setdefault((model, gpu), []).append(rest)
    width = max((len(model) for model, _ in pairs), default=0)
    return "\n".join(f"{model:{width}}  {gpu:13} {'  '.join(rest)}" for (model, gpu), rest in pairs.items())


def sampled_steps(fingerprint: Fingerprint) -> dict[str, float]:
    """Step times in seconds at round shapes: ``decode 32 × 4096``, ``prefill 2048``."""
    latency = FingerprintLatency(fingerprint)
    steps = {f"decode {n} × {each}": StepShape(decode_seqs=n, decode_context=n * each) for n in DECODES for each in CONTEXTS}
    steps |= {f"prefill {n}": StepShape(n, n * n / 2, 1) for n in PREFILLS}
    return {name: latency.seconds(step) for name, step in steps.items()}


def facts(fingerprint: Fingerprint) -> dict[str, Any]:
    """Everything that ``show --json`` prints."""
    return {"name": fingerprint.name, **fingerprint.to_dict(), "steps_s": sampled_steps(fingerprint)}


def page(fingerprint: Fingerprint) -> str:
    """The fingerprint on one screen."""
    latency = FingerprintLatency(fingerprint)
    lines = [
        f"{fingerprint.name} · {fingerprint.provenance} · {fingerprint.engine}",
        fingerprint.source,
        "",
        "decode step, ms      " + "".join(f"{f'context {c:,}':>18}" for c in CONTEXTS),
    ]
    for n in DECODES:
        times = [latency.seconds(StepShape(decode_seqs=n, decode_context=n * c)) for c in CONTEXTS]
        lines.append(f"  {n:>4} requests      " + "".join(f"{1e3 * t:>18.2f}" for t in times))
    lines.append(
        "prefill step, ms   "
        + "   ".join(f"{n:,} tokens {1e3 * latency.seconds(StepShape(n, n * n / 2, 1)):.1f}" for n in PREFILLS)
    )
    lines += [
        "",
        "calibrated for     " + ", ".join(f"{k} {low:,.0f} to {high:,.0f}" for k, (low, high) in fingerprint.calibrated.items()),
    ]
    if fingerprint.errors:
        lines.append("|error| of the fit              median     p90    rows")
        lines += [f"  {name:30} {median:>6.1%} {p90:>7.1%} {rows:>7,}" for name, (median, p90, rows) in fingerprint.errors.items()]
    lines.append(f"noise of a step    {fingerprint.residual:.1%} of its time (standard deviation)")
    return "\n".join(lines)


def comparison(a: Fingerprint, b: Fingerprint) -> dict[str, float]:
    """Step times of b over those of a, at the same shapes."""
    first, second = sampled_steps(a), sampled_steps(b)
    return {name: second[name] / first[name] for name in first}


def comparison_page(a: Fingerprint, b: Fingerprint) -> str:
    """Both fingerprints' step times and their ratio; a line says so where they are of different engine versions."""
    first, second = sampled_steps(a), sampled_steps(b)
    lines = [f"A {a.name} · {a.provenance} · {a.engine}", f"B {b.name} · {b.provenance} · {b.engine}"]
    if a.engine != b.engine:
        lines.append(f"Warning: A is of {a.engine}, B of {b.engine}: part of the difference is the engine's")
    lines += ["", f"{'step':22} {'A ms':>9} {'B ms':>9} {'B / A':>7}"]
    lines += [
        f"{name:22} {1e3 * first[name]:>9.2f} {1e3 * second[name]:>9.2f} {second[name] / first[name]:>7.3f}" for name in first
    ]
    return "\n".join(lines)


def draw(fingerprint: Fingerprint, path: Path, errors: Mapping[str, Floats] | None = None) -> None:
    """Terms by tokens, decode steps by batch and context, errors of the fit and noise, into a PNG, SVG or PDF file.

    ``errors``: of each row behind the terms, where they are at hand; otherwise what the fingerprint says of them is drawn.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from figures.style import LIGHT, matplotlib_rc

    with matplotlib.rc_context(matplotlib_rc(LIGHT)):
        figure = Figure(figsize=(10, 7), layout="constrained")
        FigureCanvasAgg(figure)
        (stack, decode), (residual, noise) = figure.subplots(2, 2)
        _draw_terms(stack, fingerprint)
        _draw_decode(decode, fingerprint)
        _draw_errors(residual, fingerprint, errors)
        _draw_noise(noise, fingerprint)
        figure.suptitle(f"{fingerprint.name} · {fingerprint.provenance} · {fingerprint.engine}")
        figure.savefig(path, dpi=150)


def _draw_terms(axes: Any, fingerprint: Fingerprint) -> None:
    terms = fingerprint.terms
    tokens = np.unique(np.geomspace(1, min(terms.gemm.x[-1], 16384), 200).astype(int)).astype(float)
    parts: dict[str, Floats] = {"overhead": np.full_like(tokens, terms.overhead)}
    for label, curve in (
        ("GEMM", terms.gemm),
        ("experts", terms.experts),
        ("all-reduce", terms.all_reduce),
        ("small kernels", terms.small_kernels),
        ("hops", terms.hops),
    ):
        if curve != NOTHING:
            parts[label] = curve.many(tokens)
    parts["prefill attention"] = terms.prefill_chunk + terms.prefill_token * tokens + terms.prefill_attention * tokens**2 / 2
    share = np.array(list(parts.values()))
    axes.stackplot(tokens, share / share.sum(axis=0), labels=list(parts), alpha=0.85)
    axes.set(xscale="log", xlim=(1, tokens[-1]), ylim=(0, 1), xlabel="prompt tokens in the step", ylabel="share of its time")
    axes.set_title("Where the time of a prefill step goes", loc="left", fontsize=10)
    axes.legend(loc="lower left", fontsize=8, frameon=True)


def _draw_decode(axes: Any, fingerprint: Fingerprint) -> None:
    latency, zero = FingerprintLatency(fingerprint), np.zeros(1)
    requests = np.unique(
        np.geomspace(1, min(1024, fingerprint.calibrated.get("decode_seqs", (1, 512))[1]), 150).astype(int)
    ).astype(float)
    zero = np.zeros_like(requests)
    for context in (128, *CONTEXTS):
        seconds = latency.seconds_many(zero, zero, zero, requests, requests * context, zero)
        axes.plot(requests, 1e3 * seconds, label=f"context {context:,}")
    axes.set(xscale="log", yscale="log", xlabel="decoding requests", ylabel="step time, ms")
    axes.set_title("Decode steps", loc="left", fontsize=10)
    axes.legend(fontsize=8)


def _draw_errors(axes: Any, fingerprint: Fingerprint, errors: Mapping[str, Floats] | None) -> None:
    axes.set_title("Errors of the terms on the rows behind them", loc="left", fontsize=10)
    if errors is not None:
        kept = {name: values for name, values in errors.items() if len(values)}
        axes.boxplot([100 * v for v in kept.values()], orientation="horizontal", whis=(5, 95), showfliers=False)
        axes.set_yticks(range(1, len(kept) + 1), [f"{name}\n({len(values)} rows)" for name, values in kept.items()], fontsize=8)
        axes.set_xlabel("fitted / measured − 1, % (box: quartiles, whiskers: 5–95 %)")
        axes.axvline(0, color="0.4", linewidth=0.8)
    elif fingerprint.errors:
        names = list(fingerprint.errors)
        median, p90 = (np.array([100 * fingerprint.errors[n][i] for n in names]) for i in (0, 1))
        axes.barh(names, p90, height=0.5, alpha=0.35, label="90th percentile")
        axes.barh(names, median, height=0.5, label="median")
        axes.set_xlabel("|fitted / measured − 1|, %")
        axes.tick_params(axis="y", labelsize=8)
        axes.legend(fontsize=8)
    else:
        axes.text(0.5, 0.5, "nothing was fitted", ha="center", transform=axes.transAxes)


def _draw_noise(axes: Any, fingerprint: Fingerprint) -> None:
    axes.set_title("Noise of a step", loc="left", fontsize=10)
    if fingerprint.noise:
        axes.plot(fingerprint.noise, NOISE_LEVELS, marker="o", markersize=3)
        axes.set(xlabel="step time over its mean", ylabel="share of steps below", ylim=(0, 1))
    else:
        axes.text(0.5, 0.5, f"log-normal, {fingerprint.residual:.1%}", ha="center", transform=axes.transAxes)
