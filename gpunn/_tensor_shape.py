"""A Tensor's shape methods: reshaping, reordering, repeating, indexing, splitting.

Each method delegates to an op in ``gpunn/ops``, imported inside the method because ops are written
with tensors. ``self`` is always a Tensor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gpunn._views import is_contiguous
from gpunn.errors import ShapeError, UsageError

if TYPE_CHECKING:
    from gpunn._tensor import Tensor


def _lengths(given: tuple[Any, ...]) -> tuple[Any, ...]:
    """``f(2, 3)`` and ``f((2, 3))`` alike."""
    return tuple(given[0]) if len(given) == 1 and isinstance(given[0], Sequence) else given


class ShapeMethods:
    """Mixed into :class:`gpunn.Tensor`."""

    __slots__ = ()

    # -- another shape ---------------------------------------------------------------------

    def reshape(self: Any, *shape: Any) -> Tensor:
        """Elements in logical order, in another shape; one length may be -1."""
        from gpunn.ops.reshape import reshape

        return reshape(self, _lengths(shape))

    def view(self: Any, *shape: Any) -> Tensor:
        """Like :meth:`reshape`, but an error where that would be no view."""
        from gpunn.ops.reshape import view

        return view(self, _lengths(shape))

    def reshape_as(self: Any, other: Tensor) -> Tensor:
        """Elements in logical order, in the shape of ``other``."""
        return self.reshape(other.shape)

    def view_as(self: Any, other: Tensor) -> Tensor:
        """Like :meth:`view`, in the shape of ``other``."""
        return self.view(other.shape)

    def flatten(self: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """Merge axes ``start_dim`` to ``end_dim``."""
        from gpunn.ops.reshape import flatten

        return flatten(self, start_dim, end_dim)

    def unflatten(self: Any, dim: int, sizes: Sequence[int]) -> Tensor:
        """Split an axis into several of lengths ``sizes``; one may be -1."""
        from gpunn.ops.reshape import unflatten

        return unflatten(self, dim, sizes)

    def ravel(self: Any) -> Tensor:
        """All elements along one axis."""
        from gpunn.ops.reshape import ravel

        return ravel(self)

    def squeeze(self: Any, dim: int | Sequence[int] | None = None) -> Tensor:
        """Remove axes of length 1: all, or only those in ``dim``."""
        from gpunn.ops.reshape import squeeze

        return squeeze(self, dim)

    def unsqueeze(self: Any, dim: int) -> Tensor:
        """A new axis of length 1 at ``dim``."""
        from gpunn.ops.reshape import unsqueeze

        return unsqueeze(self, dim)

    def contiguous(self: Any, memory_format: Any = None) -> Tensor:
        """Itself, or a copy if it is a strided view, such as a transpose."""
        from gpunn.ops.reshape import contiguous

        return contiguous(self)

    def is_contiguous(self: Any, memory_format: Any = None) -> bool:
        """Whether it is no strided view. Images in the order (N, C, H, W) count as contiguous, as users see them."""
        return is_contiguous(self)

    # -- another order ---------------------------------------------------------------------

    @property
    def T(self: Any) -> Tensor:
        """Transpose of a matrix."""
        if self.ndim > 2:
            raise ShapeError(f"T: expected at most a matrix; got shape {self.shape}. Use .mT or permute().")
        return self.t()

    @property
    def mT(self: Any) -> Tensor:
        """Transpose of the last two axes."""
        from gpunn.ops.permute import matrix_transpose

        return matrix_transpose(self)

    def t(self: Any) -> Tensor:
        """Transpose of a matrix; vectors and scalars are unchanged."""
        from gpunn.ops.permute import t

        return t(self)

    def permute(self: Any, *dims: Any) -> Tensor:
        """The axes in another order."""
        from gpunn.ops.permute import permute

        return permute(self, _lengths(dims))

    def transpose(self: Any, dim0: int, dim1: int) -> Tensor:
        """Exchange two axes."""
        from gpunn.ops.permute import transpose

        return transpose(self, dim0, dim1)

    def movedim(self: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
        """Move axes to other places; the others keep their order."""
        from gpunn.ops.permute import movedim

        return movedim(self, source, destination)

    def flip(self: Any, *dims: Any) -> Tensor:
        """Reverse the order along ``dims``."""
        from gpunn.ops.flip import flip

        return flip(self, _lengths(dims))

    # -- repeated, masked ------------------------------------------------------------------

    def expand(self: Any, *sizes: Any) -> Tensor:
        """Repeated along axes of length 1 and new ones in front; -1 keeps a length."""
        from gpunn.ops.expand import expand

        return expand(self, _lengths(sizes))

    def expand_as(self: Any, other: Tensor) -> Tensor:
        """Repeated to the shape of ``other``."""
        return self.expand(other.shape)

    def broadcast_to(self: Any, shape: Sequence[int]) -> Tensor:
        """Like :meth:`expand`."""
        from gpunn.ops.expand import broadcast_to

        return broadcast_to(self, shape)

    def repeat(self: Any, *repeats: Any) -> Tensor:
        """Tiled this many times along each axis."""
        from gpunn.ops.expand import repeat

        return repeat(self, _lengths(repeats))

    def tril(self: Any, diagonal: int = 0) -> Tensor:
        """The lower triangle of each matrix, 0 above."""
        from gpunn.ops.tril import tril

        return tril(self, diagonal)

    def triu(self: Any, diagonal: int = 0) -> Tensor:
        """The upper triangle of each matrix, 0 below."""
        from gpunn.ops.tril import triu

        return triu(self, diagonal)

    def where(self: Any, condition: Tensor, other: Any) -> Tensor:
        """These elements where ``condition`` holds, else those of ``other``."""
        from gpunn.ops.where import where

        return where(condition, self, other)

    def masked_fill(self: Any, mask: Tensor, value: Any) -> Tensor:
        """``value`` where the mask holds."""
        from gpunn.ops.where import masked_fill

        return masked_fill(self, mask, value)

    # -- parts -----------------------------------------------------------------------------

    def __getitem__(self: Any, key: Any) -> Tensor:
        from gpunn.ops.getitem import getitem

        return getitem(self, key)

    def __setitem__(self: Any, key: Any, value: Any) -> None:
        from gpunn.ops.setitem import setitem

        setitem(self, key, value)

    def __iter__(self: Any) -> Iterator[Tensor]:
        if not self.ndim:
            raise UsageError("iteration over a 0-d tensor; use .item() for its number.")
        return iter(self.unbind(0))

    def narrow(self: Any, dim: int, start: int, length: int) -> Tensor:
        """``length`` elements along ``dim`` from ``start`` on."""
        from gpunn.ops.getitem import narrow

        return narrow(self, dim, start, length)

    def select(self: Any, dim: int, index: int) -> Tensor:
        """The slice at one index along ``dim``, without that axis."""
        from gpunn.ops.getitem import select

        return select(self, dim, index)

    def index_select(self: Any, dim: int, index: Tensor) -> Tensor:
        """The slices at ``index`` along ``dim``."""
        from gpunn.ops.getitem import index_select

        return index_select(self, dim, index)

    def gather(self: Any, dim: int, index: Tensor) -> Tensor:
        """Elements at the positions along ``dim`` that ``index`` gives."""
        from gpunn.ops.gather import gather

        return gather(self, dim, index)

    def take_along_dim(self: Any, indices: Tensor, dim: int | None = None) -> Tensor:
        """:meth:`gather` with broadcasting along the other axes."""
        from gpunn.ops.gather import take_along_dim

        return take_along_dim(self, indices, dim)

    def masked_select(self: Any, mask: Tensor) -> Tensor:
        """The elements where the mask holds."""
        from gpunn.ops.nonzero import masked_select

        return masked_select(self, mask)

    def nonzero(self: Any, *, as_tuple: bool = False) -> Any:
        """Where the elements are not 0."""
        from gpunn.ops.nonzero import nonzero

        return nonzero(self, as_tuple=as_tuple)

    def split(self: Any, split_size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
        """Split along an axis into parts of one length, or of given lengths."""
        from gpunn.ops.split import split

        return split(self, split_size, dim)

    def chunk(self: Any, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
        """Split along an axis into at most ``chunks`` parts."""
        from gpunn.ops.split import chunk

        return chunk(self, chunks, dim)

    def unbind(self: Any, dim: int = 0) -> tuple[Tensor, ...]:
        """All slices along an axis, without that axis."""
        from gpunn.ops.split import unbind

        return unbind(self, dim)
