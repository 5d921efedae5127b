"""Backward of ``act(z + bias)``, shared by linear and convolution (``kernels/bias.cu``).

Of float32 the kernel runs only where a layer's weight is frozen: otherwise the product for the weight's gradient does
the work. Of 16 bits (``kernels/bias_half.cu``) it runs before those products, which read matrices as they are.
"""

from __future__ import annotations

from typing import Any

from gpunn._device import Device
from gpunn.cpu import bias as fast
from gpunn.gpu import half
from gpunn.gpu.launcher import KernelSource, c_type, ceil_div, vector_width
from gpunn.gpu.tickets import COUNT, tickets
from gpunn.primitive import primitive

SOURCE = KernelSource("bias.cu", REAL=("float", "double"), VEC=(1, 4))
_MOST_CHUNKS = 128  # row chunks of the column sums: enough blocks for a large card, few partial sums


@primitive(returns=("dz", "dbias"))
def bias_backward(xp: Any, dy: Any, y: Any, wants_bias: bool) -> tuple[Any, Any]:
    """dz = 0 where y <= 0 else dy (dy itself if y is None), dbias = column sums of dz (None if not wanted).

    dy, y (rows, columns); y is the output of a ReLU. Where y is None, dz needs no memory of its own.
    """
    dz = dy if y is None else xp.where(y <= 0, dy.dtype.type(0), dy)
    return dz, dz.sum(axis=0) if wants_bias else None


bias_backward.numpy(fast.bias_backward)


@bias_backward.kernel
def _(device: Device, dy: Any, y: Any, wants_bias: bool) -> tuple[Any, Any]:
    rows, columns = dy.shape
    if y is None and not wants_bias:
        return dy, None
    dz = dy if y is None else device.empty(dy.shape, dy.dtype)
    # A block's eight row lanes get at least four rows each; at least one chunk, so that no rows give zeros.
    chunks = max(1, min(_MOST_CHUNKS, ceil_div(rows, 32)))
    if ceil_div(columns, 32) > COUNT:  # enough blocks without chunks
        chunks = 1
    dbias = partial = drawn = None
    if wants_bias:
        dbias, partial = device.empty((columns,), dy.dtype), device.empty((chunks, columns), dy.dtype)
        drawn = tickets(device)
    vec = vector_width(columns, dy, y, dz)
    grid = (ceil_div(columns, 32 * vec), chunks, 1)
    args = (None if y is None else dz, dbias, partial, drawn, dy, y, rows, columns, ceil_div(rows, chunks))
    SOURCE.launch(device, "bias_backward", grid, (32, 8, 1), args, REAL=c_type(dy.dtype, "bias_backward"), VEC=vec)
    return dz, dbias


bias_backward.half_kernel(half.bias_backward)
