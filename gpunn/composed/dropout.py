"""Dropout of whole channels, and to what SELU saturates at: :func:`gpunn.ops.dropout.dropout` says what goes."""

from __future__ import annotations

from gpunn._creation import ones
from gpunn._half import FLOATING
from gpunn._in_place import rewrite
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, ShapeError, UsageError, here
from gpunn.ops.dropout import dropout
from gpunn.ops.where import where
from gpunn.random import Generator, default_generator

# What SELU goes to far below 0: -scale alpha, of Klambauer and others 2017, equation 14.
_SATURATED = -1.7580993408473766


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


def alpha_dropout(
    x: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False, generator: Generator | None = None
) -> Tensor:
    """Set each element with probability p to what SELU saturates at, then restore mean 0 and variance 1.

    Parameters
    ----------
    x : Tensor
        Any shape, float32 or float64; an output of SELU, with mean 0 and variance 1.
    p : float
        Probability of dropping an element, from 0 to 1. With 1 the result is x times 0.
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
    UsageError, DTypeError
        If p is not between 0 and 1, or x is not floating.

    References
    ----------
    Klambauer, Unterthiner, Mayr, Hochreiter 2017, arXiv:1706.02515.
    """
    _check("alpha_dropout", x, p)
    return _saturated("alpha_dropout", x, p, training, inplace, generator, x.ndim)


def feature_alpha_dropout(
    x: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False, generator: Generator | None = None
) -> Tensor:
    """:func:`gpunn.nn.functional.alpha_dropout` of whole channels.

    Parameters
    ----------
    x : Tensor, (N, C, *)
        float32 or float64; an output of SELU, with mean 0 and variance 1.
    p : float
        Probability of dropping a channel, from 0 to 1. With 1 the result is x times 0.
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
    Klambauer, Unterthiner, Mayr, Hochreiter 2017, arXiv:1706.02515.
    """
    op = "feature_alpha_dropout"
    _check(op, x, p)
    if training and x.ndim < 2:
        raise ShapeError(f"{here(op)}: expected x (N, C, *) with at least two axes; got shape {x.shape}.")
    return _saturated(op, x, p, training, inplace, generator, 2)


def _saturated(
    op: str, x: Tensor, p: float, training: bool, inplace: bool, generator: Generator | None, leading: int
) -> Tensor:
    """Elements along the ``leading`` axes are kept, or dropped with all that is behind them."""
    if not training:
        return x
    if p == 0:
        (generator or default_generator()).next_call(x.device)  # as dropout does
        return x
    kept = ones(*x.shape[:leading], *(1,) * (x.ndim - leading), dtype=x.dtype, device=x.device)
    kept = dropout(kept, p, True, False, generator)

    def changed(x: Tensor) -> Tensor:
        if p == 1:
            return x * kept
        # Of an output with mean 0 and variance 1 these are the mean and the variance after the replacement.
        scale = ((1 - p) * (1 + p * _SATURATED**2)) ** -0.5
        return where(kept != 0, x, _SATURATED) * scale - scale * _SATURATED * p

    return rewrite(x, f"{op}_", changed, give_up=True) if inplace else changed(x)


def _check(op: str, x: Tensor, p: float) -> None:
    if not 0 <= p <= 1:
        raise UsageError(f"{here(op)}: p: expected a probability from 0 to 1; got {p}.")
    if x.dtype.kind not in FLOATING:
        raise DTypeError(f"{here(op)}: expected a floating dtype; got {x.dtype}. Convert with .float().")


def _of_channels(
    op: str,
    x: Tensor,
    axes: tuple[int, ...],
    p: float,
    training: bool,
    inplace: bool,
    generator: Generator | None,
) -> Tensor:
    _check(op, x, p)
    if x.ndim not in axes:
        raise ShapeError(f"{here(op)}: expected x with {axes[0]} to {axes[-1]} axes; got shape {x.shape}.")
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
