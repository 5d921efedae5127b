"""The tickets by which the blocks of a launch find out which is last (``last_block`` in ``common.cuh``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device

COUNT = 4096  # the most that one launch may use


def tickets(device: Device) -> Any:
    """The device's counters, uint32.

    They are zero before and after every launch, so all launches share them. Launches that run at the same time, on
    the caller's own unordered streams, would interfere with each other.
    """
    return device.cached("tickets", lambda: device.zeros((COUNT,), np.uint32))
