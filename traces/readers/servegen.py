"""ServeGen workloads: requests drawn per client from the published arrival processes and length distributions.

https://github.com/alibaba/ServeGen; Apache-2.0; Xiang et al., arXiv 2505.09999.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from policies.streams import generator
from traces.errors import InputError
from traces.readers.files import TraceFile
from traces.readers.servegen_clients import Client, Lengths, Window, load, span_s
from traces.readers.shape import Shape
from traces.workload import RequestClass, Workload

COLUMNS = ("chunk-N-trace.csv", "chunk-N-dataset.json")

Arrivals = NDArray[np.float64]


def recognises(shape: Shape) -> bool:
    return shape.container in ("tar", "folder")


def read(
    file: TraceFile,
    shape: Shape,
    *,
    start_s: float = 0.0,
    duration_s: float = 3600.0,
    rate_scale: float = 1.0,
    seed: int = 0,
    folder: str | None = None,
) -> Workload:
    """Requests of all clients between ``start_s`` and ``start_s + duration_s`` of the published span; time counts from ``start_s``.

    Every client sends as a renewal process (gamma or Weibull) in each of its 10-minute windows, in equilibrium from the window's
    start, so that the expected number of requests is the published rate × ``rate_scale`` × time. Draws depend on (seed, client,
    window) alone: a longer span holds the same requests. Prompt and output lengths are drawn independently, as ServeGen does.
    The session is the client. ``folder``: which workload, where an archive holds several (`reason/deepseek-r1`).

    Raises:
        InputError: no or malformed client files, a span without traffic, or options that make no sense.
    """
    if shape.container not in ("tar", "folder"):
        raise InputError(
            f"{file.where}: ServeGen clients come as a folder or a tar archive of {' and '.join(COLUMNS)}; this is neither"
        )
    if not (start_s >= 0 and duration_s > 0 and rate_scale > 0):
        raise InputError(
            f"{file.where}: start_s {start_s:g}, duration_s {duration_s:g}, rate_scale {rate_scale:g}; give a start of at least 0, "
            "a positive duration and scale"
        )
    clients = load(file, folder)
    end_s = start_s + duration_s
    parts = [part for client in clients for part in _requests(client, start_s, end_s, rate_scale, seed)]
    if not sum(len(arrivals) for arrivals, *_ in parts):
        raise InputError(
            f"{file.where}: 0 requests between {start_s:g} and {end_s:g} s; the clients' windows span 0 to {span_s(clients):g} s"
        )
    arrival, prompt, output, session = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(arrival, kind="stable")
    return Workload(
        arrival[order] - start_s,
        prompt[order].astype(np.int32),
        output[order].astype(np.int32),
        np.zeros(len(order), np.int16),
        (RequestClass(),),
        session[order],
        source={"notes": _notes(clients, start_s, min(end_s, span_s(clients)), rate_scale, seed)},
    )


def _requests(
    client: Client, start_s: float, end_s: float, rate_scale: float, seed: int
) -> list[tuple[Arrivals, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    parts = []
    for window in _within(client, start_s, end_s):
        models = _length_models(client, window)
        if models is None:
            continue
        prompts, outputs = models
        rng = generator(seed, "servegen", client.id, int(window.start_s))
        arrivals = window.start_s + renewals(window, window.rate * rate_scale, rng)
        prompt, output = prompts.sample(len(arrivals), rng), outputs.sample(len(arrivals), rng)
        inside = (arrivals >= start_s) & (arrivals < end_s)
        parts.append((arrivals[inside], prompt[inside], output[inside], np.full(int(inside.sum()), client.id, np.int64)))
    return parts


def _length_models(client: Client, window: Window) -> tuple[Lengths, Lengths] | None:
    prompts, outputs = client.lengths(window.start_s, "input_tokens"), client.lengths(window.start_s, "output_tokens")
    return None if prompts is None or outputs is None else (prompts, outputs)


def _within(client: Client, start_s: float, end_s: float) -> list[Window]:
    return [window for window in client.windows if window.start_s < end_s and window.start_s + window.length_s > start_s]


def renewals(window: Window, rate: float, rng: np.random.Generator) -> Arrivals:
    """Arrival times in [0, length) of a renewal process in equilibrium.

    Gaps have the window's family and shape, and mean 1/rate: the published scale is a fit whose mean is off by more than 10 % in
    one window in eight. The first arrival is a residual gap: uniform × a length-biased gap (Cox, Renewal Theory, 1962, §5.1).
    """
    mean, shape = 1 / rate, window.shape
    if window.pattern == "Gamma":
        scale = mean / shape
        biased = scale * rng.standard_gamma(shape + 1)
    else:
        scale = mean / math.gamma(1 + 1 / shape)
        biased = scale * rng.standard_gamma(1 + 1 / shape) ** (1 / shape)
    times = [np.array([biased * rng.random()])]
    batch = 16 + int(1.2 * rate * window.length_s)
    while times[-1][-1] < window.length_s:
        gaps = rng.standard_gamma(shape, batch) if window.pattern == "Gamma" else rng.weibull(shape, batch)
        times.append(times[-1][-1] + np.cumsum(scale * gaps))
    arrivals = np.concatenate(times)
    return arrivals[arrivals < window.length_s]


def _notes(clients: Sequence[Client], start_s: float, end_s: float, rate_scale: float, seed: int) -> list[str]:
    span = f"{start_s:g} to {end_s:g} s, rate × {rate_scale:g}, seed {seed}"
    notes = [f"drawn from {len(clients)} ServeGen clients, {span}; prompt and output lengths independent within a client"]
    windows = [(client, window) for client in clients for window in _within(client, start_s, end_s)]
    without = [(client, window) for client, window in windows if _length_models(client, window) is None]
    if without:
        share = _expected(without, start_s, end_s) / _expected(windows, start_s, end_s)
        left_out = len({client.id for client, _ in without})
        notes.append(
            f"windows of {left_out} clients have no length distribution and are left out: {share:.1%} of the published requests"
        )
    return notes


def _expected(windows: Sequence[tuple[Client, Window]], start_s: float, end_s: float) -> float:
    """Published requests of the windows inside the span."""
    return sum(w.rate * (min(end_s, w.start_s + w.length_s) - max(start_s, w.start_s)) for _, w in windows)
