"""The arithmetic that a Tensor can do: operators, functions of its elements, reductions.

Each method hands over to an op of ``gpunn/ops``; the imports are inside because ops are written
with tensors. ``self`` is always a Tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpunn._tensor import Tensor


class MathMethods:
    """Mixed into :class:`gpunn.Tensor`."""

    __slots__ = ()

    def __add__(self: Any, other: Any) -> Tensor:
        from gpunn.ops.arithmetic import add

        return add(self, other)

    __radd__ = __add__

    def __sub__(self: Any, other: Any) -> Tensor:
        from gpunn.ops.arithmetic import sub

        return sub(self, other)

    def __rsub__(self: Any, other: Any) -> Tensor:
        from gpunn.ops.arithmetic import sub

        return sub(other, self)

    def __mul__(self: Any, other: Any) -> Tensor:
        from gpunn.ops.arithmetic import mul

        return mul(self, other)

    __rmul__ = __mul__

    def __truediv__(self: Any, other: Any) -> Tensor:
        from gpunn.ops.arithmetic import div

        return div(self, other)

    def __rtruediv__(self: Any, other: Any) -> Tensor:
        from gpunn.ops.arithmetic import div

        return div(other, self)

    def __neg__(self: Any) -> Tensor:
        from gpunn.ops.arithmetic import mul

        return mul(self, -1.0)

    def __matmul__(self: Any, other: Tensor) -> Tensor:
        from gpunn.ops.matmul import matmul

        return matmul(self, other)

    def sum(self: Any, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
        """Sum over ``dim`` (all axes if None)."""
        from gpunn.ops.reduce import sum_

        return sum_(self, dim, keepdim)

    def mean(self: Any, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
        """Mean over ``dim`` (all axes if None)."""
        from gpunn.ops.reduce import mean

        return mean(self, dim, keepdim)

    def argmax(self: Any, dim: int | None = None) -> Tensor:
        """Index of the first largest element along ``dim`` (of all elements if None), int64; no gradient."""
        from gpunn.ops.reduce import argmax

        return argmax(self, dim)
