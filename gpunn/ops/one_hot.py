"""Class indices as rows of 0 and 1 (``kernels/extremum.cu`` places the ones)."""

from __future__ import annotations

from gpunn._layout import logical
from gpunn._shared.index_keys import checked_index
from gpunn._shared.numbers import whole_number
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, UsageError, here
from gpunn.ops.compare import compare
from gpunn.ops.max import place_along


def one_hot(x: Tensor, num_classes: int = -1) -> Tensor:
    """1 at each class index along a new last axis, 0 elsewhere.

    Parameters
    ----------
    x : Tensor
        Class indices, int64 or int32, none negative.
    num_classes : int
        The new axis' length. -1 means one more than the largest index, for which the values are read: not possible in
        a captured step.

    Returns
    -------
    Tensor
        int64, with an axis of ``num_classes`` more than x.

    Raises
    ------
    DTypeError
        If x is not of integers.
    UsageError
        If ``num_classes`` is neither -1 nor at least 1, or is -1 for no indices.
    RangeError
        If an index is negative or not below ``num_classes``.

    Examples
    --------
    >>> import gpunn
    >>> one_hot(gpunn.tensor([0, 2]), 3).tolist()
    [[1, 0, 0], [0, 0, 1]]
    """
    op = "one_hot"
    if x.dtype.name not in ("int64", "int32"):
        raise DTypeError(f"{here(op)}: expected class indices, int64 or int32; got {x.dtype}. Convert with .long().")
    classes = whole_number(op, "num_classes", num_classes)
    if classes == -1:
        if not x.numel():
            raise UsageError(f"{here(op)}: num_classes: expected a number for an empty tensor; got -1.")
        classes = max(int(x.max().item()) + 1, 1)
    if classes < (1 if x.numel() else 0):
        raise UsageError(f"{here(op)}: num_classes: expected -1 or at least 1; got {num_classes}.")
    device = x.device
    places = Tensor._of_physical(checked_index(op, device, x.reshape(-1), 0, classes, negative=False), device)
    column = places.reshape(-1, 1)
    ones = compare("eq", column, column).float()  # made on the device: a captured step copies nothing from the host
    y = place_along(device, ones.array, logical(column._physical), 1, classes)
    return Tensor._of_physical(y, device).long().reshape(*x.shape, classes)
