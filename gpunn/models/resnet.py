"""Residual networks for large images: ResNet-18, 34, 50, 101, 152, with torchvision's parameter names."""

from __future__ import annotations

from gpunn._tensor import Tensor
from gpunn.errors import UsageError
from gpunn.nn import init
from gpunn.nn.adaptive_pooling import AdaptiveAvgPool2d
from gpunn.nn.batchnorm import BatchNorm2d
from gpunn.nn.containers import Sequential
from gpunn.nn.conv import Conv2d
from gpunn.nn.linear import Linear
from gpunn.nn.module import Module
from gpunn.nn.pooling import MaxPool2d

_WIDTHS = (64, 128, 256, 512)
_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class ResNet(Module):
    """7×7 convolution, pooling, four stages of residual blocks, mean over the image, linear.

    Depth 18 and 34 have blocks of two 3×3 convolutions, the others of 1×1, 3×3, 1×1. The first block of the second to
    fourth stage halves the image, in its 3×3 convolution. ReLU and the residual addition run inside the batch
    normalisations.

    Parameters
    ----------
    depth : int
        Layers with weights: 18, 34, 50, 101 or 152.
    num_classes : int
        Number of scores.
    in_channels : int
        Channels of the images.

    Shape
    -----
    x : (N, in_channels, H, W) float32 or float64, of any size;  y : (N, num_classes), scores before the softmax

    Raises
    ------
    UsageError
        If there is no such depth.

    References
    ----------
    He, Zhang, Ren, Sun 2015, arXiv:1512.03385; lecture, N3.

    Examples
    --------
    >>> from gpunn.models import ResNet
    >>> sum(p.numel() for p in ResNet(18).parameters())
    11689512
    """

    def __init__(self, depth: int = 18, num_classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__()
        if depth not in _BLOCKS:
            raise UsageError(f"ResNet: depth: expected one of {', '.join(map(str, _BLOCKS))}; got {depth!r}.")
        block = BasicBlock if depth < 50 else Bottleneck
        self.conv1 = Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = BatchNorm2d(64)
        self.maxpool = MaxPool2d(3, 2, padding=1)
        channels = 64
        for number, (width, count) in enumerate(zip(_WIDTHS, _BLOCKS[depth], strict=True), 1):
            blocks = []
            for place in range(count):
                blocks.append(block(channels, width, 2 if number > 1 and place == 0 else 1))
                channels = width * block.expansion
            self.add_module(f"layer{number}", Sequential(*blocks))
        self.avgpool = AdaptiveAvgPool2d(1)
        self.fc = Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, Conv2d):
                init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.bn1(self.conv1(x), activation="relu"))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


class BasicBlock(Module):
    """y = relu(F(x) + shortcut(x)), F: 3×3 convolution, batch norm, ReLU, 3×3 convolution, batch norm.

    Parameters
    ----------
    in_channels, width : int
        C, and K of both convolutions.
    stride : int
        Of the first convolution.

    Shape
    -----
    x : (N, C, H, W);  y : (N, width, ceil(H / stride), ceil(W / stride))

    References
    ----------
    He, Zhang, Ren, Sun 2015, arXiv:1512.03385.
    """

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = Conv2d(in_channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = BatchNorm2d(width)
        self.conv2 = Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = BatchNorm2d(width)
        self.downsample = _shortcut(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        past = x if self.downsample is None else self.downsample(x)
        y = self.conv2(self.bn1(self.conv1(x), activation="relu"))
        return self.bn2(y, residual=past, activation="relu")


class Bottleneck(Module):
    """y = relu(F(x) + shortcut(x)), F: 1×1, 3×3 and four times as wide 1×1 convolutions, each with batch norm.

    Parameters
    ----------
    in_channels, width : int
        C, and K of the first two convolutions; the third has 4 width.
    stride : int
        Of the 3×3 convolution.

    Shape
    -----
    x : (N, C, H, W);  y : (N, 4 width, ceil(H / stride), ceil(W / stride))

    References
    ----------
    He, Zhang, Ren, Sun 2015, arXiv:1512.03385, figure 5; the stride is in the 3×3 convolution, as in torchvision.
    """

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = BatchNorm2d(width)
        self.conv2 = Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = BatchNorm2d(width)
        self.conv3 = Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = BatchNorm2d(4 * width)
        self.downsample = _shortcut(in_channels, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        past = x if self.downsample is None else self.downsample(x)
        y = self.bn1(self.conv1(x), activation="relu")
        y = self.bn2(self.conv2(y), activation="relu")
        return self.bn3(self.conv3(y), residual=past, activation="relu")


def _shortcut(in_channels: int, out_channels: int, stride: int) -> Module | None:
    """What brings the input to the output's shape; None where it has it."""
    if stride == 1 and in_channels == out_channels:
        return None
    return Sequential(Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), BatchNorm2d(out_channels))
