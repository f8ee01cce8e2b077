"""Traps: while a policy decides, reaching for the clock, randomness, files, the network, the environment or a thread is caught.

Functions of ``time``, ``datetime``, ``random``, ``numpy.random``, ``os`` and ``builtins`` are replaced where they stand and where
the policy's own modules have imported them by name. Everything that opens, connects or starts something is seen through CPython's
audit events, which native code raises too. Traps spring only in the thread that set them and only between ``armed`` and its end;
whoever springs one gets an exception that ``except Exception`` does not swallow.
"""

from __future__ import annotations

import _thread
import builtins
import collections.abc
import datetime
import os
import pickle
import random
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np

from traces.conformance.modules import Module
from traces.conformance.source import Offence

_TIME = (
    *("time", "monotonic", "perf_counter", "process_time", "thread_time"),
    *("time_ns", "monotonic_ns", "perf_counter_ns", "process_time_ns", "thread_time_ns"),
    *("localtime", "gmtime", "ctime", "sleep"),
)
_AUDITED = {
    "open": ("io", "opens a file"),
    "os.listdir": ("io", "lists a folder"),
    "os.scandir": ("io", "lists a folder"),
    "os.mkdir": ("io", "makes a folder"),
    "os.remove": ("io", "removes a file"),
    "os.rename": ("io", "renames a file"),
    "sqlite3.connect": ("io", "opens a database"),
    "socket.__new__": ("io", "opens a socket"),
    "socket.connect": ("io", "connects to the network"),
    "socket.getaddrinfo": ("io", "looks up a network address"),
    "subprocess.Popen": ("threads", "starts a process"),
    "os.system": ("threads", "starts a process"),
    "os.fork": ("threads", "forks"),
    "os.posix_spawn": ("threads", "starts a process"),
}
_STATE = frozenset({"getstate", "setstate", "get_state", "set_state"})  # the traps themselves compare states
# Reading source for an import or a warning is the interpreter's doing.
_INTERPRETER = ("<frozen importlib", "linecache.py", "tokenize.py")
# Through these, code reaches for the environment; who called them did it.
_ABOUT_OS = frozenset({os.__file__, collections.abc.__file__, "<frozen _collections_abc>", "<frozen os>", __file__})


class Trapped(BaseException):
    """Raised at whoever springs a trap."""


class Traps:
    """A context in which the traps stand; ``offences`` are those that sprang, each place once."""

    _hooked = False
    _standing: Traps | None = None

    def __init__(self, modules: Sequence[Module]) -> None:
        self.offences: list[Offence] = []
        self._files = {file: module.file for module in modules if (file := getattr(module.live, "__file__", None))}
        self._modules = [module.live for module in modules if module.live is not None]
        self._thread: int | None = None
        self._undo: list[tuple[Any, str, Any]] = []

    def __enter__(self) -> Self:
        if not Traps._hooked:
            Traps._hooked = True
            sys.addaudithook(_audit)  # for good: hooks cannot be removed, this one sleeps unless traps stand
        Traps._standing = self
        replaced: dict[int, Any] = {}
        for owner, name, kind, what in _patches():
            original = getattr(owner, name)
            substitute = self._trap(original, kind, what)
            replaced[id(original)] = substitute
            self._replace(owner, name, substitute)
        self._replace_everywhere(replaced | self._dates())
        self._replace(os, "environ", _Environment(os.environ, self._spring))
        self._replace_everywhere({id(self._undo[-1][2]): os.environ})
        return self

    def __exit__(self, *_: object) -> None:
        Traps._standing = None
        while self._undo:
            owner, name, original = self._undo.pop()
            setattr(owner, name, original)

    @contextmanager
    def armed(self) -> Iterator[None]:
        """The traps spring within, in this thread. Ends the policy's call where one does."""
        before = random.getstate(), _numpy_state()
        self._thread = threading.get_ident()
        try:
            yield
        except Trapped:
            pass
        finally:
            self._thread = None
            if (random.getstate(), _numpy_state()) != before:
                self._note("randomness", "draws from the global generator of `random` or numpy", "")
                random.setstate(before[0])

    def _spring(self, kind: str, what: str) -> None:
        if self._thread == threading.get_ident() and (kind != "environment" or self._direct()):
            self._thread = None  # naming the place must not spring a trap itself
            self._note(kind, what, self._where())
            raise Trapped(what)

    def _direct(self) -> bool:
        """Whether it is the policy's own code, not a library that it calls, that reaches for the environment."""
        frame: types.FrameType | None = sys._getframe(3)
        while frame is not None and frame.f_code.co_filename in _ABOUT_OS:
            frame = frame.f_back
        return frame is None or not self._files or frame.f_code.co_filename in self._files

    def _note(self, kind: str, what: str, where: str) -> None:
        offence = Offence(kind, f"{where} {what}".strip())
        if offence not in self.offences:
            self.offences.append(offence)

    def _where(self) -> str:
        """The innermost line of the policy's own modules that led here."""
        frame: types.FrameType | None = sys._getframe(2)
        while frame is not None:
            file = frame.f_code.co_filename
            if file in self._files:
                return f"{self._files[file]}:{frame.f_lineno}"
            frame = frame.f_back
        return ""

    def audited(self, event: str) -> None:
        """An audit event that is trapped has happened."""
        if self._thread != threading.get_ident():
            return
        frame: types.FrameType | None = sys._getframe(2)
        while frame is not None and frame.f_code.co_filename not in self._files:
            if frame.f_code.co_filename.startswith(_INTERPRETER[0]) or frame.f_code.co_filename.endswith(_INTERPRETER[1:]):
                return
            frame = frame.f_back
        self._spring(*_AUDITED[event])

    def _trap(self, original: Callable[..., Any], kind: str, what: str) -> Callable[..., Any]:
        unseeded = getattr(original, "__name__", "") == "default_rng"

        def trap(*args: Any, **kwargs: Any) -> Any:
            if not (unseeded and (args or kwargs)):
                self._spring(kind, what)
            return original(*args, **kwargs)

        return trap

    def _dates(self) -> dict[int, Any]:
        """Stand-ins for ``datetime`` and ``date``, which cannot be changed themselves."""
        spring = self._spring
        replaced: dict[int, Any] = {}
        for kind, names in ((datetime.datetime, ("now", "utcnow", "today")), (datetime.date, ("today",))):
            methods = {name: classmethod(_sprung(kind, name, spring)) for name in names}
            stand_in: Any = type(kind.__name__, (kind,), {**methods, "__module__": "datetime"})
            replaced[id(kind)] = stand_in
            self._replace(datetime, kind.__name__, stand_in)
        return replaced

    def _replace(self, owner: Any, name: str, value: Any) -> None:
        self._undo.append((owner, name, vars(owner)[name]))
        setattr(owner, name, value)

    def _replace_everywhere(self, replaced: dict[int, Any]) -> None:
        """Where the policy's modules, or their classes, hold an original by a name of their own."""
        for module in self._modules:
            classes = [c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__]
            for owner in (module, *classes):
                for name, value in list(vars(owner).items()):
                    plain = value.__func__ if isinstance(value, staticmethod) else value
                    if id(plain) in replaced:
                        substitute = replaced[id(plain)]
                        self._replace(owner, name, staticmethod(substitute) if plain is not value else substitute)


class _Environment(MutableMapping[str, str]):
    """In the place of ``os.environ``: whatever is done to it springs the trap."""

    def __init__(self, real: MutableMapping[str, str], spring: Callable[[str, str], None]) -> None:
        self._real = real
        self._spring = spring

    def _sprung(self) -> MutableMapping[str, str]:
        self._spring("environment", "reaches for the environment")
        return self._real

    def __getitem__(self, key: str) -> str:
        return self._sprung()[key]

    def __setitem__(self, key: str, value: str) -> None:
        self._sprung()[key] = value

    def __delitem__(self, key: str) -> None:
        del self._sprung()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sprung())

    def __len__(self) -> int:
        return len(self._sprung())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sprung(), name)


def _sprung(kind: type, name: str, spring: Callable[[str, str], None]) -> Callable[..., Any]:
    def method(_: type, *args: Any, **kwargs: Any) -> Any:
        spring("clock", f"calls {kind.__name__}.{name}()")
        return getattr(kind, name)(*args, **kwargs)

    return method


def _patches() -> Iterator[tuple[Any, str, str, str]]:
    """What is replaced: (owner, name, kind of offence, what it does in words)."""
    for name in _TIME:
        yield time, name, "clock", f"calls time.{name}()"
    for name, value in vars(random).items():
        if not name.startswith("_") and getattr(value, "__self__", None) is random._inst and name not in _STATE:
            yield random, name, "randomness", f"calls random.{name}()"
    for name in np.random.__all__:
        if not isinstance(getattr(np.random, name), type) and name not in _STATE:
            what = "default_rng() without a seed" if name == "default_rng" else f"numpy.random.{name}()"
            yield np.random, name, "randomness", f"calls {what}"
    yield os, "urandom", "randomness", "calls os.urandom()"
    yield random, "_urandom", "randomness", "asks the system for random bytes"
    yield threading.Thread, "start", "threads", "starts a thread"
    yield _thread, "start_new_thread", "threads", "starts a thread"
    yield builtins, "print", "io", "calls print()"
    yield builtins, "input", "io", "calls input()"


def _numpy_state() -> bytes:
    return pickle.dumps(np.random.mtrand._rand)


def _audit(event: str, _: tuple[Any, ...]) -> None:
    traps = Traps._standing
    if traps is not None and event in _AUDITED:
        traps.audited(event)
