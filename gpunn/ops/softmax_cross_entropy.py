"""Softmax and cross-entropy in one (``kernels/softmax_cross_entropy.cu``): the loss of classification.

The rows' losses and their gradients come out of one pass over the scores. A class index out of
range is bad data: where the values can be looked at, it raises at once; a kernel reports it to
the device's error buffer, which stops every later update until the host has raised it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device, same_device
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, LabelError, ShapeError, UsageError, where
from gpunn.launcher import DIVISOR, KernelSource, c_type, ceil_div, divisor, vector_width
from gpunn.primitive import primitive
from gpunn.tape import is_grad_enabled, record

SOURCE = KernelSource("softmax_cross_entropy.cu", REAL=("float", "double"), VEC=(1, 4), LABEL=("int32", "int64"))
_OP = "cross_entropy"
_WARP_COLUMNS = 1024  # the longest row that one warp does: 32 numbers a thread
_SHARED = 47 * 1024  # bytes for a row: of the 48 KB that every GPU gives a block, the reductions take some
_BLOCK = 256


# -- the rows' losses and gradients ---------------------------------------------------------------


def _rows_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(n: int, c: int, dtype: Any, label: Any, gradient: bool = True, spread: float = 3) -> dict[str, Any]:
        target = rng.integers(0, c, n).astype(label)
        target[1::3] = -100
        logits = (spread * rng.standard_normal((n, c))).astype(dtype)
        return {"logits": logits, "target": target, "ignore_index": -100, "with_gradient": gradient}

    return [
        case(5, 10, np.float32, np.int64),
        case(9, 33, np.float32, np.int32),
        case(3, 1, np.float32, np.int64),
        case(1, 4, np.float32, np.int64, False),
        case(0, 7, np.float32, np.int64),
        case(3, 1028, np.float32, np.int64),  # a block for each row
        case(2, 1031, np.float64, np.int64),
        case(2, 12300, np.float32, np.int32),  # more than shared memory holds
        case(7, 12, np.float64, np.int32),
        case(6, 12, np.float32, np.int64, spread=1e4),
        {**case(4, 6, np.float32, np.int64), "target": np.array([0, 5, 2, 2]), "ignore_index": 2},
    ]


@primitive(examples=_rows_examples, returns=("losses", "dlogits"))
def cross_entropy_rows(xp: Any, logits: Any, target: Any, ignore_index: int, with_gradient: bool) -> tuple[Any, Any]:
    """losses[n] = log(sum_c exp(logits[n, c])) - logits[n, target[n]];  dlogits = softmax(logits) - onehot.

    Where the target is ``ignore_index`` both are 0. dlogits is None if not asked for.
    """
    counts = target != ignore_index
    _require_class_indices(xp, target, counts, logits.shape[1])
    rows, right = xp.arange(len(target)), xp.where(counts, target, target.dtype.type(0))
    zero = logits.dtype.type(0)
    with np.errstate(invalid="ignore"):  # infinite scores give NaN, as everywhere
        shifted = logits - logits.max(axis=1, keepdims=True)
    p = xp.exp(shifted)
    total = p.sum(axis=1, keepdims=True)
    losses = xp.where(counts, xp.log(total[:, 0]) - shifted[rows, right], zero)
    if not with_gradient:
        return losses, None
    p /= total
    p[rows, right] -= 1
    return losses, xp.where(counts[:, None], p, zero)


def _require_class_indices(xp: Any, target: Any, counts: Any, classes: int) -> None:
    wrong = counts & ((target < 0) | (target >= classes))
    if wrong.any():
        at = int(wrong.argmax())
        raise LabelError(
            f"{where(_OP)}: label {int(target[at])} at position {at} is not a class index: the scores have "
            f"{classes} classes, 0 to {classes - 1}. Check the dataset, or the width of the last layer."
        )


@cross_entropy_rows.kernel
def _(device: Device, logits: Any, target: Any, ignore_index: int, with_gradient: bool) -> tuple[Any, Any]:
    n, c = logits.shape
    losses = device.empty((n,), logits.dtype)
    dlogits = device.empty(logits.shape, logits.dtype) if with_gradient else None
    error = device.error_buffer
    vec = vector_width(c, logits, target, losses, dlogits, error)
    row_bytes = c * logits.dtype.itemsize
    kept = row_bytes <= _SHARED
    if c <= _WARP_COLUMNS:
        across, down = 32, max(1, min(_BLOCK // 32, n, _SHARED // max(row_bytes, 1)))
    else:
        across, down = min(1024, 32 * ceil_div(c, 32 * 4 * vec)), 1
    args = (losses, dlogits, error, logits, target, n, c, ignore_index, device.layer_id(where(_OP)), int(kept))
    _launch(
        device,
        "cross_entropy_rows",
        ceil_div(n, down),
        (across, down, 1),
        args,
        logits,
        target.dtype,
        vec,
        shared=down * row_bytes if kept else 0,
    )
    return losses, dlogits


def _launch(
    device: Device, kernel: str, blocks: int, block: Any, args: Any, real: Any, label: Any, vec: int, shared: int = 0
) -> None:
    macros = {"REAL": c_type(real.dtype, _OP), "LABEL": label.name, "VEC": vec}
    SOURCE.launch(device, kernel, (blocks, 1, 1), block, args, shared=shared, **macros)


# -- their sum or mean ----------------------------------------------------------------------------


def _reduce_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = []
    for n, dtype, label in ((1, np.float32, np.int64), (37, np.float64, np.int32), (2500, np.float32, np.int64)):
        target = rng.integers(0, 5, n).astype(label)
        losses = np.where(target == 3, 0, rng.random(n)).astype(dtype)
        made += [{"losses": losses, "target": target, "ignore_index": 3, "average": a} for a in (True, False)]
    nothing = {"losses": np.zeros(0, np.float32), "target": np.zeros(0, np.int64), "ignore_index": -100}
    return [*made, {**nothing, "average": True}, {**nothing, "average": False}]


@primitive(examples=_reduce_examples, returns=("loss", "factor"))
def cross_entropy_reduce(xp: Any, losses: Any, target: Any, ignore_index: int, average: bool) -> tuple[Any, Any]:
    """The sum of the losses, or their mean over the rows that count (NaN if none does), and d loss / d losses[n]."""
    count = (target != ignore_index).sum()
    loss = losses.sum()
    if average:
        with np.errstate(invalid="ignore", divide="ignore"):
            loss = loss / count
    return xp.asarray(loss, losses.dtype), xp.asarray(1 / xp.maximum(count, 1) if average else 1, losses.dtype)


@cross_entropy_reduce.kernel
def _(device: Device, losses: Any, target: Any, ignore_index: int, average: bool) -> tuple[Any, Any]:
    n = losses.size
    loss, factor = (device.empty((), losses.dtype) for _ in range(2))
    threads = min(1024, max(32, 32 * ceil_div(n, 32)))
    args = (loss, factor, losses, target, n, ignore_index, int(average))
    _launch(device, "cross_entropy_reduce", 1, threads, args, losses, target.dtype, 1)
    return loss, factor


# -- backward -------------------------------------------------------------------------------------


def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made: list[tuple[Any, ...]] = []
    for shape, dtype in (((5, 10), np.float32), ((40, 36), np.float32), ((0, 3), np.float32), ((3, 4), np.float64)):
        dlogits = rng.standard_normal(shape).astype(dtype)
        made.append((dlogits, np.array(0.7, dtype), np.array(0.2, dtype)))
        made.append((dlogits, rng.standard_normal(shape[0]).astype(dtype), None))
    return [dict(zip(("dlogits", "dy", "factor"), values, strict=True)) for values in made]


@primitive(examples=_backward_examples, returns=("dx",))
def cross_entropy_backward(xp: Any, dlogits: Any, dy: Any, factor: Any) -> Any:
    """dlogits times dy and factor (one number each), or, with factor None, each row times its own dy."""
    return dlogits * (dy[:, None] if factor is None else dy * factor)


@cross_entropy_backward.kernel
def _(device: Device, dlogits: Any, dy: Any, factor: Any) -> Any:
    dx = device.empty(dlogits.shape, dlogits.dtype)
    c = dlogits.shape[1]
    vec = vector_width(c, dx, dlogits, dy, factor)
    threads = dx.size // vec
    args = (dx, dlogits, dy, factor, np.array([divisor(max(1, c // vec))], DIVISOR), threads)
    # No labels in this kernel; one of the two compilations does for both.
    _launch(device, "cross_entropy_backward", ceil_div(threads, _BLOCK), _BLOCK, args, dx, np.dtype(np.int64), vec)
    return dx


# -- public op ------------------------------------------------------------------------------------


def cross_entropy(logits: Tensor, target: Tensor, reduction: str = "mean", *, ignore_index: int = -100) -> Tensor:
    """Cross-entropy of the softmax of scores against class indices.

    loss[n] = log(sum_c exp(logits[n, c])) - logits[n, target[n]]

    Parameters
    ----------
    logits : Tensor, (N, C)
        Scores before the softmax, float32 or float64. Their size does not matter: ±1e4 is exact.
    target : Tensor, (N,)
        Class indices from 0 to C - 1, int64 or int32.
    reduction : "mean", "sum" or "none"
        Over the rows. The mean over no rows is NaN, as in PyTorch.
    ignore_index : int
        Rows with this target count neither in the loss nor in the mean, and get no gradient.

    Returns
    -------
    Tensor
        A scalar, or (N,) for "none".

    Raises
    ------
    LabelError
        If a target is not a class index: at once on the CPU. A kernel notes it on the device, no
        parameter or statistic changes from then on, and it is raised when the host next reads a
        value there or synchronises. The message names layer, position and value.
    ShapeError, DTypeError, DeviceError, UsageError
        If logits and target do not go together, or the reduction is unknown.

    References
    ----------
    Lecture topic L3.
    """
    if logits.ndim != 2 or logits.shape[1] == 0 or target.shape != logits.shape[:1]:
        raise ShapeError(
            f"{where(_OP)}: expected logits (N, C) and target (N,); got {logits.shape} and {target.shape}. "
            "The target holds one class index for each row, not a one-hot vector."
        )
    if logits.dtype.kind != "f":
        raise DTypeError(f"{where(_OP)}: logits: expected a floating dtype; got {logits.dtype}. Convert with .float().")
    if target.dtype not in (np.int32, np.int64):
        raise DTypeError(
            f"{where(_OP)}: target: expected class indices of int64 or int32; got {target.dtype}. "
            "Convert with target.to('int64')."
        )
    if reduction not in ("mean", "sum", "none"):
        raise UsageError(f"{where(_OP)}: reduction: expected 'mean', 'sum' or 'none'; got {reduction!r}.")
    device = logits.device
    if target.device is not device:
        same_device(where(_OP), device, target.device)
    labels = target._physical
    wanted = logits.requires_grad and is_grad_enabled()
    losses, dlogits = cross_entropy_rows(device, logits._physical, labels, ignore_index, wanted)
    loss, factor = losses, None
    if reduction != "none":
        loss, factor = cross_entropy_reduce(device, losses, labels, ignore_index, reduction == "mean")

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (cross_entropy_backward(device, dlogits, dy, factor),)

    return record(_OP, loss, device, (logits,), backward)
