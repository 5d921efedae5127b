"""Sigmoid and binary cross-entropy in one (``kernels/elementwise_loss.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._autocast import casting
from gpunn._device import Device
from gpunn._shared.losses import check_pair, divisor_of, reduction_of, total
from gpunn._tensor import Tensor
from gpunn.cpu.losses import gradient_in_blocks, share, total_in_blocks
from gpunn.gpu.elementwise_loss import Two, launch_gradients, launch_loss
from gpunn.ops.binary_cross_entropy import spread_weight
from gpunn.primitive import primitive
from gpunn.tape import record

_OP = "binary_cross_entropy_with_logits"


@primitive(returns=("loss",))
def binary_cross_entropy_with_logits_forward(
    xp: Any, x: Any, target: Any, weight: Any, pos_weight: Any, divisor: float | None
) -> Any:
    """weight ((1 - target) log(1 + exp(x)) + pos_weight target log(1 + exp(-x))); or with a divisor, sum / divisor."""
    return total(xp, _terms(xp, x, target, weight, pos_weight), divisor, x.dtype)


def _softplus(xp: Any, x: Any) -> tuple[Any, Any]:
    """log(1 + exp(x)) and log(1 + exp(-x)), exact for any x."""
    zero = x.dtype.type(0)
    tail = xp.log1p(xp.exp(-xp.abs(x)))
    return xp.maximum(x, zero) + tail, xp.maximum(-x, zero) + tail


def _times(value: Any, factor: Any) -> Any:
    return value if factor is None else value * factor


def _terms(xp: Any, x: Any, target: Any, weight: Any, pos_weight: Any) -> Any:
    # All parts are positive for targets from 0 to 1: nothing cancels, however large or small x is.
    if_no, if_yes = _softplus(xp, x)
    return _times((1 - target) * if_no + _times(target, pos_weight) * if_yes, weight)


@binary_cross_entropy_with_logits_forward.numpy
def _(x: np.ndarray, target: np.ndarray, weight: Any, pos_weight: Any, divisor: float | None) -> np.ndarray:
    return total_in_blocks(lambda *arrays: _terms(np, *arrays), divisor, x, target, weight, pos_weight)


@binary_cross_entropy_with_logits_forward.kernel
def _(device: Device, x: Any, target: Any, weight: Any, pos_weight: Any, divisor: float | None) -> Any:
    return launch_loss(device, "LOGISTIC", x, target, divisor, weight=weight, pos_weight=pos_weight)


def _dx(xp: Any, dy: Any, x: Any, target: Any, weight: Any, pos_weight: Any) -> Any:
    e = xp.exp(-xp.abs(x))
    large, small = 1 / (1 + e), e / (1 + e)  # the larger of sigmoid(x) and sigmoid(-x), and the other
    yes, no = xp.where(x >= 0, large, small), xp.where(x >= 0, small, large)
    return dy * _times((1 - target) * yes - _times(target, pos_weight) * no, weight)


def _dtarget(xp: Any, dy: Any, x: Any, weight: Any, pos_weight: Any) -> Any:
    # Without pos_weight the two logarithms differ by x.
    if pos_weight is None:
        return dy * _times(-x, weight)
    if_no, if_yes = _softplus(xp, x)
    return dy * _times(pos_weight * if_yes - if_no, weight)


@primitive(returns=("dx", "dtarget"))
def binary_cross_entropy_with_logits_backward(
    xp: Any, dy: Any, x: Any, target: Any, weight: Any, pos_weight: Any, divisor: float | None, needs: Two
) -> tuple[Any, Any]:
    """dx = weight ((1 - target) sigmoid(x) - pos_weight target sigmoid(-x)) dy / divisor, and the target's gradient.

    Without a divisor dy has x's shape, else it is one number.
    """
    each = share(dy, divisor)
    dx = xp.asarray(_dx(xp, each, x, target, weight, pos_weight), x.dtype) if needs[0] else None
    return dx, xp.asarray(_dtarget(xp, each, x, weight, pos_weight), x.dtype) if needs[1] else None


@binary_cross_entropy_with_logits_backward.numpy
def _(
    dy: np.ndarray, x: np.ndarray, target: np.ndarray, weight: Any, pos_weight: Any, divisor: float | None, needs: Two
) -> tuple[Any, Any]:
    dx = dtarget = None
    if needs[0]:
        dx = gradient_in_blocks(lambda *arrays: _dx(np, *arrays), dy, divisor, x, target, weight, pos_weight)
    if needs[1]:
        dtarget = gradient_in_blocks(lambda *arrays: _dtarget(np, *arrays), dy, divisor, x, weight, pos_weight)
    return dx, dtarget


@binary_cross_entropy_with_logits_backward.kernel
def _(
    device: Device, dy: Any, x: Any, target: Any, weight: Any, pos_weight: Any, divisor: float | None, needs: Two
) -> tuple[Any, Any]:
    weights = {"weight": weight, "pos_weight": pos_weight}
    return launch_gradients(device, "LOGISTIC", dy, x, target, divisor, needs, **weights)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Binary cross-entropy of the sigmoid of scores against yes (1), no (0) or anything in between.

    (1 - target) log(1 + exp(input)) + pos_weight · target log(1 + exp(-input))

    Parameters
    ----------
    input : Tensor
        Scores before the sigmoid, any shape, float32 or float64; ±1e4 is exact.
    target : Tensor
        Like input. Gets a gradient too if it requires one.
    weight : Tensor, optional
        Factor on each loss; its shape broadcasts to the input's. A constant.
    size_average, reduce : bool, optional
        Deprecated, as in PyTorch, and put into ``reduction``.
    reduction : "mean", "sum" or "none"
        The mean over all elements (whatever the weights), their sum, or one loss for each.
    pos_weight : Tensor, optional
        Factor on the term for yes: above 1 it favours recall. Its shape broadcasts to the input's. A constant.

    Returns
    -------
    Tensor
        A scalar, or for "none" a tensor like input.

    Raises
    ------
    ShapeError, DTypeError, DeviceError, UsageError
        If the tensors are incompatible, a weight requires a gradient, or the reduction is unknown.

    References
    ----------
    Lecture topic L5.
    """
    if casting.on:
        input, target, weight, pos_weight = casting.inputs(
            "binary_cross_entropy_with_logits", input, target, weight, pos_weight
        )
    reduction = reduction_of(_OP, reduction, size_average, reduce)
    check_pair(_OP, input, target)
    divisor = divisor_of(_OP, reduction, input.numel())
    device, x, t = input.device, input._physical, target._physical
    w, pw = spread_weight(_OP, "weight", weight, input), spread_weight(_OP, "pos_weight", pos_weight, input)

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return binary_cross_entropy_with_logits_backward(device, dy, x, t, w, pw, divisor, (needs[0], needs[1]))

    saves = (input, target, *(a for a in (weight, pos_weight) if a is not None))
    loss = binary_cross_entropy_with_logits_forward(device, x, t, w, pw, divisor)
    return record(_OP, loss, device, (input, target), backward, saves=saves)
