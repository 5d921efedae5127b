"""The tickets by which the blocks of a launch find out which is last (``last_block`` in ``common.cuh``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._capture_state import capturing
from gpunn._device import Device

COUNT = 4096  # the most that one launch may use


def tickets(device: Device) -> Any:
    """The device's counters, uint32.

    They are zero before and after every launch, so the launches of one stream share them. A captured step has its own:
    it may be replayed on any stream.
    """
    return device.found(_find(device.origin), _find)


def _find(device: Device) -> Any:
    step = capturing()
    if step is not None:
        return step.tickets
    key = "tickets", device.stream
    made = device._cache.get(key)
    return device.cached(key, lambda: new_tickets(device)) if made is None else made


def new_tickets(device: Device) -> Any:
    """Counters of their own, zero."""
    return device.zeros((COUNT,), np.uint32)
