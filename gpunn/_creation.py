"""Making tensors: from data, filled, like another. Counted ones and drawn ones have files of their own."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._creation_arguments import Goal, count_of, default_dtype, fitting, goal_of, number_of, shape_of
from gpunn._device import Device
from gpunn._interop import home_of, imported, is_array, is_cupy, is_foreign, tensor_of
from gpunn._keywords import takes_keywords
from gpunn._layout import address_of, physical_shape
from gpunn._tensor import Tensor
from gpunn._views import strided_array
from gpunn.errors import DTypeError, UsageError, here

# -- from data ------------------------------------------------------------------------------------


@takes_keywords
def tensor(data: Any, dtype: Any = None, device: Device | str | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of ``data``, whatever it is; :func:`as_tensor` shares memory instead.

    Parameters
    ----------
    data : nested lists, number, numpy.ndarray, cupy.ndarray, Tensor, or an array that hands out its memory
        An array may be strided, reversed, in Fortran order, broadcast, byte-swapped or read-only.
    dtype : dtype, optional
        An array keeps its dtype if None; Python floats become float32, Python integers int64. Lists of several kinds
        get the dtype that holds all of them.
    device : Device or str, optional
        If None, the tensor's own, the GPU of a CuPy array (``cuda:0``, ``cuda:1``, ...), or ``cpu`` for host data.
        "cuda" and "cuda-plain" without a number also mean a CuPy array's own GPU.
    requires_grad : bool
        Whether ``backward`` should collect a gradient here.

    Raises
    ------
    DTypeError
        If ``data`` is not an array of numbers of a dtype that tensors have: complex numbers, float16, bfloat16,
        objects, text, dates, structures and masked arrays are refused; or if a number does not fit into the dtype.
    ShapeError
        If the rows of a list are not of one length.
    DeviceError, UsageError
        If another library's array is on no device of ours, or does not hand out its memory.
    """
    return copied("tensor", data, dtype, device, requires_grad)


def copied(op: str, data: Any, dtype: Any, device: Device | str | None, requires_grad: bool) -> Tensor:
    """A tensor with a copy of ``data``; see :func:`tensor`, which is one ``op`` that asks for it."""
    if isinstance(data, Tensor):
        device = data.device if device is None else device
        data = data._numpy_without_tape()
    elif is_foreign(data) and not is_array(data):
        data = imported(op, data)
    if is_array(data):
        made = tensor_of(op, data, device, dtype, copy=True)
        return made.requires_grad_() if goal_of(op, made.dtype, made.device, requires_grad).requires_grad else made
    from gpunn._creation_nested import read

    values = read(op, data, dtype)
    return goal_of(op, values.dtype, device, requires_grad).tensor(values)


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


def is_tensor(thing: Any) -> bool:
    """Whether ``thing`` is a Tensor.

    Parameters
    ----------
    thing : anything
    """
    return isinstance(thing, Tensor)


# -- filled with one number -----------------------------------------------------------------------


def filled(goal: Goal, value: Any, shape: Any, name: str = "fill_value") -> Tensor:
    """A tensor with every element ``value``, which errors call ``name``; ``shape`` as of :func:`zeros`."""
    number = fitting(goal.op, name, number_of(goal.op, name, value), goal.dtype)
    return goal.tensor(np.full(shape_of(goal.op, shape), number, goal.dtype))


@takes_keywords
def zeros(
    *shape: Any,
    dtype: Any = None,
    device: Device | str | None = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """A tensor of zeros.

    Parameters
    ----------
    shape : int, or one iterable of int
        A tuple, an array, another tensor's ``shape``, ...
    dtype : dtype, optional
        float32 if None. Python's float is float64 and its int int64.
    device : Device or str, optional
        ``cpu`` if None.
    requires_grad : bool
        Whether ``backward`` should collect a gradient here.
    out : Tensor, optional
        Write the zeros here, whose shape, dtype and device decide.

    Raises
    ------
    UsageError
        If the shape is no shape.
    DTypeError
        If the dtype is none that tensors have, or cannot require a gradient.
    """
    return filled(goal_of("zeros", dtype, device, requires_grad, out), 0, shape)


@takes_keywords
def ones(
    *shape: Any,
    dtype: Any = None,
    device: Device | str | None = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """A tensor of ones.

    Parameters
    ----------
    shape, dtype, device, requires_grad, out
        As for :func:`zeros`.
    """
    return filled(goal_of("ones", dtype, device, requires_grad, out), 1, shape)


@takes_keywords
def full(
    size: Any,
    fill_value: Any,
    dtype: Any = None,
    device: Device | str | None = None,
    requires_grad: bool = False,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """A tensor with every element ``fill_value``.

    Parameters
    ----------
    size : sequence of int
        The shape.
    fill_value : number, or a tensor without axes
    dtype : dtype, optional
        If None, float32, int64 or bool, as the number is.
    device, requires_grad, out
        As for :func:`zeros`.

    Raises
    ------
    DTypeError
        If the number does not fit into the dtype.
    """
    kind = default_dtype(number_of("full", "fill_value", fill_value))
    return filled(goal_of("full", dtype, device, requires_grad, out, default=kind), fill_value, (size,))


@takes_keywords
def empty(
    *shape: Any,
    dtype: Any = None,
    device: Device | str | None = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """A tensor with whatever was in memory.

    Parameters
    ----------
    shape, dtype, device, requires_grad, out
        As for :func:`zeros`.
    """
    return uninitialised(goal_of("empty", dtype, device, requires_grad, out), shape)


def uninitialised(goal: Goal, shape: Any) -> Tensor:
    """A tensor with whatever was in memory; ``shape`` as of :func:`zeros`."""
    lengths = shape_of(goal.op, shape)
    return goal.finished(Tensor._of_physical(goal.device.empty(physical_shape(lengths), goal.dtype), goal.device))


@takes_keywords
def scalar_tensor(
    value: Any, dtype: Any = None, device: Device | str | None = None, requires_grad: bool = False
) -> Tensor:
    """A tensor without axes.

    Parameters
    ----------
    value : number
    dtype : dtype, optional
        float32 if None.
    device, requires_grad
        As for :func:`zeros`.
    """
    return filled(goal_of("scalar_tensor", dtype, device, requires_grad), value, ((),), "value")


@takes_keywords
def eye(
    n: int,
    m: int | None = None,
    dtype: Any = None,
    device: Device | str | None = None,
    requires_grad: bool = False,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """A matrix (n, m) with ones on its diagonal.

    Parameters
    ----------
    n : int
        Rows.
    m : int, optional
        Columns; as many as rows if None.
    dtype, device, requires_grad, out
        As for :func:`zeros`.
    """
    rows = count_of("eye", "n", n)
    columns = rows if m is None else count_of("eye", "m", m)
    goal = goal_of("eye", dtype, device, requires_grad, out)
    shape_of("eye", (rows, columns))
    return goal.tensor(np.eye(rows, columns, dtype=goal.dtype))


# -- like another tensor --------------------------------------------------------------------------


def goal_like(op: str, x: Any, dtype: Any, device: Any, requires_grad: Any) -> Goal:
    """What is to be made in the shape of x, a Tensor, NumPy or CuPy array, which gives what is not given.

    Raises
    ------
    DTypeError
        If x is none of them.
    """
    if isinstance(x, Tensor):
        home: Any = x.device
    elif is_array(x):
        home = home_of(x)
    else:
        raise DTypeError(f"{here(op)}: expected a Tensor; got {type(x).__name__}. Use gpunn.tensor(data) first.")
    return goal_of(op, x.dtype if dtype is None else dtype, home if device is None else device, requires_grad)


@takes_keywords
def zeros_like(x: Any, dtype: Any = None, device: Device | str | None = None, requires_grad: bool = False) -> Tensor:
    """Zeros in the shape of x.

    Parameters
    ----------
    x : Tensor
        Supplies ``dtype`` and ``device`` where they are None.
    dtype : dtype, optional
    device : Device or str, optional
    requires_grad : bool
        Whether ``backward`` should collect a gradient here.
    """
    return filled(goal_like("zeros_like", x, dtype, device, requires_grad), 0, (x.shape,))


@takes_keywords
def ones_like(x: Any, dtype: Any = None, device: Device | str | None = None, requires_grad: bool = False) -> Tensor:
    """Ones in the shape of x.

    Parameters
    ----------
    x, dtype, device, requires_grad
        As for :func:`zeros_like`.
    """
    return filled(goal_like("ones_like", x, dtype, device, requires_grad), 1, (x.shape,))


@takes_keywords
def full_like(
    x: Any, fill_value: Any, dtype: Any = None, device: Device | str | None = None, requires_grad: bool = False
) -> Tensor:
    """``fill_value`` in the shape of x.

    Parameters
    ----------
    fill_value : number, or a tensor without axes
    x, dtype, device, requires_grad
        As for :func:`zeros_like`.

    Raises
    ------
    DTypeError
        If the number does not fit into the dtype.
    """
    return filled(goal_like("full_like", x, dtype, device, requires_grad), fill_value, (x.shape,))


@takes_keywords
def empty_like(x: Any, dtype: Any = None, device: Device | str | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor in the shape of x with whatever was in memory.

    Parameters
    ----------
    x, dtype, device, requires_grad
        As for :func:`zeros_like`.
    """
    return uninitialised(goal_like("empty_like", x, dtype, device, requires_grad), (x.shape,))
