"""The modules that a policy is made of: its own and those it imports from its own package, as syntax trees."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

TRUSTED = frozenset({"policies.streams", "policies.types", "policies.latency", "policies.fingerprint", "policies.protocols"})
"""TwinServe's own vocabulary: what policies are meant to import. ``streams`` is where randomness comes from."""


@dataclass(frozen=True, slots=True)
class Module:
    """A module with its source. ``file``: for messages, the name within its folder."""

    name: str
    file: str
    tree: ast.Module

    @property
    def live(self) -> ModuleType | None:
        """The module as it is loaded."""
        return sys.modules.get(self.name)


def modules_of(*names: str) -> tuple[Module, ...]:
    """The named modules and, transitively, what they import from their own packages. Modules without source are left out."""
    found: dict[str, Module] = {}
    package = names[0].partition(".")[0]
    todo = list(names)
    while todo:
        name = todo.pop(0)
        if name in found or name in TRUSTED or not _own(name, package):
            continue
        module = _parsed(name)
        if module is None:
            continue
        found[name] = module
        todo += [n for n in _imported(module) if n not in found]
    return tuple(found.values())


def _own(name: str, package: str) -> bool:
    """Same package; or, for a policy in a single file, a file that lies beside it and is not installed."""
    if name.partition(".")[0] == package:
        return True
    here, there = _file(package), _file(name)
    if here is None or there is None or "site-packages" in there.parts:
        return False
    return "__path__" not in vars(sys.modules[package]) and there.parent == here.parent


def _file(name: str) -> Path | None:
    module = sys.modules.get(name)
    path = getattr(module, "__file__", None)
    return Path(path) if path and str(path).endswith(".py") else None


def _parsed(name: str) -> Module | None:
    path = _file(name)
    if path is None:
        return None
    try:
        return Module(name, path.name, ast.parse(path.read_bytes()))
    except (OSError, SyntaxError):
        return None


def _imported(module: Module) -> Iterator[str]:
    """Full names of the modules that it imports and that are loaded."""
    live = module.live
    package = getattr(live, "__package__", None) or ""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = node.module or ""
            if node.level:
                parts = package.split(".")
                start = ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])
            yield start
            yield from (full for alias in node.names if (full := f"{start}.{alias.name}") in sys.modules)
