"""Which device was chosen for what is made without one. Devices themselves import this; see ``_default_device``."""

from __future__ import annotations

import threading
from typing import Any


class _Chosen(threading.local):
    """The devices of the blocks that a thread is in, the innermost last."""

    def __init__(self) -> None:
        self.stack: list[Any] = []


chosen = _Chosen()


class ForBlocks:
    """Base of devices: ``with device:``, new tensors and layers of this thread are made there if no device is given."""

    def __enter__(self) -> Any:
        chosen.stack.append(self)
        return self

    def __exit__(self, *exc: object) -> None:
        chosen.stack.pop()
