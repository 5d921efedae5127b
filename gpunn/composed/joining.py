"""Putting tensors together and taking them apart: functions made of other ops."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from gpunn._creation import tensor, zeros
from gpunn._shared.axes import axis_of
from gpunn._shared.numbers import whole_number
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, UsageError, here
from gpunn.ops.cat import cat, stack
from gpunn.ops.expand import tensors_of
from gpunn.ops.getitem import narrow
from gpunn.ops.meshgrid import meshgrid
from gpunn.ops.mul import mul

# -- more axes, and joining -----------------------------------------------------------------------


def atleast_1d(*tensors: Any) -> Any:
    """Tensors with at least one axis.

    Parameters
    ----------
    *tensors : Tensor
        Or one sequence of them; for one tensor one is returned.
    """
    return _each("atleast_1d", tensors, lambda x: x if x.ndim else x.reshape(1))


def atleast_2d(*tensors: Any) -> Any:
    """Tensors with at least two axes: vectors become rows.

    Parameters
    ----------
    *tensors : Tensor
        Or one sequence of them; for one tensor one is returned.
    """
    return _each("atleast_2d", tensors, _as_rows)


def atleast_3d(*tensors: Any) -> Any:
    """Tensors with at least three axes: (N,) becomes (1, N, 1), and (M, N) becomes (M, N, 1).

    Parameters
    ----------
    *tensors : Tensor
        Or one sequence of them; for one tensor one is returned.
    """
    return _each("atleast_3d", tensors, _with_third_axis)


def _as_rows(x: Tensor) -> Tensor:
    return x if x.ndim > 1 else x.reshape(1, -1)


def _with_third_axis(x: Tensor) -> Tensor:
    return x if x.ndim > 2 else x.unsqueeze(2) if x.ndim == 2 else x.reshape(1, -1, 1)


def _each(op: str, tensors: Any, change: Any) -> Any:
    if len(tensors) == 1 and isinstance(tensors[0], Tensor):
        return change(tensors[0])
    return tuple(change(x) for x in tensors_of(op, tensors))


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors one beside the other: along the second axis, vectors along their only one.

    Parameters
    ----------
    tensors : sequence of Tensor
    """
    given = [x if x.ndim else x.reshape(1) for x in tensors_of("hstack", (tensors,))]
    return cat(given, 0 if given[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors one below the other: along the first axis, vectors as rows.

    Parameters
    ----------
    tensors : sequence of Tensor
    """
    return cat([_as_rows(x) for x in tensors_of("vstack", (tensors,))], 0)


def row_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Another name of :func:`gpunn.vstack`.

    Parameters
    ----------
    tensors : sequence of Tensor
    """
    return cat([_as_rows(x) for x in tensors_of("row_stack", (tensors,))], 0)


def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors one behind the other: along the third axis.

    Parameters
    ----------
    tensors : sequence of Tensor
    """
    return cat([_with_third_axis(x) for x in tensors_of("dstack", (tensors,))], 2)


def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors one beside the other, vectors as columns.

    Parameters
    ----------
    tensors : sequence of Tensor
    """
    return cat([x.reshape(-1, 1) if x.ndim < 2 else x for x in tensors_of("column_stack", (tensors,))], 1)


def block_diag(*tensors: Any) -> Tensor:
    """A matrix with these along its diagonal and 0 elsewhere; vectors are rows.

    Parameters
    ----------
    *tensors : Tensor
        With at most two axes.

    Raises
    ------
    ShapeError
        If one has more.
    """
    op = "block_diag"
    blocks = [x if x.ndim == 2 else x.reshape(1, -1) if x.ndim < 2 else x for x in tensors_of(op, tensors)]
    if any(x.ndim > 2 for x in blocks):
        raise ShapeError(f"{here(op)}: expected tensors with at most two axes; got {[x.shape for x in blocks]}.")
    columns, left, lines = sum(x.shape[1] for x in blocks), 0, []
    for x in blocks:
        rest = columns - left - x.shape[1]
        sides = [zeros(x.shape[0], n, dtype=x.dtype, device=x.device) for n in (left, rest)]
        lines.append(cat([sides[0], x, sides[1]], 1))
        left += x.shape[1]
    return cat(lines, 0)


def cartesian_prod(*tensors: Any) -> Tensor:
    """All ways to take one element of each vector, a row each; of one vector itself.

    Parameters
    ----------
    *tensors : Tensor, (N,)
        Of one dtype.

    Examples
    --------
    >>> import gpunn
    >>> cartesian_prod(gpunn.tensor([1, 2]), gpunn.tensor([3, 4])).tolist()
    [[1, 3], [1, 4], [2, 3], [2, 4]]
    """
    lines = tensors_of("cartesian_prod", tensors)
    if any(x.ndim != 1 for x in lines):
        raise ShapeError(f"{here('cartesian_prod')}: expected vectors; got shapes {[x.shape for x in lines]}.")
    if len(lines) == 1:
        return lines[0]
    return stack([grid.reshape(-1) for grid in meshgrid(*lines, indexing="ij")], 1)


def combinations(x: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All ways to take ``r`` elements of a vector, a row each, in order.

    Parameters
    ----------
    x : Tensor, (N,)
    r : int
        How many.
    with_replacement : bool
        Whether one may be taken several times.

    Raises
    ------
    ShapeError
        If x is no vector.
    """
    op, count = "combinations", whole_number("combinations", "r", r, 0)
    if x.ndim != 1:
        raise ShapeError(f"{here(op)}: expected a vector; got shape {x.shape}.")
    if not count:
        return x[:0]
    ways = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    chosen = [*ways(range(x.shape[0]), count)]
    if not chosen:
        return x[:0].unsqueeze(1).expand(0, count)
    return x[tensor(chosen, device=x.device)]


def kron(x: Tensor, other: Tensor) -> Tensor:
    """The Kronecker product: each element of x times all of ``other``, as blocks.

    Parameters
    ----------
    x, other : Tensor
        The one with fewer axes gets new ones in front.
    """
    axes = max(x.ndim, other.ndim)
    first, second = (t.reshape((1,) * (axes - t.ndim) + tuple(t.shape)) for t in (x, other))
    wide = first.reshape([n for length in first.shape for n in (length, 1)])
    inner = second.reshape([n for length in second.shape for n in (1, length)])
    return mul(wide, inner).reshape([n * m for n, m in zip(first.shape, second.shape, strict=True)])


# -- taking apart ---------------------------------------------------------------------------------


def tensor_split(x: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of x along an axis: as many as there are sections, the first ones longer, or between indices.

    Parameters
    ----------
    x : Tensor
    indices_or_sections : int, or sequence of int, or Tensor of them
        How many parts; or where each begins but the first.
    dim : int
        The axis.

    Raises
    ------
    ShapeError
        If x has no axes.
    UsageError
        If there are to be fewer than one part.
    """
    return _split("tensor_split", x, indices_or_sections, dim)


def hsplit(x: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """:func:`gpunn.tensor_split` along the second axis, of a vector its only one; into equal parts.

    Parameters
    ----------
    x : Tensor
    indices_or_sections : int or sequence of int
    """
    return _equal_split("hsplit", x, indices_or_sections, 0 if x.ndim == 1 else 1, 1)


def vsplit(x: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """:func:`gpunn.tensor_split` along the first axis; into equal parts.

    Parameters
    ----------
    x : Tensor
        With at least two axes.
    indices_or_sections : int or sequence of int
    """
    return _equal_split("vsplit", x, indices_or_sections, 0, 2)


def dsplit(x: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """:func:`gpunn.tensor_split` along the third axis; into equal parts.

    Parameters
    ----------
    x : Tensor
        With at least three axes.
    indices_or_sections : int or sequence of int
    """
    return _equal_split("dsplit", x, indices_or_sections, 2, 3)


def _equal_split(op: str, x: Tensor, parts: Any, axis: int, least: int) -> tuple[Tensor, ...]:
    if x.ndim < least:
        raise ShapeError(f"{here(op)}: expected a tensor with at least {least} axes; got shape {x.shape}.")
    if isinstance(parts, int) and parts > 0 and x.shape[axis] % parts:
        raise UsageError(
            f"{here(op)}: expected a divisor of the length {x.shape[axis]} of axis {axis}; got {parts}. "
            "gpunn.tensor_split makes unequal parts."
        )
    return _split(op, x, parts, axis)


def _split(op: str, x: Tensor, parts: Any, dim: int) -> tuple[Tensor, ...]:
    if not x.ndim:
        raise ShapeError(f"{here(op)}: expected a tensor with axes; got shape {x.shape}.")
    axis = axis_of(op, x, dim)
    length = x.shape[axis]
    if isinstance(parts, Tensor):
        parts = parts.tolist()
    if isinstance(parts, list | tuple):
        places = [whole_number(op, "indices_or_sections", place) for place in parts]
        edges = [0, *(max(place + length if place < 0 else min(place, length), 0) for place in places), length]
    else:
        count = whole_number(op, "indices_or_sections", parts, 1)
        small, longer = divmod(length, count)
        edges = [i * small + min(i, longer) for i in range(count + 1)]
    pairs = itertools.pairwise(edges)
    return tuple(narrow(x, axis, begin, max(end - begin, 0)) for begin, end in pairs)
