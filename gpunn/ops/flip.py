"""Reversing axes (``kernels/strided_copy.cu``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunn._device import Device
from gpunn._layout import physical_axes
from gpunn._shared.axes import axes_of
from gpunn._tensor import Tensor
from gpunn.gpu.strided_copy import copied
from gpunn.primitive import primitive
from gpunn.tape import record


@primitive(returns=("y",), moves=True)
def flip_axes(xp: Any, x: Any, axes: tuple[int, ...]) -> Any:
    """y = x reversed along ``axes``, as a copy."""
    turned = tuple(slice(None, None, -1) if a in axes else slice(None) for a in range(x.ndim))
    return x[turned].copy(order="C")


@flip_axes.kernel
def _(device: Device, x: Any, axes: tuple[int, ...]) -> Any:
    strides = [-s if a in axes else s for a, s in enumerate(x.strides)]
    return copied(device, x, x.shape, strides, sum(x.strides[a] * (x.shape[a] - 1) for a in axes))


def flip(x: Tensor, dims: int | Sequence[int]) -> Tensor:
    """x reversed along ``dims``; a copy.

    Parameters
    ----------
    x : Tensor
    dims : int or sequence of int
        The axes.

    Examples
    --------
    >>> import gpunn
    >>> flip(gpunn.tensor([[1, 2], [3, 4]]), (1,)).tolist()
    [[2, 1], [4, 3]]
    """
    axes = axes_of("flip", x, dims, empty_means_all=False)
    device, stored = x.device, physical_axes(axes, x.ndim)
    y = flip_axes(device, x._physical, stored)
    return record("flip", y, device, (x,), lambda dy, needs: (flip_axes(device, dy, stored),))
