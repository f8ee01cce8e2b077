"""How long does the exact placement take? Models drawn at random on A6000s, the optimum of each (``policies.iserve.optimum``).

    python -m benchmarks.placement [--models 24] [--gpus 16] [--draws 12]

Prints the median and the longest wall time in seconds. Models and rates are those of ``figures iserve-placement``.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from figures.iserve.placing import wishes_of
from figures.iserve.world import GPU_BYTES
from policies.iserve.optimum import Infeasible, optimum
from policies.iserve.placement import Device


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--models", type=int, default=24)
    options.add_argument("--gpus", type=int, default=16)
    options.add_argument("--draws", type=int, default=12)
    given = options.parse_args()
    room = [Device(f"gpu{i:02d}", "a6000", GPU_BYTES) for i in range(given.gpus)]
    took, impossible = [], 0
    for seed in range(given.draws):
        _, _, wishes = wishes_of(given.models, given.gpus, seed)
        began = time.perf_counter()
        try:
            optimum(wishes, room)
        except Infeasible:
            impossible += 1
        took.append(time.perf_counter() - began)
    print(f"{given.models} models on {given.gpus} GPUs, {given.draws} draws, {impossible} of them with no placement")
    print(f"median {np.median(took):.2f} s, longest {max(took):.2f} s")


if __name__ == "__main__":
    main()
