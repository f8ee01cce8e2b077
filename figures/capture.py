"""What half an hour on a GPU has to bring home: an engine's fingerprint, and replays that the simulator is held against, condensed
to what is small enough to keep; all the rest lies under ``raw``.

The phases stand in the order of their worth. Each writes its own file when it is done, so a capture that is cut off keeps what it
had, and one that is called again with the same folder goes on where it was. A phase that does not fit into the time left is passed
over, one that fails is noted; the manifest says what became of each.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from traces.errors import InputError
from traces.fingerprints import read_fingerprint
from traces.record import Record
from traces.scenario import load_scenario
from traces.scenario.replay import Replay
from traces.tables import floats

if TYPE_CHECKING:
    import pyarrow as pa

    from figures.calibration import Calibration

LOADS = {"low": 0.4, "knee": 0.9, "overload": 1.4}
"""Offered rates as shares of what the engine can serve."""
_OFF, _ON = "engine.enable_prefix_caching=off", "engine.enable_prefix_caching=on"
_70B = ("model=llama-3.1-70b", "engine.gpu_memory_utilization=0.98", "engine.num_gpu_blocks_override=4000")
"""The whole model would fit an H200 with hardly any KV; the few layers that are measured take their room for KV from here."""
_MEASURE_S = 150.0
_PROBE_S = 90.0
_FIRST_START_S = 120.0
_SATURATING = 4
"""Requests per place in the batch whose service tells what the engine can serve."""
COLUMNS = ("arrival_s", "prompt_tokens", "output_tokens", "cached_tokens", "ttft_s", "tpot_s", "e2e_s")


@dataclass(frozen=True, slots=True)
class Phase:
    """``sets``: on top of the scenario. ``load``: a key of ``LOADS``; without one, a fingerprint of ``layers`` (none: all).

    Three numbers of layers or more: the largest is held against what the others predict of it. ``probed``: the engine is of another
    kind than the fingerprint's, and measures its own.
    """

    name: str
    layers: tuple[int, ...] = ()
    load: str | None = None
    sets: tuple[str, ...] = ()
    runs: int = 1
    probed: bool = False

    def seconds(self, start_s: float, replay_s: float) -> float:
        """About how long it takes where an engine starts in ``start_s`` and a replay lasts ``replay_s``."""
        if self.load is None:
            return max(1, len(self.layers)) * start_s + _MEASURE_S
        return self.runs * (start_s + replay_s) + (start_s + _PROBE_S if self.probed else 0.0)


PLAN = (
    Phase("fingerprint"),
    *(Phase(load, load=load, sets=(_OFF,)) for load in ("knee", "low", "overload")),
    Phase("fingerprint-of-1-and-2-layers", layers=(1, 2)),
    Phase("knee-again", load="knee", sets=(_OFF,), runs=2),
    *(Phase(f"{load}-cached", load=load, sets=(_ON,)) for load in ("knee", "low", "overload")),
    Phase("knee-asynchronous", load="knee", sets=(_OFF, "engine.async_scheduling=on"), probed=True),
    Phase("fingerprint-of-70b-from-1-2-and-8-layers", layers=(1, 2, 8), sets=_70B),
)
"""In the order of worth. A CPU plans no step ahead, so there the asynchronous one fails, and says so."""


@dataclass(slots=True)
class Capture:
    """``scenario``: a file with one pool and one workload entry. ``minutes``: for all; what does not fit is passed over."""

    scenario: Path
    out: Path
    minutes: float
    sets: Sequence[str] = ()
    plan: Sequence[Phase] = PLAN
    clock: Callable[[], float] = time.monotonic
    tell: Callable[[str], None] = lambda _: None
    start_s: float = _FIRST_START_S
    became: dict[str, str] = field(default_factory=dict)

    def run(self) -> dict[str, Any]:
        """Play all phases; returns the manifest.

        Raises:
            InputError: the scenario cannot be read, or the folder not be written.
        """
        began, scenario = self.clock(), load_scenario(self.scenario, self.sets)
        replay_s = scenario.end_s or (scenario.duration_s or 60.0) * 2
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            for phase in self.plan:
                left_s = 60.0 * self.minutes - (self.clock() - began)
                self.became[phase.name] = self._play(phase, left_s, replay_s)
                self._write("manifest.json", self.manifest(self.clock() - began))
        except OSError as error:
            raise InputError(
                f"{self.out}: cannot be written: {error.strerror or error}; choose another folder with --out"
            ) from error
        return self.manifest(self.clock() - began)

    def _play(self, phase: Phase, left_s: float, replay_s: float) -> str:
        if self._path(phase).exists():
            return "done before"
        if phase.load is not None and not self._path(self.plan[0]).exists():
            return "left out: there is no fingerprint"
        if (needs_s := phase.seconds(self.start_s, replay_s)) > left_s:
            return f"left out: needs about {needs_s:.0f} s, and {max(left_s, 0):.0f} s were left"
        self.tell(phase.name)
        began = self.clock()
        try:
            if phase.load is None:
                self._fingerprint(phase)
            else:
                self._replay(phase)
        except InputError as fault:
            return f"failed: {fault}"
        return f"done in {self.clock() - began:.0f} s"

    def _fingerprint(self, phase: Phase) -> None:
        from replay.measuring import held_out, measure_fingerprint
        from replay.samples import check, from_data
        from traces.assembly.library import to_json

        scenario = load_scenario(self.scenario, (*self.sets, *phase.sets))
        found = measure_fingerprint(scenario, phase.layers, _MEASURE_S, tell=self.tell)
        self.start_s = 1.3 * max(engine["start_s"] for engine in found.engines) + 20.0
        whole = self._raw(f"{self.plan[0].name}-samples.json")
        held = None
        if len(phase.layers) > 2:
            held = held_out(scenario, found.samples)
        elif phase.layers and whole.exists():
            held = check(found.fingerprint, from_data(json.loads(whole.read_text(encoding="utf-8"))))
        if held is not None:
            self._write(f"{phase.name}-check.json", {"error": held.error, "by_kind": dict(held.by_kind), "shapes": held.shapes})
        self._raw(f"{phase.name}-samples.json").write_text(json.dumps(found.samples_data()), encoding="utf-8")
        self._path(phase).write_text(to_json(found.fingerprint), encoding="utf-8")

    def _replay(self, phase: Phase) -> None:
        import pyarrow.parquet as parquet

        from figures.calibration import calibrate, write

        known = self._path(self.plan[0])
        rate = LOADS[phase.load or ""] * served_per_s(self.scenario, (*self.sets, *phase.sets), known)
        sets = (*self.sets, *phase.sets, f"workload.0.rate={rate:.4g}/s")
        found = calibrate(self.scenario, sets, fingerprint=None if phase.probed else known, runs=phase.runs, tell=self.tell)
        write(found, self._raw(phase.name))
        parquet.write_table(condensed(found), self.out / f"{phase.name}.parquet", compression="zstd")
        self._write(f"{phase.name}.json", {"rate_per_s": rate, "sets": list(sets), **_without_fingerprint(found.to_json())})

    def manifest(self, wall_s: float) -> dict[str, Any]:
        """What was captured on what, when and how."""
        scenario = load_scenario(self.scenario, self.sets)
        return {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": f"twinserve capture {self.scenario.name} --minutes {self.minutes:g}",
            "sets": list(self.sets),
            "scenario": scenario.resolved(),
            "device": dict(machine(scenario.replay or Replay())),
            "phases": dict(self.became),
            "wall_s": round(wall_s, 1),
        }

    def _path(self, phase: Phase) -> Path:
        return self.out / f"{phase.name}.json"

    def _raw(self, name: str) -> Path:
        """Where what is too large to keep lies."""
        (self.out / "raw").mkdir(exist_ok=True)
        return self.out / "raw" / name

    def _write(self, name: str, data: Any) -> None:
        (self.out / name).write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def served_per_s(scenario: Path, sets: Sequence[str], fingerprint: Path) -> float:
    """Requests per second that an engine of this fingerprint serves when there are always more, in the simulator."""
    from sim.run import simulate

    pool = load_scenario(scenario, sets).pools[0]
    requests = _SATURATING * pool.engine.max_num_seqs
    flood = (*sets, f"workload.0.rate={100 * requests}/s", f"workload.0.requests={requests}", "extrapolate=on")
    endless = load_scenario(scenario, (*flood, "duration=1h", "drain=24h"))
    record = simulate(endless, fingerprints=[read_fingerprint(fingerprint)])
    ended = floats(record.requests, "arrival_s") + floats(record.requests, "e2e_s")
    return requests / float(np.nanmax(ended))


def condensed(found: Calibration) -> pa.Table:
    """One row per request and world: ``run`` is "vllm-1", "vllm-2", … or "sim"; times as 32-bit floats."""
    import pyarrow as pa

    parts = [_rows(record, f"vllm-{number}") for number, record in enumerate(found.real, 1)]
    return pa.concat_tables([*parts, _rows(found.simulated, "sim")])


def _rows(record: Record, run: str) -> pa.Table:
    import pyarrow as pa

    table = record.requests
    columns = {name: pa.array(floats(table, name).astype(np.float32), from_pandas=True) for name in COLUMNS}
    return pa.table({"run": pa.array([run] * len(table)).dictionary_encode(), "outcome": table["outcome"], **columns})


def _without_fingerprint(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key != "fingerprint"}


def machine(choice: Replay) -> Iterator[tuple[str, str]]:
    """What engines ran on: the GPU as its driver tells it, or the CPU."""
    import platform
    import subprocess

    from replay.knobs import device

    yield "kind", device(choice)
    if device(choice) == "cpu":
        yield "name", platform.processor() or platform.machine()
        return
    asked = ("name", "driver_version", "clocks.max.sm", "clocks.sm", "clocks.mem", "power.limit", "memory.total")
    try:
        said = subprocess.run(
            ["nvidia-smi", f"--query-gpu={','.join(asked)}", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=20, check=True,
        ).stdout.splitlines()[0]  # fmt: skip
        yield from zip(asked, (word.strip() for word in said.split(",")), strict=False)
    except (OSError, subprocess.SubprocessError, IndexError):
        yield "name", "a GPU whose driver tells nothing (no nvidia-smi)"
