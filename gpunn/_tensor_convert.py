"""Moving a Tensor and converting its dtype.

A separate mixin because its methods shadow Python's types, which no annotation beside them could name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gpunn._device import REGISTRY, Device
from gpunn._device import device as get_device
from gpunn._half import FLOATING, NAMES
from gpunn.errors import DeviceError, here, nearest

if TYPE_CHECKING:
    from gpunn._tensor import Tensor

_NAMES = frozenset(("bool", "float32", "float64", *(f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64))))


_NUMBERS = frozenset(np.dtype(name).num for name in _NAMES)


def _is_ours(dtype: Any) -> bool:
    return isinstance(dtype, np.dtype) and dtype.num in _NUMBERS and dtype.isnative


def _named(dtype: Any) -> np.dtype:
    from gpunn._interop import dtype_of

    return dtype_of("to", dtype)


def gpu_named(which: int | str | Device | None) -> str | Device:
    """The name of a GPU that is given by its number, by name, or not at all: then it is the first."""
    if which is None or isinstance(which, str | Device):
        return "cuda" if which is None else which
    from gpunn._shared.numbers import whole_number

    return f"cuda:{whole_number('cuda', 'device', which, 0)}"


def device_or_dtype(op: str, target: Any) -> tuple[Any, Any]:
    """``target`` as (device, None) or as (None, dtype).

    Raises
    ------
    DeviceError, DTypeError
        If it is neither; a DeviceError for a word.
    """
    from gpunn._interop import dtype_of

    if isinstance(target, Device):
        return target, None
    if isinstance(target, str) and target not in _NAMES and target not in NAMES:
        if target.partition(":")[0] in (*REGISTRY, "auto"):
            return target, None
        try:
            np.dtype(target)
        except (TypeError, ValueError, SyntaxError):
            raise DeviceError(
                f"{here(op)}: expected a device or a dtype, such as 'cpu', 'cuda:0' or 'float32'; got {target!r}"
                f"{nearest(target, (*_NAMES, *NAMES, *REGISTRY)) or '.'}"
            ) from None
    return None, dtype_of(op, target)


class ConversionMethods:
    """Mixed into :class:`gpunn.Tensor`."""

    __slots__ = ()

    def to(
        self: Any, *args: Any, device: Any = None, dtype: Any = None, non_blocking: Any = False, copy: Any = False
    ) -> Tensor:
        """Move to a device, convert to a dtype, or both, on the tape; itself if nothing changes, unless ``copy``.

        ``args`` are a device, a dtype, both, or a tensor that supplies both, and then perhaps ``non_blocking`` and
        ``copy``. ``non_blocking`` is accepted so that PyTorch code runs; copies are synchronous.
        """
        from gpunn.ops.cast import to_device, to_dtype

        for number, target in enumerate(args):
            if target is True or target is False:
                copy = copy or (target and number > 0 and isinstance(args[number - 1], bool))
            elif hasattr(target, "requires_grad") and isinstance(target.device, Device):
                device, dtype = target.device, target.dtype
            elif _is_ours(target):
                dtype = target
            elif target is not None:
                place, kind = device_or_dtype("to", target)
                device, dtype = (device, kind) if place is None else (place, dtype)
        result = self if dtype is None else to_dtype(self, dtype if _is_ours(dtype) else _named(dtype))
        result = result if device is None else to_device(result, get_device(device))
        return result.clone() if copy and result is self else result

    def type(self: Any, dtype: Any = None, non_blocking: Any = False) -> Any:
        """Convert to a dtype, tensor type or the name of one, such as ``"torch.DoubleTensor"``.

        Without one, return the name of the current dtype.
        """
        if dtype is None:
            return self.dtype.name
        if isinstance(dtype, str) and dtype.endswith("Tensor"):
            from gpunn._dtypes import named_type

            device, dtype = named_type(dtype)
            self = self.to(device)
        return self.to(dtype=dtype)

    def type_as(self: Any, other: Tensor) -> Tensor:
        """Convert to another tensor's dtype and move to its device."""
        return self.to(other)

    def cpu(self: Any, memory_format: Any = None) -> Tensor:
        """Move to the ``cpu`` device."""
        return self.to("cpu")

    def cuda(self: Any, device: Any = None, non_blocking: Any = False, memory_format: Any = None) -> Tensor:
        """Move to a GPU, the first one if none is named."""
        return self.to(gpu_named(device))

    def float(self: Any) -> Tensor:
        """Convert to float32."""
        return self.to(np.float32)

    def double(self: Any) -> Tensor:
        """Convert to float64."""
        return self.to(np.float64)

    def int(self: Any) -> Tensor:
        """Convert to int32, rounding towards 0."""
        return self.to(np.int32)

    def long(self: Any) -> Tensor:
        """Convert to int64, rounding towards 0."""
        return self.to(np.int64)

    def bool(self: Any) -> Tensor:
        """Convert to bool: True where elements are not 0."""
        return self.to(np.bool_)

    def half(self: Any, memory_format: Any = None) -> Tensor:
        """Convert to float16."""
        return self.to(np.float16)

    def bfloat16(self: Any, memory_format: Any = None) -> Tensor:
        """Convert to bfloat16, which needs ml_dtypes."""
        return self.to(dtype="bfloat16")

    def is_floating_point(self: Any) -> Any:
        """Whether the dtype is floating."""
        return self.dtype.kind in FLOATING

    def element_size(self: Any) -> Any:
        """The bytes of one element."""
        return self.dtype.itemsize

    @property
    def is_cuda(self: Any) -> Any:
        """Whether this is on a GPU."""
        return self.device.type == "cuda"

    # -- new tensors of this dtype on this device ------------------------------------------

    def new_tensor(self: Any, data: Any, dtype: Any = None, device: Any = None, requires_grad: Any = False) -> Tensor:
        """A tensor with a copy of ``data``."""
        from gpunn._creation import copied

        home = self.device if device is None else device
        return copied("new_tensor", data, self.dtype if dtype is None else dtype, home, requires_grad)

    def new_zeros(self: Any, *shape: Any, dtype: Any = None, device: Any = None, requires_grad: Any = False) -> Tensor:
        """A tensor of zeros."""
        from gpunn._creation import filled, goal_like

        return filled(goal_like("new_zeros", self, dtype, device, requires_grad), 0, shape)

    def new_ones(self: Any, *shape: Any, dtype: Any = None, device: Any = None, requires_grad: Any = False) -> Tensor:
        """A tensor of ones."""
        from gpunn._creation import filled, goal_like

        return filled(goal_like("new_ones", self, dtype, device, requires_grad), 1, shape)

    def new_full(
        self: Any, size: Any, fill_value: Any, dtype: Any = None, device: Any = None, requires_grad: Any = False
    ) -> Tensor:
        """A tensor with every element ``fill_value``, which has to fit into the dtype."""
        from gpunn._creation import filled, goal_like

        return filled(goal_like("new_full", self, dtype, device, requires_grad), fill_value, (size,))

    def new_empty(self: Any, *shape: Any, dtype: Any = None, device: Any = None, requires_grad: Any = False) -> Tensor:
        """A tensor with whatever was in memory."""
        from gpunn._creation import goal_like, uninitialised

        return uninitialised(goal_like("new_empty", self, dtype, device, requires_grad), shape)
