"""The GPUs of this machine, as in ``torch.cuda``."""

from __future__ import annotations

from gpunn._device import cuda_is_available as is_available
from gpunn._device import device

__all__ = ["device_count", "is_available"]


def device_count() -> int:
    """How many GPUs ``device("cuda:0")``, ``device("cuda:1")``, ... can be used."""
    return int(device("cuda").xp.cuda.runtime.getDeviceCount()) if is_available() else 0
