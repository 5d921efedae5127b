"""Cross-entropy of probabilities against class indices, on the primitives of nll_loss."""

from __future__ import annotations

from gpunn._tensor import Tensor
from gpunn.ops.nll_loss import class_loss


def probability_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Cross-entropy of probabilities, as from a softmax: minus the logarithm of the true class's.

    loss[n] = -log(input[n, target[n]]), with gradient -1 / input[n, target[n]]

    A probability is taken as no less than the smallest normal number of its dtype, p₀ (1.2e-38 in float32), in
    the loss and in the gradient: a class that underflowed to 0 costs -log(p₀), 87.3 in float32, and its gradient
    is the finite -1/p₀. After :func:`softmax` the gradient for the scores is p - truth as long as the true class's
    probability is above p₀; where it underflowed to 0 the softmax passes nothing on. :func:`cross_entropy` on the
    scores has no such limit.

    Parameters
    ----------
    input : Tensor, (N, C), (C,) or (N, C, d1, ...)
        Probabilities, float32 or float64. That they sum to 1 is not checked.
    target : Tensor, (N,), () or (N, d1, ...)
        Class indices from 0 to C - 1, int64 or int32.
    weight : Tensor, (C,), optional
        Factor on each class's losses. A constant.
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
    Lecture topic L2.

    Examples
    --------
    >>> import gpunn
    >>> p = gpunn.tensor([[0.2, 0.8]])
    >>> round(gpunn.nn.functional.probability_cross_entropy(p, gpunn.tensor([1])).item(), 6)
    0.223144
    """
    return class_loss(
        "probability_cross_entropy", input, target, weight, ignore_index, reduction, of_probabilities=True
    )
