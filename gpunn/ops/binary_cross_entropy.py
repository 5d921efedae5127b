"""Cross-entropy of probabilities of yes (``kernels/elementwise_loss.cu``).

An input that is no probability is bad data. The plain and NumPy bodies raise at once; a kernel reports it to the
device's error buffer, as cross_entropy does with a label.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._autocast import casting
from gpunn._device import Device
from gpunn._shared.losses import check_constant, check_pair, divisor_of, reduction_of, total
from gpunn._tensor import Tensor
from gpunn.cpu.elementwise import quiet
from gpunn.cpu.losses import gradient_in_blocks, share, total_in_blocks
from gpunn.errors import NO_PROBABILITY, ShapeError, UsageError, here
from gpunn.gpu.elementwise_loss import Two, launch_gradients, launch_loss
from gpunn.ops.sum import spread
from gpunn.primitive import primitive
from gpunn.tape import record

_OP = "binary_cross_entropy"


_LEAST_LOG = -100.0  # as in PyTorch: a loss stays finite, and 0 log 0 is 0


_LEAST_VARIANCE = 1e-12  # p (1 - p) in the gradient is clamped to at least this, as in PyTorch


@primitive(returns=("loss",))
def binary_cross_entropy_forward(xp: Any, p: Any, target: Any, weight: Any, divisor: float | None) -> Any:
    """-weight (target log p + (1 - target) log(1 - p)), logarithms at least -100; or with a divisor, sum / divisor."""
    _require_probabilities(p, target)
    return total(xp, _terms(xp, p, target, weight), divisor, p.dtype)


def _logs(xp: Any, p: Any) -> tuple[Any, Any]:
    """log p and log(1 - p), both at least -100."""
    least = p.dtype.type(_LEAST_LOG)
    with quiet():
        return xp.maximum(xp.log(p), least), xp.maximum(xp.log1p(-p), least)


def _require_probabilities(p: Any, target: Any) -> None:
    """Raise unless all are from 0 to 1; NaN passes."""
    for (name, fix), values in zip(NO_PROBABILITY, (p, target), strict=True):
        if ((values < 0) | (values > 1)).any():
            raise UsageError(f"{here(_OP)}: {name}: expected probabilities from 0 to 1; got some outside. {fix}")


def _terms(xp: Any, p: Any, target: Any, weight: Any) -> Any:
    yes, no = _logs(xp, p)
    terms = (target - 1) * no - target * yes
    return terms if weight is None else terms * weight


@binary_cross_entropy_forward.numpy
def _(p: np.ndarray, target: np.ndarray, weight: np.ndarray | None, divisor: float | None) -> np.ndarray:
    _require_probabilities(p, target)
    return total_in_blocks(lambda a, b, w: _terms(np, a, b, w), divisor, p, target, weight)


@binary_cross_entropy_forward.kernel
def _(device: Device, p: Any, target: Any, weight: Any, divisor: float | None) -> Any:
    return launch_loss(device, "BINARY", p, target, divisor, weight=weight, layer=device.layer_id(_OP))


def _dp(xp: Any, dy: Any, p: Any, target: Any, weight: Any) -> Any:
    dp = dy * (p - target) / xp.maximum(p * (1 - p), p.dtype.type(_LEAST_VARIANCE))
    return dp if weight is None else dp * weight


def _dtarget(xp: Any, dy: Any, p: Any, weight: Any) -> Any:
    yes, no = _logs(xp, p)
    dtarget = dy * (no - yes)
    return dtarget if weight is None else dtarget * weight


@primitive(returns=("dp", "dtarget"))
def binary_cross_entropy_backward(
    xp: Any, dy: Any, p: Any, target: Any, weight: Any, divisor: float | None, needs: Two
) -> tuple[Any, Any]:
    """dp = weight (p - target) / max(p (1 - p), 1e-12), dtarget = weight (log(1 - p) - log p), each times dy / divisor.

    The logarithms are those of the loss, so dtarget is finite. Without a divisor dy has p's shape, else it is one
    number.
    """
    each = share(dy, divisor)
    dp = xp.asarray(_dp(xp, each, p, target, weight), p.dtype) if needs[0] else None
    return dp, xp.asarray(_dtarget(xp, each, p, weight), p.dtype) if needs[1] else None


@binary_cross_entropy_backward.numpy
def _(
    dy: np.ndarray, p: np.ndarray, target: np.ndarray, weight: np.ndarray | None, divisor: float | None, needs: Two
) -> tuple[Any, Any]:
    dp = dtarget = None
    if needs[0]:
        dp = gradient_in_blocks(lambda d, a, b, w: _dp(np, d, a, b, w), dy, divisor, p, target, weight)
    if needs[1]:
        dtarget = gradient_in_blocks(lambda d, a, w: _dtarget(np, d, a, w), dy, divisor, p, weight)
    return dp, dtarget


@binary_cross_entropy_backward.kernel
def _(device: Device, dy: Any, p: Any, target: Any, weight: Any, divisor: float | None, needs: Two) -> tuple[Any, Any]:
    return launch_gradients(device, "BINARY", dy, p, target, divisor, needs, weight=weight)


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Cross-entropy of probabilities against yes (1), no (0) or anything in between.

    -(target log(input) + (1 - target) log(1 - input)); a logarithm below -100 counts as -100, so that
    probabilities of 0 and 1 have a finite loss. For scores, :func:`binary_cross_entropy_with_logits` is exact.

    Parameters
    ----------
    input : Tensor
        Probabilities of any shape, 0 to 1, float32 or float64.
    target : Tensor
        Like input. Gets a gradient too if it requires one.
    weight : Tensor, optional
        Factor on each loss; its shape broadcasts to the input's. A constant.
    size_average, reduce : bool, optional
        Deprecated, as in PyTorch, and put into ``reduction``.
    reduction : "mean", "sum" or "none"
        The mean over all elements (whatever the weights), their sum, or one loss for each.

    Returns
    -------
    Tensor
        A scalar, or for "none" a tensor like input. NaN in gives NaN.

    Raises
    ------
    UsageError
        If weight requires a gradient, or the reduction is unknown. If an input is below 0 or above 1: at once on
        the CPU. A kernel records it on the device, no parameter or statistic changes from then on, and it is raised
        when the host next reads a value there or synchronises.
    ShapeError, DTypeError, DeviceError
        If input, target and weight are incompatible.

    References
    ----------
    Lecture topic L5.
    """
    if casting.on:
        input, target, weight = casting.inputs("binary_cross_entropy", input, target, weight)
    reduction = reduction_of(_OP, reduction, size_average, reduce)
    check_pair(_OP, input, target)
    divisor = divisor_of(_OP, reduction, input.numel())
    device, p, t = input.device, input._physical, target._physical
    w = spread_weight(_OP, "weight", weight, input)

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return binary_cross_entropy_backward(device, dy, p, t, w, divisor, (needs[0], needs[1]))

    saves = (input, target) if weight is None else (input, target, weight)
    loss = binary_cross_entropy_forward(device, p, t, w, divisor)
    return record(_OP, loss, device, (input, target), backward, saves=saves)


def spread_weight(op: str, name: str, weight: Tensor | None, input: Tensor) -> Any:
    """A constant factor on the terms, repeated to the input's shape, physical; None if there is none."""
    if weight is None:
        return None
    check_constant(op, name, weight, input)
    if weight.shape == input.shape:
        return weight._physical
    try:
        fits = np.broadcast_shapes(weight.shape, input.shape) == input.shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(
            f"{here(op)}: {name}: expected a shape that broadcasts to the input's, {input.shape}; got {weight.shape}."
        )
    return spread(weight.device, weight.array, input.shape, 1.0)
