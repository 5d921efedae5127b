"""Cross-entropy of arrays, and its gradient."""

from __future__ import annotations

from typing import Any

from gpunn._tensor import Tensor
from gpunn.arrays._calling import device_of, enter, require_shape, tensor
from gpunn.errors import here
from gpunn.ops.cross_entropy import cross_entropy as op_cross_entropy
from gpunn.tape import enable_grad


def _loss(op: str, scores: Any, target: Any, weight: Any, requires_grad: bool, **how: Any) -> tuple[Tensor, Tensor]:
    """The scores and the loss, as tensors."""
    home = enter(op, scores=scores, weight=weight)
    device_of(op, {"scores": scores, "target": target, "weight": weight})
    leaf = tensor(op, scores, home).requires_grad_(requires_grad)
    constants = (None if a is None else tensor(op, a, home) for a in (target, weight))
    return leaf, op_cross_entropy(leaf, *constants, **how)  # type: ignore[arg-type]


def cross_entropy(
    scores: Any,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """Cross-entropy of the softmax of scores against class indices or probabilities, of NumPy or CuPy arrays.

    Parameters
    ----------
    scores : array, (N, C), (C,) or (N, C, d1, ...)
        float32 or float64.
    target : array, (N,), () or (N, d1, ...); or like scores
        Class indices, int64 or int32; or probabilities.
    weight : array, (C,), optional
        Factor on each class's losses.
    ignore_index, reduction, label_smoothing
        As for :func:`gpunn.nn.functional.cross_entropy`.

    Returns
    -------
    array
        Without axes; with reduction "none" one loss for each label.

    Raises
    ------
    LabelError
        If a target is not a class index: at once on the CPU. A kernel notes it, and
        ``gpunn.device("cuda").synchronize()`` raises it.
    ShapeError, DTypeError, DeviceError, UsageError
        If the arrays do not match, or an option is invalid.

    References
    ----------
    Lecture topic L3; label smoothing: Szegedy et al. 2015, arXiv:1512.00567.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn import arrays
    >>> round(float(arrays.cross_entropy(np.array([[0.0, 0.0]]), np.array([1]))), 4)
    0.6931
    """
    how = {"ignore_index": ignore_index, "reduction": reduction, "label_smoothing": label_smoothing}
    return _loss("cross_entropy", scores, target, weight, False, **how)[1].array


def cross_entropy_backward(
    scores: Any,
    target: Any,
    weight: Any = None,
    dy: Any = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """The gradient of :func:`cross_entropy` with respect to the scores, from the scores: softmax minus target.

    Parameters
    ----------
    scores, target, weight, ignore_index, reduction, label_smoothing
        As for cross_entropy.
    dy : array, optional
        The gradient of the loss, of its shape; ones if not given.

    Returns
    -------
    array
        Like scores.

    Raises
    ------
    LabelError, ShapeError, DTypeError, DeviceError, UsageError
        As by cross_entropy, or if dy has not the shape of the loss.

    References
    ----------
    Lecture topic L3.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn import arrays
    >>> arrays.cross_entropy_backward(np.array([[0.0, 0.0]]), np.array([1])).tolist()
    [[0.5, -0.5]]
    """
    op = "cross_entropy_backward"
    home = enter(op, scores=scores, weight=weight, dy=dy)
    how = {"ignore_index": ignore_index, "reduction": reduction, "label_smoothing": label_smoothing}
    with enable_grad():
        leaf, loss = _loss(op, scores, target, weight, True, **how)
        if dy is None:
            loss.backward() if loss.ndim == 0 else loss.sum().backward()
        else:
            require_shape(here(op), "dy", dy, loss.shape)
            loss.backward(tensor(op, dy, home))
    assert leaf.grad is not None, "the loss depends on the scores"
    return leaf.grad.array
