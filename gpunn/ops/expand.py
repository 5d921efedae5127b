"""Repeating along axes: expand, broadcast_to, repeat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunn._layout import physical_shape
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, here
from gpunn.ops.binary import aligned, reduce_to, repeat_to
from gpunn.ops.reshape import reshape
from gpunn.tape import record


def expand(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """x repeated along axes of length 1, and along new axes in front. A copy; the gradient is summed.

    Parameters
    ----------
    x : Tensor
    sizes : sequence of int
        The new shape; -1 keeps a length.

    Raises
    ------
    ShapeError
        If x does not broadcast to it.

    Examples
    --------
    >>> import gpunn
    >>> expand(gpunn.tensor([[1.0], [2.0]]), (-1, 3)).tolist()
    [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]
    """
    return _expand("expand", x, sizes)


def _expand(op: str, x: Tensor, sizes: Sequence[int]) -> Tensor:
    wanted, new = tuple(int(n) for n in sizes), len(sizes) - x.ndim
    old = (*(None for _ in range(new)), *x.shape)
    shape = tuple(n if m is None or n != -1 else m for n, m in zip(wanted, old, strict=False))
    if new < 0 or any(n < 0 or m not in (None, 1, n) for n, m in zip(shape, old, strict=True)):
        raise ShapeError(f"{here(op)}: expected a shape that {x.shape} broadcasts to; got {wanted}.")
    if shape == x.shape:
        return reshape(x, shape)
    device, old_shape = x.device, x.shape
    y = repeat_to(device, aligned(x, len(shape)), physical_shape(shape))

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (reduce_to(device, dy, old_shape),)

    # Where all new axes have length 1 the gradient is dy itself in another shape.
    return record(op, y, device, (x,), backward, passes_on=y.size == x.numel())


def broadcast_to(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Like :func:`expand`.

    Parameters
    ----------
    x : Tensor
    shape : sequence of int
        The new shape; -1 keeps a length.
    """
    return _expand("broadcast_to", x, shape)


def repeat(x: Tensor, repeats: Sequence[int]) -> Tensor:
    """x tiled ``repeats[a]`` times along axis a.

    Parameters
    ----------
    x : Tensor
    repeats : sequence of int
        One for each axis; extra ones make new axes in front.

    Raises
    ------
    ShapeError
        If there are fewer than axes, or one is negative.

    Examples
    --------
    >>> import gpunn
    >>> repeat(gpunn.tensor([1, 2]), (2, 2)).tolist()
    [[1, 2, 1, 2], [1, 2, 1, 2]]
    """
    times, new = tuple(int(n) for n in repeats), len(repeats) - x.ndim
    if new < 0 or any(n < 0 for n in times):
        raise ShapeError(f"{here('repeat')}: expected a count for each axis of {x.shape}; got {times}.")
    shape = (*(1,) * new, *x.shape)
    apart = [n for length in shape for n in (1, length)]
    wide = [n for pair in zip(times, shape, strict=True) for n in pair]
    together = [count * length for count, length in zip(times, shape, strict=True)]
    return reshape(_expand("repeat", reshape(x, apart), wide), together)
