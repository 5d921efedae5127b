"""Making tensors: from data, filled, counted, drawn."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._device import device as get_device
from gpunn._interop import check_dtype, imported, is_array, is_cupy, is_foreign, tensor_of
from gpunn._layout import address_of, physical_shape
from gpunn._tensor import Tensor, upload
from gpunn.errors import DTypeError, UsageError


def tensor(data: Any, dtype: Any = None, device: Device | str | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of ``data``, whatever it is; :func:`as_tensor` shares memory instead.

    Parameters
    ----------
    data : nested lists, number, numpy.ndarray, cupy.ndarray, Tensor, or an array that hands out its memory
        An array may be strided, reversed, in Fortran order, broadcast, byte-swapped or read-only.
    dtype : dtype, optional
        An array keeps its dtype if None; Python floats become float32, Python integers int64.
    device : Device or str, optional
        If None, the tensor's own, the GPU of a CuPy array (``cuda:0``, ``cuda:1``, ...), or ``cpu`` for host data.
        "cuda" and "cuda-plain" without a number also mean a CuPy array's own GPU.
    requires_grad : bool
        Whether ``backward`` should collect a gradient here.

    Raises
    ------
    DTypeError
        If ``data`` is not an array of numbers of a dtype that tensors have: complex numbers, float16, bfloat16,
        objects, text, dates, structures and masked arrays are refused.
    DeviceError, UsageError
        If another library's array is on no device of ours, or does not hand out its memory.
    """
    return _copied("tensor", data, dtype, device, requires_grad)


def _copied(op: str, data: Any, dtype: Any, device: Device | str | None, requires_grad: bool) -> Tensor:
    if isinstance(data, Tensor):
        device = data.device if device is None else device
        data = data._numpy_without_tape()
    elif is_foreign(data) and not is_array(data):
        data = imported(op, data)
    if is_array(data):
        return tensor_of(op, data, device, dtype, copy=True).requires_grad_(requires_grad)
    values = _of_python(data, dtype)
    check_dtype(op, values.dtype)
    home = get_device("cpu" if device is None else device)
    return Tensor(upload(values, home), home, requires_grad)


def _of_python(data: Any, dtype: Any) -> np.ndarray:
    """Nested lists and numbers as an array, floats as float32."""
    try:
        values = np.array(data, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise DTypeError(
            f"tensor(): cannot make an array of numbers from {type(data).__name__} ({error}); are the rows of one "
            "length? Join CuPy arrays with cupy.stack first."
        ) from error
    if dtype is None and not isinstance(data, np.generic) and values.dtype == np.float64:
        values = values.astype(np.float32)
    if values.dtype == object:
        raise DTypeError(
            f"tensor(): cannot make an array of numbers from {type(data).__name__}; are the rows of one length?"
        )
    return values


def from_numpy(array: np.ndarray) -> Tensor:
    """A ``cpu`` tensor in the array's memory where its layout allows.

    It does where the array is C-contiguous, or a view of a channels-last buffer if it has 4 axes
    (``buffer.transpose(0, 3, 1, 2)``). Other arrays are copied, and so are read-only and byte-swapped ones.

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
    return tensor_of("from_numpy", array)


def as_tensor(data: Any, dtype: Any = None, device: Device | str | None = None) -> Tensor:
    """``data`` as a tensor, without a copy where it already is one or its memory can be shared.

    An array's memory is shared if it belongs to the device and has the dtype, and the array is C-contiguous, or a view
    of a channels-last buffer if it has 4 axes (``buffer.transpose(0, 3, 1, 2)``). What is written to one of the two is
    then seen by the other. Everything else is copied, on the GPU if it is there: also read-only arrays, as a tensor may
    be changed in place.

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
            return tensor(data, dtype, device)
        data = imported(op, data)
    return tensor_of(op, data, device, dtype)


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
        return _copied(op, data, dtype, device, requires_grad)
    if isinstance(data, Tensor):
        data = data.detach()
    elif is_foreign(data) and not is_array(data):
        data = imported(op, data)
    made = _shared(op, data, dtype, device)
    if copy is False and not _in_memory_of(data, made):
        raise UsageError(
            f"{op}(): copy=False: this needs a copy. Memory is shared with arrays of the wanted dtype and device that "
            "can be written to, C-contiguous or, with 4 axes, stored channels last."
        )
    return made.requires_grad_(requires_grad)


def _in_memory_of(data: Any, made: Tensor) -> bool:
    array = data.array if isinstance(data, Tensor) else data
    if not is_array(array) or made.dtype != array.dtype or not isinstance(array, made.device.xp.ndarray):
        return False
    return made.numel() == 0 or address_of(array) == address_of(made.array)


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


def is_tensor(thing: Any) -> bool:
    """Whether ``thing`` is a Tensor.

    Parameters
    ----------
    thing : anything
    """
    return isinstance(thing, Tensor)


def _shape(shape: tuple[Any, ...]) -> tuple[int, ...]:
    if len(shape) == 1 and isinstance(shape[0], tuple | list):
        shape = tuple(shape[0])
    return tuple(int(n) for n in shape)


def _filled(
    value: float | None, shape: tuple[Any, ...], dtype: Any, device: Device | str, requires_grad: bool
) -> Tensor:
    return Tensor(upload(np.full(_shape(shape), value, dtype), get_device(device)), device, requires_grad)


def zeros(*shape: Any, dtype: Any = np.float32, device: Device | str = "cpu", requires_grad: bool = False) -> Tensor:
    """A tensor of zeros.

    Parameters
    ----------
    shape : int, or one sequence of int
    dtype : dtype
    device : Device or str
    requires_grad : bool
    """
    return _filled(0, shape, dtype, device, requires_grad)


def ones(*shape: Any, dtype: Any = np.float32, device: Device | str = "cpu", requires_grad: bool = False) -> Tensor:
    """A tensor of ones.

    Parameters
    ----------
    shape : int, or one sequence of int
    dtype : dtype
    device : Device or str
    requires_grad : bool
    """
    return _filled(1, shape, dtype, device, requires_grad)


def full(
    size: Any, fill_value: Any, dtype: Any = None, device: Device | str = "cpu", requires_grad: bool = False
) -> Tensor:
    """A tensor with every element ``fill_value``.

    Parameters
    ----------
    size : sequence of int
        The shape.
    fill_value : number
    dtype : dtype, optional
        The number's own if None: float32, int64 or bool.
    device : Device or str
    requires_grad : bool
    """
    kind = tensor(fill_value).dtype if dtype is None else dtype
    return _filled(fill_value, (size,), kind, device, requires_grad)


def empty(*shape: Any, dtype: Any = np.float32, device: Device | str = "cpu", requires_grad: bool = False) -> Tensor:
    """A tensor with whatever was in memory.

    Parameters
    ----------
    shape : int, or one sequence of int
    dtype : dtype
    device : Device or str
    requires_grad : bool
    """
    home = get_device(device)
    made = Tensor._of_physical(home.empty(physical_shape(_shape(shape)), np.dtype(dtype)), home)
    return made.requires_grad_(requires_grad)


def scalar_tensor(value: Any, dtype: Any = np.float32, device: Device | str = "cpu") -> Tensor:
    """A tensor without axes.

    Parameters
    ----------
    value : number
    dtype : dtype
    device : Device or str
    """
    return tensor(value, dtype, device)


def _like(value: float, x: Tensor, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    home = x.device if device is None else device
    return _filled(value, (x.shape,), x.dtype if dtype is None else dtype, home, requires_grad)


def zeros_like(x: Tensor, dtype: Any = None, device: Device | str | None = None, requires_grad: bool = False) -> Tensor:
    """Zeros in the shape of x.

    Parameters
    ----------
    x : Tensor
        Supplies ``dtype`` and ``device`` where they are None.
    dtype : dtype, optional
    device : Device or str, optional
    requires_grad : bool
    """
    return _like(0, x, dtype, device, requires_grad)


def ones_like(x: Tensor, dtype: Any = None, device: Device | str | None = None, requires_grad: bool = False) -> Tensor:
    """Ones in the shape of x.

    Parameters
    ----------
    x : Tensor
        Supplies ``dtype`` and ``device`` where they are None.
    dtype : dtype, optional
    device : Device or str, optional
    requires_grad : bool
    """
    return _like(1, x, dtype, device, requires_grad)


def full_like(
    x: Tensor, fill_value: Any, dtype: Any = None, device: Device | str | None = None, requires_grad: bool = False
) -> Tensor:
    """``fill_value`` in the shape of x.

    Parameters
    ----------
    x : Tensor
        Supplies ``dtype`` and ``device`` where they are None.
    fill_value : number
    dtype : dtype, optional
    device : Device or str, optional
    requires_grad : bool
    """
    return _like(fill_value, x, dtype, device, requires_grad)


def empty_like(x: Tensor, dtype: Any = None, device: Device | str | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor in the shape of x with whatever was in memory.

    Parameters
    ----------
    x : Tensor
        Supplies ``dtype`` and ``device`` where they are None.
    dtype : dtype, optional
    device : Device or str, optional
    requires_grad : bool
    """
    home = x.device if device is None else device
    return empty(x.shape, dtype=x.dtype if dtype is None else dtype, device=home, requires_grad=requires_grad)


def eye(n: int, m: int | None = None, dtype: Any = np.float32, device: Device | str = "cpu") -> Tensor:
    """A matrix (n, m) with ones on its diagonal.

    Parameters
    ----------
    n : int
        Rows.
    m : int, optional
        Columns; as many as rows if None.
    dtype : dtype
    device : Device or str
    """
    return tensor(np.eye(n, m, dtype=dtype), device=device)


def linspace(start: float, end: float, steps: int, dtype: Any = np.float32, device: Device | str = "cpu") -> Tensor:
    """Evenly spaced numbers from ``start`` to ``end``, both included.

    Parameters
    ----------
    start, end : number
    steps : int
        How many.
    dtype : dtype
    device : Device or str
    """
    return tensor(np.linspace(start, end, steps).astype(dtype), device=device)


def arange(
    start: float, end: float | None = None, step: float = 1, dtype: Any = None, device: Device | str = "cpu"
) -> Tensor:
    """Numbers from ``start`` up to but not including ``end``; int64 for integers, else float32.

    Parameters
    ----------
    start, end : number
        ``arange(n)`` counts from 0 to n - 1.
    step : number
    dtype : dtype, optional
    device : Device or str
    """
    if end is None:
        start, end = 0, start
    if dtype is None:
        dtype = np.int64 if all(isinstance(v, int) for v in (start, end, step)) else np.float32
    return tensor(np.arange(start, end, step, dtype=dtype), device=device)
