"""Making tensors of random numbers, drawn on the host: a seed gives the same numbers on every device."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._creation import _shape
from gpunn._device import Device
from gpunn._device import device as get_device
from gpunn._tensor import Tensor, upload
from gpunn.errors import UsageError
from gpunn.random import default_generator


def _drawn(
    kind: str, shape: tuple[Any, ...], dtype: Any, device: Device | str, requires_grad: bool, generator: Any
) -> Tensor:
    source = generator or default_generator()
    draw = source.normal if kind == "normal" else source.uniform
    values = draw(0.0, 1.0, _shape(shape), dtype)
    return Tensor(upload(values, get_device(device)), device, requires_grad)


def randn(
    *shape: Any,
    dtype: Any = np.float32,
    device: Device | str = "cpu",
    requires_grad: bool = False,
    generator: Any = None,
) -> Tensor:
    """Standard Gaussian numbers, drawn on the host: a seed gives the same ones on every device.

    Parameters
    ----------
    shape : int, or one sequence of int
    dtype : dtype
    device : Device or str
    requires_grad : bool
    generator : Generator, optional
        The default one if None.
    """
    return _drawn("normal", shape, dtype, device, requires_grad, generator)


def rand(
    *shape: Any,
    dtype: Any = np.float32,
    device: Device | str = "cpu",
    requires_grad: bool = False,
    generator: Any = None,
) -> Tensor:
    """Numbers uniform on [0, 1), drawn on the host: a seed gives the same ones on every device.

    Parameters
    ----------
    shape : int, or one sequence of int
    dtype : dtype
    device : Device or str
    requires_grad : bool
    generator : Generator, optional
        The default one if None.
    """
    return _drawn("uniform", shape, dtype, device, requires_grad, generator)


def rand_like(x: Tensor, dtype: Any = None, device: Device | str | None = None, generator: Any = None) -> Tensor:
    """Numbers uniform on [0, 1) in the shape of x.

    Parameters
    ----------
    x : Tensor
        Supplies ``dtype`` and ``device`` where they are None.
    dtype : dtype, optional
    device : Device or str, optional
    generator : Generator, optional
        The default one if None.
    """
    return _drawn("uniform", (x.shape,), dtype or x.dtype, device or x.device, False, generator)


def randn_like(x: Tensor, dtype: Any = None, device: Device | str | None = None, generator: Any = None) -> Tensor:
    """Standard Gaussian numbers in the shape of x.

    Parameters
    ----------
    x : Tensor
        Supplies ``dtype`` and ``device`` where they are None.
    dtype : dtype, optional
    device : Device or str, optional
    generator : Generator, optional
        The default one if None.
    """
    return _drawn("normal", (x.shape,), dtype or x.dtype, device or x.device, False, generator)


def randint(
    low: int,
    high: Any,
    size: Any = None,
    dtype: Any = np.int64,
    device: Device | str = "cpu",
    generator: Any = None,
) -> Tensor:
    """Integers from ``low`` up to but not including ``high``, all equally likely.

    Parameters
    ----------
    low, high : int
        ``randint(high, size)`` begins at 0.
    size : sequence of int
        The shape.
    dtype : dtype
    device : Device or str
    generator : Generator, optional
        The default one if None.

    Raises
    ------
    UsageError
        If there is no number to choose from.
    """
    if size is None:
        low, high, size = 0, low, high
    if not low < high:
        raise UsageError(f"randint: expected low < high; got {low} and {high}.")
    drawn = (generator or default_generator()).uniform(0.0, 1.0, _shape((size,)), np.float64)
    values = np.minimum(np.floor(drawn * (high - low)), high - low - 1).astype(np.int64) + low
    home = get_device(device)
    return Tensor(upload(values.astype(dtype), home), home)


def randperm(n: int, dtype: Any = np.int64, device: Device | str = "cpu", generator: Any = None) -> Tensor:
    """The numbers 0 to n - 1 in random order.

    Parameters
    ----------
    n : int
    dtype : dtype
    device : Device or str
    generator : Generator, optional
        The default one if None.
    """
    home = get_device(device)
    return Tensor(upload((generator or default_generator()).permutation(n).astype(dtype), home), home)
