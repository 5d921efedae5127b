"""Making tensors in memory that others have too: arrays of NumPy, CuPy and other libraries."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._creation import copied
from gpunn._creation_arguments import goal_of
from gpunn._default_device import default_device
from gpunn._device import Device
from gpunn._interop import imported, is_array, is_cupy, is_foreign, tensor_of
from gpunn._keywords import takes_keywords
from gpunn._layout import address_of
from gpunn._tensor import Tensor
from gpunn._views import strided_array
from gpunn.errors import DTypeError, UsageError


def from_numpy(array: np.ndarray) -> Tensor:
    """A ``cpu`` tensor in the array's memory: what is written to one of the two is seen by the other.

    An array that is C-contiguous, or a view of a channels-last buffer if it has 4 axes
    (``buffer.transpose(0, 3, 1, 2)``), is read where it lies. Any other, as images in the order (N, C, H, W), is read
    anew by each op; :func:`tensor` copies it once. Read-only and byte-swapped arrays are copied.

    Parameters
    ----------
    array : numpy.ndarray

    Raises
    ------
    DTypeError
        If it is none, or of a dtype that tensors do not have; see :func:`tensor`.
    """
    if not isinstance(array, np.ndarray):
        fix = "as_tensor" if is_cupy(array) or is_foreign(array) else "tensor"
        what = f"{type(array).__module__.split('.')[0]}.{type(array).__name__}"
        raise DTypeError(f"from_numpy(): expected a NumPy array; got {what}. Use gpunn.{fix}(array).")
    return tensor_of("from_numpy", array, gaps=True)


@takes_keywords
def as_tensor(data: Any, dtype: Any = None, device: Device | str | None = None) -> Tensor:
    """``data`` as a tensor, without a copy where it already is one or its memory can be shared.

    An array's memory is shared if it belongs to the device and has the dtype: what is written to one of the two is then
    seen by the other. Unless it is C-contiguous, or a view of a channels-last buffer if it has 4 axes
    (``buffer.transpose(0, 3, 1, 2)``), each op reads it anew; :func:`tensor` copies it once. Everything else is copied,
    on the GPU if it is there: also read-only arrays, as a tensor may be changed in place.

    Parameters
    ----------
    data : Tensor, numpy.ndarray, cupy.ndarray, an array that hands out its memory, nested lists or number
        Other libraries' arrays come by DLPack or ``__cuda_array_interface__``.
    dtype : dtype, optional
        Convert to it.
    device : Device or str, optional
        The target device; if None, the tensor's own, the GPU of a CuPy array, or ``cpu`` for host data. "cuda" and
        "cuda-plain" without a number mean a CuPy array's own GPU.

    Raises
    ------
    DTypeError, DeviceError, UsageError
        As by :func:`tensor`.
    """
    return _shared("as_tensor", data, dtype, device)


def _shared(op: str, data: Any, dtype: Any, device: Device | str | None) -> Tensor:
    if isinstance(data, Tensor):
        return data.to(device=device, dtype=dtype)
    if not is_array(data):
        if not is_foreign(data):
            return copied(op, data, dtype, device, False)
        data = imported(op, data)
    if device is None and op != "from_dlpack" and not is_cupy(data):
        device = default_device()
    return tensor_of(op, data, device, dtype, gaps=True)


@takes_keywords
def asarray(
    data: Any,
    dtype: Any = None,
    device: Device | str | None = None,
    copy: bool | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """``data`` as a tensor off the tape, with a say in whether it is copied; like ``torch.asarray``.

    Parameters
    ----------
    data, dtype, device
        As for :func:`as_tensor`.
    copy : bool, optional
        True: always. False: never, and an error where memory cannot be shared. None: where needed, as by
        :func:`as_tensor`.
    requires_grad : bool
        Whether ``backward`` should collect a gradient here.

    Raises
    ------
    UsageError
        If ``copy`` is False and a copy is needed.
    DTypeError, DeviceError
        As by :func:`tensor`.
    """
    return _as_array("asarray", data, dtype, device, copy, requires_grad)


def _as_array(
    op: str, data: Any, dtype: Any, device: Device | str | None, copy: bool | None, requires_grad: bool
) -> Tensor:
    if copy:
        return copied(op, data, dtype, device, requires_grad)
    if isinstance(data, Tensor):
        data = data.detach()
    elif is_foreign(data) and not is_array(data):
        data = imported(op, data)
    made = _shared(op, data, dtype, device)
    if copy is False and not _in_memory_of(data, made):
        raise UsageError(
            f"{op}(): copy=False: this needs a copy. Memory is shared with arrays of the wanted dtype and device that "
            "can be written to."
        )
    return made.requires_grad_() if goal_of(op, made.dtype, made.device, requires_grad).requires_grad else made


def _in_memory_of(data: Any, made: Tensor) -> bool:
    if isinstance(data, Tensor):
        return made._storage is data._storage
    if not is_array(data) or made.dtype != data.dtype or not isinstance(data, made.device.xp.ndarray):
        return False
    return made.numel() == 0 or address_of(data) == address_of(strided_array(made))


@takes_keywords
def from_dlpack(data: Any, *, device: Device | str | None = None, copy: bool | None = None) -> Tensor:
    """A tensor in another library's memory, by DLPack or ``__cuda_array_interface__``; like ``torch.from_dlpack``.

    On a GPU it is ordered after what the other library has queued, as far as that library says on which stream.
    Memory that may not be written to is copied; NumPy before 2.1 says that of all host memory that comes this way.

    Parameters
    ----------
    data : array of any library
        An object with ``__dlpack__`` or ``__cuda_array_interface__``.
    device, copy
        As for :func:`asarray`.

    Raises
    ------
    UsageError
        If it does not hand out its memory, or ``copy`` is False and a copy is needed.
    DTypeError, DeviceError
        As by :func:`tensor`.
    """
    if not isinstance(data, Tensor) and not is_array(data) and not is_foreign(data):
        raise DTypeError(
            f"from_dlpack(): expected an array with __dlpack__ or __cuda_array_interface__; got {type(data).__name__}. "
            "Use gpunn.tensor(data) for lists and numbers."
        )
    return _as_array("from_dlpack", data, None, device, copy, False)
