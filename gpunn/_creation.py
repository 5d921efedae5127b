"""Making tensors: from data, filled, like another. Shared, counted and drawn ones have files of their own."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._creation_arguments import Goal, count_of, default_dtype, fitting, goal_of, number_of, shape_of
from gpunn._default_device import default_device
from gpunn._device import Device
from gpunn._interop import home_of, imported, is_array, is_cupy, is_foreign, tensor_of
from gpunn._keywords import takes_keywords
from gpunn._layout import physical_shape
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, here

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
        if device is None and not is_cupy(data):
            device = default_device()
        made = tensor_of(op, data, device, dtype, copy=True)
        return made.requires_grad_() if goal_of(op, made.dtype, made.device, requires_grad).requires_grad else made
    from gpunn._creation_nested import read

    values = read(op, data, dtype)
    return goal_of(op, values.dtype, device, requires_grad).tensor(values)


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
    # Filled where it is: a copy from the host could not be made in a captured step.
    made = goal.device.empty(physical_shape(shape_of(goal.op, shape)), goal.dtype)
    goal.device.fill(made, number)
    return goal.finished(Tensor._of_physical(made, goal.device))


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
