"""Parametric rectified linear unit: the slope below 0 is learned (``kernels/prelu.cu``)."""

from __future__ import annotations

import math
from typing import Any

from gpunn._autocast import casting
from gpunn._device import Device, same_device
from gpunn._shared.activations import check_floating
from gpunn._tensor import Tensor
from gpunn.cpu import prelu as fast
from gpunn.cpu.elementwise import quiet
from gpunn.errors import DTypeError, ShapeError, here
from gpunn.gpu.launcher import KernelSource, c_type, ceil_div, divisor_struct, vector_width
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("prelu.cu", REAL=("float", "double"), VEC=(1, 4))
_BLOCK = 256  # threads of a block; BLOCK in prelu.cu
_ROWS = 8  # a thread takes at least this many rows, so that loading its weights pays
_PARTS = 1024  # blocks of the reduction: enough to fill the largest GPUs


@primitive(returns=("y",))
def prelu_forward(xp: Any, x: Any, weight: Any) -> Any:
    """y[r, c, i] = x where x > 0, else weight[c] x.  x, y (rows, C, inner);  weight (C)."""
    with quiet():
        return xp.where(x > 0, x, weight[:, None] * x)


prelu_forward.numpy(fast.prelu_forward)


def _grid(rows: int, columns: int, vec: int, most: int) -> tuple[int, tuple[int, int, int], tuple[int, int, int]]:
    """Rows of a chunk, grid and block for a kernel over a (rows, columns) matrix in at most ``most`` chunks."""
    vectors = ceil_div(max(columns, 1), vec)
    across = min(vectors, 32)  # adjacent threads that read whole lines of memory
    down = _BLOCK // across
    per_chunk = max(1, down * _ROWS, ceil_div(rows, most))
    return per_chunk, (ceil_div(vectors, across), ceil_div(rows, per_chunk), 1), (across, down, 1)


@prelu_forward.kernel
def _(device: Device, x: Any, weight: Any) -> Any:
    rows, channels, inner = x.shape
    y = device.empty(x.shape, x.dtype)
    if x.size == 0:
        return y
    columns = channels * inner
    vec = vector_width(columns, x, y)
    per_chunk, grid, block = _grid(rows, columns, vec, 65535)
    args = (y, x, weight, rows, columns, inner, per_chunk)
    SOURCE.launch(device, "prelu_forward", grid, block, args, REAL=c_type(x.dtype, "prelu"), VEC=vec)
    return y


@primitive(returns=("dx", "dweight"))
def prelu_backward(xp: Any, dy: Any, x: Any, weight: Any, needs: tuple[bool, bool]) -> tuple[Any, Any]:
    """dx = dy where x > 0, else weight[c] dy;  dweight[c] = sum of x dy over the x of channel c that are not above 0.

    Each is None if ``needs`` does not request it. At 0 the slope is the weight, as in PyTorch.
    """
    with quiet():
        dx = xp.where(x > 0, dy, weight[:, None] * dy) if needs[0] else None
        dweight = xp.where(x > 0, dy.dtype.type(0), x * dy).sum(axis=(0, 2)) if needs[1] else None
    return dx, dweight


prelu_backward.numpy(fast.prelu_backward)


@prelu_backward.kernel
def _(device: Device, dy: Any, x: Any, weight: Any, needs: tuple[bool, bool]) -> tuple[Any, Any]:
    rows, channels, inner = x.shape
    dx = device.empty(x.shape, x.dtype) if needs[0] else None
    dweight = device.empty(weight.shape, weight.dtype) if needs[1] else None
    columns, real = channels * inner, c_type(x.dtype, "prelu")
    chunks, partial = 0, None
    if x.size:
        vec = vector_width(columns, dy, x, dx)
        across = ceil_div(columns, 32 * vec)
        per_chunk, grid, block = _grid(rows, columns, vec, max(1, _PARTS // across))
        chunks = grid[1]
        partial = device.empty((chunks, columns), x.dtype) if needs[1] else None
        args = (dx, partial, dy, x, weight, rows, columns, inner, per_chunk)
        SOURCE.launch(device, "prelu_backward", grid, block, args, REAL=real, VEC=vec)
    if dweight is not None:
        sums = (dweight, partial, chunks, columns, divisor_struct(max(1, inner)))
        SOURCE.launch(device, "prelu_weight_gradient", (channels, 1, 1), _BLOCK, sums, REAL=real, VEC=1)
    return dx, dweight


def prelu(x: Tensor, weight: Tensor) -> Tensor:
    """x where x > 0, else weight times x; there is one weight, or one for each channel.

    Parameters
    ----------
    x : Tensor
        Any shape, float32 or float64; axis 1 holds the channels.
    weight : Tensor, (1,) or (C,)
        The slopes below 0.

    Returns
    -------
    Tensor
        Like x. Its gradient at 0 is the weight; the weight's is the sum of x times the output's gradient over the
        x below 0.

    Raises
    ------
    ShapeError
        If there are several weights and x has a different number of channels.
    DTypeError, DeviceError
        If x is not floating, or the weight is of another dtype or device.

    Examples
    --------
    >>> import gpunn
    >>> prelu(gpunn.tensor([[-2.0, -2.0, 3.0]]), gpunn.tensor([0.5, 0.25, 0.5])).tolist()
    [[-1.0, -0.5, 3.0]]

    References
    ----------
    He, Zhang, Ren, Sun 2015, arXiv:1502.01852; lecture topic L4.
    """
    if casting.on:
        x, weight = casting.inputs("prelu", x, weight)
    check_floating("prelu", x)
    same_device("prelu", x.device, weight.device)
    if weight.dtype != x.dtype:
        raise DTypeError(f"{here('prelu')}: expected a weight of dtype {x.dtype}; got {weight.dtype}.")
    channels = x.shape[1] if x.ndim > 1 else 1
    if weight.ndim > 1 or weight.numel() not in (1, channels):
        raise ShapeError(
            f"{here('prelu')}: expected a weight of shape (1,) or ({channels},), one for each channel of x "
            f"with shape {x.shape}; got {weight.shape}."
        )
    device, source, slopes = x.device, x._physical, weight._physical.reshape(-1)
    shape, kept = source.shape, weight.shape
    matrix = source.reshape(_as_matrix(shape, weight.numel()))
    y = prelu_forward(device, matrix, slopes).reshape(shape)

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        dx, dweight = prelu_backward(device, dy.reshape(matrix.shape), matrix, slopes, (needs[0], needs[1]))
        return None if dx is None else dx.reshape(shape), None if dweight is None else dweight.reshape(kept)

    return record("prelu", y, device, (x, weight), backward, saves=(x, weight))


def _as_matrix(shape: tuple[int, ...], weights: int) -> tuple[int, int, int]:
    """(rows, C, inner) for a physical shape."""
    if weights == 1:
        return math.prod(shape[:-1]), 1, shape[-1] if shape else 1
    if len(shape) == 4:
        return math.prod(shape[:-1]), shape[-1], 1
    return shape[0], shape[1], math.prod(shape[2:])
