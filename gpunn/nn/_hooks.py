"""Forward hooks, and how to take them away again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Hook = Callable[[Any, tuple[Any, ...], Any], Any]  # hook(module, args, output)


class RemovableHandle:
    """Takes a hook away again; usable as a context manager."""

    def __init__(self, hooks: dict[int, Hook], hook: Hook) -> None:
        self._hooks = hooks
        self._key = max(hooks, default=-1) + 1
        hooks[self._key] = hook

    def remove(self) -> None:
        """Take the hook away; nothing happens the second time."""
        self._hooks.pop(self._key, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()
