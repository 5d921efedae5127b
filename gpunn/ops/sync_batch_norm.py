"""Batch normalisation by the statistics of all ranks' batches (``kernels/sync_batch_norm.cu``).

Forward each rank takes the mean and variance of its own rows, and gets those of the others; all merge them in the same
way. Backward they add up their sums of dy and dy xhat, by which the gradient of x depends on every row.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn._capture_state import capturing
from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn.cpu import batch_norm as fast
from gpunn.cpu.elementwise import quiet
from gpunn.errors import ShapeError, here
from gpunn.gpu.launcher import KernelSource, c_type, ceil_div
from gpunn.gpu.tickets import tickets
from gpunn.ops.batch_norm import (
    as_images,
    batch_norm_backward,
    batch_norm_normalise,
    batch_norm_statistics,
    check_arguments,
    checked_momentum,
    checked_options,
    launch_gradients,
)
from gpunn.ops.cast import in_dtype
from gpunn.ops.copy_arrays import copy_arrays
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("sync_batch_norm.cu", REAL=("float", "double"))
_OP = "sync_batch_norm"
_BLOCK = 128  # BLOCK in sync_batch_norm.cu
_THREADS = 256  # of a block that makes the gradient of x


# -- primitives -----------------------------------------------------------------------------------


@primitive(returns=("part",), wide=("part",))
def sync_batch_norm_pack(xp: Any, mean: Any, var: Any, rows: int) -> Any:
    """One rank's statistics as one array (2 C + 1): means, variances, and of how many rows they are."""
    return xp.concatenate([mean, var, xp.full(1, rows, mean.dtype)])


@sync_batch_norm_pack.kernel
def _(device: Device, mean: Any, var: Any, rows: int) -> Any:
    channels = len(mean)
    part = device.empty((2 * channels + 1,), mean.dtype)
    grid = (ceil_div(channels, _BLOCK), 1, 1)
    args = (part, mean, var, rows, 2 * channels + 1)
    SOURCE.launch(device, "sync_batch_norm_pack", grid, _BLOCK, args, REAL=c_type(mean.dtype, _OP))
    return part


@primitive(
    returns=("mean", "var", "count"), mutates=("running_mean", "running_var", "batches"), wide=("mean", "var", "count")
)
def sync_batch_norm_combine(
    xp: Any, parts: Any, running_mean: Any, running_var: Any, batches: Any, momentum: float | None
) -> tuple[Any, Any, Any]:
    """Mean and (biased) variance of all ranks' rows by channel, and how many rows there are (1), from each rank's part.

    mean = sum of rows mean / count; var = sum of rows (var + (mean of the rank - mean)^2) / count. Running estimates
    move and batches are counted as by ``batch_norm_statistics``; no rows at all change nothing.
    """
    channels = parts.shape[1] // 2
    each = parts.astype(np.float64)
    means, variances, rows = each[:, :channels], each[:, channels:-1], each[:, -1:]
    count = rows.sum()
    with quiet():
        mean = (rows * means).sum(axis=0) / xp.maximum(count, 1)
        m2 = (rows * (variances + (means - mean) ** 2)).sum(axis=0)
        var = m2 / xp.maximum(count, 1)
    if count > 0:
        if batches is not None:
            batches += 1
        share = 1 / batches if momentum is None else momentum
        if running_mean is not None:
            running_mean[...] = (1 - share) * running_mean + share * mean
        if running_var is not None:
            running_var[...] = (1 - share) * running_var + share * m2 / xp.maximum(count - 1, 1)
    return mean.astype(parts.dtype), var.astype(parts.dtype), count.reshape(1).astype(parts.dtype)


@sync_batch_norm_combine.kernel
def _(
    device: Device, parts: Any, running_mean: Any, running_var: Any, batches: Any, momentum: float | None
) -> tuple[Any, Any, Any]:
    ranks, width = parts.shape
    channels = width // 2
    mean, var = (device.empty((channels,), parts.dtype) for _ in range(2))
    count = device.empty((1,), parts.dtype)
    moved = (running_mean, running_var, batches, None if batches is None else tickets(device))
    share = -1.0 if momentum is None else momentum
    args = (mean, var, count, *moved, parts, device.error_buffer, ranks, width, share)
    grid = (ceil_div(channels, _BLOCK), 1, 1)
    SOURCE.launch(device, "sync_batch_norm_combine", grid, _BLOCK, args, REAL=c_type(parts.dtype, _OP))
    return mean, var, count


@primitive(returns=("dx", "dresidual"))
def sync_batch_norm_backward(
    xp: Any,
    dy: Any,
    x: Any,
    y: Any,
    mean: Any,
    var: Any,
    weight: Any,
    sums: Any,
    count: Any,
    eps: float,
    needs: tuple[bool, bool],
) -> tuple[Any, Any]:
    """dx = weight rstd (dz - (sums[1] + xhat sums[0]) / count); sums (2, C): of dz xhat and of dz over all ranks' rows.

    y is None without a ReLU; dresidual is then dy, and not returned.
    """
    rstd = 1 / xp.sqrt(var + eps)
    dz = dy if y is None else xp.where(y <= 0, dy.dtype.type(0), dy)
    centred = dz - (sums[1] + (x - mean) * rstd * sums[0]) / xp.maximum(count, 1)
    dx = centred * (rstd if weight is None else weight * rstd)
    return dx if needs[0] else None, dz if needs[1] and y is not None else None


sync_batch_norm_backward.numpy(fast.backward_of_all)


@sync_batch_norm_backward.kernel(stored=("dy", "x", "y"), parameters=("weight",))
def _(
    device: Device,
    dy: Any,
    x: Any,
    y: Any,
    mean: Any,
    var: Any,
    weight: Any,
    sums: Any,
    count: Any,
    eps: float,
    needs: tuple[bool, bool],
    threads: int = _THREADS,
) -> tuple[Any, Any]:
    dx = device.empty(x.shape, x.dtype) if needs[0] else None
    dresidual = device.empty(x.shape, x.dtype) if needs[1] and y is not None else None
    if dx is not None or dresidual is not None:
        through = (sums[0], sums[1], count)
        launch_gradients(device, dx, dresidual, (dy, x, y, mean, var, weight, None), through, eps, threads)
    return dx, dresidual


# -- public op ------------------------------------------------------------------------------------


def sync_batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: float | None,
    eps: float,
    group: Any,
    *,
    residual: Tensor | None = None,
    activation: str | None = None,
    num_batches_tracked: Tensor | None = None,
) -> Tensor:
    """Batch normalisation in training, by the mean and variance of all ranks' x; every rank makes this call.

    y = act((x - mean) / sqrt(var + eps) * weight + bias + residual)

    The gradients of weight and bias are those of this rank's part of the batch.

    Parameters
    ----------
    x : Tensor, (N, C), (N, C, L), (N, C, H, W) or (N, C, D, H, W)
        float32 or float64. N may differ from rank to rank, and be 0.
    running_mean, running_var, weight, bias, momentum, eps, residual, activation, num_batches_tracked
        As of :func:`~gpunn.nn.functional.batch_norm`.
    group : ProcessGroup

    Returns
    -------
    Tensor
        Like x.

    Raises
    ------
    ShapeError
        If x has other axes, another shape does not match it, or all ranks together have one value per channel. A
        captured step does not see the last.
    DTypeError, DeviceError
        If the tensors are not of one floating dtype and one device.
    UsageError
        If momentum None lacks a counter, the activation is unknown, momentum is negative, or eps is not above 0.
    DistributedError
        If a rank has ended or does not come.

    References
    ----------
    Ioffe, Szegedy 2015, arXiv:1502.03167; Chan, Golub, LeVeque 1979, Stanford STAN-CS-79-773.
    """
    if x.ndim in (3, 5):
        rest = (running_mean, running_var, weight, bias, momentum, eps, group)
        more: dict[str, Any] = {"activation": activation, "num_batches_tracked": num_batches_tracked}
        return as_images(x, residual, lambda x, residual: sync_batch_norm(x, *rest, residual=residual, **more))
    check_arguments(x, running_mean, running_var, weight, bias, residual, num_batches_tracked)
    eps = checked_options(activation, eps, True)
    tracked = [running_mean, running_var, num_batches_tracked]
    momentum = checked_momentum(momentum, any(t is not None for t in tracked[:2]), num_batches_tracked)
    device, relu = x.device, activation == "relu"
    px, scale, shift, extra, *moved = [
        None if t is None else t._physical for t in (x, weight, bias, residual, *tracked)
    ]
    channel = group.channel(device)
    parts = _of_all_ranks(device, px, channel, group.size)
    mean, var, count = sync_batch_norm_combine(device, parts, *moved, momentum)
    for t in tracked:
        if t is not None:
            t._storage.changed()
    y = batch_norm_normalise(device, px, mean, var, scale, shift, extra, eps, relu)
    operands = (x, weight, bias, residual)
    inputs = [t for t in operands if t is not None]
    # What the closure names stays in memory: y only where it is needed, and not the residual.
    kinds, gate = [None if t is None else t.dtype for t in operands], y if relu else None

    def backward(dy: Any, needs: tuple[bool, ...]) -> list[Any]:
        asked = iter(needs)
        wanted = tuple([kind is not None and next(asked) for kind in kinds])
        # Without mean and var as functions of x: the sums of this rank's rows.
        own = (False, wanted[0] or wanted[1], wanted[0] or wanted[2], wanted[3] and not wanted[0])
        how = (eps, False, True, own)
        _, dweight, dbias, dresidual = batch_norm_backward(device, dy, px, gate, mean, var, scale, None, *how)
        dx = None
        if wanted[0]:
            sums = device.empty((2, len(mean)), dweight.dtype)
            copy_arrays(device, [sums[0], sums[1]], [dweight, dbias])
            channel.all_reduce(sums).wait()
            both = (True, wanted[3])
            dx, dresidual = sync_batch_norm_backward(device, dy, px, gate, mean, var, scale, sums, count, eps, both)
        gradients = (dx, dweight if wanted[1] else None, dbias if wanted[2] else None, dresidual if relu else dy)
        return [
            in_dtype(device, gradient, kind) if want else None
            for gradient, want, kind in zip(gradients, wanted, kinds, strict=True)
            if kind is not None
        ]

    saves = [t for t in (x, weight) if t is not None]
    passes_on = residual is not None and not relu
    return record(_OP, y, device, inputs, backward, saves=saves, keeps=relu, passes_on=passes_on)


def _of_all_ranks(device: Device, px: Any, channel: Any, ranks: int) -> Any:
    """Every rank's statistics (ranks, 2 C + 1)."""
    rows = math.prod(px.shape[:-1])
    mean, var = batch_norm_statistics(device, px, None, None, None, 0.0)
    own = sync_batch_norm_pack(device, mean, var, rows)
    parts = device.empty((ranks, *own.shape), own.dtype)
    channel.all_gather(own, parts).wait()
    # One row in all means that no rank has two: all ranks then look, and no others wait for the device.
    if rows < 2 and capturing() is None and device.to_host(parts)[:, -1].sum() == 1:
        raise ShapeError(
            f"{here(_OP)}: expected more than 1 value per channel when training; got one on all {ranks} ranks "
            "together. Use a larger batch (DataLoader(drop_last=True) if it is the last one), or eval()."
        )
    return parts
