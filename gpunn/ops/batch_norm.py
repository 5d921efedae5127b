"""Batch normalisation, with an addition and a ReLU after it in the same pass (``kernels/batch_norm.cu``).

Training is two primitives: the statistics of the batch, which also update the running estimates, and the
normalisation, which serves evaluation as well. Every array is treated as a matrix of rows and channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpunn._device import Device, same_device
from gpunn._half import FLOATING, goes_with
from gpunn._shared.numbers import real_number
from gpunn._shared.volumes import to_images, to_volumes
from gpunn._tensor import Tensor
from gpunn.cpu import batch_norm as fast
from gpunn.cpu.elementwise import quiet
from gpunn.errors import DTypeError, ShapeError, UsageError, here
from gpunn.gpu import stored
from gpunn.gpu.launcher import KernelSource, ceil_div, vector_width
from gpunn.gpu.tickets import COUNT, tickets
from gpunn.ops.cast import in_dtype
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("batch_norm.cu", **stored.WITH_PARAMETERS, VEC=(1, 4), only=stored.is_declared)
_OP = "batch_norm"
_BLOCK = 256  # threads of a block; BLOCK in batch_norm.cu is the most it may be
_PARTS = 1024  # blocks of a reduction: enough to fill the largest GPUs
_ROWS = 8  # a thread takes at least this many rows, so that loading the channels' numbers pays
Triple = tuple[int, int, int]
Four = tuple[bool, bool, bool, bool]  # whether the gradients of x, weight, bias, residual are wanted


# -- statistics -----------------------------------------------------------------------------------


@primitive(returns=("mean", "var"), mutates=("running_mean", "running_var", "batches"), wide=("mean", "var"))
def batch_norm_statistics(
    xp: Any, x: Any, running_mean: Any, running_var: Any, batches: Any, momentum: float | None
) -> tuple[Any, Any]:
    """Mean and (biased) variance of each channel of x (…, C); updates the running estimates and counts the batch.

    running = (1 - momentum) running + momentum estimate, with the unbiased variance; momentum None means
    1 / batches. Each of the three mutated arrays may be None. An empty batch changes nothing.
    """
    axes = tuple(range(x.ndim - 1))
    rows = math.prod(x.shape[:-1])
    if rows == 0:
        return xp.zeros(x.shape[-1], x.dtype), xp.zeros(x.shape[-1], x.dtype)
    with quiet():
        # From the first row, so that numbers far from 0 lose no digits: a constant channel has no variance.
        first = x.reshape(rows, -1)[0].astype(np.float64)
        away = x - first
        rest = away.mean(axis=axes)
        mean, var = first + rest, ((away - rest) ** 2).mean(axis=axes)
    if batches is not None:
        batches += 1
    share = 1 / batches if momentum is None else momentum
    if running_mean is not None:
        running_mean[...] = (1 - share) * running_mean + share * mean
    if running_var is not None:
        running_var[...] = (1 - share) * running_var + share * var * (rows / max(rows - 1, 1))
    return mean.astype(x.dtype), var.astype(x.dtype)


def _grid(rows: int, channels: int, vec: int, threads: int, most: int) -> tuple[int, Triple, Triple]:
    """Rows of a chunk, grid and block for a kernel over a (rows, channels) matrix in at most ``most`` blocks."""
    vectors = ceil_div(channels, vec)
    tiles = ceil_div(vectors, 32)  # 32 adjacent threads read whole lines of memory
    across = ceil_div(vectors, tiles)
    down = max(1, threads // across)
    per_chunk = max(down * _ROWS, ceil_div(rows, max(1, most // tiles)))
    return per_chunk, (ceil_div(rows, per_chunk), tiles, 1), (across, down, 1)


def _merging(device: Device, dtype: Any, channels: int, grid: Triple, also: int = 0) -> tuple[Any, Any]:
    """Partial results for the last block of each tile, and the tickets, plus ``also`` more; None where not needed."""
    chunks, tiles, _ = grid
    needed = also + (chunks * tiles if chunks > 1 else 0)
    assert needed <= COUNT, "only fewer tiles than blocks that fill a card are split"
    parts = device.empty((chunks, 2, channels), dtype) if chunks > 1 else None
    return parts, tickets(device) if needed else None


batch_norm_statistics.numpy(fast.statistics)


@batch_norm_statistics.kernel(stored=("x",), parameters=("running_mean", "running_var"))
def _(
    device: Device,
    x: Any,
    running_mean: Any,
    running_var: Any,
    batches: Any,
    momentum: float | None,
    threads: int = _BLOCK,
    most: int = _PARTS,
) -> tuple[Any, Any]:
    channels, real = x.shape[-1], stored.computed(x.dtype)
    rows = math.prod(x.shape[:-1])
    if rows == 0:
        return device.zeros((channels,), real), device.zeros((channels,), real)
    error, moved = device.error_buffer, (running_mean, running_var, batches)
    mean, var = (device.empty((channels,), real) for _ in range(2))
    vec = vector_width(channels, x, *moved, error)
    per_chunk, grid, block = _grid(rows, channels, vec, threads, most)
    merging = _merging(device, real, channels, grid, also=int(grid[1] > 1 and batches is not None))
    share = -1.0 if momentum is None else momentum
    args = (mean, var, *map(stored.bits, moved), *merging, stored.bits(x), error, rows, channels, per_chunk, share)
    macros = stored.macros_with(x.dtype, _OP, running_mean, running_var)
    SOURCE.launch(device, "batch_norm_statistics", grid, block, args, **macros, VEC=vec)
    return mean, var


# -- normalisation --------------------------------------------------------------------------------


@primitive(returns=("y",))
def batch_norm_normalise(
    xp: Any, x: Any, mean: Any, var: Any, weight: Any, bias: Any, residual: Any, eps: float, relu: bool
) -> Any:
    """y = (x - mean) / sqrt(var + eps) * weight + bias + residual, then a ReLU if ``relu``; None skips a step."""
    y = (x - mean) / xp.sqrt(var + eps)
    if weight is not None:
        y = y * weight
    if bias is not None:
        y = y + bias
    if residual is not None:
        y = y + residual
    return xp.maximum(y, x.dtype.type(0)) if relu else y


batch_norm_normalise.numpy(fast.normalise)


@batch_norm_normalise.kernel(stored=("x", "residual"), parameters=("weight", "bias"))
def _(
    device: Device,
    x: Any,
    mean: Any,
    var: Any,
    weight: Any,
    bias: Any,
    residual: Any,
    eps: float,
    relu: bool,
    threads: int = _BLOCK,
) -> Any:
    y = device.empty(x.shape, x.dtype)
    channels = x.shape[-1]
    rows = math.prod(x.shape[:-1])
    arrays = [stored.bits(array) for array in (y, x, mean, var, weight, bias, residual)]
    vec = vector_width(channels, *arrays)
    per_chunk, grid, block = _grid(rows, channels, vec, threads, max(rows, 1))
    args = (*arrays, rows, channels, per_chunk, eps, int(relu))
    macros = stored.macros_with(x.dtype, _OP, weight, bias)
    SOURCE.launch(device, "batch_norm_normalise", grid, block, args, **macros, VEC=vec)
    return y


# -- backward -------------------------------------------------------------------------------------


@primitive(returns=("dx", "dweight", "dbias", "dresidual"), wide=("dweight", "dbias"))
def batch_norm_backward(
    xp: Any,
    dy: Any,
    x: Any,
    y: Any,
    mean: Any,
    var: Any,
    weight: Any,
    bias: Any,
    eps: float,
    training: bool,
    added: bool,
    needs: Four,
) -> tuple[Any, ...]:
    """The gradients requested in ``needs``; y is None without a ReLU (dresidual is then dy, and not returned).

    ``added``: whether there was a residual. Without one the kernels tell from x and bias where y is 0. In training mean
    and var depend on x: dx = weight rstd (dz - (dbias + xhat dweight) / rows).
    """
    axes = tuple(range(x.ndim - 1))
    rstd = 1 / xp.sqrt(var + eps)
    dz = dy if y is None else xp.where(y <= 0, dy.dtype.type(0), dy)
    xhat = (x - mean) * rstd
    dbias, dweight = dz.sum(axis=axes), (dz * xhat).sum(axis=axes)
    centred = dz - (dbias + xhat * dweight) / max(math.prod(x.shape[:-1]), 1) if training else dz
    dx = centred * (rstd if weight is None else weight * rstd)
    made = (dx, dweight, dbias, None if y is None else dz)
    return tuple(d if need else None for d, need in zip(made, needs, strict=True))


batch_norm_backward.numpy(fast.backward)


@batch_norm_backward.kernel(stored=("dy", "x", "y"), parameters=("weight", "bias"))
def _(
    device: Device,
    dy: Any,
    x: Any,
    y: Any,
    mean: Any,
    var: Any,
    weight: Any,
    bias: Any,
    eps: float,
    training: bool,
    added: bool,
    needs: Four,
    threads: int = _BLOCK,
    most: int = _PARTS,
) -> tuple[Any, ...]:
    channels = x.shape[-1]
    rows = math.prod(x.shape[:-1])
    dx = device.empty(x.shape, x.dtype) if needs[0] else None
    dresidual = device.empty(x.shape, x.dtype) if needs[3] and y is not None else None
    relu = y is not None and not added  # of what x is normalised to
    if relu:
        y = None
    real, vec = stored.computed(x.dtype), vector_width(channels, dy, x, y, mean, var, weight, bias)
    dweight = dbias = None
    if (training and needs[0]) or needs[1] or needs[2]:
        per_chunk, grid, block = _grid(rows, channels, vec, threads, most)
        grid = (max(1, grid[0]), grid[1], 1)  # no rows: writes zeros
        dweight, dbias = (device.empty((channels,), real) for _ in range(2))
        given = [stored.bits(array) for array in (dy, x, y, mean, var, weight, bias)]
        merging, numbers = _merging(device, real, channels, grid), (rows, channels, per_chunk, eps, int(relu))
        args: tuple[Any, ...] = (dweight, dbias, *merging, *given, *numbers)
        macros = stored.macros_with(x.dtype, _OP, weight, bias)
        SOURCE.launch(device, "batch_norm_backward_sums", grid, block, args, **macros, VEC=vec)
    if dx is not None or dresidual is not None:
        through = (dweight, dbias) if training else (None, None)
        arrays = (dy, x, y, mean, var, weight, bias)
        launch_gradients(device, dx, dresidual, arrays, (*through, None), eps, threads, relu)
    return dx, dweight if needs[1] else None, dbias if needs[2] else None, dresidual


def launch_gradients(
    device: Device,
    dx: Any,
    dresidual: Any,
    given: Sequence[Any],
    through: Sequence[Any],
    eps: float,
    threads: int,
    relu: bool = False,
) -> None:
    """Write dx and dresidual from ``given`` and, in training, from dweight, dbias and the count of rows.

    Given are dy, x, y, mean, var, weight and bias; ``relu``: in place of y.
    """
    x = given[1]
    channels = x.shape[-1]
    rows = math.prod(x.shape[:-1])
    arrays = [stored.bits(array) for array in (dx, dresidual, *given, *through[:2])]
    vec = vector_width(channels, *arrays)
    per_chunk, grid, block = _grid(rows, channels, vec, threads, max(rows, 1))
    args = (*arrays, through[2], rows, channels, per_chunk, eps, int(relu))
    macros = stored.macros_with(x.dtype, _OP, *given[5:])
    SOURCE.launch(device, "batch_norm_backward", grid, block, args, **macros, VEC=vec)


# -- public op ------------------------------------------------------------------------------------


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
    *,
    residual: Tensor | None = None,
    activation: str | None = None,
    num_batches_tracked: Tensor | None = None,
) -> Tensor:
    """Normalise each channel to zero mean and unit variance, then scale, shift, add and activate.

    y = act((x - mean) / sqrt(var + eps) * weight + bias + residual)

    Parameters
    ----------
    x : Tensor, (N, C), (N, C, L), (N, C, H, W) or (N, C, D, H, W)
        float32 or float64.
    running_mean, running_var : Tensor (C) or None
        The estimates that evaluation uses. In training they move towards the batch's mean and
        unbiased variance, in place: running = (1 - momentum) running + momentum estimate.
    weight, bias : Tensor (C), optional
        Scale and shift, 1 and 0 if not given.
    training : bool
        Normalise by the statistics of this batch, not by the running estimates.
    momentum : float or None
        How far the running estimates move; None averages over all batches counted so far.
    eps : float
        Added to the variance.
    residual : Tensor, optional
        Like x; added before the activation.
    activation : None or "relu"
    num_batches_tracked : Tensor, int64, one element, optional
        Counts the training batches, in place.

    Returns
    -------
    Tensor
        Like x.

    Raises
    ------
    ShapeError
        If x has other axes, another shape does not match it, or a training batch has one value per
        channel, whose variance means nothing.
    DTypeError, DeviceError
        If the tensors are not of one floating dtype and one device.
    UsageError
        If evaluation lacks running estimates, momentum None lacks a counter, the activation is unknown, momentum is
        negative, or eps is: in training also 0, as in PyTorch.

    References
    ----------
    Ioffe, Szegedy 2015, arXiv:1502.03167; lecture topic L7.
    """
    if x.ndim in (3, 5):
        rest = (running_mean, running_var, weight, bias, training, momentum, eps)
        more: dict[str, Any] = {"activation": activation, "num_batches_tracked": num_batches_tracked}
        return as_images(x, residual, lambda x, residual: batch_norm(x, *rest, residual=residual, **more))
    check_arguments(x, running_mean, running_var, weight, bias, residual, num_batches_tracked)
    eps = checked_options(activation, eps, training)
    device, relu = x.device, activation == "relu"
    px, mean, var, scale, shift, extra = [
        None if t is None else t._physical for t in (x, running_mean, running_var, weight, bias, residual)
    ]
    if training:
        if x.numel() == x.shape[1]:
            raise ShapeError(
                f"{here(_OP)}: expected more than 1 value per channel when training; got x of shape {x.shape}. "
                "Use a larger batch (DataLoader(drop_last=True) if it is the last one), or eval()."
            )
        tracks = running_mean is not None or running_var is not None
        momentum = checked_momentum(momentum, tracks, num_batches_tracked)
        batches = None if num_batches_tracked is None else num_batches_tracked._physical
        mean, var = batch_norm_statistics(device, px, mean, var, batches, momentum)
        for moved in (running_mean, running_var, num_batches_tracked):
            if moved is not None:
                moved._storage.changed()
    elif mean is None or var is None:
        raise UsageError(f"{here(_OP)}: evaluation needs running_mean and running_var; pass them, or training=True.")
    y = batch_norm_normalise(device, px, mean, var, scale, shift, extra, eps, relu)
    operands = (x, weight, bias, residual)
    inputs = [t for t in operands if t is not None]
    # What the closure names stays in memory: y only where it is needed, and not the residual.
    kinds, gate = [None if t is None else t.dtype for t in operands], y if relu else None
    added = residual is not None

    def backward(dy: Any, needs: tuple[bool, ...]) -> list[Any]:
        asked = iter(needs)
        wanted = tuple([kind is not None and next(asked) for kind in kinds])
        how = (eps, training, added, wanted)
        gradients = batch_norm_backward(device, dy, px, gate, mean, var, scale, shift, *how)
        if not relu and wanted[3]:
            gradients = (*gradients[:3], dy)
        return [in_dtype(device, g, kind) for g, kind in zip(gradients, kinds, strict=True) if kind is not None]

    estimates = () if training else (running_mean, running_var)
    of_sign = (bias,) if relu and not added else ()
    saves = [t for t in (x, weight, *of_sign, *estimates) if t is not None]
    passes_on = residual is not None and not relu
    return record(_OP, y, device, inputs, backward, saves=saves, keeps=relu, passes_on=passes_on)


def as_images(x: Tensor, residual: Tensor | None, normalise: Callable[[Tensor, Tensor | None], Tensor]) -> Tensor:
    """Sequences as images of one row, volumes as one image for each slice."""
    if residual is not None and residual.shape != x.shape:
        raise ShapeError(
            f"{here(_OP)}: residual: expected shape {x.shape} to match x of shape {x.shape}; got {residual.shape}."
        )
    n, c, length = x.shape[:3]
    if x.ndim == 3:
        rows = x.reshape(n, c, 1, length)
        return normalise(rows, None if residual is None else residual.reshape(rows.shape)).reshape(x.shape)
    y = normalise(to_images(_OP, x), None if residual is None else to_images(_OP, residual))
    return to_volumes(_OP, y, n, length)


def checked_options(activation: str | None, eps: Any, training: bool) -> float:
    """The number eps, after a check of both."""
    if activation not in (None, "relu"):
        raise UsageError(f"{here(_OP)}: activation: expected None or 'relu'; got {activation!r}.")
    if type(eps) is float and eps > 0:
        return eps
    return real_number(_OP, "eps", eps, 0, above=training, finite=False)


def checked_momentum(momentum: Any, tracks: bool, batches: Tensor | None) -> float | None:
    """How far running estimates move, if there are any; None: to the average over all batches."""
    if momentum is not None and (type(momentum) is not float or not momentum >= 0):
        momentum = real_number(_OP, "momentum", momentum, 0, finite=False)
    if not tracks:
        return 0.0
    if momentum is None and batches is None:
        raise UsageError(f"{here(_OP)}: momentum=None averages over all batches and needs num_batches_tracked.")
    return momentum


def check_arguments(
    x: Tensor, running_mean: Any, running_var: Any, weight: Any, bias: Any, residual: Any, batches: Any
) -> None:
    """Check shapes, dtypes and devices of everything that goes with x."""
    if x.ndim not in (2, 4) or x.shape[1] == 0:
        raise ShapeError(
            f"{here(_OP)}: expected x of shape (N, C), (N, C, L), (N, C, H, W) or (N, C, D, H, W), with channels; got "
            f"{x.shape}."
        )
    shape, dtype, device = x.shape, x.dtype, x.device
    if dtype.kind not in FLOATING:
        raise DTypeError(f"{here(_OP)}: expected a floating dtype; got {dtype}. Convert with .float().")
    channel = shape[1:2]
    for name, other, expected in (
        ("running_mean", running_mean, channel),
        ("running_var", running_var, channel),
        ("weight", weight, channel),
        ("bias", bias, channel),
        ("residual", residual, shape),
    ):
        if other is None:
            continue
        if other.device is not device:
            same_device(_OP, device, other.device)
        if other.shape != expected:
            raise ShapeError(
                f"{here(_OP)}: {name}: expected shape {expected} to match x of shape {shape}; got {other.shape}."
            )
        if other.dtype != dtype and (other is residual or not goes_with(dtype, other.dtype)):
            raise DTypeError(f"{here(_OP)}: {name}: expected {dtype} as x has; got {other.dtype}.")
    if batches is not None:
        if batches.device is not x.device:
            same_device(_OP, x.device, batches.device)
        if batches.dtype != np.int64 or batches.numel() != 1:
            raise DTypeError(
                f"{here(_OP)}: num_batches_tracked: expected one int64; got {batches.dtype}, shape {batches.shape}."
            )
