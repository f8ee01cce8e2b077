"""What has changed among an engine's waiting requests since its batcher's last plan; both worlds keep it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from policies.types import RequestView

_Request = TypeVar("_Request", bound=RequestView)


class Changes(Generic[_Request]):
    """``came`` and ``went`` as it happens, ``told`` once the batcher has planned. Who came and went is in neither list."""

    __slots__ = ("_arrived", "_departed")

    def __init__(self) -> None:
        self._arrived: dict[int, _Request] = {}
        self._departed: dict[int, None] = {}

    @property
    def arrived(self) -> Sequence[_Request]:
        """``StepView.arrived``."""
        return tuple(self._arrived.values())

    @property
    def departed(self) -> Sequence[int]:
        """``StepView.departed``."""
        return tuple(sorted(self._departed))

    def came(self, request: _Request) -> None:
        self._arrived[request.id] = request

    def went(self, request: _Request) -> None:
        if self._arrived.pop(request.id, None) is None:
            self._departed[request.id] = None

    def told(self) -> None:
        self._arrived.clear()
        self._departed.clear()
