"""TwinServe beside its peers: the same workload, on the same machine, in one go.

``python -m benchmarks.peers`` installs AISimulate into ``.peers/`` on first use, runs it and TwinServe in turn, several times each,
and prints times, ratios, answers and memory. ``--help`` has the rest; ``benchmarks/README.md`` says how to read it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import child, report
from benchmarks.simulators import ROOT, AISimulate, Case, Result, Simulator, SplitwiseSim, TwinServe, Vidur

SIZES = [(requests, engines) for requests in (10_000, 50_000) for engines in (1, 8, 64)]
QUICK_SIZES = [(10_000, 8), (50_000, 64)]
MILLION = (1_000_000, 64)
STARTUP = (10, 1)
"""So few requests that the whole process is start-up, reading and writing."""

Runs = dict[str, list[Result]]
"""Results by simulator name."""


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    sizes = [MILLION] if options.million else QUICK_SIZES if options.quick else SIZES
    repetitions = options.repetitions or (1 if options.million else 3)
    peers = [] if options.million else _peers(options)
    environment = _environment()
    if not options.json:
        print(environment, flush=True)
    measured: list[tuple[Case, Runs]] = []
    for requests, engines in [STARTUP, *sizes]:
        startup = (requests, engines) == STARTUP
        simulators = [TwinServe(), *([] if startup else peers)]
        with _case(requests, engines) as case:
            _say(f"{case}: {repetitions} × {', '.join(simulator.name for simulator in simulators)}")
            measured.append((case, _interleaved(simulators, case, repetitions)))
        if not options.json:
            print(report.startup(measured[-1][1]) if startup else report.case(*measured[-1]), flush=True)
    print(json.dumps(report.as_json(environment, measured), indent=1) if options.json else report.verdicts(measured))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description="Speed of TwinServe and of its peers, side by side."
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="two sizes instead of six")
    size.add_argument("--million", action="store_true", help="a million requests on 64 engines, TwinServe alone")
    parser.add_argument("--repetitions", type=int, metavar="N", help="runs of each simulator per size [3; with --million 1]")
    parser.add_argument("--no-aisimulate", action="store_true", help="leave AISimulate out, and do not install it")
    parser.add_argument("--vidur", type=Path, metavar="PATH", help="a checkout of microsoft/vidur with its environment in .venv")
    parser.add_argument("--splitwise", type=Path, metavar="PATH", help="a checkout of splitwise-sim with its environment in .venv")
    parser.add_argument("--json", action="store_true", help="one object on stdout instead of tables")
    return parser


def _peers(options: argparse.Namespace) -> list[Simulator]:
    peers: list[Simulator] = []
    if not options.no_aisimulate:
        _say("AISimulate: installing into .peers/aisimulate unless it is there")
        try:
            program = AISimulate.install(ROOT / ".peers" / "aisimulate")
            peers += [AISimulate(program), AISimulate(program, rows=True)]
        except child.ChildFailed as failure:
            _say(f"AISimulate is left out, for it cannot be installed here: {failure}")
    if options.vidur:
        peers.append(Vidur(options.vidur.resolve()))
    if options.splitwise:
        peers.append(SplitwiseSim(options.splitwise.resolve()))
    return peers


@contextlib.contextmanager
def _case(requests: int, engines: int) -> Iterator[Case]:
    scratch = ROOT / ".peers"
    scratch.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="workload-") as name:
        folder = Path(name)
        write = [sys.executable, "-m", "benchmarks.workload", str(requests), str(engines), name]
        child.run(write, cwd=ROOT, stdout=folder / "log")
        yield Case(requests, engines, folder)


def _interleaved(simulators: Sequence[Simulator], case: Case, repetitions: int) -> Runs:
    """Each simulator in turn, ``repetitions`` times, every other round backwards: a slow moment of the machine hits them alike."""
    runs: Runs = {simulator.name: [] for simulator in simulators}
    for round_ in range(repetitions):
        for simulator in simulators if round_ % 2 == 0 else reversed(simulators):
            work = case.folder / "work"
            work.mkdir()
            try:
                runs[simulator.name].append(simulator.run(case, work))
            finally:
                shutil.rmtree(work)
    return runs


def _environment() -> str:
    describe = ["git", "describe", "--always", "--dirty"]
    commit = ""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        commit = ", commit " + subprocess.run(describe, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    return (
        f"{_cpu()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {platform.system()} {platform.machine()}; "
        f"{platform.python_implementation()} {platform.python_version()}{commit}"
    )


def _cpu() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown CPU"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except child.ChildFailed as failure:
        sys.exit(f"A simulator failed:\n{failure}")
