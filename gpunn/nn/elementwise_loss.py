"""Loss layers between two tensors of one shape."""

from __future__ import annotations

import math

from gpunn._tensor import Tensor
from gpunn.errors import UsageError
from gpunn.nn.loss import REDUCTIONS, Loss
from gpunn.ops.binary_cross_entropy import binary_cross_entropy
from gpunn.ops.binary_cross_entropy_with_logits import binary_cross_entropy_with_logits
from gpunn.ops.huber_loss import huber_loss
from gpunn.ops.l1_loss import l1_loss
from gpunn.ops.mse_loss import mse_loss
from gpunn.ops.smooth_l1_loss import smooth_l1_loss


class MSELoss(Loss):
    """Squared error (input - target)².

    Parameters
    ----------
    size_average, reduce : bool, optional
        Deprecated, as in PyTorch, and put into ``reduction``.
    reduction : str
        ``"mean"`` over all elements, ``"sum"``, ``"none"``: one loss for each; or, beyond PyTorch,
        ``"half_mean"``: 1/(2N) Σ‖input_n - target_n‖² over the N samples of the first axis.

    Shape
    -----
    input : any, float32 or float64;  target : like input

    Raises
    ------
    ShapeError, DTypeError
        If input and target differ; nothing is broadcast.
    UsageError
        If the reduction is unknown.

    References
    ----------
    Lecture topic L5.

    Examples
    --------
    >>> import gpunn
    >>> z, t = gpunn.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), gpunn.zeros(2, 3)
    >>> gpunn.nn.MSELoss(reduction="half_mean")(z, t).item()
    22.75
    """

    def __init__(self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean") -> None:
        super().__init__(reduction, size_average, reduce, (*REDUCTIONS, "half_mean"))

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return mse_loss(input, target, reduction=self.reduction)


class L1Loss(Loss):
    """Absolute error |input - target|; its gradient where they are equal is 0.

    Parameters
    ----------
    size_average, reduce : bool, optional
        Deprecated, as in PyTorch, and put into ``reduction``.
    reduction : str
        ``"mean"`` over all elements, ``"sum"``, or ``"none"``: one loss for each.

    Shape
    -----
    input : any, float32 or float64;  target : like input

    Raises
    ------
    ShapeError, DTypeError
        If input and target differ; nothing is broadcast.
    UsageError
        If the reduction is unknown.

    References
    ----------
    Lecture topic L5.
    """

    def __init__(self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean") -> None:
        super().__init__(reduction, size_average, reduce)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(Loss):
    """Absolute error, quadratic where it is below ``beta``: z² / (2 beta), else |z| - beta / 2.

    Parameters
    ----------
    size_average, reduce : bool, optional
        Deprecated, as in PyTorch, and put into ``reduction``.
    reduction : str
        ``"mean"`` over all elements, ``"sum"``, or ``"none"``: one loss for each.
    beta : float
        Where the quadratic part ends, at least 0.

    Shape
    -----
    input : any, float32 or float64;  target : like input

    Raises
    ------
    ShapeError, DTypeError
        If input and target differ; nothing is broadcast.
    UsageError
        If an option is invalid.

    References
    ----------
    Girshick 2015, arXiv:1504.08083; lecture topic L5.
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ) -> None:
        super().__init__(reduction, size_average, reduce)
        if not beta >= 0:
            raise UsageError(f"SmoothL1Loss: beta: expected a number of at least 0; got {beta!r}.")
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(Loss):
    """Squared error near 0, absolute error far from it: z² / 2 where |z| < delta, else delta (|z| - delta / 2).

    Parameters
    ----------
    reduction : str
        ``"mean"`` over all elements, ``"sum"``, or ``"none"``: one loss for each.
    delta : float
        Where the quadratic part ends; finite and more than 0.

    Shape
    -----
    input : any, float32 or float64;  target : like input

    Raises
    ------
    ShapeError, DTypeError
        If input and target differ; nothing is broadcast.
    UsageError
        If an option is invalid.

    References
    ----------
    Huber 1964, "Robust estimation of a location parameter"; lecture topic L5.
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        if not 0 < delta < math.inf:
            raise UsageError(f"HuberLoss: delta: expected a finite number of more than 0; got {delta!r}.")
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return huber_loss(input, target, self.reduction, self.delta)


class BCELoss(Loss):
    """Binary cross-entropy of probabilities: -(target log(input) + (1 - target) log(1 - input)).

    A logarithm below -100 counts as -100. :class:`BCEWithLogitsLoss` on the scores is exact.

    Parameters
    ----------
    weight : Tensor, optional
        Factor on each loss, of a shape that broadcasts to the input's; a buffer.
    size_average, reduce : bool, optional
        Deprecated, as in PyTorch, and put into ``reduction``.
    reduction : str
        ``"mean"`` over all elements, ``"sum"``, or ``"none"``: one loss for each.

    Shape
    -----
    input : any, from 0 to 1, float32 or float64;  target : like input

    Raises
    ------
    ShapeError, DTypeError
        If input and target differ; nothing but the weight is broadcast.
    UsageError
        If an input is not from 0 to 1, or the reduction is unknown.

    References
    ----------
    Lecture topic L5.
    """

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
        return binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(Loss):
    """Sigmoid and binary cross-entropy in one: exact for scores of any size.

    (1 - target) log(1 + exp(input)) + pos_weight · target log(1 + exp(-input))

    Parameters
    ----------
    weight : Tensor, optional
        Factor on each loss, of a shape that broadcasts to the input's; a buffer.
    size_average, reduce : bool, optional
        Deprecated, as in PyTorch, and put into ``reduction``.
    reduction : str
        ``"mean"`` over all elements, ``"sum"``, or ``"none"``: one loss for each.
    pos_weight : Tensor, optional
        Factor on the term for yes, of a shape that broadcasts to the input's; a buffer.

    Shape
    -----
    input : any, float32 or float64;  target : like input

    Raises
    ------
    ShapeError, DTypeError
        If input and target differ; nothing but the weights is broadcast.
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
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(reduction, size_average, reduce)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )
