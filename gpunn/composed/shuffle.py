"""Channels exchanged with pixels or with one another."""

from __future__ import annotations

from gpunn._shared.numbers import whole_number
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, UsageError, here
from gpunn.ops.permute import permute
from gpunn.ops.reshape import reshape


def pixel_shuffle(x: Tensor, upscale_factor: int) -> Tensor:
    """Squares of r x r pixels made of groups of r² channels.

    Parameters
    ----------
    x : Tensor, (..., C r², H, W)
    upscale_factor : int
        r.

    Returns
    -------
    Tensor, (..., C, H r, W r)

    Raises
    ------
    ShapeError
        If x has less than three axes, or other channels.
    UsageError
        If the factor is not a positive whole number.

    Examples
    --------
    >>> import gpunn
    >>> pixel_shuffle(gpunn.arange(4).reshape(4, 1, 1), 2).tolist()
    [[[0, 1], [2, 3]]]

    References
    ----------
    Shi and others 2016, arXiv:1609.05158.
    """
    op = "pixel_shuffle"
    r = whole_number(op, "upscale_factor", upscale_factor, 1)
    if x.ndim < 3 or x.shape[-3] % (r * r):
        raise ShapeError(f"{here(op)}: expected x (..., C, H, W) with C a multiple of {r * r}; got {x.shape}.")
    *batch, c, h, w = x.shape
    n = len(batch)
    y = reshape(x, (*batch, c // (r * r), r, r, h, w))
    y = permute(y, (*range(n), n, n + 3, n + 1, n + 4, n + 2))
    return reshape(y, (*batch, c // (r * r), h * r, w * r))


def pixel_unshuffle(x: Tensor, downscale_factor: int) -> Tensor:
    """Groups of r² channels made of squares of r x r pixels: the inverse of :func:`pixel_shuffle`.

    Parameters
    ----------
    x : Tensor, (..., C, H r, W r)
    downscale_factor : int
        r.

    Returns
    -------
    Tensor, (..., C r², H, W)

    Raises
    ------
    ShapeError
        If x has less than three axes, or a height or width that is no multiple of r.
    UsageError
        If the factor is not a positive whole number.

    Examples
    --------
    >>> import gpunn
    >>> pixel_unshuffle(gpunn.tensor([[[0, 1], [2, 3]]]), 2).tolist()
    [[[0]], [[1]], [[2]], [[3]]]

    References
    ----------
    Shi and others 2016, arXiv:1609.05158.
    """
    op = "pixel_unshuffle"
    r = whole_number(op, "downscale_factor", downscale_factor, 1)
    if x.ndim < 3 or x.shape[-2] % r or x.shape[-1] % r:
        raise ShapeError(f"{here(op)}: expected x (..., C, H, W) with H and W multiples of {r}; got {x.shape}.")
    *batch, c, h, w = x.shape
    n = len(batch)
    y = reshape(x, (*batch, c, h // r, r, w // r, r))
    y = permute(y, (*range(n), n, n + 2, n + 4, n + 1, n + 3))
    return reshape(y, (*batch, c * r * r, h // r, w // r))


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """The channels of several groups taken in turn: the first of each group, then the second of each, and so on.

    Parameters
    ----------
    x : Tensor, (N, C, *)
    groups : int
        A divisor of C.

    Returns
    -------
    Tensor
        Like x.

    Raises
    ------
    ShapeError
        If x has less than three axes.
    UsageError
        If the number of groups is not a divisor of C.

    Examples
    --------
    >>> import gpunn
    >>> channel_shuffle(gpunn.arange(4).reshape(1, 4, 1), 2).flatten().tolist()
    [0, 2, 1, 3]

    References
    ----------
    Zhang and others 2017, arXiv:1707.01083.
    """
    op = "channel_shuffle"
    if x.ndim < 3:
        raise ShapeError(f"{here(op)}: expected x (N, C, *) with at least three axes; got {x.shape}.")
    n, c, *rest = x.shape
    groups = whole_number(op, "groups", groups, 1)
    if c % groups:
        raise UsageError(f"{here(op)}: groups: expected a divisor of the {c} channels; got {groups}.")
    y = reshape(x, (n, groups, c // groups, *rest))
    return reshape(permute(y, (0, 2, 1, *range(3, y.ndim))), x.shape)
