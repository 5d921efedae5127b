"""A Tensor's reductions, over all axes or some.

Each method delegates to an op in ``gpunn/ops``. ``dim`` is an axis or several, all if None; ``keepdim`` keeps them
with length 1. ``self`` is always a Tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gpunn._tensor_math import ops

if TYPE_CHECKING:
    from gpunn._tensor import Tensor

Axes = int | Sequence[int] | None


class ReductionMethods:
    """Mixed into :class:`gpunn.Tensor`."""

    __slots__ = ()

    def sum(self: Any, dim: Axes = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
        """Sum; integers and bools add up in int64."""
        return ops("sum").sum_(self, dim, keepdim, dtype=dtype)

    def mean(self: Any, dim: Axes = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
        """Mean."""
        return ops("sum").mean(self, dim, keepdim, dtype=dtype)

    def prod(self: Any, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
        """Product."""
        return ops("prod").prod(self, dim, keepdim, dtype=dtype)

    def var(
        self: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: float | None = None
    ) -> Tensor:
        """Variance; divides by the number of elements - correction, 1 by default."""
        return ops("var").var(self, dim, unbiased, keepdim, correction=correction)

    def std(
        self: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: float | None = None
    ) -> Tensor:
        """Standard deviation: the root of :meth:`var`."""
        return ops("var").std(self, dim, unbiased, keepdim, correction=correction)

    def norm(self: Any, p: Any = "fro", dim: Axes = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
        """The p-norm of the elements; p is 2 if not given."""
        return ops("norm").norm(self, p, dim, keepdim, dtype=dtype)

    def max(self: Any, dim: Any = None, keepdim: bool = False) -> Any:
        """Largest element; with an axis (values, indices); with a tensor the larger of both, element by element."""
        return ops("max").max_(self, dim, keepdim)

    def min(self: Any, dim: Any = None, keepdim: bool = False) -> Any:
        """Smallest element; with an axis (values, indices); with a tensor the smaller of both, element by element."""
        return ops("max").min_(self, dim, keepdim)

    def amax(self: Any, dim: Axes = None, keepdim: bool = False) -> Tensor:
        """Largest element; ties share the gradient."""
        return ops("max").amax(self, dim, keepdim)

    def amin(self: Any, dim: Axes = None, keepdim: bool = False) -> Tensor:
        """Smallest element; ties share the gradient."""
        return ops("max").amin(self, dim, keepdim)

    def argmax(self: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
        """Index of the first largest element, int64; among all elements if ``dim`` is None."""
        return ops("max").argmax(self, dim, keepdim)

    def argmin(self: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
        """Index of the first smallest element, int64; among all elements if ``dim`` is None."""
        return ops("max").argmin(self, dim, keepdim)

    def all(self: Any, dim: Axes = None, keepdim: bool = False) -> Tensor:
        """Whether no element is 0."""
        return ops("compare").all_(self, dim, keepdim)

    def any(self: Any, dim: Axes = None, keepdim: bool = False) -> Tensor:
        """Whether any element is not 0."""
        return ops("compare").any_(self, dim, keepdim)
