"""PyTorch's oldest way to make a tensor, ``Tensor(2, 3)`` or ``Tensor([1, 2])``: of lengths, data, or a tensor."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._creation import empty, tensor
from gpunn._promotion import default_float
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, UsageError


def legacy(array: Any, device: Any, requires_grad: Any, lengths: tuple[Any, ...]) -> tuple[Any, Any, bool]:
    """The logical array, the device and ``requires_grad`` that the arguments of ``Tensor`` stand for."""
    if isinstance(array, int | np.integer):
        given = (array, device, requires_grad, *lengths)
        # What was not given stands there with its default.
        while len(given) > 1 and (given[-1] is False or given[-1] == "cpu"):
            given = given[:-1]
        made = empty(*given)
        return made.array, made.device, False
    if lengths:
        raise UsageError(f"Tensor: expected data, or lengths one by one; got {3 + len(lengths)} arguments.")
    if not isinstance(array, Tensor):
        made = tensor(array, dtype=default_float(), device=device)
    else:
        made = array.detach().clone()
        if made.dtype != default_float():
            raise DTypeError(f"Tensor: expected a tensor of {default_float()}; got {made.dtype}. Use .to(dtype).")
    return made.array, made.device, requires_grad
