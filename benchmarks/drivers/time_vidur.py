"""Runs Vidur's own simulation with its own flags and writes the seconds spent in the event loop; cwd is the checkout."""

import json
import sys
import time

sys.path.insert(0, ".")

from vidur.config import SimulationConfig
from vidur.simulator import Simulator
from vidur.utils.random import set_seeds

config = SimulationConfig.create_from_cli_args()
set_seeds(config.seed)
simulator = Simulator(config)
start = time.perf_counter()
simulator.run()
print(json.dumps({"loop_s": time.perf_counter() - start}))
