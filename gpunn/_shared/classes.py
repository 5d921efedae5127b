"""What losses over classes share: scores as a matrix with a row for each label, and the checks of both.

Scores are (C,), (N, C) or (N, C, d1, ...), with labels (), (N,) or (N, d1, ...). As rows they are
(N · d1 · ..., C); for images, which are stored channels last, that is a reshape and costs nothing.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn._device import Device, same_device
from gpunn._half import FLOATING
from gpunn._layout import physical_shape
from gpunn._shared.losses import check_constant
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, LabelError, ShapeError, here
from gpunn.ops.permute import batched_transpose, to_logical_order, to_physical_order
from gpunn.primitive import primitive

# -- checks ---------------------------------------------------------------------------------------


def check_scores(op: str, input: Tensor, target: Tensor, weight: Tensor | None) -> None:
    """Raise unless input is floating with classes, on the target's device, and weight matches them."""
    if input.dtype.kind not in FLOATING:
        raise DTypeError(f"{here(op)}: input: expected a floating dtype; got {input.dtype}. Convert with .float().")
    if input.ndim == 0 or classes_of(input.shape) == 0:
        raise ShapeError(f"{here(op)}: expected input (N, C), (C,) or (N, C, d1, ...) with C > 0; got {input.shape}.")
    same_device(op, input.device, target.device)
    if weight is not None:
        check_constant(op, "weight", weight, input)
        if weight.shape != (classes_of(input.shape),):
            raise ShapeError(
                f"{here(op)}: weight: expected one number for each of the {classes_of(input.shape)} classes; "
                f"got shape {weight.shape}."
            )


def check_labels(op: str, input: Tensor, target: Tensor) -> None:
    """Raise unless the target has the shape and dtype of class indices for the input."""
    expected = label_shape(input.shape)
    if target.shape != expected:
        raise ShapeError(
            f"{here(op)}: expected for input {input.shape} a target of shape {expected}; got {target.shape}. "
            "The target holds one class index for each row, not a one-hot vector."
        )
    if target.dtype not in (np.int32, np.int64):
        raise DTypeError(
            f"{here(op)}: target: expected class indices of int64 or int32; got {target.dtype}. "
            "Convert with target.to('int64')."
        )


def require_class_indices(op: str, target: Any, counts: Any, classes: int) -> None:
    """Raise LabelError for the first label that counts and is not an index of a class."""
    wrong = counts & ((target < 0) | (target >= classes))
    if wrong.any():
        at = int(wrong.argmax())
        raise LabelError(
            f"{here(op)}: label {int(target[at])} at position {at} is not a class index: the scores have "
            f"{classes} classes, 0 to {classes - 1}. Check the dataset, or the width of the last layer."
        )


# -- shapes ---------------------------------------------------------------------------------------


def classes_of(shape: tuple[int, ...]) -> int:
    """C, given the logical shape of the scores."""
    return shape[0] if len(shape) == 1 else shape[1]


def label_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The logical shape of the labels, given that of the scores: without C."""
    return (*shape[:1], *shape[2:]) if len(shape) > 1 else ()


def to_rows(device: Device, x: Any, shape: tuple[int, ...]) -> Any:
    """The physical scores of logical ``shape`` as a matrix, a row of C for each label."""
    c = classes_of(shape)
    if len(shape) in (1, 2, 4):
        return x.reshape(math.prod(label_shape(shape)), c)
    if c > 1:
        x = batched_transpose(device, x.reshape(shape[0], c, math.prod(shape[2:])))
    return x.reshape(math.prod(label_shape(shape)), c)


def from_rows(device: Device, rows: Any, shape: tuple[int, ...]) -> Any:
    """The inverse of :func:`to_rows`."""
    c = classes_of(shape)
    if len(shape) not in (1, 2, 4) and c > 1:
        rows = batched_transpose(device, rows.reshape(shape[0], math.prod(shape[2:]), c))
    return rows.reshape(physical_shape(shape))


@primitive(returns=("y",))
def elements_in_logical_order(xp: Any, x: Any) -> Any:
    """The elements of a physical array of class indices, with 4 axes, as a vector in logical order."""
    return xp.ascontiguousarray(x.transpose(0, 3, 1, 2)).reshape(-1)


@elements_in_logical_order.kernel
def _(device: Device, x: Any) -> Any:
    # The elements are only copied, so any dtype of their size will do.
    bits = x.view({4: np.float32, 8: np.float64}[x.dtype.itemsize])
    return to_logical_order(device, bits).view(x.dtype).reshape(-1)


def flat_labels(target: Tensor) -> Any:
    """The labels as a vector, one for each row of the scores."""
    if target.ndim == 4:
        return elements_in_logical_order(target.device, target._physical)
    return target._physical.reshape(-1)


def of_label_shape(device: Device, losses: Any, shape: tuple[int, ...]) -> Any:
    """A vector with a number for each row, as the physical array that belongs to scores of ``shape``."""
    return to_physical_order(device, losses.reshape(label_shape(shape)))


def flat_gradient(device: Device, dy: Any) -> Any:
    """The inverse of :func:`of_label_shape`."""
    return to_logical_order(device, dy).reshape(-1)
