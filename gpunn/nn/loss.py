"""Loss layers over classes; those between two tensors of one shape are in ``elementwise_loss``."""

from __future__ import annotations

from gpunn._shared.losses import reduction_of
from gpunn._tensor import Tensor
from gpunn.errors import UsageError
from gpunn.nn.module import Module
from gpunn.ops.cross_entropy import cross_entropy
from gpunn.ops.nll_loss import nll_loss
from gpunn.ops.probability_cross_entropy import probability_cross_entropy

REDUCTIONS = ("mean", "sum", "none")


class Loss(Module):
    """A layer with a ``reduction``, checked when it is made."""

    def __init__(
        self,
        reduction: str,
        size_average: bool | None = None,
        reduce: bool | None = None,
        allowed: tuple[str, ...] = REDUCTIONS,
    ) -> None:
        super().__init__()
        reduction = reduction_of(type(self).__name__, reduction, size_average, reduce)
        if reduction not in allowed:
            raise UsageError(
                f"{type(self).__name__}: reduction: expected one of {', '.join(allowed)}; got {reduction!r}."
            )
        self.reduction = reduction


class CrossEntropyLoss(Loss):
    """Softmax and cross-entropy on scores: -log softmax(input)[target].

    Parameters
    ----------
    weight : Tensor, (C,), optional
        Factor on each class's losses; a buffer.
    size_average, reduce : bool, optional
        Deprecated, as in PyTorch, and put into ``reduction``.
    ignore_index : int
        Labels of this value count neither in the loss nor in the mean.
    reduction : str
        ``"mean"`` over the labels, weighted by their classes' weights; ``"sum"``; or ``"none"``: one loss for each.
    label_smoothing : float
        From 0 to 1: this much of each row of the target is spread evenly over the classes.

    Shape
    -----
    input : (N, C), (C,) or (N, C, d1, ...) float32 or float64;  target : (N,), () or (N, d1, ...) int64 or int32,
    0 to C - 1, or like input: probabilities of the classes

    Raises
    ------
    ShapeError, DTypeError, LabelError
        If input and target are incompatible, or a label is not a class index.
    UsageError
        If an option is invalid.

    References
    ----------
    Lecture topic L3; label smoothing: Szegedy et al. 2015, arXiv:1512.00567.

    Examples
    --------
    >>> import gpunn
    >>> scores = gpunn.tensor([[0.0, 1e4, 0.0], [2.0, 2.0, 2.0]])
    >>> gpunn.nn.CrossEntropyLoss(reduction="none")(scores, gpunn.tensor([0, 2])).tolist()
    [10000.0, 1.0986123085021973]
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction, size_average, reduce)
        if not 0 <= label_smoothing <= 1:
            raise UsageError(
                f"{type(self).__name__}: label_smoothing: expected a number from 0 to 1; got {label_smoothing!r}."
            )
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(Loss):
    """Negative log-likelihood on log-probabilities: -input[target].

    Parameters
    ----------
    weight : Tensor, (C,), optional
        Factor on each class's losses; a buffer.
    size_average, reduce : bool, optional
        Deprecated, as in PyTorch, and put into ``reduction``.
    ignore_index : int
        Labels of this value count neither in the loss nor in the mean.
    reduction : str
        ``"mean"`` over the labels, weighted by their classes' weights; ``"sum"``; or ``"none"``: one loss for each.

    Shape
    -----
    input : (N, C), (C,) or (N, C, d1, ...) float32 or float64;  target : (N,), () or (N, d1, ...) int64 or int32

    Raises
    ------
    ShapeError, DTypeError, LabelError
        If input and target are incompatible, or a label is not a class index.
    UsageError
        If the reduction is unknown.

    References
    ----------
    Lecture topic L5.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction, size_average, reduce)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return nll_loss(input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class ProbabilityCrossEntropyLoss(Loss):
    """Cross-entropy on probabilities, as after a :class:`Softmax`: -log(input[target]).

    The probability is clamped to at least the smallest normal number of its dtype, so that loss and gradient
    are finite. It is never fused with a softmax before it; :class:`CrossEntropyLoss` is both in one.

    Parameters
    ----------
    weight : Tensor, (C,), optional
        Factor on each class's losses; a buffer.
    ignore_index : int
        Labels of this value count neither in the loss nor in the mean.
    reduction : str
        ``"mean"`` over the labels, weighted by their classes' weights; ``"sum"``; or ``"none"``: one loss for each.

    Shape
    -----
    input : (N, C), (C,) or (N, C, d1, ...) float32 or float64;  target : (N,), () or (N, d1, ...) int64 or int32

    Raises
    ------
    ShapeError, DTypeError, LabelError
        If input and target are incompatible, or a label is not a class index.
    UsageError
        If the reduction is unknown.

    References
    ----------
    Lecture topic L2.
    """

    def __init__(self, weight: Tensor | None = None, *, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return probability_cross_entropy(
            input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction
        )
