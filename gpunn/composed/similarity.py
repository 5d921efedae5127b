"""How alike or how far apart vectors are, and losses by that; losses of pairs with targets 1 and -1; divergence."""

from __future__ import annotations

from collections.abc import Callable

from gpunn._autocast import casting
from gpunn._device import same_device
from gpunn._shared.losses import check_reduction, reduction_of
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, UsageError, here
from gpunn.ops.clamp import clamp
from gpunn.ops.maximum import minimum
from gpunn.ops.norm import norm
from gpunn.ops.softplus import softplus
from gpunn.ops.sum import sum_
from gpunn.ops.unary import exp, log, sqrt
from gpunn.ops.where import masked_fill, where


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between vectors.

    Parameters
    ----------
    x1, x2 : Tensor
        Floating; they broadcast together.
    dim : int
        The axis of the vectors.
    eps : float
        The least length to divide by.

    Returns
    -------
    Tensor
        Without the axis ``dim``.

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If they do not go together, or are not floating.

    Examples
    --------
    >>> import gpunn
    >>> cosine_similarity(gpunn.tensor([[1.0, 0.0]]), gpunn.tensor([[0.0, 2.0], [3.0, 0.0]])).tolist()
    [0.0, 1.0]

    References
    ----------
    Of PyTorch; its source names none.
    """
    if casting.on:
        x1, x2 = casting.inputs("cosine_similarity", x1, x2)
    a, b = (x / clamp(norm(x, 2, dim, keepdim=True), min=eps) for x in (x1, x2))
    return sum_(a * b, dim)


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of x1 - x2 + eps over the last axis.

    Parameters
    ----------
    x1, x2 : Tensor
        Floating; they broadcast together.
    p : float
        The order of the norm.
    eps : float
        Added to each difference: the norm has a gradient at 0 then.
    keepdim : bool
        Keep the last axis with length 1.

    Returns
    -------
    Tensor
        Without the last axis.

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If they do not go together, or are not floating.

    References
    ----------
    Of PyTorch; its source names none.
    """
    return norm(x1 - x2 + eps, p, -1, keepdim)


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """The Kullback-Leibler divergence of target from exp(input): target (log(target) - input).

    Parameters
    ----------
    input : Tensor
        Logarithms of probabilities.
    target : Tensor
        Probabilities, or their logarithms; both broadcast together.
    size_average, reduce : bool, optional
        Deprecated, as in PyTorch, and put into ``reduction``.
    reduction : str
        "batchmean": the sum over the length of input's first axis, which is the divergence; "mean" over all
        elements, "sum" or "none".
    log_target : bool
        Whether target has logarithms.

    Raises
    ------
    UsageError
        If the reduction is unknown.
    ShapeError, DTypeError, DeviceError
        If they do not go together.

    Examples
    --------
    >>> import gpunn
    >>> half = gpunn.tensor([[0.5, 0.5]])
    >>> kl_div(half.log(), gpunn.tensor([[1.0, 0.0]]), reduction="batchmean").item()
    0.6931471824645996

    References
    ----------
    Kullback, Leibler 1951, "On information and sufficiency".
    """
    if casting.on:
        input, target = casting.inputs("kl_div", input, target)
    op = "kl_div"
    reduction = reduction_of(op, reduction, size_average, reduce)
    check_reduction(op, reduction, ("batchmean", "mean", "sum", "none"))
    same_device(op, input.device, target.device)
    if log_target:
        terms = exp(target) * (target - input)
    else:
        # 0 log(0) is 0, and its gradient is finite.
        terms = target * log(masked_fill(target, target == 0, 1.0)) - target * input
    if reduction == "batchmean":
        if not input.ndim or not input.shape[0]:
            raise ShapeError(f"{here(op)}: reduction 'batchmean': expected a batch; got input of shape {input.shape}.")
        return terms.sum() / input.shape[0]
    return _reduced(terms, reduction)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(distance(anchor, positive) - distance(anchor, negative) + margin, 0).

    Parameters
    ----------
    anchor, positive, negative : Tensor, (N, D) or (D,)
    margin : float
        How much farther the negative is to be; above 0.
    p, eps : float
        As for :func:`pairwise_distance`.
    swap : bool
        Whether the distance between positive and negative counts where it is the smaller one.
    size_average, reduce : bool, optional
        Deprecated, as in PyTorch, and put into ``reduction``.
    reduction : str
        "mean", "sum" or "none".

    Raises
    ------
    UsageError
        If the margin is not above 0, or the reduction unknown.
    ShapeError, DTypeError, DeviceError
        If the tensors do not go together.

    References
    ----------
    Balntas, Riba, Ponsa, Mikolajczyk 2016, "Learning local feature descriptors with triplets and shallow convolutional
    neural networks".
    """
    if casting.on:
        anchor, positive, negative = casting.inputs("triplet_margin_loss", anchor, positive, negative)
    op = "triplet_margin_loss"
    reduction = _checked_reduction(op, reduction, size_average, reduce)
    if not margin > 0:
        raise UsageError(f"{here(op)}: margin: expected a number above 0; got {margin}.")
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise ShapeError(
            f"{here(op)}: expected tensors with equally many axes; got {anchor.shape}, {positive.shape}, "
            f"{negative.shape}."
        )
    near, far = (pairwise_distance(anchor, other, p, eps) for other in (positive, negative))
    if swap:
        far = minimum(far, pairwise_distance(positive, negative, p, eps))
    return _reduced(clamp(near - far + margin, min=0), reduction)


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(-target (input1 - input2) + margin, 0): which of two is to be the larger.

    Parameters
    ----------
    input1, input2 : Tensor
    target : Tensor
        1 where input1 is to be larger, -1 where input2 is; with as many axes.
    margin : float
        By how much.
    size_average, reduce : bool, optional
        Deprecated, as in PyTorch, and put into ``reduction``.
    reduction : str
        "mean", "sum" or "none".

    Raises
    ------
    UsageError
        If the reduction is unknown.
    ShapeError, DTypeError, DeviceError
        If the tensors do not go together.

    References
    ----------
    Herbrich, Graepel, Obermayer 1999, "Support vector learning for ordinal regression".
    """
    if casting.on:
        input1, input2, target = casting.inputs("margin_ranking_loss", input1, input2, target)
    op = "margin_ranking_loss"
    reduction = _checked_reduction(op, reduction, size_average, reduce)
    if not input1.ndim == input2.ndim == target.ndim:
        raise ShapeError(
            f"{here(op)}: expected tensors with equally many axes; got {input1.shape}, {input2.shape}, {target.shape}."
        )
    return _reduced(clamp((input2 - input1) * target + margin, min=0), reduction)


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """input where target is 1, max(margin - input, 0) where it is -1.

    Parameters
    ----------
    input : Tensor
        Distances.
    target : Tensor
        1 for what is to be near, -1 for what is not.
    margin : float
        How far that is to be.
    size_average, reduce : bool, optional
        Deprecated, as in PyTorch, and put into ``reduction``.
    reduction : str
        "mean", "sum" or "none".

    Raises
    ------
    UsageError
        If the reduction is unknown.
    ShapeError, DTypeError, DeviceError
        If the tensors do not go together.

    References
    ----------
    Hadsell, Chopra, LeCun 2006, "Dimensionality reduction by learning an invariant mapping".
    """
    if casting.on:
        input, target = casting.inputs("hinge_embedding_loss", input, target)
    reduction = _checked_reduction("hinge_embedding_loss", reduction, size_average, reduce)
    same_device("hinge_embedding_loss", input.device, target.device)
    apart = where(target == 1, 0.0, clamp(margin - input, min=0))
    together = where(target == -1, 0.0, input)
    return _reduced(apart + together, reduction)


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos(input1, input2) where target is 1, max(cos(input1, input2) - margin, 0) where it is -1.

    Parameters
    ----------
    input1, input2 : Tensor, (N, D) or (D,)
    target : Tensor, (N,) or ()
        1 for what is to be alike, -1 for what is not.
    margin : float
        From -1 to 1: how alike that may be.
    size_average, reduce : bool, optional
        Deprecated, as in PyTorch, and put into ``reduction``.
    reduction : str
        "mean", "sum" or "none".

    Raises
    ------
    UsageError
        If the reduction is unknown.
    ShapeError, DTypeError, DeviceError
        If the tensors do not go together.

    References
    ----------
    Of PyTorch; its source names none.
    """
    if casting.on:
        input1, input2, target = casting.inputs("cosine_embedding_loss", input1, input2, target)
    op = "cosine_embedding_loss"
    reduction = _checked_reduction(op, reduction, size_average, reduce)
    if target.ndim > 1 or not input1.ndim == input2.ndim == target.ndim + 1:
        raise ShapeError(
            f"{here(op)}: expected input1 and input2 (N, D) with target (N,), or (D,) with a number; got "
            f"{input1.shape}, {input2.shape} and {target.shape}."
        )
    # PyTorch's formula: something small below the root instead of a least length.
    lengths = (sum_(input1 * input1, -1) + 1e-12) * (sum_(input2 * input2, -1) + 1e-12)
    cosine = sum_(input1 * input2, -1) / sqrt(lengths)
    alike = where(target == 1, 1 - cosine, 0.0)
    return _reduced(alike + where(target == -1, clamp(cosine - margin, min=0), 0.0), reduction)


def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """log(1 + exp(-target input)), finite wherever the input is.

    Parameters
    ----------
    input : Tensor
        Scores.
    target : Tensor
        1 or -1.
    size_average, reduce : bool, optional
        Deprecated, as in PyTorch, and put into ``reduction``.
    reduction : str
        "mean", "sum" or "none".

    Raises
    ------
    UsageError
        If the reduction is unknown.
    ShapeError, DTypeError, DeviceError
        If the tensors do not go together.

    References
    ----------
    Of PyTorch; its source names none.
    """
    if casting.on:
        input, target = casting.inputs("soft_margin_loss", input, target)
    reduction = _checked_reduction("soft_margin_loss", reduction, size_average, reduce)
    same_device("soft_margin_loss", input.device, target.device)
    # Above 40 log(1 + exp(x)) is x in double precision, too.
    return _reduced(softplus(-(target * input), 1.0, 40.0), reduction)


def _checked_reduction(op: str, reduction: str, size_average: bool | None, reduce: bool | None) -> str:
    reduction = reduction_of(op, reduction, size_average, reduce)
    check_reduction(op, reduction)
    return reduction


def _reduced(terms: Tensor, reduction: str) -> Tensor:
    reductions: dict[str, Callable[[], Tensor]] = {"none": lambda: terms, "sum": terms.sum, "mean": terms.mean}
    return reductions[reduction]()
