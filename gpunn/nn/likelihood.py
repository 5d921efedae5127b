"""Losses of distributions and of margins between classes, as layers."""

from __future__ import annotations

from collections.abc import Callable

from gpunn._tensor import Tensor
from gpunn.composed import likelihood as functions
from gpunn.errors import UsageError
from gpunn.nn.loss import Loss
from gpunn.nn.similarity import PairwiseDistance


class GaussianNLLLoss(Loss):
    """(log(var) + (input - target)^2 / var) / 2: of a target from a Gaussian with mean ``input``.

    Parameters
    ----------
    full : bool
        Add log(2 pi) / 2.
    eps : float
        The least variance.
    reduction : str
        ``"mean"``, ``"sum"`` or ``"none"``.

    Shape
    -----
    input : any, floating;  target : like input;  var : like input, or without its last axis

    References
    ----------
    Nix, Weigend 1994, "Estimating the mean and variance of the target probability distribution".
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.full = full
        self.eps = eps

    def forward(self, input: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
        return functions.gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)


class PoissonNLLLoss(Loss):
    """exp(input) - target input: of a count from a Poisson distribution with mean exp(input).

    Parameters
    ----------
    log_input : bool
        With False the input is the mean itself.
    full : bool
        Add Stirling's approximation of log(target!).
    size_average, reduce : bool, optional
        Deprecated, as in PyTorch, and put into ``reduction``.
    eps : float
        Keeps the logarithm finite.
    reduction : str
        ``"mean"``, ``"sum"`` or ``"none"``.

    Shape
    -----
    input : any, floating;  target : like input

    References
    ----------
    Of PyTorch; its source names none.
    """

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: bool | None = None,
        eps: float = 1e-8,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction, size_average, reduce)
        self.log_input = log_input
        self.full = full
        self.eps = eps

    def forward(self, log_input: Tensor, target: Tensor) -> Tensor:
        return functions.poisson_nll_loss(
            log_input, target, self.log_input, self.full, eps=self.eps, reduction=self.reduction
        )


class MultiLabelSoftMarginLoss(Loss):
    """Binary cross-entropy of scores, as the mean over the classes.

    Parameters
    ----------
    weight : Tensor, (C,), optional
        Factors of the classes; a buffer.
    size_average, reduce : bool, optional
        Deprecated, as in PyTorch, and put into ``reduction``.
    reduction : str
        ``"mean"``, ``"sum"`` or ``"none"``.

    Shape
    -----
    input : (..., C), floating;  target : like input, 0 and 1

    References
    ----------
    Of PyTorch; its source names none.
    """

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction, size_average, reduce)
        self.register_buffer("weight", weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functions.multilabel_soft_margin_loss(input, target, self.weight, reduction=self.reduction)


class MultiMarginLoss(Loss):
    """The mean over the other classes of max(margin - input[target] + input[i], 0)^p.

    Parameters
    ----------
    p : int
        1 or 2.
    margin : float
        How far the right class is to be ahead.
    weight : Tensor, (C,), optional
        Factors of the right classes; a buffer.
    size_average, reduce : bool, optional
        Deprecated, as in PyTorch, and put into ``reduction``.
    reduction : str
        ``"mean"``, ``"sum"`` or ``"none"``.

    Shape
    -----
    input : (N, C) or (C,), floating;  target : (N,) or (), int64 or int32

    Raises
    ------
    UsageError
        If ``p`` is neither 1 nor 2.

    References
    ----------
    Crammer, Singer 2001, "On the algorithmic implementation of multiclass kernel-based vector machines".
    """

    weight: Tensor | None

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction, size_average, reduce)
        if p not in (1, 2):
            raise UsageError(f"MultiMarginLoss: p: expected 1 or 2; got {p!r}.")
        self.p = p
        self.margin = margin
        self.register_buffer("weight", weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functions.multi_margin_loss(input, target, self.p, self.margin, self.weight, reduction=self.reduction)


class TripletMarginWithDistanceLoss(Loss):
    """max(distance(anchor, positive) - distance(anchor, negative) + margin, 0) with a distance of one's own.

    Parameters
    ----------
    distance_function : callable, optional
        Of two tensors; the pairwise distance if not given.
    margin : float
        How much farther the negative is to be; above 0.
    swap : bool
        Whether the distance between positive and negative counts where it is the smaller one.
    reduction : str
        ``"mean"``, ``"sum"`` or ``"none"``.

    Shape
    -----
    anchor, positive, negative : (N, ...), floating

    References
    ----------
    Balntas, Riba, Ponsa, Mikolajczyk 2016, "Learning local feature descriptors with triplets and shallow convolutional
    neural networks".
    """

    def __init__(
        self,
        *,
        distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        if not margin > 0:
            raise UsageError(f"TripletMarginWithDistanceLoss: margin: expected a number above 0; got {margin!r}.")
        self.distance_function = PairwiseDistance() if distance_function is None else distance_function
        self.margin = margin
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return functions.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )
