"""Loss layers."""

from __future__ import annotations

from gpunn._tensor import Tensor
from gpunn.errors import UsageError
from gpunn.nn.module import Module
from gpunn.ops.softmax_cross_entropy import cross_entropy

_REDUCTIONS = ("mean", "sum", "none")


class CrossEntropyLoss(Module):
    """Softmax and cross-entropy on scores (logits): -log softmax(logits)[target].

    Parameters
    ----------
    ignore_index : int
        Rows with this target count neither in the loss nor in the mean.
    reduction : str
        ``"mean"`` over the rows, ``"sum"``, or ``"none"``: one loss per row.

    Shape
    -----
    logits : (N, classes) float32 or float64;  target : (N,) int64 or int32, 0 to classes - 1

    Raises
    ------
    ShapeError, DTypeError, LabelError
        If logits and target do not go together, or a label is not a class index.

    References
    ----------
    Lecture topic L3.
    """

    def __init__(self, *, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in _REDUCTIONS:
            raise UsageError(
                f"CrossEntropyLoss: reduction: expected one of {', '.join(_REDUCTIONS)}; got {reduction!r}."
            )
        self.ignore_index = ignore_index
        self.reduction = reduction

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(logits, target, self.reduction, ignore_index=self.ignore_index)
