"""A convolution and the max pooling after it in one op, which never materialises all of the convolution's output.

On the CPU a task pools the images that it has just convolved, while they are in the core's cache. In the backward
pass the gradient between the two need not be materialised either (``unpooled.py``). The numbers are those of the two
ops, except for the order in which the gradients of weight and bias are added up. On a GPU it runs the two kernels.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from gpunn._autocast import casting
from gpunn._device import Device, device_of
from gpunn._tensor import Tensor
from gpunn._window import Padding, Pair, Window, code_type
from gpunn.cpu import max_pool2d as pooling
from gpunn.cpu import memory, threads
from gpunn.cpu.conv2d import unpooled, ways
from gpunn.cpu.conv2d.tasks import Output, sizes
from gpunn.cpu.conv2d.unpooled import Gradients, Three
from gpunn.errors import UsageError, here, standing_in_for
from gpunn.ops.conv2d import check_arguments, conv2d_backward, conv2d_forward
from gpunn.ops.max_pool2d import max_pool2d_backward, max_pool2d_forward
from gpunn.primitive import primitive
from gpunn.tape import record


@primitive(returns=("y", "offset"))
def conv2d_max_pool2d_forward(
    xp: Any, x: Any, weight: Any, window: Window, groups: int, bias: Any, pool: Window, flat: bool, relu: bool
) -> tuple[Any, Any]:
    """``max_pool2d_forward`` of ``conv2d_forward`` (see there); ``relu`` is that of the pooling."""
    z = conv2d_forward.plain(xp, x, weight, window, groups, bias, False)
    y, offset = max_pool2d_forward.plain(xp, z, pool, flat, relu)
    return y, offset


@primitive(returns=("dx", "dweight", "dbias"))
def conv2d_max_pool2d_backward(
    xp: Any,
    dy: Any,
    offset: Any,
    x: Any,
    weight: Any,
    window: Window,
    groups: int,
    pool: Window,
    flat: bool,
    needs: Three,
    more: Any = None,
) -> tuple[Any, Any, Any]:
    """``conv2d_backward`` of ``max_pool2d_backward`` (see there)."""
    dz = max_pool2d_backward.plain(xp, dy, offset, pool, flat)
    dx, dweight, dbias = conv2d_backward.plain(xp, dz, None, x, weight, window, groups, needs, more)
    return dx, dweight, dbias


@conv2d_max_pool2d_backward.numpy
def _(
    dy: np.ndarray,
    offset: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    window: Window,
    groups: int,
    pool: Window,
    flat: bool,
    needs: Three,
    more: np.ndarray | None = None,
) -> Gradients:
    assert max_pool2d_backward.numpy_body is not None
    assert conv2d_backward.numpy_body is not None
    given = dy.transpose(0, 2, 3, 1) if flat else dy
    found = unpooled.backward(given, offset, x, weight, window, groups, pool, needs)
    if found is None:
        dz = max_pool2d_backward.numpy_body(dy, offset, pool, flat)
        found = conv2d_backward.numpy_body(dz, None, x, weight, window, groups, needs)
    dx, dweight, dbias = found
    if dx is not None and more is not None:
        np.add(more, dx, out=dx)
    return dx, dweight, dbias


@conv2d_max_pool2d_backward.half_kernel  # each of the two ops sees to 16 bits itself
@conv2d_max_pool2d_backward.kernel
def _(
    device: Device,
    dy: Any,
    offset: Any,
    x: Any,
    weight: Any,
    window: Window,
    groups: int,
    pool: Window,
    flat: bool,
    needs: Three,
    more: Any = None,
) -> tuple[Any, Any, Any]:
    dz = max_pool2d_backward(device, dy, offset, pool, flat)
    dx, dweight, dbias = conv2d_backward(device, dz, None, x, weight, window, groups, needs, more)
    return dx, dweight, dbias


class Pooling(Protocol):
    """A pooling layer."""

    def window(self, height: int, width: int) -> Window:
        """Return its window over images of this size."""
        ...


class _Pooled(Output):
    """Writes images to scratch memory, and pools them from there."""

    whole = True

    def __init__(self, x: np.ndarray, weight: np.ndarray, pool: Window, flat: bool, relu: bool) -> None:
        n, k = len(x), len(weight)
        self._how = pool, flat, relu
        self._image, self._dtype = (pool.H, pool.W, k), x.dtype
        self.offset = memory.empty((n, pool.P, pool.Q, k), code_type(pool, relu))
        self.y = memory.empty((n, k, pool.P, pool.Q) if flat else self.offset.shape, x.dtype)

    def block(self, images: slice, rows: slice) -> np.ndarray:
        found: np.ndarray = threads.scratch.array("convolved", (images.stop - images.start, *self._image), self._dtype)
        return found

    def done(self, images: slice, block: np.ndarray) -> None:
        pool, flat, relu = self._how
        y, offset = self.y[images], self.offset[images]
        if not pooling.pool_block(block, slice(0, pool.P), pool, flat, relu, y, offset):
            y[...], offset[...] = max_pool2d_forward.plain(np, block, pool, flat, relu)


@conv2d_max_pool2d_forward.numpy
def _(
    x: np.ndarray,
    weight: np.ndarray,
    window: Window,
    groups: int,
    bias: np.ndarray | None,
    pool: Window,
    flat: bool,
    relu: bool,
) -> tuple[np.ndarray, np.ndarray]:
    # An image too large for one task is split into rows, which may share windows of the pooling.
    if pool.H * pool.W * len(weight) * x.itemsize > sizes().whole_image:
        assert max_pool2d_forward.numpy_body is not None
        z = ways.forward(x, weight, window, groups, bias, False)
        y, offset = max_pool2d_forward.numpy_body(z, pool, flat, relu)
        return y, offset
    pooled = _Pooled(x, weight, pool, flat, relu)
    ways.write(pooled, x, weight, window, groups, bias, False)
    return pooled.y, pooled.offset


@conv2d_max_pool2d_forward.half_kernel  # each of the two ops sees to 16 bits itself
@conv2d_max_pool2d_forward.kernel
def _(
    device: Device, x: Any, weight: Any, window: Window, groups: int, bias: Any, pool: Window, flat: bool, relu: bool
) -> tuple[Any, Any]:
    y, offset = max_pool2d_forward(
        device, conv2d_forward(device, x, weight, window, groups, bias, False), pool, flat, relu
    )
    return y, offset


def conv2d_max_pool2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Pair,
    padding: Padding | str,
    dilation: Pair,
    groups: int,
    pool: Pooling,
    *,
    activation: str | None = None,
    flatten: bool = False,
    strict: bool = False,
) -> Tensor:
    """:func:`conv2d`, ``activation`` and :func:`max_pool2d` in one pass.

    Parameters
    ----------
    x, weight, bias, stride, padding, dilation, groups, strict
        Of the convolution.
    pool : MaxPool2d
        Or anything with its ``window`` method.
    activation : None or "relu"
        Between the two.
    flatten : bool
        Merge all axes of the result but the first.

    Returns
    -------
    Tensor, (N, K, P, Q) or (N, K P Q)
        P, Q of the pooling. Without N for one image (C, H, W): (K, P, Q) or (K, P Q).

    Raises
    ------
    ShapeError, UsageError, DTypeError, DeviceError
        As in the two ops.
    """
    if casting.on:
        x, weight, bias = casting.inputs("conv2d_max_pool2d", x, weight, bias)
    op = "conv2d_max_pool2d"
    if x.ndim == 3:
        geometry = (stride, padding, dilation, groups, pool)
        y = conv2d_max_pool2d(x.unsqueeze(0), weight, bias, *geometry, activation=activation, strict=strict)
        # Flattening from axis 1 on leaves the first one, which is the channels here.
        return y.reshape(y.shape[1], -1) if flatten else y.squeeze(0)
    inputs = (x, weight) if bias is None else (x, weight, bias)
    device = device_of(op, inputs)
    window = check_arguments(op, x, weight, bias, stride, padding, dilation, groups, strict=strict)
    with standing_in_for(pool):
        pooling = pool.window(window.P, window.Q)
    if activation not in (None, "relu"):
        raise UsageError(f"{here(op)}: activation: expected None or 'relu'; got {activation!r}.")
    image, filters = x._physical, weight._physical
    shift = None if bias is None else bias._physical
    relu = activation == "relu"
    y, offset = conv2d_max_pool2d_forward(device, image, filters, window, groups, shift, pooling, flatten, relu)

    def backward(dy: Any, needs: tuple[bool, ...], waiting: Any) -> tuple[Any, ...]:
        wanted = (needs[0], needs[1], bias is not None and needs[2])
        return conv2d_max_pool2d_backward(
            device, dy.reshape(y.shape), offset, image, filters, window, groups, pooling, flatten, wanted, waiting
        )[: len(inputs)]

    output = y.reshape(len(y), math.prod(y.shape[1:])) if flatten else y
    return record(op, output, device, inputs, backward, saves=(x, weight), adds=True)
