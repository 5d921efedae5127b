"""ResNet-9: a small, wide residual network for images of 32x32."""

from __future__ import annotations

from gpunn._tensor import Tensor
from gpunn.nn.adaptive_pooling import AdaptiveMaxPool2d
from gpunn.nn.batchnorm import BatchNorm2d
from gpunn.nn.containers import Sequential
from gpunn.nn.conv import Conv2d
from gpunn.nn.linear import Linear
from gpunn.nn.module import Module
from gpunn.nn.pooling import MaxPool2d


class ResNet9(Module):
    """Four stages of 3×3 convolution, batch norm and ReLU, residual pairs behind the second and the last; linear.

    The stages have 64, 128, 256 and 512 channels; from the second on each halves the image by its maxima. What is left
    of it is reduced to its maxima, and the scores of the linear layer are divided by 8: large ones would let the first
    steps go too far. 6,573,120 parameters for 3 channels and 10 classes.

    Parameters
    ----------
    in_channels : int
        Channels of the images.
    classes : int
        Number of scores.
    width : int
        Channels of the first stage.

    Shape
    -----
    x : (N, in_channels, H, W) float32 or float64, from 8x8 pixels on;  y : (N, classes), scores before the softmax

    References
    ----------
    He, Zhang, Ren, Sun 2015, arXiv:1512.03385 (residual pairs). Coleman et al. 2017, "DAWNBench: an end-to-end deep
    learning benchmark and competition", where networks of this shape were fastest.

    Examples
    --------
    >>> from gpunn.models import ResNet9
    >>> sum(p.numel() for p in ResNet9().parameters())
    6573120
    """

    def __init__(self, in_channels: int = 3, classes: int = 10, width: int = 64) -> None:
        super().__init__()
        self.prep = _Stage(in_channels, width)
        self.layer1 = Sequential(_Stage(width, 2 * width), MaxPool2d(2), _Pair(2 * width))
        self.layer2 = Sequential(_Stage(2 * width, 4 * width), MaxPool2d(2))
        self.layer3 = Sequential(_Stage(4 * width, 8 * width), MaxPool2d(2), _Pair(8 * width))
        self.pool = AdaptiveMaxPool2d(1)
        self.fc = Linear(8 * width, classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(self.prep(x))))
        return self.fc(self.pool(x).flatten(1)) * 0.125


class _Stage(Module):
    """3×3 convolution, batch norm, ReLU, which runs inside the batch norm; behind a residual sum where one is given."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.bn = BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x), activation="relu")


class _Pair(Module):
    """x + two stages of x."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = _Stage(channels, channels), _Stage(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x))
