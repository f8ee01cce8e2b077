"""What a policy is made of: of its own modules, the statements that its class leads to.

Other policies beside it in a file, and imports that only they use, are none of its business.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

TRUSTED = frozenset(
    f"policies.{name}"
    for name in ("types", "decisions", "placement", "seating", "protocols", "latency", "fingerprint", "intent", "streams")
)
"""TwinServe's own vocabulary: what policies are meant to import. ``streams`` is where randomness comes from."""


@dataclass(frozen=True, slots=True)
class Module:
    """A module with its source. ``file``: for messages, the name within its folder. ``reached``: what the policy leads to."""

    name: str
    file: str
    tree: ast.Module
    reached: list[ast.stmt] = field(default_factory=list)

    @property
    def live(self) -> ModuleType | None:
        """The module as it is loaded."""
        return sys.modules.get(self.name)


def modules_of(*classes: type) -> tuple[Module, ...]:
    """The modules of the classes, and what of these is reached from them. Modules without source are left out.

    Followed are names within a module, and imports within the first class's package; for a policy in a single file, imports of
    files beside it that are not installed.
    """
    walk = _Walk(classes[0].__module__.partition(".")[0])
    for cls in classes:
        walk.reach(cls.__module__, cls.__qualname__.rpartition(".")[2])
    walk.finish()
    return tuple(walk.modules.values())


class _Walk:
    """Follows names from statement to statement. ``_binds``: module → name → the statements that bind it."""

    def __init__(self, package: str) -> None:
        self.modules: dict[str, Module] = {}
        self._package = package
        self._binds: dict[str, dict[str, list[ast.stmt]]] = {}
        self._todo: list[tuple[str, str]] = []
        self._seen: set[tuple[str, str]] = set()

    def reach(self, module: str, name: str) -> None:
        """Follow ``name`` of ``module``; "*" is all of it."""
        if (module, name) not in self._seen:
            self._seen.add((module, name))
            self._todo.append((module, name))

    def finish(self) -> None:
        """Follow everything to its end."""
        while self._todo:
            name, word = self._todo.pop(0)
            module = self._open(name)
            if module is None:
                continue
            known = {id(statement) for statement in module.reached}
            for statement in module.tree.body if word == "*" else self._binds[name].get(word, []):
                if isinstance(statement, ast.Import | ast.ImportFrom):
                    self._import(module, statement, word)
                elif id(statement) not in known:
                    self._follow(module, statement)
                if id(statement) not in known:
                    module.reached.append(statement)

    def _open(self, name: str) -> Module | None:
        if name in self.modules:
            return self.modules[name]
        if name in TRUSTED or not _own(name, self._package):
            return None
        module = _parsed(name)
        if module is not None:
            self.modules[name] = module
            self._binds[name] = _bindings(module.tree)
            for statement in module.tree.body:  # what runs when the module is imported
                if isinstance(statement, ast.Expr) and not isinstance(statement.value, ast.Constant):
                    module.reached.append(statement)
                    self._follow(module, statement)
        return module

    def _follow(self, module: Module, statement: ast.stmt) -> None:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name):
                self.reach(module.name, node.id)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                self._import(module, node, "*")

    def _import(self, module: Module, node: ast.Import | ast.ImportFrom, word: str) -> None:
        """Follow the import of ``word``, or of all names in the statement."""
        for alias in node.names:
            if word not in ("*", alias.asname or alias.name.partition(".")[0]):
                continue
            if isinstance(node, ast.Import):
                self.reach(alias.name, "*")
            else:
                source = _absolute(node, module)
                whole = f"{source}.{alias.name}"
                self.reach(*((whole, "*") if whole in sys.modules else (source, alias.name)))


def _bindings(tree: ast.Module) -> dict[str, list[ast.stmt]]:
    """Name → the top-level statements that bind it; those within an ``if`` or ``try`` stand for all names in them."""
    binds: dict[str, list[ast.stmt]] = {}
    for statement in tree.body:
        for name in _bound(statement):
            binds.setdefault(name, []).append(statement)
    for node in ast.walk(tree):  # classes within functions or other classes
        if isinstance(node, ast.ClassDef):
            binds.setdefault(node.name, [node])
    return binds


def _bound(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
        yield statement.name
        return
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name


def _absolute(node: ast.ImportFrom, module: Module) -> str:
    """The full name of the module that is imported from."""
    if not node.level:
        return node.module or ""
    parts = (getattr(module.live, "__package__", None) or "").split(".")
    return ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])


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
