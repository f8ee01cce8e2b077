"""Runs splitwise-sim's run.py with Hydra overrides and writes the seconds spent in the event loop; cwd is the checkout."""

import json
import runpy
import sys
import time

sys.path.insert(0, ".")

import simulator

event_loop = simulator.Simulator.run


def timed(self: simulator.Simulator) -> None:
    start = time.perf_counter()
    event_loop(self)
    print(json.dumps({"loop_s": time.perf_counter() - start}))


simulator.Simulator.run = timed
runpy.run_path("run.py", run_name="__main__")
