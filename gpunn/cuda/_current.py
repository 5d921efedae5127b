"""Blocks in which another GPU is the current one: ``torch.cuda.device`` and ``device_of``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpunn.gpu.streams import AnyDevice, which_gpu

if TYPE_CHECKING:
    from gpunn._tensor import Tensor


class device:
    """A block in which a GPU is CuPy's current one, which ``None`` and ``current_device()`` then mean.

    Parameters
    ----------
    device : Device, str or int, optional
        None and negative numbers change nothing.

    Raises
    ------
    DeviceError
        If there is no such GPU.
    """

    def __init__(self, device: AnyDevice) -> None:
        nothing = device is None or (isinstance(device, int) and device < 0)
        self._gpu = None if nothing else which_gpu(device, "device")
        self._outer: list[Any] = []  # one for each time that the block has been entered

    def __enter__(self) -> None:
        if self._gpu is not None:
            block = self._gpu.active()
            block.__enter__()
            self._outer.append(block)

    def __exit__(self, *error: Any) -> None:
        if self._gpu is not None:
            self._outer.pop().__exit__(*error)


class device_of(device):
    """A block in which a tensor's GPU is the current one; of a CPU's tensor it changes nothing.

    Parameters
    ----------
    obj : Tensor
    """

    def __init__(self, obj: Tensor) -> None:
        super().__init__(obj.device.ordinal)
