"""Making tensors: from data, filled, counted, drawn."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._device import device as get_device
from gpunn._layout import physical_shape
from gpunn._tensor import Tensor, upload
from gpunn.errors import DTypeError


def tensor(data: Any, dtype: Any = None, device: Device | str = "cpu", requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of ``data``: nested lists, numbers, a NumPy array or a Tensor.

    Parameters
    ----------
    data : nested lists, number, numpy.ndarray or Tensor
    dtype : dtype, optional
        A NumPy array keeps its dtype if None; Python floats become float32, Python integers int64.
    device : Device or str
    requires_grad : bool
        Whether ``backward`` should collect a gradient here.

    Raises
    ------
    DTypeError
        If ``data`` is not an array of numbers.
    """
    if isinstance(data, Tensor):
        data = data._numpy_without_tape()
    keep = isinstance(data, np.ndarray | np.generic)
    values = np.array(data, dtype=dtype)
    if dtype is None and not keep and values.dtype == np.float64:
        values = values.astype(np.float32)
    if values.dtype == object:
        raise DTypeError(
            f"tensor(): cannot make an array of numbers from {type(data).__name__}; are the rows of one length?"
        )
    home = get_device(device)
    return Tensor(upload(values, home), home, requires_grad)


def from_numpy(array: np.ndarray) -> Tensor:
    """A ``cpu`` tensor sharing the array's memory where its layout allows (a 4-d array is usually copied).

    Parameters
    ----------
    array : numpy.ndarray
    """
    if not isinstance(array, np.ndarray):
        raise DTypeError(f"from_numpy(): expected a NumPy array; got {type(array).__name__}.")
    return Tensor(array, "cpu")


def as_tensor(data: Any, dtype: Any = None, device: Device | str | None = None) -> Tensor:
    """``data`` as a tensor, without a copy where it already is one or its memory can be shared.

    Parameters
    ----------
    data : Tensor, numpy.ndarray, nested lists or number
    dtype : dtype, optional
        Convert to it.
    device : Device or str, optional
        The target device; if None, the tensor's own, or ``cpu`` for host data.
    """
    made = (
        data if isinstance(data, Tensor) else from_numpy(data) if isinstance(data, np.ndarray) else tensor(data, dtype)
    )
    return made.to(device=device, dtype=dtype)


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
