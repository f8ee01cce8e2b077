"""What a command imports: the seconds before anything happens are imports, and imports creep in unseen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {
    "numpy", "scipy", "pandas", "pyarrow", "matplotlib", "pydantic", "simpy", "rich", "yaml", "jinja2", "joblib", "zstandard",
    "sklearn", "optuna", "dask", "ray", "vllm", "torch", "asyncio", "multiprocessing", "concurrent.futures", "importlib.metadata",
}  # fmt: skip


def imported(*arguments: str, complete: str | None = None) -> set[str]:
    """The heavy modules that a call of the command leaves in memory."""
    setting = "" if complete is None else f"import os; os.environ.update({_completing(complete)}); "
    code = (
        f"import sys; {setting}sys.argv = ['twinserve', *{list(arguments)!r}]\n"
        "import twinserve\n"
        "try: twinserve.main(prog_name='twinserve')\n"
        "finally: print('\\nIMPORTED', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    return set(done.stdout.rpartition("IMPORTED")[2].split())


def _completing(line: str) -> dict[str, str]:
    words = line.split(" ")
    return {"_TWINSERVE_COMPLETE": "zsh_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}


@pytest.mark.parametrize(
    "arguments", [("--help",), ("run", "--help"), ("plan", "--help"), ("config", "init", "--help"), ("--version",)]
)
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    heavy = HEAVY - {"importlib.metadata"} if arguments == ("--version",) else HEAVY
    assert imported(*arguments) & heavy == set()


def test_a_run_imports_what_it_runs_with_and_no_more() -> None:
    there = imported("run", "traces/gallery/demo.yaml", "--set", "duration=2s", "--set", "warmup=0s", "--quiet")
    assert {"numpy", "simpy", "sim.engine"} <= there
    idle = {"scipy", "pandas", "matplotlib", "jinja2", "joblib", "zstandard", "sklearn", "optuna", "asyncio", "multiprocessing"}
    assert there & (idle | {"pyarrow.parquet", "pyarrow.compute", "figures.report", "replay", "policies.iserve"}) == set()


@pytest.mark.parametrize(
    "line",
    [
        "twinserve po", "twinserve config init p", "twinserve policies show router l", "twinserve policies check po",
        "twinserve plan s.yaml --policy v", "twinserve fingerprint show llama", "twinserve figures poly",
    ],
)  # fmt: skip
def test_completion_imports_nothing_heavy(line: str) -> None:
    allowed = {"importlib.metadata", "numpy"}  # for installed policies; a twelfth of a second
    assert imported(complete=line) & (HEAVY - allowed) == set()
