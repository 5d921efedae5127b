"""Dropout, of elements and of whole channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from gpunn._tensor import Tensor
from gpunn.composed.dropout import alpha_dropout, dropout1d, dropout2d, dropout3d, feature_alpha_dropout
from gpunn.errors import UsageError
from gpunn.nn.module import Module
from gpunn.ops.dropout import dropout
from gpunn.random import default_generator


class Dropout(Module):
    """In training, zero each element with probability p and scale the others by 1 / (1 - p).

    In evaluation it is the identity.

    Parameters
    ----------
    p : float
        0 to 1.
    inplace : bool
        Whether the input becomes the result in training, for all its names and views.

    Attributes
    ----------
    generator : Generator
        Where masks come from: the layer's own, derived from the default generator when the layer is
        made. So ``gpunn.manual_seed`` before that determines the masks, the same on every device.

    Shape
    -----
    x : any, float32 or float64;  y : like x

    References
    ----------
    Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting";
    lecture topic L9.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise UsageError(f"Dropout: p: expected a probability from 0 to 1; got {p!r}.")
        self.p = p
        self.inplace = inplace
        self.generator = default_generator().spawn("Dropout")

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p, self.training, self.inplace, self.generator)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class _OfChannels(Module):
    """What dropout of whole channels shares, but for its function."""

    function: ClassVar[Callable[..., Tensor]]

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise UsageError(f"{type(self).__name__}: p: expected a probability from 0 to 1; got {p!r}.")
        self.p = p
        self.inplace = inplace
        self.generator = default_generator().spawn(type(self).__name__)

    def forward(self, x: Tensor) -> Tensor:
        return type(self).function(x, self.p, self.training, self.inplace, self.generator)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout1d(_OfChannels):
    """In training, zero each channel of each sequence with probability p and scale the others by 1 / (1 - p).

    In evaluation it is the identity.

    Parameters
    ----------
    p : float
        0 to 1.
    inplace : bool
        Whether the input becomes the result in training, for all its names and views.

    Attributes
    ----------
    generator : Generator
        Where masks come from, as in :class:`Dropout`.

    Shape
    -----
    x : (N, C, L) or (C, L), float32 or float64;  y : like x

    References
    ----------
    Tompson and others 2015, arXiv:1411.4280.
    """

    function = staticmethod(dropout1d)


class Dropout2d(_OfChannels):
    """In training, zero each channel of each image with probability p and scale the others by 1 / (1 - p).

    In evaluation it is the identity.

    Parameters
    ----------
    p : float
        0 to 1.
    inplace : bool
        Whether the input becomes the result in training, for all its names and views.

    Attributes
    ----------
    generator : Generator
        Where masks come from, as in :class:`Dropout`.

    Shape
    -----
    x : (N, C, H, W), or as in PyTorch sequences (N, C, L), float32 or float64;  y : like x

    References
    ----------
    Tompson and others 2015, arXiv:1411.4280.
    """

    function = staticmethod(dropout2d)


class Dropout3d(_OfChannels):
    """In training, zero each channel of each volume with probability p and scale the others by 1 / (1 - p).

    In evaluation it is the identity.

    Parameters
    ----------
    p : float
        0 to 1.
    inplace : bool
        Whether the input becomes the result in training, for all its names and views.

    Attributes
    ----------
    generator : Generator
        Where masks come from, as in :class:`Dropout`.

    Shape
    -----
    x : (N, C, D, H, W) or (C, D, H, W), float32 or float64;  y : like x

    References
    ----------
    Tompson and others 2015, arXiv:1411.4280.
    """

    function = staticmethod(dropout3d)


class AlphaDropout(_OfChannels):
    """In training, set each element with probability p to what SELU saturates at, then restore mean 0 and variance 1.

    Parameters
    ----------
    p : float
        0 to 1.
    inplace : bool
        Whether the input becomes the result in training, for all its names and views.

    Attributes
    ----------
    generator : Generator
        The layer's own, as for :class:`Dropout`.

    Shape
    -----
    x : any, float32 or float64, with mean 0 and variance 1;  y : like x

    References
    ----------
    Klambauer, Unterthiner, Mayr, Hochreiter 2017, arXiv:1706.02515.
    """

    function = staticmethod(alpha_dropout)


class FeatureAlphaDropout(_OfChannels):
    """:class:`AlphaDropout` of whole channels.

    Parameters
    ----------
    p : float
        0 to 1.
    inplace : bool
        Whether the input becomes the result in training, for all its names and views.

    Attributes
    ----------
    generator : Generator
        The layer's own, as for :class:`Dropout`.

    Shape
    -----
    x : (N, C, *) float32 or float64, with mean 0 and variance 1;  y : like x

    References
    ----------
    Klambauer, Unterthiner, Mayr, Hochreiter 2017, arXiv:1706.02515.
    """

    function = staticmethod(feature_alpha_dropout)
