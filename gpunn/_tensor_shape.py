"""What a Tensor can do to its axes: views, reorderings, indexing.

Each method hands over to an op of ``gpunn/ops``; the imports are inside because ops are written
with tensors. ``self`` is always a Tensor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpunn._tensor import Tensor


class ShapeMethods:
    """Mixed into :class:`gpunn.Tensor`."""

    __slots__ = ()

    @property
    def T(self: Any) -> Tensor:
        """Transpose of a matrix."""
        from gpunn.ops.shape import transpose

        return transpose(self)

    def reshape(self: Any, *shape: Any) -> Tensor:
        """Elements in logical order, in another shape; one length may be -1."""
        from gpunn.ops.shape import reshape

        return reshape(self, shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape)

    view = reshape

    def flatten(self: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """Merge axes ``start_dim`` to ``end_dim``."""
        from gpunn.ops.shape import flatten

        return flatten(self, start_dim, end_dim)
