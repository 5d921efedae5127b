"""The logarithm of a sum of exponentials, composed of ops that have kernels."""

from __future__ import annotations

from collections.abc import Sequence

from gpunn._autocast import casting
from gpunn._half import FLOATING
from gpunn._shared.axes import axes_of, kept_shape
from gpunn._tensor import Tensor
from gpunn.ops.compare import isinf
from gpunn.ops.max import amax
from gpunn.ops.reshape import squeeze
from gpunn.ops.unary import exp, log
from gpunn.ops.where import where


def logsumexp(x: Tensor, dim: int | Sequence[int], keepdim: bool = False) -> Tensor:
    """log(sum(exp(x))) over ``dim``, without overflow: the largest element is taken out of the sum first.

    Parameters
    ----------
    x : Tensor
        Integers become float32.
    dim : int or sequence of int
        Axes. -inf where there are no elements.
    keepdim : bool
        Keep them with length 1.

    Returns
    -------
    Tensor
        Its gradient is the softmax over ``dim``; 0 where all elements are -inf.

    Examples
    --------
    >>> import gpunn
    >>> round(logsumexp(gpunn.tensor([1000.0, 1000.0]), 0).item(), 3)
    1000.693
    """
    if casting.on:
        (x,) = casting.inputs("logsumexp", x)
    axes = axes_of("logsumexp", x, dim, keepdim=keepdim)
    if x.dtype.kind not in FLOATING:
        x = x.float()
    if not all(x.shape[a] for a in axes):
        return log(exp(x).sum(dim, keepdim))
    if not axes:  # a number
        return x.clone()
    # An infinite maximum taken out would leave inf - inf.
    largest = amax(x.detach(), axes, keepdim=True)
    largest = where(isinf(largest), 0.0, largest)
    total = exp(x - largest).sum(axes, keepdim=True)
    # Without terms other than exp(-inf) the sum is 0, and its logarithm's gradient infinite: no path goes there.
    nothing = total.detach() == 0
    y = where(nothing, float("-inf"), log(where(nothing, 1.0, total)) + largest)
    assert y.shape == kept_shape(x.shape, axes)
    return y if keepdim else squeeze(y, axes)
