"""A new policy as a small package that can be installed: the policy, its test, and the entry point by which it is found."""

from __future__ import annotations

import keyword
import re
import sys
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template

from policies import registry
from policies.registry import PolicyError

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def scaffold(point: str, name: str, folder: Path) -> list[Path]:
    """Write the package into ``folder`` and return its files. It passes the conformance kit as it is.

    Raises:
        PolicyError: no such decision point, the name cannot be used, or ``folder`` is in use.
        OSError: ``folder`` cannot be written.
    """
    _check_name(point, name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise PolicyError(f"{folder}: exists already, and will not be overwritten; choose another folder with --dir")
    folder.mkdir(parents=True, exist_ok=True)
    module = module_of(name)
    words = {"point": point, "name": name, "module": module, "cls": class_of(name)}
    templates = files("traces.conformance") / "templates"
    written = []
    for template, target in (
        (templates / "pyproject.toml.in", "pyproject.toml"),
        (templates / point / "policy.py.in", f"{module}.py"),
        (templates / point / "test_policy.py.in", f"test_{module}.py"),
    ):
        path = folder / target
        path.write_text(Template(template.read_text(encoding="utf-8")).substitute(words), encoding="utf-8")
        written.append(path)
    return written


def module_of(name: str) -> str:
    """``my-router`` → ``my_router``."""
    return name.replace("-", "_")


def class_of(name: str) -> str:
    """``my-router`` → ``MyRouter``."""
    return "".join(part.capitalize() for part in name.split("-"))


def _check_name(point: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise PolicyError(f"`{name}` is no policy name; use lower-case words joined by hyphens, such as my-{point}")
    if name in registry.names(point):
        raise PolicyError(f"there is a {point} {name} already; choose another name")
    module = module_of(name)
    if keyword.iskeyword(module) or module in sys.stdlib_module_names or find_spec(module) is not None:
        raise PolicyError(f"{name}: Python has a module {module} already; choose another name, such as my-{name}")
