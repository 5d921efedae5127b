"""The GPU that programs should use, if there is one, as ``torch.accelerator`` tells it."""

from __future__ import annotations

from gpunn import cuda
from gpunn._calls import explains_all
from gpunn._device import Device, device
from gpunn.gpu.streams import AnyDevice

__all__ = [
    "current_accelerator",
    "current_device_index",
    "device_count",
    "is_available",
    "set_device_index",
    "synchronize",
]


def is_available() -> bool:
    """Whether there is a GPU that works."""
    return cuda.is_available()


def current_accelerator(check_available: bool = False) -> Device | None:
    """The device ``cuda``, or None on a machine without one.

    Parameters
    ----------
    check_available : bool
        Changes nothing: a device that does not work is none.

    Returns
    -------
    Device or None
    """
    return device("cuda") if cuda.is_available() else None


def device_count() -> int:
    """The number of GPUs; 0 without any."""
    return cuda.device_count()


def current_device_index() -> int:
    """The number of the current GPU.

    Raises
    ------
    DeviceError
        If there is none.
    """
    return cuda.current_device()


def set_device_index(device: AnyDevice) -> None:
    """Make a GPU the current one.

    Parameters
    ----------
    device : Device, str or int
        ``cuda:1`` or 1.

    Raises
    ------
    DeviceError
        If there is no such GPU.
    """
    cuda.set_device(device)


def synchronize(device: AnyDevice = None) -> None:
    """Wait for everything on all streams of a GPU; see :func:`gpunn.cuda.synchronize`.

    Parameters
    ----------
    device : Device, str or int, optional
        The current GPU if not given.

    Raises
    ------
    DeviceError
        If there is no such GPU.
    """
    cuda.synchronize(device)


explains_all(globals())
