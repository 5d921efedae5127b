"""``gpunn.device``: what makes a device of a name, and the class of devices where a program asks for one.

PyTorch programs call it, write it in annotations (``torch.device | None``) and give it to ``isinstance``. So it is a
class, of which nothing is an instance but :class:`gpunn._device.Device`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpunn._device import Device
from gpunn._device import device as find
from gpunn.errors import ArgumentError, UsageError


class _DeviceType(type):
    """The class of ``device``."""

    def __instancecheck__(cls, thing: Any) -> bool:
        return isinstance(thing, Device)

    def __call__(cls, type: Any = "auto", index: Any = None, *, name: Any = None) -> Any:
        """The device of this name or number; the same object for the same name."""
        return _find(type if name is None else name, index)


def _find(kind: Any, index: Any) -> Device:
    if isinstance(kind, int) and not isinstance(kind, bool) and index is None:
        kind, index = "cuda", kind
    if not isinstance(kind, str | Device):
        raise ArgumentError(f"device: expected a name such as 'cuda:1', or a number; got {type(kind).__name__}.")
    if index is None:
        return find(kind)
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        raise UsageError(f"device: index: expected a whole number of at least 0; got {index!r}.")
    if not isinstance(kind, str):
        raise ArgumentError(f"device: expected the name of a device, such as 'cuda'; got {kind!r}.")
    if ":" in kind:
        raise UsageError(f"device: {kind!r} has a number already, and index={index} is another. Give one of them.")
    return find(f"{kind}:{index}" if kind.startswith("cuda") else kind)


if TYPE_CHECKING:

    class device(Device):  # what a type checker is to believe
        def __new__(cls, type: Any = "auto", index: Any = None, *, name: Any = None) -> device: ...

else:

    class device(metaclass=_DeviceType):
        """The device of a name; the same object for the same name.

        Parameters
        ----------
        type : str, int or Device
            ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"cuda-plain"``, ``"emulator"`` or ``"auto"``, which is also what is
            meant if it is not given; a number is that of a GPU.
        index : int, optional
            The number of the GPU. A CPU has none, and ignores it.
        name : str or Device
            Another name of ``type``.

        Raises
        ------
        DeviceError
            If the name is unknown, or this machine does not have the device: the message says why
            and what to do.

        Examples
        --------
        >>> import gpunn
        >>> gpunn.device("cpu")
        device(type='cpu')
        >>> isinstance(gpunn.zeros(2).device, gpunn.device)
        True
        """
