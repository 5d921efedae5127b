"""What occurs in a tensor, and how often: unique, bincount, count_nonzero.

The size of the result of the first two depends on the values, which are read: a captured step refuses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn._creation import tensor
from gpunn._device import same_device
from gpunn._half import FLOATING
from gpunn._shared.axes import axis_of
from gpunn._shared.numbers import whole_number
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, ShapeError, UsageError, here
from gpunn.ops.compare import compare
from gpunn.ops.sum import sum_


def unique(
    x: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The different elements, or slices along ``dim``, in order; no gradient. NumPy finds them on the host.

    Parameters
    ----------
    x : Tensor
    sorted : bool
        For PyTorch's programs: they always are.
    return_inverse : bool
        Return for each element its index in the result too.
    return_counts : bool
        Return how often each occurs too.
    dim : int, optional
        Compare slices along this axis.

    Returns
    -------
    Tensor, or tuple of Tensor
        With what was asked for, in this order; indices and counts are int64.

    Examples
    --------
    >>> import gpunn
    >>> unique(gpunn.tensor([3, 1, 3])).tolist()
    [1, 3]
    """
    axis = None if dim is None else axis_of("unique", x, dim)
    array = x.detach().numpy()
    kinds, inverse, counts = np.unique(array, return_inverse=True, return_counts=True, axis=axis, equal_nan=False)
    found = [kinds]
    if return_inverse:
        found.append(inverse.reshape(x.shape if axis is None else (-1,)).astype(np.int64))
    if return_counts:
        found.append(counts.astype(np.int64))
    made = tuple(tensor(each, device=x.device) for each in found)
    return made[0] if len(made) == 1 else made


def bincount(x: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each number from 0 on occurs, or the sum of its weights; no gradient. NumPy counts on the host.

    Parameters
    ----------
    x : Tensor, (N,)
        Integers, none negative.
    weights : Tensor, (N,), optional
        Added up instead of ones.
    minlength : int
        The least length of the result.

    Returns
    -------
    Tensor
        int64; with weights their dtype, float64 for integers.

    Raises
    ------
    UsageError, ShapeError, DTypeError
        If a number is negative, or shapes or dtypes are others.

    Examples
    --------
    >>> import gpunn
    >>> bincount(gpunn.tensor([0, 2, 2])).tolist()
    [1, 0, 2]
    """
    op = "bincount"
    if x.dtype.kind not in "iu":
        raise DTypeError(f"{here(op)}: expected integers; got {x.dtype}. Convert with .long().")
    if x.ndim != 1 or (weights is not None and weights.shape != x.shape):
        raise ShapeError(
            f"{here(op)}: expected numbers (N,), and weights of that shape; got {x.shape}"
            f"{'' if weights is None else f' and {weights.shape}'}."
        )
    least, array = whole_number(op, "minlength", minlength, 0), x.numpy()
    if array.size and array.min() < 0:
        raise UsageError(f"{here(op)}: expected numbers of at least 0; got {int(array.min())}.")
    if weights is None:
        return tensor(np.bincount(array, minlength=least).astype(np.int64), device=x.device)
    same_device(op, x.device, weights.device)
    sums = np.bincount(array, weights.detach().numpy(), least)
    return tensor(sums.astype(weights.dtype if weights.dtype.kind in FLOATING else np.float64), device=x.device)


def count_nonzero(x: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """How many elements are not 0; NaN is not.

    Parameters
    ----------
    x : Tensor
    dim : int or sequence of int, optional
        Axes; all if None.

    Returns
    -------
    Tensor
        int64.
    """
    return sum_(compare("ne", x.detach(), 0), dim)
