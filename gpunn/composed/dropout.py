"""Dropout of whole channels: :func:`gpunn.ops.dropout.dropout` of one number for each."""

from __future__ import annotations

from gpunn._creation import ones
from gpunn._in_place import rewrite
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, ShapeError, UsageError, here
from gpunn.ops.dropout import dropout
from gpunn.random import Generator


def dropout1d(
    x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, generator: Generator | None = None
) -> Tensor:
    """Set each channel of each sequence to zero with probability p and scale the others by 1 / (1 - p).

    Parameters
    ----------
    x : Tensor, (N, C, L) or (C, L)
        float32 or float64.
    p : float
        Probability of dropping a channel, from 0 to 1.
    training : bool
        False returns x itself, as p = 0 does.
    inplace : bool
        Whether x becomes the result, for all its names and views.
    generator : Generator, optional
        Where the mask comes from; the default generator if not given.

    Returns
    -------
    Tensor
        Like x.

    Raises
    ------
    UsageError, ShapeError, DTypeError
        If p is not between 0 and 1, or x has other axes or is not floating.

    References
    ----------
    Tompson and others 2015, arXiv:1411.4280.
    """
    return _of_channels("dropout1d", x, (2, 3), p, training, inplace, generator)


def dropout2d(
    x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, generator: Generator | None = None
) -> Tensor:
    """Set each channel of each image to zero with probability p and scale the others by 1 / (1 - p).

    Parameters
    ----------
    x : Tensor, (N, C, H, W) or (N, C, L)
        float32 or float64. Three axes are sequences, as in PyTorch.
    p : float
        Probability of dropping a channel, from 0 to 1.
    training : bool
        False returns x itself, as p = 0 does.
    inplace : bool
        Whether x becomes the result, for all its names and views.
    generator : Generator, optional
        Where the mask comes from; the default generator if not given.

    Returns
    -------
    Tensor
        Like x.

    Raises
    ------
    UsageError, ShapeError, DTypeError
        If p is not between 0 and 1, or x has less than two axes or is not floating.

    References
    ----------
    Tompson and others 2015, arXiv:1411.4280.
    """
    return _of_channels("dropout2d", x, (2, 3, 4, 5), p, training, inplace, generator)


def dropout3d(
    x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, generator: Generator | None = None
) -> Tensor:
    """Set each channel of each volume to zero with probability p and scale the others by 1 / (1 - p).

    Parameters
    ----------
    x : Tensor, (N, C, D, H, W) or (C, D, H, W)
        float32 or float64.
    p : float
        Probability of dropping a channel, from 0 to 1.
    training : bool
        False returns x itself, as p = 0 does.
    inplace : bool
        Whether x becomes the result, for all its names and views.
    generator : Generator, optional
        Where the mask comes from; the default generator if not given.

    Returns
    -------
    Tensor
        Like x.

    Raises
    ------
    UsageError, ShapeError, DTypeError
        If p is not between 0 and 1, or x has other axes or is not floating.

    References
    ----------
    Tompson and others 2015, arXiv:1411.4280.
    """
    return _of_channels("dropout3d", x, (4, 5), p, training, inplace, generator)


def _of_channels(
    op: str,
    x: Tensor,
    axes: tuple[int, ...],
    p: float,
    training: bool,
    inplace: bool,
    generator: Generator | None,
) -> Tensor:
    if not 0 <= p <= 1:
        raise UsageError(f"{here(op)}: p: expected a probability from 0 to 1; got {p}.")
    if x.ndim not in axes:
        raise ShapeError(f"{here(op)}: expected x with {axes[0]} to {axes[-1]} axes; got shape {x.shape}.")
    if x.dtype.kind != "f":
        raise DTypeError(f"{here(op)}: expected a floating dtype; got {x.dtype}. Convert with .float().")
    if not training:
        return x
    # One item's channels come first for dropout1d and dropout3d without a batch.
    leading = 1 if len(axes) == 2 and x.ndim == axes[0] else 2
    kept = ones(*x.shape[:leading], *(1,) * (x.ndim - leading), dtype=x.dtype, device=x.device)
    factors = dropout(kept, p, True, False, generator)
    if p == 0:
        return x
    if inplace:
        return rewrite(x, f"{op}_", lambda old: old * factors, give_up=True)
    return x * factors
