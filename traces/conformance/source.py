"""What a policy's source gives away without running it: imports and calls that no policy may make."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from policies.views import FUTURE
from traces.conformance.finding import Level
from traces.conformance.modules import Module


@dataclass(frozen=True, slots=True)
class Offence:
    """Something that a policy may not do. ``kind``: the check that it falls under; ``what``: in words, with its place."""

    kind: str
    what: str
    level: Level = Level.ERROR

    @property
    def place(self) -> str:
        """``file:line`` at the head of ``what``."""
        return self.what.partition(" ")[0]


# What a module brings with it. Files and threads may have a use while a policy is built (a table of weights), so that their import
# alone is a warning; what is done in a call is seen when it is done (``traces.conformance.traps``).
_IMPORTS = {
    "clock": "time sched",
    "randomness": "random secrets uuid",
    "io": "io pathlib shutil tempfile glob fileinput sqlite3 dbm shelve logging "
    "socket ssl http urllib ftplib smtplib socketserver xmlrpc requests httpx aiohttp urllib3 grpc zmq redis boto3",
    "threads": "threading _thread multiprocessing concurrent asyncio subprocess signal queue selectors joblib dask ray",
    "environment": "platform getpass",
    "worlds": "sim replay traces figures twinserve simpy vllm",
}
_KIND = {module: kind for kind, modules in _IMPORTS.items() for module in modules.split()}
_SOFT = frozenset({"io", "threads"})

_CALLS = {
    **dict.fromkeys(("open", "print", "input", "breakpoint"), "io"),
    "globals": "globals",
    "id": "identity",
}
_NOW = frozenset({"now", "utcnow", "today"})
_DATES = frozenset({"datetime", "date"})
_OS_ENVIRONMENT = frozenset({"environ", "environb", "getenv", "getenvb", "putenv", "getcwd", "uname", "getpid", "cpu_count"})
# Classes of numpy.random, which are seeded where they are made; everything else in there is the global generator.
_SEEDED = frozenset(
    {"Generator", "BitGenerator", "Philox", "PCG64", "PCG64DXSM", "SFC64", "MT19937", "SeedSequence", "RandomState"}
)


def offences(modules: tuple[Module, ...]) -> list[Offence]:
    """Everything in the modules' source that no policy may do."""
    return [offence for module in modules for offence in _Reader(module).offences()]


class _Reader:
    """Reads one module. ``_names``: local name → what it stands for, for the few modules that are looked into."""

    def __init__(self, module: Module) -> None:
        self._module = module
        self._names: dict[str, str] = {}
        within = [node for statement in module.reached for node in ast.walk(statement)]
        typing_only = _inside(block for block in within if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test))
        self._nodes = [node for node in within if id(node) not in typing_only]
        self._building = _inside(f for f in within if isinstance(f, ast.FunctionDef) and f.name == "__init__")

    def offences(self) -> Iterator[Offence]:
        for node in self._nodes:
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield from self._import(node)
        for node in self._nodes:
            if isinstance(node, ast.Call):
                yield from self._call(node)
            elif isinstance(node, ast.Attribute):
                yield from self._attribute(node)
            elif isinstance(node, ast.Global):
                yield self._at(node, "globals", f"declares `global {', '.join(node.names)}`")
            if (isinstance(node, ast.Attribute) and node.attr == FUTURE) or (
                isinstance(node, ast.Constant) and node.value == FUTURE
            ):
                yield self._at(node, "future", f"reads {FUTURE}")

    def _at(self, node: ast.AST, kind: str, what: str, level: Level = Level.ERROR) -> Offence:
        return Offence(kind, f"{self._module.file}:{getattr(node, 'lineno', '?')} {what}", level)

    def _import(self, node: ast.Import | ast.ImportFrom) -> Iterator[Offence]:
        if isinstance(node, ast.ImportFrom):
            if node.level:
                return
            source = node.module or ""
            for alias in node.names:
                self._names[alias.asname or alias.name] = f"{source}.{alias.name}"
            modules = [source]
        else:
            for alias in node.names:
                self._names[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
            modules = [alias.name for alias in node.names]
        for module in modules:
            kind = _KIND.get(module.partition(".")[0])
            if kind is not None:
                yield self._at(node, kind, f"imports {module}", Level.WARNING if kind in _SOFT else Level.ERROR)
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield from self._reach(node, f"{node.module}.{alias.name}")

    def _attribute(self, node: ast.Attribute) -> Iterator[Offence]:
        full = self._full(node)
        if full is not None:
            yield from self._reach(node, full)

    def _reach(self, node: ast.AST, full: str) -> Iterator[Offence]:
        """Uses of modules that have innocent parts."""
        module, _, name = full.rpartition(".")
        if module == "os" and name != "path":
            kind = "environment" if name in _OS_ENVIRONMENT else "io"
            yield self._at(node, kind, f"uses {full}")
        elif module == "numpy.random" and name not in _SEEDED | {"default_rng"}:
            yield self._at(node, "randomness", f"uses {full}, numpy's global generator")
        elif module in ("datetime.datetime", "datetime.date") and name in _NOW:
            yield self._at(node, "clock", f"calls {name}() of {module}")

    def _call(self, node: ast.Call) -> Iterator[Offence]:
        function = node.func
        if isinstance(function, ast.Name):
            kind = _CALLS.get(function.id)
            if kind is not None and function.id not in self._names:
                level = Level.WARNING if id(node) in self._building else Level.ERROR
                yield self._at(node, kind, f"calls {function.id}()", level)
            elif function.id == "hash":
                yield self._at(node, "determinism", "calls hash(), which for text differs from process to process", Level.WARNING)
        if self._full(function) == "numpy.random.default_rng" and not node.args and not node.keywords:
            yield self._at(node, "randomness", "calls default_rng() without a seed")

    def _full(self, node: ast.expr) -> str | None:
        """``np.random.rand`` → ``numpy.random.rand``; ``None`` for what does not start at an imported name."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self._names:
            return None
        return ".".join([self._names[node.id], *reversed(parts)])


def _inside(nodes: Iterator[ast.AST]) -> set[int]:
    """The ids of the nodes and of all nodes in them."""
    return {id(inner) for node in nodes for inner in ast.walk(node)}
