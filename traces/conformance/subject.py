"""What is checked: a policy class (or an object of it), how to build it afresh, and the source that it is made of."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from policies import registry
from traces.conformance.modules import Module, modules_of
from traces.conformance.stories import Story, stories

SEED = 7


@dataclass(frozen=True)
class Subject:
    """A policy under examination.

    ``name``: as registered, or the class path. ``template``: an object to be copied in place of building one from ``params``.
    """

    point: str
    name: str
    cls: type
    params: Mapping[str, Any] = field(default_factory=dict)
    template: object | None = None

    def build(self) -> Any:
        """A fresh policy object, always with the same seed.

        Raises:
            PolicyError: it cannot be built.
        """
        if self.template is not None:
            return copy.deepcopy(self.template)
        return registry.construct(self.point, self.name, self.cls, copy.deepcopy(dict(self.params)), SEED)

    @property
    def path(self) -> str:
        """``module:Class``."""
        return f"{self.cls.__module__}:{self.cls.__qualname__}"

    @property
    def importable(self) -> bool:
        """Whether another process can import the class by its path."""
        return self.cls.__module__ != "__main__" and "<locals>" not in self.cls.__qualname__

    @property
    def oracle(self) -> bool:
        """Whether the policy says by its name that it knows the future."""
        return self.name.startswith("oracle-") or re.match(r"Oracle(?![a-z])", self.cls.__name__) is not None

    @cached_property
    def modules(self) -> tuple[Module, ...]:
        """The policy's own modules, as far as there is source, and what in them it is made of."""
        return modules_of(*self.cls.__mro__)

    @cached_property
    def stories(self) -> tuple[Story, ...]:
        """The stories of its decision point; the first is an ordinary run."""
        return stories(self.point, oracle=self.oracle)
