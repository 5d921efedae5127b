"""Making tensors: from data, filled, counted, drawn."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._device import device as get_device
from gpunn._tensor import Tensor, upload
from gpunn.errors import DTypeError


def tensor(data: Any, dtype: Any = None, device: Device | str = "cpu", requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of ``data``: nested lists, numbers, a NumPy array or a Tensor.

    A NumPy array keeps its dtype; Python floats become float32, Python integers int64.
    """
    if isinstance(data, Tensor):
        data = data.numpy_without_tape()
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
    """A ``cpu`` tensor sharing the array's memory where its layout allows (a 4-d array is usually copied)."""
    if not isinstance(array, np.ndarray):
        raise DTypeError(f"from_numpy(): expected a NumPy array; got {type(array).__name__}.")
    return Tensor(array, "cpu")


def _filled(
    value: float | None, shape: tuple[Any, ...], dtype: Any, device: Device | str, requires_grad: bool
) -> Tensor:
    if len(shape) == 1 and isinstance(shape[0], tuple | list):
        shape = tuple(shape[0])
    return Tensor(upload(np.full(shape, value, dtype), get_device(device)), device, requires_grad)


def zeros(*shape: Any, dtype: Any = np.float32, device: Device | str = "cpu", requires_grad: bool = False) -> Tensor:
    """A tensor of zeros."""
    return _filled(0, shape, dtype, device, requires_grad)


def ones(*shape: Any, dtype: Any = np.float32, device: Device | str = "cpu", requires_grad: bool = False) -> Tensor:
    """A tensor of ones."""
    return _filled(1, shape, dtype, device, requires_grad)


def arange(
    start: float, end: float | None = None, step: float = 1, dtype: Any = None, device: Device | str = "cpu"
) -> Tensor:
    """Numbers from ``start`` up to but not ``end``; int64 for integers, else float32."""
    if end is None:
        start, end = 0, start
    if dtype is None:
        dtype = np.int64 if all(isinstance(v, int) for v in (start, end, step)) else np.float32
    return tensor(np.arange(start, end, step, dtype=dtype), device=device)


def _drawn(
    kind: str, shape: tuple[Any, ...], dtype: Any, device: Device | str, requires_grad: bool, generator: Any
) -> Tensor:
    from gpunn.random import default_generator

    if len(shape) == 1 and isinstance(shape[0], tuple | list):
        shape = tuple(shape[0])
    source = generator or default_generator()
    values = source.normal(0.0, 1.0, shape, dtype) if kind == "normal" else source.uniform(0.0, 1.0, shape, dtype)
    return Tensor(upload(values, get_device(device)), device, requires_grad)


def randn(
    *shape: Any,
    dtype: Any = np.float32,
    device: Device | str = "cpu",
    requires_grad: bool = False,
    generator: Any = None,
) -> Tensor:
    """Standard Gaussian numbers, drawn on the host: the same for a seed on every device."""
    return _drawn("normal", shape, dtype, device, requires_grad, generator)


def rand(
    *shape: Any,
    dtype: Any = np.float32,
    device: Device | str = "cpu",
    requires_grad: bool = False,
    generator: Any = None,
) -> Tensor:
    """Numbers uniform on [0, 1), drawn on the host: the same for a seed on every device."""
    return _drawn("uniform", shape, dtype, device, requires_grad, generator)
