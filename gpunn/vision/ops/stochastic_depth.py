"""Stochastic depth: residuals that are dropped as a whole while training."""

from __future__ import annotations

from gpunn._creation import empty
from gpunn._interop import takes_arrays
from gpunn._shared.activations import check_floating
from gpunn._shared.numbers import real_number
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, UsageError, here
from gpunn.nn.module import Module
from gpunn.ops.multinomial import bernoulli_


@takes_arrays
def stochastic_depth(input: Tensor, p: float, mode: str, training: bool = True) -> Tensor:
    """Set all of a batch, or whole items of it, to zero with probability p; divide the others by 1 - p.

    Parameters
    ----------
    input : Tensor, (N, ...)
        float32 or float64.
    p : float
        From 0 to 1.
    mode : str
        ``batch``, or ``row`` to draw for each item.
    training : bool
        Whether anything is dropped.

    Returns
    -------
    Tensor
        Like input. A captured step draws anew in each replay.

    Raises
    ------
    UsageError
        If p is no probability or the mode is another.
    ShapeError, DTypeError
        If input is no batch, or not floating.

    References
    ----------
    Huang, Sun, Liu, Sedra, Weinberger 2016, arXiv:1603.09382.
    """
    op = "stochastic_depth"
    chance = real_number(op, "p", p, 0, 1)
    if mode not in ("batch", "row"):
        raise UsageError(f"{here(op)}: mode: expected 'batch' or 'row'; got {mode!r}.")
    check_floating(op, input)
    if not input.ndim:
        raise ShapeError(f"{here(op)}: expected a batch (N, ...); got a tensor without axes.")
    if not training or chance == 0:
        return input
    shape = (input.shape[0] if mode == "row" else 1, *[1] * (input.ndim - 1))
    kept = bernoulli_(empty(shape, dtype=input.dtype, device=input.device), 1 - chance)
    return input * (kept if chance == 1 else kept / (1 - chance))


class StochasticDepth(Module):
    """Sets all of a batch, or whole items of it, to zero with probability p while training.

    Parameters
    ----------
    p : float
        From 0 to 1.
    mode : str
        ``batch``, or ``row`` to draw for each item.

    Shape
    -----
    x : (N, ...) float32 or float64;  y : like x

    References
    ----------
    Huang, Sun, Liu, Sedra, Weinberger 2016, arXiv:1603.09382.
    """

    def __init__(self, p: float, mode: str) -> None:
        super().__init__()
        self.p = p
        self.mode = mode

    def forward(self, input: Tensor) -> Tensor:
        """Drop, or in ``eval()`` pass on.

        Parameters
        ----------
        input : Tensor, (N, ...)
        """
        return stochastic_depth(input, self.p, self.mode, self.training)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p}, mode={self.mode})"
