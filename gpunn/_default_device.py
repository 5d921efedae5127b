"""``gpunn.set_default_device``: where new tensors and layers are made."""

from __future__ import annotations

from gpunn._chosen_device import chosen
from gpunn._device import Device
from gpunn._device import device as find

_usual: Device | None = None


def default_device() -> Device:
    """Where new tensors and layers are made if no device is given: the CPU, unless something else was chosen."""
    if chosen.stack:
        made: Device = chosen.stack[-1]
        return made
    return find("cpu") if _usual is None else _usual


def set_default_device(device: Device | str | None) -> None:
    """From now on new tensors and layers are made on this device if none is given.

    For a block there is ``with gpunn.device("cuda"):``. Tensors made of tensors, such as ``zeros_like(x)``, are on the
    device of those, and :func:`gpunn.from_numpy` shares the memory of the host.

    Parameters
    ----------
    device : Device, str or None
        None: the CPU, as at first.

    Raises
    ------
    DeviceError
        If this machine does not have it.

    Examples
    --------
    >>> import gpunn
    >>> gpunn.set_default_device("cpu")
    >>> gpunn.get_default_device()
    device(type='cpu')
    """
    global _usual
    _usual = None if device is None else find(device)


def get_default_device() -> Device:
    """Where new tensors and layers are made if no device is given; see :func:`set_default_device`.

    Returns
    -------
    Device
    """
    return default_device()
