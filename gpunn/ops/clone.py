"""A copy of a tensor, on the tape."""

from __future__ import annotations

from gpunn._half import FLOATING
from gpunn._tensor import Tensor
from gpunn.ops.accumulate import copy
from gpunn.ops.cast import cast
from gpunn.tape import record


def clone(x: Tensor) -> Tensor:
    """A copy of x, on the tape.

    Parameters
    ----------
    x : Tensor
    """
    device = x.device
    if x.dtype.kind not in FLOATING:
        return Tensor._of_physical(cast(device, x._physical, x.dtype), device)
    return record("clone", copy(device, x._physical), device, (x,), lambda dy, needs: (dy,), passes_on=True)
