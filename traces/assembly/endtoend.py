"""A fingerprint fitted to end-to-end measurements: TPOT in a closed loop at several concurrencies.

Three numbers are fitted, each with a meaning: ``scale``, by which the GPU is slower than the fingerprint taken as a start says, and
the host work per step and per decoding request that is added. Few enough that a table of a dozen rows tells them, and that what
the start knows of shapes is kept.
"""

from __future__ import annotations

import csv
import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from policies.curve import Curve, Lines
from policies.fingerprint import NOTHING, Fingerprint, Terms
from policies.latency import FingerprintLatency, StepShape
from traces.errors import InputError

Floats = NDArray[np.float64]
COLUMNS = ("concurrency", "prompt_tokens", "output_tokens", "tpot_ms")
CHUNK_TOKENS = 8192
_LEAST_ROWS = 4


@dataclass(frozen=True)
class EndToEndFit:
    """``errors``: relative, of each row by the fit to all; ``held_out``: by the fit to all others. ``before``: of the start."""

    fingerprint: Fingerprint
    scale: float
    host_s: float
    host_per_request_s: float
    errors: Floats
    held_out: Floats
    before: Floats


def fit_end_to_end(start: Fingerprint, table: Path) -> EndToEndFit:
    """The fingerprint that explains a CSV with ``COLUMNS``, beginning from another of the same deployment.

    Raises:
        InputError: a column is missing, a row is impossible, or there are too few rows.
    """
    rows = _read(table)
    latency = FingerprintLatency(start)
    gpu = np.array([closed_loop_tpot(latency, int(c), p, o) for c, p, o, _ in rows])
    concurrency, measured = rows[:, 0], rows[:, 3] * 1e-3
    parameters = _solve(gpu, concurrency, measured)
    held_out = np.empty(len(rows))
    for i in range(len(rows)):
        others = np.arange(len(rows)) != i
        held_out[i] = _predict(_solve(gpu[others], concurrency[others], measured[others]), gpu[i : i + 1], concurrency[i : i + 1])[
            0
        ]
    scale, host, per_request = (float(f"{v:.4g}") for v in parameters)
    errors = _predict(parameters, gpu, concurrency) / measured - 1
    left = held_out / measured - 1
    size = np.abs(left)
    fingerprint = dataclasses.replace(
        start,
        provenance="end-to-end",
        terms=rescaled(start.terms, scale, host, per_request),
        errors={"TPOT, row held out": (round(float(np.median(size)), 4), round(float(np.quantile(size, 0.9)), 4), len(rows))},
        source=f"{start.source} Fitted to {len(rows)} rows of TPOT in {table.name}: GPU time × {scale:g}, "
        f"+ {host * 1e3:.3g} ms per step + {per_request * 1e6:.3g} µs per decoding request of host work.",
    )
    return EndToEndFit(fingerprint, scale, host, per_request, errors, left, gpu / measured - 1)


def closed_loop_tpot(latency: FingerprintLatency, concurrency: int, prompt: float, output: float) -> float:
    """Mean time per output token when as many equal requests are always in flight: a decode step at half the output, plus the
    steps that the others' prompts share with it, once in each one's lifetime."""
    context = prompt + output / 2
    decode = latency.seconds(StepShape(decode_seqs=concurrency, decode_context=int(concurrency * context)))
    others = concurrency - 1
    chunk = max(1.0, min(prompt, CHUNK_TOKENS - concurrency))
    mixed = latency.seconds(StepShape(int(chunk), chunk * prompt / 2, 1, others, int(others * context)))
    return decode + others * prompt / chunk * (mixed - decode) / output


def rescaled(terms: Terms, scale: float, host_s: float, host_per_request_s: float) -> Terms:
    """All terms times ``scale``, plus host work per step and per decoding request."""

    def times(curve: Curve) -> Curve:
        return NOTHING if curve == NOTHING else Curve(curve.x, tuple(scale * y for y in curve.y))

    decode = terms.decode
    fixed = tuple(scale * f + host_per_request_s * n for n, f in zip(decode.requests, decode.fixed, strict=True))
    return Terms(
        overhead=scale * terms.overhead + host_s,
        gemm=times(terms.gemm),
        sampled=times(terms.sampled),
        prefill_chunk=scale * terms.prefill_chunk,
        prefill_token=scale * terms.prefill_token,
        prefill_attention=scale * terms.prefill_attention,
        decode=Lines(decode.requests, fixed, tuple(scale * s for s in decode.per_context)),
        all_reduce=times(terms.all_reduce),
        small_kernels=times(terms.small_kernels),
        experts=times(terms.experts),
        hops=times(terms.hops),
        stages=terms.stages,
    )


def _solve(gpu: Floats, concurrency: Floats, measured: Floats) -> Floats:
    from scipy.optimize import nnls

    design = np.column_stack([gpu, np.full_like(gpu, 1e-3), concurrency * 1e-6]) / measured[:, None]
    solution, _ = nnls(design, np.ones_like(measured))
    return np.asarray(solution * np.array([1.0, 1e-3, 1e-6]), float)


def _predict(parameters: Floats, gpu: Floats, concurrency: Floats) -> Floats:
    scale, host, per_request = parameters
    return np.asarray(scale * gpu + host + per_request * concurrency, float)


def _read(table: Path) -> Floats:
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            if missing := [c for c in COLUMNS if c not in (reader.fieldnames or ())]:
                raise InputError(f"{table}: column {missing[0]} is missing; give {', '.join(COLUMNS)}")
            rows = []
            for number, row in enumerate(reader, 2):
                try:
                    values = [float(row[c]) for c in COLUMNS]
                except (TypeError, ValueError):
                    raise InputError(f"{table}:{number}: is not all numbers; give {', '.join(COLUMNS)}") from None
                if not all(0 < v < float("inf") for v in values) or values[0] < 1:
                    raise InputError(f"{table}:{number}: every value is a positive number; got {values}")
                if not 0.1 <= values[3] <= 10_000:
                    raise InputError(
                        f"{table}:{number}: tpot_ms is {values[3]:g}; a token takes 0.1 ms to 10 s, is it in seconds or µs?"
                    )
                rows.append(values)
    except OSError as error:
        raise InputError(f"{table}: {error.strerror}; give a CSV of measurements") from None
    if len(rows) < _LEAST_ROWS:
        raise InputError(f"{table}: {len(rows)} rows cannot tell three numbers; give {_LEAST_ROWS} or more")
    return np.array(rows)
