"""How the layers of a model are dealt out to pipeline stages."""

from __future__ import annotations

from itertools import accumulate, pairwise


def stage_layers(layers: int, stages: int) -> tuple[range, ...]:
    """The layers on each stage, as vLLM deals them out (0.32, ``vllm/distributed/utils.py``: ``get_pp_indices``).

    What does not divide evenly goes to the stages before the last one, from the back: the last has the head as well.
    """
    each, extra = divmod(layers, stages)
    sizes = (each + (stages - 1 - extra <= stage < stages - 1) for stage in range(stages))
    return tuple(range(first, stop) for first, stop in pairwise(accumulate(sizes, initial=0)))
