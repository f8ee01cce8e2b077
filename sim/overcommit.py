"""Which engines would not live: a model of GPU memory beyond the share that vLLM plans with.

vLLM fills ``gpu_memory_utilization`` × the GPU's memory with weights, activations (of a profiling run), CUDA graphs and KV blocks
(0.32, ``vllm/v1/worker/gpu_worker.py``). What it does not plan for has to fit into the rest: the CUDA context, other processes of
the machine, and what the allocator loses to fragments, which grows with the activations and logits of a step. An engine runs out
of memory where they do not fit.

The sizes below are assumptions, not measurements: they put the edge where practice has it (0.9 to 0.95 mostly live, 0.98 with
large steps does not), and the fragments are drawn anew for each run, so that the edge is not sharp.
"""

from __future__ import annotations

import math

from policies.streams import generator
from traces.hardware import gpu
from traces.scenario import Scenario
from traces.scenario.pools import EnginePool

_GIB = 1 << 30
CONTEXT_BYTES = int(0.5 * _GIB)
OTHERS_BYTES = int(0.3 * _GIB)
"""Of the CUDA context, and of other processes such as monitoring agents; both are there before the engine asks for memory."""
FRAGMENTS = 0.5
FRAGMENTS_SIGMA = 0.4
"""Memory lost to fragments over activations and logits: median, and deviation of its logarithm."""


def fault(scenario: Scenario) -> str | None:
    """Why the first engine that would not live does not, in vLLM's terms; ``None`` = all live. One draw per pool and seed."""
    for pool in scenario.pools:
        if why := _fault(pool, scenario.seed):
            return why
    return None


def _fault(pool: EnginePool, seed: int) -> str | None:
    engine, total = pool.engine, gpu(pool.hardware.gpu).memory_bytes
    asked, free = engine.gpu_memory_utilization * total, total - CONTEXT_BYTES - OTHERS_BYTES
    if free < asked:
        return f"start-up refused: {free / _GIB:.1f} GiB are free, less than the {asked / _GIB:.1f} GiB of gpu_memory_utilization"
    drawn = math.exp(FRAGMENTS_SIGMA * generator(seed, "overcommit", pool.name).standard_normal())
    lost = FRAGMENTS * drawn * transient_bytes(pool)
    if asked + CONTEXT_BYTES + OTHERS_BYTES + lost > total:
        short = asked + CONTEXT_BYTES + OTHERS_BYTES + lost - total
        return f"out of memory: {short / _GIB:.1f} GiB short while running"
    return None


def transient_bytes(pool: EnginePool) -> int:
    """Activations and logits of the largest step on each GPU."""
    engine, width, stages = pool.engine, pool.hardware.tensor_parallel, pool.hardware.pipeline_parallel
    step = {"max_batched_tokens": engine.max_num_batched_tokens, "max_seqs": engine.max_num_seqs}
    most = pool.shape.reserve_bytes(width, pipeline_parallel=stages, **step)
    return most - pool.shape.reserve_bytes(width, pipeline_parallel=stages, max_batched_tokens=0, max_seqs=0)
