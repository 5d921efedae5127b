"""Softmax and cross-entropy in one (``kernels/softmax_cross_entropy.cu``): the loss of classification.

One pass over the scores computes losses, their sum or mean, and the gradients. Class weights and label smoothing
have a kernel of their own beside the plain one; targets that are probabilities are another primitive. A class index
out of range is bad data. The plain and NumPy bodies raise at once; a kernel reports it to the device's error buffer,
which stops every later update until the host has raised it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._autocast import casting
from gpunn._device import Device
from gpunn._half import FLOATING
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
from gpunn._shared.losses import check_reduction, divisor_of, reduction_of
from gpunn._shared.numbers import whole_number
from gpunn._tensor import Tensor
from gpunn.cpu import memory, threads
from gpunn.cpu.elementwise import PART, quiet
from gpunn.errors import DTypeError, UsageError, here
from gpunn.gpu.launcher import KernelSource, c_type, ceil_div, divisor_struct, vector_width
from gpunn.gpu.tickets import tickets
from gpunn.ops.cross_entropy_probabilities import cross_entropy_of_probabilities
from gpunn.primitive import primitive
from gpunn.tape import is_grad_enabled, is_unit_seed, record

_SHARED = 46 * 1024  # bytes for a row: the reductions take some of the 48 KB that every GPU gives a block
SOURCE = KernelSource(
    "softmax_cross_entropy.cu",
    dynamic_shared={"cross_entropy_forward": _SHARED, "cross_entropy_weighted_forward": _SHARED},
    REAL=("float", "double"),
    VEC=(1, 4),
    LABEL=("int32", "int64"),
)
_OP = "cross_entropy"
_WARP_COLUMNS = 1024  # the longest row that one warp handles: 32 numbers per thread
_BLOCK = 256
_LONG_BLOCK = 512  # threads for a longer row, as THREADS in the .cu
_BLOCKS = 1024  # blocks of several rows at a time: enough to fill the largest GPUs
_LABELS = 1 << 20  # labels that all blocks together read to count them: a few microseconds at most


# -- forward --------------------------------------------------------------------------------------


@primitive(returns=("loss", "factor", "dlogits"), wide=("factor",))
def cross_entropy_forward(
    xp: Any,
    logits: Any,
    target: Any,
    weight: Any,
    smoothing: float,
    ignore_index: int,
    reduction: str,
    with_gradient: bool,
) -> tuple[Any, Any, Any]:
    """losses[n] = -sum_c a[n, c] log softmax(logits)[n, c], their sum, or sum / targets' weights.

    a[n, c] = weight[c] ((1 - smoothing) [c = target[n]] + smoothing / C), with weight None for ones. Where the
    target is ``ignore_index``, loss and gradient are 0, and nothing is counted; the mean of nothing is NaN.
    dlogits is the gradient of the loss; if factor is not None, it has yet to be multiplied by factor. It is None
    unless ``with_gradient``.
    """
    counts = target != ignore_index
    require_class_indices(_OP, target, counts, logits.shape[1])
    right, zero = xp.where(counts, target, target.dtype.type(0)), logits.dtype.type(0)
    divisor, factor, scale = _mean(xp, logits, counts, right, weight, reduction)
    losses, dlogits = _rows(xp, logits, right, weight, smoothing, scale, with_gradient)
    losses = xp.where(counts, losses, zero)
    dlogits = xp.where(counts[:, None], dlogits, zero) if with_gradient else None
    return _total(xp, losses, divisor, reduction), factor, dlogits


def _height(n: int, c: int, itemsize: int) -> int:
    """How many rows a block of the kernel handles at a time."""
    return max(1, min(_BLOCK // 32, n, _SHARED // (c * itemsize))) if c <= _WARP_COLUMNS else 1


def _factor_apart(logits: Any, reduction: str) -> bool:
    """Whether the mean's factor is left for the backward pass.

    Where each of the kernel's blocks can count all labels itself, the gradients already include it: one pass less.
    """
    n, c = logits.shape
    return reduction == "mean" and n * ceil_div(n, _height(n, c, logits.dtype.itemsize)) > _LABELS


def _mean(xp: Any, logits: Any, counts: Any, right: Any, weight: Any, reduction: str) -> tuple[Any, Any, Any]:
    """What the sum of the losses is divided by; d loss / d losses[n] left for backward, and applied now."""
    one = xp.asarray(1, logits.dtype)
    if reduction != "mean":
        return 1, None, one
    if weight is None:
        divisor = counts.sum().astype(np.float64)
    else:
        divisor = xp.where(counts, weight[right], 0).sum(dtype=np.float64)
    with quiet():  # weights of next to nothing
        factor = xp.asarray(1 / xp.where(divisor == 0, 1, divisor), logits.dtype)
    return (divisor, factor, one) if _factor_apart(logits, reduction) else (divisor, None, factor)


def _total(xp: Any, losses: Any, divisor: Any, reduction: str) -> Any:
    """The losses, or their sum divided by ``divisor``."""
    if reduction == "none":
        return losses
    with quiet():
        return xp.asarray(losses.sum(dtype=np.float64) / divisor, losses.dtype)


def _rows(
    xp: Any,
    logits: Any,
    right: Any,
    weight: Any,
    smoothing: float,
    scale: Any,
    with_gradient: bool,
    out: Any = None,
) -> tuple[Any, Any]:
    """The rows' losses and ``scale`` times their gradients (in ``out`` if given), given each one's class."""
    at = xp.arange(len(right)), right
    with quiet():  # infinite scores give NaN, as everywhere
        shifted = logits - logits.max(axis=1, keepdims=True)
        p = xp.exp(shifted, out=out)
        total = p.sum(axis=1, keepdims=True)
        log_total = xp.log(total[:, 0])
        losses = log_total - shifted[at]
        own = sum_a = logits.dtype.type(1)  # a[n, target[n]] without the smoothing's part, and the sum of a[n]
        spread = None  # the smoothing's part of a[n]
        if weight is not None or smoothing:
            weights = xp.ones(logits.shape[1], logits.dtype) if weight is None else weight
            own = sum_a = weights[right] * (1 - smoothing)
            losses *= own
        if smoothing:
            spread = weights * (smoothing / logits.shape[1])
            losses += spread.sum() * log_total - (spread * shifted).sum(axis=1)
            sum_a = own + spread.sum()
        if not with_gradient:
            return losses, None
        p *= (sum_a * scale / total[:, 0])[:, None]
        if spread is not None:
            p -= spread * scale
        p[at] -= own * scale
    return losses, p


@cross_entropy_forward.numpy
def _(
    logits: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None,
    smoothing: float,
    ignore_index: int,
    reduction: str,
    with_gradient: bool,
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    counts = target != ignore_index
    require_class_indices(_OP, target, counts, logits.shape[1])
    right = np.where(counts, target, target.dtype.type(0))
    divisor, factor, scale = _mean(np, logits, counts, right, weight, reduction)
    losses = np.empty(len(target), logits.dtype)
    dlogits = memory.empty_like(logits) if with_gradient else None

    def task(part: slice) -> None:
        out = None if dlogits is None else dlogits[part]
        losses[part], _ = _rows(np, logits[part], right[part], weight, smoothing, scale, with_gradient, out)

    parts = threads.spans(len(target), 1 if logits.size <= PART else 2 * ceil_div(logits.size, 2 * PART))
    if len(parts) == 1:
        task(parts[0])
    else:
        threads.run(task, parts)
    if not counts.all():
        losses[~counts] = 0
        if dlogits is not None:
            dlogits[~counts] = 0
    return _total(np, losses, divisor, reduction), factor, dlogits


@cross_entropy_forward.kernel
def _(
    device: Device,
    logits: Any,
    target: Any,
    weight: Any,
    smoothing: float,
    ignore_index: int,
    reduction: str,
    with_gradient: bool,
) -> tuple[Any, Any, Any]:
    (n, c), dtype = logits.shape, logits.dtype
    loss = losses = parts = drawn = None
    height, by_warp = _height(n, c, dtype.itemsize), c <= _WARP_COLUMNS
    blocks = ceil_div(n, height)
    if reduction == "none":
        losses = device.empty((n,), dtype)
    else:
        blocks = max(1, min(blocks, _BLOCKS) if by_warp else blocks)  # with no rows: the sum of none
        loss, parts, drawn = device.empty((), dtype), device.empty((blocks * height, 2), dtype), tickets(device)
    factor = device.empty((), dtype) if _factor_apart(logits, reduction) else None
    dlogits = device.empty(logits.shape, dtype) if with_gradient else None
    arrays = (loss, factor, losses, dlogits, parts, drawn, device.error_buffer, logits, target)
    vec = vector_width(c, *arrays, weight)
    block = 32 * height if by_warp else min(_LONG_BLOCK, 32 * ceil_div(c, 32 * 4 * vec))
    kept = c * dtype.itemsize <= _SHARED
    plain = weight is None and smoothing == 0
    how = (n, c, ignore_index, device.layer_id(_OP), int(kept), int(by_warp), int(reduction == "mean"))
    _launch(
        device,
        "cross_entropy_forward" if plain else "cross_entropy_weighted_forward",
        blocks,
        block,
        arrays + (() if plain else (weight, smoothing)) + how,
        logits,
        target.dtype,
        vec,
        shared=height * c * dtype.itemsize if kept else 0,
    )
    return loss if losses is None else losses, factor, dlogits


def _launch(
    device: Device, kernel: str, blocks: int, block: Any, args: Any, real: Any, label: Any, vec: int, shared: int = 0
) -> None:
    macros = {"REAL": c_type(real.dtype, _OP), "LABEL": label.name, "VEC": vec}
    SOURCE.launch(device, kernel, (blocks, 1, 1), block, args, shared=shared, **macros)


# -- backward -------------------------------------------------------------------------------------


@primitive(returns=("dx",))
def cross_entropy_backward(xp: Any, dlogits: Any, dy: Any, factor: Any) -> Any:
    """dlogits times dy, one number or one for each row, and times factor if there is one."""
    each = dy if factor is None else dy * factor
    return dlogits * (each[:, None] if each.ndim else each)


@cross_entropy_backward.kernel
def _(device: Device, dlogits: Any, dy: Any, factor: Any) -> Any:
    dx = device.empty(dlogits.shape, dlogits.dtype)
    vec = vector_width(dlogits.shape[1], dx, dlogits, dy, factor)
    threads = dx.size // vec
    by_dy = divisor_struct(max(1, threads // max(1, dy.size)))
    # This kernel reads no labels; one of the two specialisations serves both.
    args = (dx, dlogits, dy, factor, by_dy, threads)
    _launch(device, "cross_entropy_backward", ceil_div(threads, _BLOCK), _BLOCK, args, dx, np.dtype(np.int64), vec)
    return dx


# -- public op ------------------------------------------------------------------------------------


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy of the softmax of scores against class indices or class probabilities.

    loss[n] = -sum_c weight[c] t[n, c] log(softmax(input)[n, c])

    with t the target's probabilities, or for class indices 1 at the target's class and 0 elsewhere. For
    indices without weights this is log(sum_c exp(input[n, c])) - input[n, target[n]].

    Parameters
    ----------
    input : Tensor, (N, C), (C,) or (N, C, d1, ...)
        Scores before the softmax, float32 or float64. Their size does not matter: ±1e4 is exact.
    target : Tensor, (N,), () or (N, d1, ...); or as input
        Class indices from 0 to C - 1, int64 or int32; or probabilities, of the input's shape and dtype, which
        get a gradient too if they require one.
    weight : Tensor, (C,), optional
        Factor on each class's losses. A constant.
    size_average, reduce : bool, optional
        Deprecated, as in PyTorch, and put into ``reduction``.
    ignore_index : int
        Labels of this value count neither in the loss nor in the mean, and give no gradient.
    reduction : "mean", "sum" or "none"
        For class indices the mean is weighted by the targets' weights, for probabilities it is over all rows.
        The mean over no rows is NaN, as in PyTorch.
    label_smoothing : float
        From 0 to 1: this much of each row of t is spread evenly over the classes.

    Returns
    -------
    Tensor
        A scalar, or for "none" one loss for each label.

    Raises
    ------
    LabelError
        If a target is not a class index: at once on the CPU. A kernel records it on the device, no
        parameter or statistic changes from then on, and it is raised when the host next reads a
        value there or synchronises. The message names layer, position (in the flattened target) and value.
    ShapeError, DTypeError, DeviceError, UsageError
        If the tensors are incompatible, weight requires a gradient, or an option is invalid.

    References
    ----------
    Lecture topic L3; label smoothing: Szegedy et al. 2015, arXiv:1512.00567.
    """
    if casting.on:
        input, target, weight = casting.inputs("cross_entropy", input, target, weight)
    reduction = reduction_of(_OP, reduction, size_average, reduce)
    ignore_index = whole_number(_OP, "ignore_index", ignore_index)
    check_scores(_OP, input, target, weight)
    check_reduction(_OP, reduction)
    if not 0 <= label_smoothing <= 1:
        raise UsageError(f"{here(_OP)}: label_smoothing: expected a number from 0 to 1; got {label_smoothing!r}.")
    how = input, target, None if weight is None else weight._physical
    if target.dtype.kind in FLOATING and target.shape == input.shape:
        if ignore_index >= 0:
            raise UsageError(
                f"{here(_OP)}: ignore_index: a target of probabilities has no index to ignore; got {ignore_index}."
            )
        return _against_probabilities(*how, reduction, float(label_smoothing))
    check_labels(_OP, input, target)
    return _against_labels(*how, ignore_index, reduction, float(label_smoothing))


def _against_labels(
    input: Tensor, target: Tensor, weight: Any, ignore_index: int, reduction: str, smoothing: float
) -> Tensor:
    device, shape, labels = input.device, input.shape, flat_labels(target)
    wanted = input.requires_grad and is_grad_enabled()
    rows = to_rows(device, input._physical, shape)
    loss, factor, dlogits = cross_entropy_forward(
        device, rows, labels, weight, smoothing, ignore_index, reduction, wanted
    )
    if reduction == "none":
        loss = of_label_shape(device, loss, shape)

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (_passed_back(device, dlogits, dy, factor, shape),)

    return record(_OP, loss, device, (input,), backward, passes_on=True)  # a later backward needs dlogits as it is


def _passed_back(device: Device, gradient: Any, dy: Any, factor: Any, shape: tuple[int, ...]) -> Any:
    """The rows' gradient, given the loss's: unchanged if that is 1 and there is no factor left to multiply by."""
    if factor is not None or not is_unit_seed(device, dy):
        each = flat_gradient(device, dy) if dy.ndim else dy
        gradient = cross_entropy_backward(device, gradient, each, factor)
    return from_rows(device, gradient, shape)


def _against_probabilities(input: Tensor, target: Tensor, weight: Any, reduction: str, smoothing: float) -> Tensor:
    device, shape = input.device, input.shape
    if target.dtype != input.dtype:
        raise DTypeError(f"{here(_OP)}: target: expected the input's dtype, {input.dtype}; got {target.dtype}.")
    x, t = (to_rows(device, a._physical, shape) for a in (input, target))
    enabled = is_grad_enabled()
    wanted = input.requires_grad and enabled, target.requires_grad and enabled
    loss, *gradients = cross_entropy_of_probabilities(
        device, x, t, weight, smoothing, divisor_of(_OP, reduction, len(x)), wanted
    )
    if reduction == "none":
        loss = of_label_shape(device, loss, shape)

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return tuple(
            _passed_back(device, g, dy, None, shape) if need else None for g, need in zip(gradients, needs, strict=True)
        )

    return record(_OP, loss, device, (input, target), backward, passes_on=True)  # as for labels
