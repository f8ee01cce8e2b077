"""The example study on real engines, held against the simulator: does it rank configurations as the engines did?

``python -m figures.scoot.example`` simulates each trial of ``examples/cpu.json`` under its own traffic, with the step times that
were measured of those engines, and tells the rank correlation.
"""

from __future__ import annotations

import json
from pathlib import Path

from figures.tuning.carry import Carried
from figures.tuning.objectives import Objective, parse_objectives
from figures.tuning.trials import Outcome, Simulated
from traces.fingerprints import read_fingerprint

FOLDER = Path(__file__).parent / "examples"
SETS = ("extrapolate=on",)


def compared() -> tuple[list[Carried], tuple[Objective, ...], int]:
    """The trials in both worlds, the objective, and the study's seed."""
    study = json.loads((FOLDER / "cpu.json").read_text("utf-8"))
    objectives = parse_objectives("+".join(objective["name"] for objective in study["objectives"]))
    simulated = Simulated(FOLDER / "cpu.yaml", objectives, SETS, read_fingerprint(FOLDER / "cpu-fingerprint.json"))
    found = []
    for trial in study["trials"]:
        values = tuple(trial["values"].values())
        real = Outcome(failure=trial["failure"]) if trial["failure"] else Outcome(values)
        number, config = trial["number"], trial["config"]
        found.append(Carried(f"trial {number}", config, simulated(config, study["seed"] + number), real))
    return found, objectives, study["seed"]


def main() -> None:
    """Print the trials in both worlds and how well their ranks agree."""
    from rich.console import Console

    from figures.tuning.carry import agreements
    from figures.tuning.view import print_carried

    found, objectives, seed = compared()
    print_carried(found, agreements(found, objectives, seed), Console())


if __name__ == "__main__":
    main()
