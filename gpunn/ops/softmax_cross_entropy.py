"""Softmax and cross-entropy in one (``kernels/softmax_cross_entropy.cu``): the loss of classification.

The rows' losses and their gradients come out of one pass over the scores. Class weights and label smoothing
have a kernel of their own beside the plain one; targets that are probabilities are another primitive. A class index
out of range is bad data: where the values can be looked at, it raises at once; a kernel reports it to
the device's error buffer, which stops every later update until the host has raised it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn import threads
from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, UsageError, where
from gpunn.launcher import DIVISOR, KernelSource, c_type, ceil_div, divisor, vector_width
from gpunn.ops._blocks import PART, quiet
from gpunn.ops._class_rows import (
    check_labels,
    check_scores,
    flat_gradient,
    flat_labels,
    from_rows,
    of_label_shape,
    require_class_indices,
    to_rows,
)
from gpunn.ops._cross_entropy_probabilities import cross_entropy_of_probabilities
from gpunn.ops._elementwise_loss import check_reduction, divisor_of
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
        given = {"logits": logits, "target": target, "weight": None, "smoothing": 0.0}
        return {**given, "ignore_index": -100, "with_gradient": gradient}

    def weighted(smoothing: float, *how: Any, **more: Any) -> dict[str, Any]:
        made = case(*how, **more)
        return {**made, "weight": rng.random(how[1]).astype(how[2]), "smoothing": smoothing}

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
        case(7000, 11, np.float32, np.int64),  # several blocks of rows on the CPU
        {**case(4, 6, np.float32, np.int64), "target": np.array([0, 5, 2, 2]), "ignore_index": 2},
        weighted(0.0, 9, 33, np.float32, np.int64),
        weighted(0.1, 5, 10, np.float32, np.int64),
        weighted(0.1, 6, 12, np.float32, np.int32, spread=1e4),
        weighted(1.0, 3, 1, np.float32, np.int64, False),
        weighted(0.3, 0, 7, np.float32, np.int64),
        weighted(0.2, 3, 1028, np.float32, np.int64),
        weighted(0.2, 2, 12300, np.float32, np.int64),
        weighted(0.2, 3, 1031, np.float64, np.int64),
        {**case(7, 8, np.float64, np.int32), "smoothing": 0.3},
        {**case(0, 1, np.float32, np.int64), "smoothing": 0.3},
    ]


@primitive(examples=_rows_examples, returns=("losses", "dlogits"))
def cross_entropy_rows(
    xp: Any, logits: Any, target: Any, weight: Any, smoothing: float, ignore_index: int, with_gradient: bool
) -> tuple[Any, Any]:
    """losses[n] = -sum_c a[n, c] log softmax(logits)[n, c];  dlogits = softmax(logits) sum_c a[n, c] - a.

    a[n, c] = weight[c] ((1 - smoothing) [c = target[n]] + smoothing / C), with weight None for ones. Where the
    target is ``ignore_index``, loss and gradient are 0. dlogits is None if not asked for.
    """
    counts = target != ignore_index
    require_class_indices(_OP, target, counts, logits.shape[1])
    right, zero = xp.where(counts, target, target.dtype.type(0)), logits.dtype.type(0)
    losses, dlogits = _rows(xp, logits, right, weight, smoothing, with_gradient)
    return xp.where(counts, losses, zero), xp.where(counts[:, None], dlogits, zero) if with_gradient else None


def _rows(
    xp: Any, logits: Any, right: Any, weight: Any, smoothing: float, with_gradient: bool, out: Any = None
) -> tuple[Any, Any]:
    """The rows' losses and gradients (in ``out`` if given), given each one's class."""
    at = xp.arange(len(right)), right
    with quiet():  # infinite scores give NaN, as everywhere
        shifted = logits - logits.max(axis=1, keepdims=True)
        p = xp.exp(shifted, out=out)
        total = p.sum(axis=1, keepdims=True)
        log_total = xp.log(total[:, 0])
        losses = log_total - shifted[at]
        own = sum_a = logits.dtype.type(1)  # a[n, target[n]] without the part of the smoothing, and the sum of a[n]
        spread = None  # the part of the smoothing in a[n]
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
        p *= (sum_a / total[:, 0])[:, None]
        if spread is not None:
            p -= spread
        p[at] -= own
    return losses, p


@cross_entropy_rows.numpy
def _(
    logits: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None,
    smoothing: float,
    ignore_index: int,
    with_gradient: bool,
) -> tuple[np.ndarray, np.ndarray | None]:
    counts = target != ignore_index
    require_class_indices(_OP, target, counts, logits.shape[1])
    right = np.where(counts, target, target.dtype.type(0))
    losses = np.empty(len(target), logits.dtype)
    dlogits = np.empty_like(logits) if with_gradient else None

    def task(part: slice) -> None:
        out = None if dlogits is None else dlogits[part]
        losses[part], _ = _rows(np, logits[part], right[part], weight, smoothing, with_gradient, out)

    parts = threads.spans(len(target), max(1, logits.size // PART))
    if len(parts) == 1:
        task(parts[0])
    else:
        threads.run(task, parts)
    if not counts.all():
        losses[~counts] = 0
        if dlogits is not None:
            dlogits[~counts] = 0
    return losses, dlogits


@cross_entropy_rows.kernel
def _(
    device: Device, logits: Any, target: Any, weight: Any, smoothing: float, ignore_index: int, with_gradient: bool
) -> tuple[Any, Any]:
    n, c = logits.shape
    losses = device.empty((n,), logits.dtype)
    dlogits = device.empty(logits.shape, logits.dtype) if with_gradient else None
    error = device.error_buffer
    vec = vector_width(c, logits, target, weight, losses, dlogits, error)
    row_bytes = c * logits.dtype.itemsize
    kept = row_bytes <= _SHARED
    if c <= _WARP_COLUMNS:
        across, down = 32, max(1, min(_BLOCK // 32, n, _SHARED // max(row_bytes, 1)))
    else:
        across, down = min(1024, 32 * ceil_div(c, 32 * 4 * vec)), 1
    plain = weight is None and smoothing == 0
    args: tuple[Any, ...] = (losses, dlogits, error, logits, target)
    args += () if plain else (weight, smoothing)
    args += (n, c, ignore_index, device.layer_id(where(_OP)), int(kept))
    _launch(
        device,
        "cross_entropy_rows" if plain else "cross_entropy_weighted_rows",
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
        for weight in (None, rng.random(5).astype(dtype)):
            given = {"losses": losses, "target": target, "weight": weight, "ignore_index": 3}
            made += [{**given, "average": a} for a in (True, False)]
    nothing = {"losses": np.zeros(0, np.float32), "target": np.zeros(0, np.int64), "weight": None, "ignore_index": 3}
    return [*made, {**nothing, "average": True}, {**nothing, "average": False}]


@primitive(examples=_reduce_examples, returns=("loss", "factor"))
def cross_entropy_reduce(
    xp: Any, losses: Any, target: Any, weight: Any, ignore_index: int, average: bool
) -> tuple[Any, Any]:
    """The sum of the losses, or that over the targets' weights (1 if None); and d loss / d losses[n].

    Only rows that count are counted; if none does, the mean is NaN.
    """
    counts = target != ignore_index
    loss = losses.sum(dtype=np.float64)
    if not average:
        return xp.asarray(loss, losses.dtype), xp.asarray(1, losses.dtype)
    if weight is None:
        divisor = counts.sum().astype(np.float64)
    else:
        divisor = xp.where(counts, weight[xp.where(counts, target, 0)], 0).sum(dtype=np.float64)
    with quiet():
        loss = loss / divisor
    return xp.asarray(loss, losses.dtype), xp.asarray(1 / xp.where(divisor == 0, 1, divisor), losses.dtype)


@cross_entropy_reduce.kernel
def _(device: Device, losses: Any, target: Any, weight: Any, ignore_index: int, average: bool) -> tuple[Any, Any]:
    n, classes = losses.size, 0 if weight is None else weight.size
    loss, factor = (device.empty((), losses.dtype) for _ in range(2))
    threads = min(1024, max(32, 32 * ceil_div(n, 32)))
    args = (loss, factor, losses, target, weight, n, classes, ignore_index, int(average))
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


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy of the softmax of scores against class indices or class probabilities.

    loss[n] = -sum_c weight[c] t[n, c] log(softmax(input)[n, c])

    with t the target's probabilities, or for class indices 1 at the target's class and 0 elsewhere. So, for
    indices without weights, log(sum_c exp(input[n, c])) - input[n, target[n]].

    Parameters
    ----------
    input : Tensor, (N, C), (C,) or (N, C, d1, ...)
        Scores before the softmax, float32 or float64. Their size does not matter: ±1e4 is exact.
    target : Tensor, (N,), () or (N, d1, ...); or as input
        Class indices from 0 to C - 1, int64 or int32; or, of the input's shape and dtype, probabilities. These
        get a gradient too if they require one.
    weight : Tensor, (C,), optional
        Factor of each class's losses. A constant.
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
        A number, or for "none" one for each label.

    Raises
    ------
    LabelError
        If a target is not a class index: at once on the CPU. A kernel notes it on the device, no
        parameter or statistic changes from then on, and it is raised when the host next reads a
        value there or synchronises. The message names layer, position (in the flattened target) and value.
    ShapeError, DTypeError, DeviceError, UsageError
        If the tensors do not go together, weight requires a gradient, or an option makes no sense.

    References
    ----------
    Lecture topic L3; label smoothing: Szegedy et al. 2015, arXiv:1512.00567.
    """
    check_scores(_OP, input, target, weight)
    check_reduction(_OP, reduction)
    if not 0 <= label_smoothing <= 1:
        raise UsageError(f"{where(_OP)}: label_smoothing: expected a number from 0 to 1; got {label_smoothing!r}.")
    how = input, target, None if weight is None else weight._physical
    if target.dtype.kind == "f" and target.shape == input.shape:
        if ignore_index >= 0:
            raise UsageError(
                f"{where(_OP)}: ignore_index: a target of probabilities has no index to ignore; got {ignore_index}."
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
    losses, dlogits = cross_entropy_rows(device, rows, labels, weight, smoothing, ignore_index, wanted)
    if reduction == "none":
        loss, factor = of_label_shape(device, losses, shape), None
    else:
        loss, factor = cross_entropy_reduce(device, losses, labels, weight, ignore_index, reduction == "mean")

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        each = flat_gradient(device, dy) if factor is None else dy
        return (from_rows(device, cross_entropy_backward(device, dlogits, each, factor), shape),)

    return record(_OP, loss, device, (input,), backward)


def _against_probabilities(input: Tensor, target: Tensor, weight: Any, reduction: str, smoothing: float) -> Tensor:
    device, shape = input.device, input.shape
    if target.dtype != input.dtype:
        raise DTypeError(f"{where(_OP)}: target: expected the input's dtype, {input.dtype}; got {target.dtype}.")
    x, t = (to_rows(device, a._physical, shape) for a in (input, target))
    enabled = is_grad_enabled()
    wanted = input.requires_grad and enabled, target.requires_grad and enabled
    loss, factor, *gradients = cross_entropy_of_probabilities(
        device, x, t, weight, smoothing, divisor_of(_OP, reduction, len(x)), wanted
    )
    if factor is None:
        loss = of_label_shape(device, loss, shape)

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        each = flat_gradient(device, dy) if factor is None else dy
        return tuple(
            from_rows(device, cross_entropy_backward(device, g, each, factor), shape) if need else None
            for g, need in zip(gradients, needs, strict=True)
        )

    return record(_OP, loss, device, (input, target), backward)
