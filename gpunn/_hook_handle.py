"""What registering a gradient hook returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class HookHandle:
    """Removes a gradient hook; usable as a context manager."""

    def __init__(self, hooks: dict[object, Any], hook: Callable[..., Any]) -> None:
        self._hooks = hooks
        self._key = object()
        hooks[self._key] = hook

    def remove(self) -> None:
        """Remove the hook; a second call does nothing."""
        self._hooks.pop(self._key, None)

    def __enter__(self) -> HookHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()
