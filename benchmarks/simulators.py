"""One adapter per simulator: run the common workload in a process of its own, read back its loop time and its answer."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from benchmarks import child

ROOT = Path(__file__).resolve().parents[1]
AISIMULATE = "aisimulate==0.13.0.dev202610270000000085"
"""The newest wheel on PyPI when this was written; what is there as 0.13.0 is a placeholder that holds no code."""


@dataclass(frozen=True, slots=True)
class Case:
    """One size of the common workload; ``folder`` holds its files (see ``benchmarks.workload``)."""

    requests: int
    engines: int
    folder: Path

    def __str__(self) -> str:
        return f"{self.requests:,} requests, {self.engines} engine{'s' if self.engines > 1 else ''}"


@dataclass(frozen=True, slots=True)
class Result:
    """One run. ``loop_s``: the simulator's own figure for its event loop. ``answer``: seconds by metric and percentile."""

    cost: child.Cost
    loop_s: float
    events: int | None = None
    answer: Mapping[str, float] = field(default_factory=dict)


class Simulator(Protocol):
    @property
    def name(self) -> str: ...

    def run(self, case: Case, work: Path) -> Result:
        """Run ``case`` once, with scratch files in the empty folder ``work``.

        Raises:
            child.ChildFailed: the simulator could not do it.
        """


class TwinServe:
    """``twinserve run`` with its defaults: per-request and per-step records written, metrics computed and printed as JSON."""

    name = "TwinServe"

    def run(self, case: Case, work: Path) -> Result:
        scenario = work / "scenario.yaml"
        trace = {"file": str(case.folder / "trace.jsonl"), "format": "mooncake"}
        _write(
            scenario,
            {
                "model": "llama-3.1-8b",
                "fleet": {"gpu": "h200", "gpus": case.engines},
                "workload": [{"name": "bench", "trace": trace}],
                "engine": {"enable_prefix_caching": "off"},  # no two prompts share content
                "policy": "vllm",
            },
        )
        record, out = work / "record", work / "out.json"
        command = [sys.executable, "-m", "twinserve", "run", str(scenario), "--out", str(record), "--json"]
        cost = child.run(command, cwd=ROOT, stdout=out)
        manifest = json.loads((record / "manifest.json").read_text())
        metrics = json.loads(out.read_text())["metrics"]
        answer = {f"{name} p{q}": metrics[f"{name}_s.p{q}"] for name in ("ttft", "tpot") for q in (50, 99)}
        return Result(cost, manifest["loop_s"], manifest.get("loop_events"), answer)


@dataclass(frozen=True, slots=True)
class AISimulate:
    """NVIDIA's AISimulate: its vLLM engine replay of Qwen3-8B on H200, with its defaults.

    ``rows``: write one row per request too, as TwinServe always does; its default is a summary alone.
    """

    program: Path
    rows: bool = False

    @property
    def name(self) -> str:
        return "AISimulate+rows" if self.rows else "AISimulate"

    @classmethod
    def install(cls, folder: Path) -> Path:
        """Install it into an environment of its own (about 85 packages, 1.5 GB) unless it is there; its program.

        Raises:
            child.ChildFailed: pip could not.
        """
        program = folder / "bin" / "aisimulate"
        if not program.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.parent.mkdir(parents=True, exist_ok=True)
            log = folder.parent / "install.log"
            child.run([sys.executable, "-m", "venv", str(folder)], cwd=ROOT, stdout=log)
            child.run([str(folder / "bin" / "python"), "-m", "pip", "install", AISIMULATE], cwd=ROOT, stdout=log)
        return program

    def run(self, case: Case, work: Path) -> Result:
        config, out = work / "config.yaml", work / "out.json"
        _write(
            config,
            {
                "traffic": {
                    "source": {"type": "trace", "paths": [str(case.folder / "trace.jsonl")], "format": "mooncake"},
                    "load": {"type": "trace_timestamps"},
                },
                "engine": {
                    "mode": "aggregated",
                    "model": "Qwen/Qwen3-8B",
                    "hardware": "h200_sxm",
                    "backend": "vllm",
                    "workers": {"aggregated": {"parallelism": {"replicas": case.engines}}},
                },
            },
        )
        command = [str(self.program), "predict", "-c", str(config), "--format", "json", "--output-dir", str(work / "results")]
        if self.rows:
            command.append("--capture-per-request")
        cost = child.run(command, cwd=ROOT, stdout=out)
        said = json.loads(out.read_text())
        names = {50: "median", 99: "p99"}
        answer = {f"{name} p{q}": said[f"{names[q]}_{name}_ms"] / 1e3 for name in ("ttft", "tpot") for q in (50, 99)}
        return Result(cost, said["wall_time_ms"] / 1e3, None, answer)


@dataclass(frozen=True, slots=True)
class Vidur:
    """A checkout of microsoft/vidur with its environment in ``.venv``: Llama-2-7B on A100, Sarathi chunks of 512, least outstanding
    requests, metrics off. Its random forests are trained once with a one-point grid and cached in the checkout."""

    checkout: Path
    name = "Vidur"

    def run(self, case: Case, work: Path) -> Result:
        forest = "--random_forrest_execution_time_predictor_config_"
        flags = {
            "--replica_config_model_name": "meta-llama/Llama-2-7b-hf",
            "--replica_config_device": "a100",
            "--cluster_config_num_replicas": case.engines,
            "--global_scheduler_config_type": "lor",
            "--replica_scheduler_config_type": "sarathi",
            "--sarathi_scheduler_config_chunk_size": 512,
            "--request_generator_config_type": "trace_replay",
            "--trace_request_generator_config_trace_file": case.folder / "vidur.csv",
            "--trace_request_generator_config_prefill_scale_factor": 1,
            "--trace_request_generator_config_decode_scale_factor": 1,
            "--trace_request_generator_config_time_scale_factor": 1,
            "--trace_request_generator_config_max_tokens": 4096,
            forest + "num_estimators": 250,
            forest + "max_depth": 16,
            forest + "min_samples_split": 2,
            forest + "k_fold_cv_splits": 2,
            "--metrics_config_output_dir": work,
        }
        switches = ["write_metrics", "write_json_trace", "enable_chrome_trace", "store_plots"]
        arguments = [str(part) for flag in flags.items() for part in flag]
        arguments += [f"--no-metrics_config_{switch}" for switch in switches]
        return _timed_by_driver(self.checkout, "time_vidur.py", arguments, work)


@dataclass(frozen=True, slots=True)
class SplitwiseSim:
    """A checkout of splitwise-sim with its environment in ``.venv``: Llama-2-70B, one DGX-H100 per engine, token-JSQ."""

    checkout: Path
    name = "splitwise-sim"

    def run(self, case: Case, work: Path) -> Result:
        overrides = [
            "hydra/launcher=basic",
            "cluster=dgx-h100",
            "cluster.servers.0.count=0",
            f"cluster.servers.1.count={case.engines}",
            "start_state=baseline",
            "performance_model=db",
            "applications.0.scheduler=token_jsq",
            f"trace.path={case.folder / 'splitwise.csv'}",
            f"output_dir={work}",
            "plot=False",
        ]
        return _timed_by_driver(self.checkout, "time_splitwise.py", overrides, work)


def _timed_by_driver(checkout: Path, driver: str, arguments: list[str], work: Path) -> Result:
    python = checkout / ".venv" / "bin" / "python"
    program = ROOT / "benchmarks" / "drivers" / driver
    out = work / "out.txt"
    cost = child.run([os.fspath(python), str(program), *arguments], cwd=checkout, stdout=out)
    said = next(json.loads(line) for line in out.read_text().splitlines() if line.startswith('{"loop_s"'))
    return Result(cost, said["loop_s"])


def _write(path: Path, document: Any) -> None:
    """JSON is YAML, and quotes any path rightly."""
    path.write_text(json.dumps(document, indent=1))
