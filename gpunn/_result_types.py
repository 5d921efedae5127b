"""Which dtype a result has, asked beforehand."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn import _promotion
from gpunn._interop import dtype_of
from gpunn._promotion import category, common_dtype, promoted
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError


def promote_types(type1: Any, type2: Any) -> np.dtype:
    """The smallest dtype that holds both; of an integer and a floating one the floating one, whatever its size.

    Parameters
    ----------
    type1, type2 : dtype

    Returns
    -------
    numpy.dtype

    Examples
    --------
    >>> import gpunn
    >>> gpunn.promote_types(gpunn.int64, gpunn.float32)
    dtype('float32')
    """
    return promoted(dtype_of("promote_types", type1), dtype_of("promote_types", type2))


def result_type(tensor1: Any, tensor2: Any) -> np.dtype:
    """The dtype of a sum of the two: a tensor's counts more than a scalar tensor's, and that more than a number's.

    Parameters
    ----------
    tensor1, tensor2 : Tensor or number

    Returns
    -------
    numpy.dtype

    Raises
    ------
    DTypeError
        If one is neither a tensor nor a number.

    Examples
    --------
    >>> import gpunn
    >>> gpunn.result_type(gpunn.ones(2, dtype="int32"), 1.5)
    dtype('float32')
    """
    tensors = [v for v in (tensor1, tensor2) if isinstance(v, Tensor)]
    numbers = [category(v) for v in (tensor1, tensor2) if not isinstance(v, Tensor)]
    known = [c for c in numbers if c is not None]
    if len(known) < len(numbers):
        found = ", ".join(type(v).__name__ for v in (tensor1, tensor2))
        raise DTypeError(f"result_type: expected tensors and numbers; got {found}.")
    return common_dtype(tensors, known)


def can_cast(from_: Any, to: Any) -> bool:
    """Whether in-place ops convert from one dtype to another: not from floating to integer, nor from that to bool.

    Parameters
    ----------
    from_, to : dtype

    Examples
    --------
    >>> import gpunn
    >>> gpunn.can_cast(gpunn.float64, gpunn.float32), gpunn.can_cast(gpunn.float32, gpunn.int64)
    (True, False)
    """
    return _promotion.can_cast(dtype_of("can_cast", from_), dtype_of("can_cast", to))
