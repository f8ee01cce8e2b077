"""A fingerprint from a running engine: a probe that visits many shapes of steps, and the fit to what they took.

The probe is a workload like any other, served by the engine under test alone: bursts of 1, 2, 4, … requests over a grid of prompt
lengths, in random order, so that prefill chunks, decode batches and mixed steps of all sizes occur, and an idle engine too. The fit
takes the steps as they came, so it does not matter whether a burst had ended when the next one came.

A step's time is from its start to the next one's where the engine went straight on, which counts the engine's own work between two
steps; so it is what requests wait for.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from policies.fingerprint import Fingerprint
from policies.streams import generator
from replay.knobs import device, engine_layers, model_name
from replay.stepfit import Steps, fit_steps
from traces.errors import InputError
from traces.record import Record
from traces.scenario.pools import EnginePool
from traces.scenario.replay import Replay
from traces.tables import floats
from traces.workload import Workload

Floats = NDArray[np.float64]

_OUTPUTS = (8, 96)
_BURSTS = 32
_SINGLES = 16
"""Requests at the end that come one by one."""
_LARGEST_BURST = 128
_WORK = 8
"""Prompt tokens of a burst at most, in full steps."""
_ONE_AFTER_OTHER_S = 0.003
"""A shorter pause between two steps is the engine's own work, a longer one may be waiting for requests."""
_FEWEST = 200


def probe(pool: EnginePool, longest_prompt: int, *, gap_s: float, seed: int) -> Workload:
    """Bursts ``gap_s`` apart for one engine of ``pool``; prompts of up to ``longest_prompt`` tokens."""
    rng = generator(seed, "profile", pool.name)
    most = min(pool.engine.max_num_seqs, _LARGEST_BURST)
    sizes = [1 << power for power in range(most.bit_length())]
    longest = min(longest_prompt, pool.window - _OUTPUTS[1])
    lengths = sorted({max(1, round(longest / 4**power)) for power in range(4)})
    grid = [(size, length) for size in sizes for length in lengths if size * length <= _WORK * pool.engine.max_num_batched_tokens]
    rounds = max(2, -(-_BURSTS // len(grid)))
    bursts = [grid[place] for place in np.concatenate([rng.permutation(len(grid)) for _ in range(rounds)]).tolist()]
    bursts += [(1, lengths[turn % len(lengths)]) for turn in range(_SINGLES)]
    arrival, prompt = [], []
    for turn, (size, length) in enumerate(bursts):
        arrival += [turn * gap_s] * size
        prompt += rng.integers(max(1, length // 2), length + 1, size).tolist()
    output = rng.integers(*_OUTPUTS, len(arrival), endpoint=True)
    return Workload.make(arrival, prompt, output, source={"name": "profile"})


def fit(record: Record, pool: EnginePool, choice: Replay, *, engine: str, source: str) -> Fingerprint:
    """A fingerprint of the steps in a record. ``engine``: what ran ("vLLM 0.32.0, CPU"); ``source``: how it was measured.

    Raises:
        InputError: too few steps.
    """
    table = record.steps
    if len(table) < _FEWEST:
        raise InputError(f"fingerprint: {len(table)} steps were measured, and {_FEWEST} are needed; let the probe run longer")
    columns = {name: floats(table, name) for name in table.column_names if name != "engine"}
    took = _step_times(columns["start_s"], columns["duration_s"])
    by_field = (
        columns["prefill_tokens"], columns["prefill_attention"], columns["prefill_seqs"], columns["decode_tokens"],
        columns["decode_context"], columns["spec_tokens"],
    )  # fmt: skip
    layers = engine_layers(pool, choice)
    steps = Steps(np.column_stack(by_field), took, np.full(len(took), float(layers)))
    return fingerprint_of(steps, pool, choice, layers, engine=engine, source=source)


def fingerprint_of(
    steps: Steps,
    pool: EnginePool,
    choice: Replay,
    layers: int,
    *,
    engine: str,
    source: str,
    hashes: Mapping[str, str] | None = None,
) -> Fingerprint:
    """What steps say of the pool's engine with ``layers`` layers. ``hashes``: of what was measured."""
    found = fit_steps(steps, layers)
    tokens, seqs = steps.tokens, steps.column("decode_seqs")
    each = steps.column("decode_context") / np.maximum(seqs, 1)
    hardware = pool.hardware
    return Fingerprint(
        model=model_name(pool, choice, layers),
        gpu="cpu" if device(choice) == "cpu" else hardware.gpu,
        tensor_parallel=hardware.tensor_parallel,
        precision=hardware.precision,
        engine=engine,
        provenance="measured",
        source=f"{source}; {found.stalls}",
        terms=found.terms,
        calibrated={
            "tokens": (1.0, float(tokens.max())),
            "decode_seqs": (1.0, float(seqs.max())),
            "decode_context_per_seq": (1.0, float(each.max())),
        },
        residual=found.residual,
        errors=found.errors,
        hashes=hashes or {},
        noise=found.noise,
    )


def front_end_s(record: Record) -> float | None:
    """What a request's first token takes beside the engine's step: the way there and back, over HTTP and between processes.

    The median over requests that found the engine idle, were prefilled in one step, and had no other request sent beside them until
    their first token came; ``None`` where there were none.
    """
    requests = record.requests
    sent, ttft, queue = (floats(requests, name) for name in ("arrival_s", "ttft_s", "queue_s"))
    start, duration = floats(record.steps, "start_s"), floats(record.steps, "duration_s")
    if not len(start):
        return None
    scheduled = sent + queue
    step = np.clip(np.searchsorted(start, scheduled - 1e-9), 0, len(start) - 1)
    before = np.clip(step - 1, 0, None)
    idle = (step > 0) & (start[before] + duration[before] < sent)
    whole = floats(requests, "prompt_tokens") <= floats(record.steps, "prefill_tokens")[step]
    others = np.sort(sent)
    place = np.searchsorted(others, sent)
    following = np.append(others, np.inf)[place + 1]
    alone = (following > sent + ttft) & (np.append(-np.inf, others)[place] < sent)
    known = idle & whole & alone & ~np.isnan(ttft) & ~np.isnan(scheduled)
    return float(np.median(ttft[known] - duration[step[known]])) if known.any() else None


def _step_times(start: Floats, duration: Floats) -> Floats:
    """From start to start where the engine went straight on; elsewhere the step and a usual pause."""
    pause = start[1:] - (start[:-1] + duration[:-1])
    straight = pause < _ONE_AFTER_OTHER_S
    usual = float(np.median(pause[straight])) if straight.any() else 0.0
    took: Floats = duration + np.append(np.where(straight, np.maximum(pause, 0.0), usual), usual)
    return took
