"""Lets vLLM's engines start in a process that has loaded llvmlite, as n-gram drafts (numba) do.

llvmlite's library object answers to every attribute, ``__dict__`` too, with a function of its library. vLLM 0.32 looks through the
``__dict__`` of all that it finds in all modules when a worker starts (``vllm/triton_utils/dispatcher.py``), and stops there. An
object with slots has no ``__dict__``, and says so once names with two underscores are not taken for functions of the library.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any


def mend() -> None:
    """Idempotent; does nothing where there is no llvmlite."""
    if find_spec("llvmlite") is None:
        return
    from llvmlite.binding import ffi

    library: Any = type(ffi.lib)
    wrapped = library.__getattr__
    if getattr(wrapped, "mended", False):
        return

    def attribute(self: Any, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return wrapped(self, name)

    attribute.mended = True  # type: ignore[attr-defined]
    library.__getattr__ = attribute
