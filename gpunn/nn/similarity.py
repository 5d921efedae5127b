"""Layers that compare vectors, and losses by that."""

from __future__ import annotations

from gpunn._tensor import Tensor
from gpunn.composed import similarity as functions
from gpunn.errors import UsageError
from gpunn.nn.loss import REDUCTIONS, Loss
from gpunn.nn.module import Module


class CosineSimilarity(Module):
    """The cosine of the angle between vectors.

    Parameters
    ----------
    dim : int
        The axis of the vectors.
    eps : float
        The least length to divide by.

    Shape
    -----
    x1, x2 : floating, broadcast together;  y : without the axis ``dim``

    References
    ----------
    Of PyTorch; its source names none.
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return functions.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """The p-norm of x1 - x2 + eps over the last axis.

    Parameters
    ----------
    p : float
        The order of the norm.
    eps : float
        Added to each difference: the norm has a gradient at 0 then.
    keepdim : bool
        Keep the last axis with length 1.

    Shape
    -----
    x1, x2 : (N, D) or (D,), floating;  y : (N,) or ()

    References
    ----------
    Of PyTorch; its source names none.
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm = p
        self.eps = eps
        self.keepdim = keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return functions.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


class KLDivLoss(Loss):
    """The Kullback-Leibler divergence of target from exp(input): target (log(target) - input).

    Parameters
    ----------
    size_average, reduce : bool, optional
        Deprecated, as in PyTorch, and put into ``reduction``.
    reduction : str
        ``"batchmean"``: the sum over the length of input's first axis, which is the divergence; ``"mean"`` over all
        elements, ``"sum"`` or ``"none"``.
    log_target : bool
        Whether target has logarithms.

    Shape
    -----
    input : any, float32 or float64, logarithms;  target : like input

    Raises
    ------
    UsageError
        If the reduction is unknown.

    References
    ----------
    Kullback, Leibler 1951, "On information and sufficiency".
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(reduction, size_average, reduce, (*REDUCTIONS, "batchmean"))
        self.log_target = log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functions.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class TripletMarginLoss(Loss):
    """max(distance(anchor, positive) - distance(anchor, negative) + margin, 0).

    Parameters
    ----------
    margin : float
        How much farther the negative is to be; above 0.
    p, eps : float
        As for :class:`PairwiseDistance`.
    swap : bool
        Whether the distance between positive and negative counts where it is the smaller one.
    size_average, reduce : bool, optional
        Deprecated, as in PyTorch, and put into ``reduction``.
    reduction : str
        ``"mean"``, ``"sum"`` or ``"none"``.

    Shape
    -----
    anchor, positive, negative : (N, D) or (D,), float32 or float64

    Raises
    ------
    UsageError
        If an option is invalid.

    References
    ----------
    Balntas, Riba, Ponsa, Mikolajczyk 2016, "Learning local feature descriptors with triplets and shallow convolutional
    neural networks".
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction, size_average, reduce)
        if not margin > 0:
            raise UsageError(f"TripletMarginLoss: margin: expected a number above 0; got {margin!r}.")
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return functions.triplet_margin_loss(
            anchor, positive, negative, self.margin, self.p, self.eps, self.swap, reduction=self.reduction
        )


class MarginRankingLoss(Loss):
    """max(-target (input1 - input2) + margin, 0): which of two is to be the larger.

    Parameters
    ----------
    margin : float
        By how much.
    size_average, reduce : bool, optional
        Deprecated, as in PyTorch, and put into ``reduction``.
    reduction : str
        ``"mean"``, ``"sum"`` or ``"none"``.

    Shape
    -----
    input1, input2, target : any, floating, with equally many axes

    References
    ----------
    Herbrich, Graepel, Obermayer 1999, "Support vector learning for ordinal regression".
    """

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction, size_average, reduce)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return functions.margin_ranking_loss(input1, input2, target, self.margin, reduction=self.reduction)


class HingeEmbeddingLoss(Loss):
    """input where target is 1, max(margin - input, 0) where it is -1.

    Parameters
    ----------
    margin : float
        How far apart is far enough.
    size_average, reduce : bool, optional
        Deprecated, as in PyTorch, and put into ``reduction``.
    reduction : str
        ``"mean"``, ``"sum"`` or ``"none"``.

    Shape
    -----
    input : any, float32 or float64;  target : like input, 1 and -1

    References
    ----------
    Hadsell, Chopra, LeCun 2006, "Dimensionality reduction by learning an invariant mapping".
    """

    def __init__(
        self,
        margin: float = 1.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction, size_average, reduce)
        self.margin = margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functions.hinge_embedding_loss(input, target, self.margin, reduction=self.reduction)


class CosineEmbeddingLoss(Loss):
    """1 - cos(input1, input2) where target is 1, max(cos(input1, input2) - margin, 0) where it is -1.

    Parameters
    ----------
    margin : float
        From -1 to 1: how alike is too much.
    size_average, reduce : bool, optional
        Deprecated, as in PyTorch, and put into ``reduction``.
    reduction : str
        ``"mean"``, ``"sum"`` or ``"none"``.

    Shape
    -----
    input1, input2 : (N, D) or (D,), float32 or float64;  target : (N,) or (), 1 and -1

    References
    ----------
    Of PyTorch; its source names none.
    """

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction, size_average, reduce)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return functions.cosine_embedding_loss(input1, input2, target, self.margin, reduction=self.reduction)


class SoftMarginLoss(Loss):
    """log(1 + exp(-target input)), finite wherever the input is.

    Parameters
    ----------
    size_average, reduce : bool, optional
        Deprecated, as in PyTorch, and put into ``reduction``.
    reduction : str
        ``"mean"``, ``"sum"`` or ``"none"``.

    Shape
    -----
    input : any, float32 or float64;  target : like input, 1 and -1

    References
    ----------
    Of PyTorch; its source names none.
    """

    def __init__(self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean") -> None:
        super().__init__(reduction, size_average, reduce)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functions.soft_margin_loss(input, target, reduction=self.reduction)
