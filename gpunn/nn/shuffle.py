"""Layers that exchange channels with pixels or with one another."""

from __future__ import annotations

from gpunn._tensor import Tensor
from gpunn.composed.shuffle import channel_shuffle, pixel_shuffle, pixel_unshuffle
from gpunn.nn._arguments import whole
from gpunn.nn.module import Module


class PixelShuffle(Module):
    """Squares of r x r pixels made of groups of r² channels.

    Parameters
    ----------
    upscale_factor : int
        r.

    Shape
    -----
    x : (..., C r², H, W);  y : (..., C, H r, W r)

    Raises
    ------
    ShapeError
        If the channels are no multiple of r².

    References
    ----------
    Shi and others 2016, arXiv:1609.05158.
    """

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = whole("PixelShuffle", "upscale_factor", upscale_factor)

    def forward(self, x: Tensor) -> Tensor:
        return pixel_shuffle(x, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Groups of r² channels made of squares of r x r pixels: the inverse of :class:`PixelShuffle`.

    Parameters
    ----------
    downscale_factor : int
        r.

    Shape
    -----
    x : (..., C, H r, W r);  y : (..., C r², H, W)

    Raises
    ------
    ShapeError
        If height or width is no multiple of r.

    References
    ----------
    Shi and others 2016, arXiv:1609.05158.
    """

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = whole("PixelUnshuffle", "downscale_factor", downscale_factor)

    def forward(self, x: Tensor) -> Tensor:
        return pixel_unshuffle(x, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """The channels of several groups taken in turn.

    Parameters
    ----------
    groups : int
        A divisor of the channels.

    Shape
    -----
    x : (N, C, *);  y : like x

    Raises
    ------
    UsageError, ShapeError
        If C is no multiple of ``groups``, or x has less than three axes.

    References
    ----------
    Zhang and others 2017, arXiv:1707.01083.
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = whole("ChannelShuffle", "groups", groups)

    def forward(self, x: Tensor) -> Tensor:
        return channel_shuffle(x, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"
