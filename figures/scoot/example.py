"""The example study on real engines, held against the simulator: does it rank configurations as the engines do?

A trial of a study has traffic of its own, which moves a latency more than most knobs do. So the trials' configurations were run
again, all under one traffic, and twice, which tells how well the engines rank like themselves.

    python -m figures.scoot.example           # both worlds side by side, from ``examples/again.json`` and the fingerprint
    python -m figures.scoot.example --again   # runs them on vLLM, twice, and writes that file; quarter of an hour
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from figures.tuning.carry import Carried
from figures.tuning.objectives import Objective, parse_objectives
from figures.tuning.trials import Outcome, Real, Simulated
from traces.fingerprints import read_fingerprint

FOLDER = Path(__file__).parent / "examples"
_AGAIN = FOLDER / "again.json"
_LIMIT_S = 60.0
_RUNS = 2


def compared() -> tuple[list[Carried], list[Carried], tuple[Objective, ...], int]:
    """Simulator and engines, engines and engines again (as if the first run were the simulator's), objective, and seed."""
    study, objectives = _study()
    simulated = Simulated(FOLDER / "cpu.yaml", objectives, (), read_fingerprint(FOLDER / "cpu-fingerprint.json"))
    worlds, itself = [], []
    for trial, values in zip(study["trials"], json.loads(_AGAIN.read_text("utf-8")), strict=True):
        first, second = (Outcome(None if value is None else (value,)) for value in values)
        name, config = f"trial {trial['number']}", trial["config"]
        worlds.append(Carried(name, config, simulated(config, study["seed"]), first))
        itself.append(Carried(name, config, first, second))
    return worlds, itself, objectives, study["seed"]


def run_again() -> None:
    """Every trial's configuration on real engines under the traffic of the study's seed, ``_RUNS`` times, round by round."""
    study, objectives = _study()
    real = Real(FOLDER / "cpu.yaml", objectives, limit_s=_LIMIT_S)
    rounds = [[real(trial["config"], study["seed"]).values for trial in study["trials"]] for _ in range(_RUNS)]
    columns = [[values and values[0] for values in one] for one in zip(*rounds, strict=True)]
    _AGAIN.write_text(json.dumps(columns) + "\n", "utf-8")


def _study() -> tuple[dict[str, Any], tuple[Objective, ...]]:
    study = json.loads((FOLDER / "cpu.json").read_text("utf-8"))
    return study, parse_objectives("+".join(objective["name"] for objective in study["objectives"]))


def main() -> None:
    """Print the configurations in both worlds, how well their ranks agree, and how well those of two real runs do."""
    from rich.console import Console

    from figures.tuning.carry import agreements
    from figures.tuning.view import print_carried

    if "--again" in sys.argv[1:]:
        run_again()
    worlds, itself, objectives, seed = compared()
    print_carried(worlds, agreements(worlds, objectives, seed), Console())
    (agreement,) = agreements(itself, objectives, seed)
    print(f"of two real runs: rank correlation {agreement.correlation:.2f} ({agreement.lo:.2f} to {agreement.hi:.2f}, 95 %)")


if __name__ == "__main__":
    main()
