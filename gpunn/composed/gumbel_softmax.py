"""Samples of classes with gradients."""

from __future__ import annotations

import numpy as np

from gpunn._creation import zeros_like
from gpunn._creation_random import rand
from gpunn._shared.activations import check_floating, number
from gpunn._shared.axes import axis_of
from gpunn._tensor import Tensor
from gpunn.errors import UsageError, here
from gpunn.ops.max import argmax
from gpunn.ops.scatter import scatter
from gpunn.ops.softmax import softmax


def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """A sample of classes that has a gradient: softmax of the logits plus Gumbel noise.

    Parameters
    ----------
    logits : Tensor
        Logarithms of probabilities, up to a constant, along ``dim``; float32 or float64.
    tau : float
        Temperature, positive: the smaller, the nearer to 0 and 1.
    hard : bool
        Whether the result is 0 and 1, with the gradient of the soft sample.
    eps : float
        Changes nothing, as in PyTorch.
    dim : int
        The axis of classes.

    Returns
    -------
    Tensor
        Like ``logits``; along ``dim`` it sums up to 1.

    Raises
    ------
    DTypeError
        If ``logits`` are not floating.
    UsageError
        If ``tau`` is not positive.

    Notes
    -----
    The noise is drawn on the host, so that a seed gives the same on every device.

    References
    ----------
    Jang, Gu, Poole 2016, arXiv:1611.01144; Maddison, Mnih, Teh 2016, arXiv:1611.00712.
    """
    check_floating("gumbel_softmax", logits)
    tau = number("gumbel_softmax", "tau", tau)
    if not tau > 0:
        raise UsageError(f"{here('gumbel_softmax')}: tau: expected a positive number; got {tau}.")
    axis = axis_of("gumbel_softmax", logits, dim)
    drawn = rand(*logits.shape, dtype=logits.dtype, device=logits.device).clamp(float(np.finfo(logits.dtype).tiny))
    soft = softmax((logits - (-drawn.log()).log()) / tau, axis)
    if not hard:
        return soft
    largest = argmax(soft, axis, keepdim=True)
    return scatter(zeros_like(soft.detach()), axis, largest, 1.0) - soft.detach() + soft
