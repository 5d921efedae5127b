"""Negative log-likelihood (``kernels/nll_loss.cu``); probability_cross_entropy has its primitives here."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._autocast import casting
from gpunn._device import Device
from gpunn._shared.classes import (
    check_labels,
    check_scores,
    flat_gradient,
    flat_labels,
    from_rows,
    of_label_shape,
    require_class_indices,
    to_rows,
)
from gpunn._shared.losses import check_reduction, reduction_of
from gpunn._shared.numbers import whole_number
from gpunn._tensor import Tensor
from gpunn.cpu.elementwise import quiet
from gpunn.gpu.launcher import KernelSource, c_type, ceil_div, divisor_struct, vector_width
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("nll_loss.cu", REAL=("float", "double"), VEC=(1, 4), LABEL=("int32", "int64"))
_BLOCK = 256
_EACH = 4  # a thread adds up at least this many rows, where there are several blocks
_PARTS = 1024  # blocks at most


@primitive(returns=("loss", "factor"), wide=("factor",))
def nll_loss_forward(
    xp: Any, x: Any, target: Any, weight: Any, ignore_index: int, reduction: str, of_probabilities: bool
) -> tuple[Any, Any]:
    """losses[n] = -weight[target[n]] x[n, target[n]] of x (rows, C), 0 where the target is ``ignore_index``.

    With ``of_probabilities`` the logarithm is taken first, of no less than the smallest normal number. Returns the
    losses, their sum, or their mean weighted by the targets' weights; and d loss / d losses[n], None for the losses.
    """
    op = "probability_cross_entropy" if of_probabilities else "nll_loss"
    require_class_indices(op, target, target != ignore_index, x.shape[1])
    counts, at, w = _picked(xp, x, target, weight, ignore_index)
    zero = x.dtype.type(0)
    values = xp.log(xp.maximum(x[at], np.finfo(x.dtype).tiny)) if of_probabilities else x[at]
    with quiet():
        losses = xp.where(counts, -w * values, zero)
        if reduction == "none":
            return losses, None
        loss, divisor = losses.sum(dtype=np.float64), xp.where(counts, w, zero).sum(dtype=np.float64)
        if reduction == "sum":
            divisor = xp.ones_like(divisor)
        return xp.asarray(loss / divisor, x.dtype), xp.asarray(1 / divisor, x.dtype)


def _picked(xp: Any, x: Any, target: Any, weight: Any, ignore_index: int) -> tuple[Any, Any, Any]:
    """Which rows count; the index of each row's own element (the first class's if not counted); its weight or 1."""
    counts = target != ignore_index
    right = xp.where(counts, target, target.dtype.type(0))
    return counts, (xp.arange(len(target)), right), x.dtype.type(1) if weight is None else weight[right]


@nll_loss_forward.kernel
def _(
    device: Device, x: Any, target: Any, weight: Any, ignore_index: int, reduction: str, of_probabilities: bool
) -> tuple[Any, Any]:
    (n, c), tiny = x.shape, float(np.finfo(x.dtype).tiny)
    op = "probability_cross_entropy" if of_probabilities else "nll_loss"
    error, layer = device.error_buffer, device.layer_id(op)
    inputs = (error, x, target, weight, n, c, int(of_probabilities), tiny, ignore_index, layer)
    if reduction == "none":
        losses = device.empty((n,), x.dtype)
        _launch(device, "nll_losses", ceil_div(n, _BLOCK), (losses, *inputs), x, target)
        return losses, None
    average = int(reduction == "mean")
    loss, factor = (device.empty((), x.dtype) for _ in range(2))
    blocks = max(1, min(_PARTS, ceil_div(n, _BLOCK * _EACH)))
    if blocks == 1:
        _launch(device, "nll_parts", 1, (loss, factor, None, *inputs, average), x, target)
    else:
        parts = device.empty((blocks, 2), np.float64)
        _launch(device, "nll_parts", blocks, (None, None, parts, *inputs, average), x, target)
        _launch(device, "nll_total", 1, (loss, factor, parts, blocks, average), x, target)
    return loss, factor


def _launch(device: Device, kernel: str, blocks: int, args: Any, x: Any, target: Any, vec: int = 1) -> None:
    macros = {"REAL": c_type(x.dtype, kernel), "VEC": vec, "LABEL": target.dtype.name}
    SOURCE.launch(device, kernel, (blocks, 1, 1), _BLOCK, args, **macros)


@primitive(returns=("dx",))
def nll_loss_backward(
    xp: Any, dy: Any, x: Any, target: Any, weight: Any, ignore_index: int, of_probabilities: bool, factor: Any
) -> Any:
    """dx[n, target[n]] = -weight[target[n]] dy factor, else 0; with factor None dy is a number for each row.

    With ``of_probabilities`` it is divided by x, taken as no less than the smallest normal number, and clamped to
    finite numbers.
    """
    counts, at, w = _picked(xp, x, target, weight, ignore_index)
    with quiet():
        values = -w * (dy if factor is None else dy * factor)
        if of_probabilities:
            limits = np.finfo(x.dtype)
            values = xp.clip(values / xp.maximum(x[at], limits.tiny), limits.min, limits.max)
    dx = xp.zeros_like(x)
    dx[at] = xp.where(counts, values, x.dtype.type(0))
    return dx


@nll_loss_backward.kernel
def _(
    device: Device,
    dy: Any,
    x: Any,
    target: Any,
    weight: Any,
    ignore_index: int,
    of_probabilities: bool,
    factor: Any,
) -> Any:
    dx, c, limits = device.empty(x.shape, x.dtype), x.shape[1], np.finfo(x.dtype)
    vec = vector_width(c, dx, dy, factor, x, target, weight)
    threads = dx.size // vec
    by_row = divisor_struct(max(1, c // vec))
    how = (int(of_probabilities), float(limits.tiny), float(limits.max), ignore_index, threads)
    args = (dx, dy, factor, x, target, weight, by_row, c, *how)
    _launch(device, "nll_backward", ceil_div(threads, _BLOCK), args, x, target, vec)
    return dx


def class_loss(
    op: str,
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
    of_probabilities: bool,
) -> Tensor:
    """The loss of op ``op``, which is nll_loss or probability_cross_entropy."""
    ignore_index = whole_number(op, "ignore_index", ignore_index)
    check_scores(op, input, target, weight)
    check_labels(op, input, target)
    check_reduction(op, reduction)
    device, shape = input.device, input.shape
    x, labels = to_rows(device, input._physical, shape), flat_labels(target)
    w = None if weight is None else weight._physical
    loss, factor = nll_loss_forward(device, x, labels, w, ignore_index, reduction, of_probabilities)
    if factor is None:
        loss = of_label_shape(device, loss, shape)

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        if factor is None:
            dy = flat_gradient(device, dy)
        dx = nll_loss_backward(device, dy, x, labels, w, ignore_index, of_probabilities, factor)
        return (from_rows(device, dx, shape),)

    saves = [target, *([input] if of_probabilities else []), *([weight] if weight is not None else [])]
    return record(op, loss, device, (input,), backward, saves=saves)


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-likelihood: minus the log-probability of the true class.

    Parameters
    ----------
    input : Tensor, (N, C), (C,) or (N, C, d1, ...)
        Log-probabilities, as from :func:`log_softmax`; float32 or float64.
    target : Tensor, (N,), () or (N, d1, ...)
        Class indices from 0 to C - 1, int64 or int32.
    weight : Tensor, (C,), optional
        Factor on each class's losses. A constant.
    size_average, reduce : bool, optional
        Deprecated, as in PyTorch, and put into ``reduction``.
    ignore_index : int
        Targets of this value count neither in the loss nor in the mean, and give no gradient.
    reduction : "mean", "sum" or "none"
        The mean weighted by the targets' weights (NaN over nothing), the sum, or one loss for each target.

    Returns
    -------
    Tensor
        A scalar, or for "none" a tensor like target.

    Raises
    ------
    LabelError
        If a target is not a class index: at once on the CPU, from a kernel when the host next reads a value,
        as in :func:`cross_entropy`.
    ShapeError, DTypeError, DeviceError, UsageError
        If the tensors are incompatible, weight requires a gradient, or the reduction is unknown.

    References
    ----------
    Lecture topic L5.
    """
    if casting.on:
        input, weight = casting.inputs("nll_loss", input, weight)
    reduction = reduction_of("nll_loss", reduction, size_average, reduce)
    return class_loss("nll_loss", input, target, weight, ignore_index, reduction, of_probabilities=False)
