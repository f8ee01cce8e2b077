"""Installing a package without the network: its files on the search path, and the metadata that pip would write."""

from __future__ import annotations

import shutil
import sys
import tomllib
from pathlib import Path

import pytest


def install(project: Path, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the project's modules and its entry points into ``site``, which goes first on the search path."""
    facts = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    site.mkdir()
    for entry in project.iterdir():
        if entry.is_dir() and (entry / "__init__.py").exists():
            shutil.copytree(entry, site / entry.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif entry.suffix == ".py":
            shutil.copy(entry, site)
    info = site / f"{facts['name'].replace('-', '_')}-{facts['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {facts['name']}\nVersion: {facts['version']}\n")
    lines = [f"{name} = {path}" for name, path in facts["entry-points"]["twinserve.policies"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[twinserve.policies]", *lines]) + "\n")
    monkeypatch.syspath_prepend(str(site))


def forget(*prefixes: str) -> None:
    """Take modules out of the process again."""
    for name in [name for name in sys.modules if name.startswith(prefixes)]:
        del sys.modules[name]
