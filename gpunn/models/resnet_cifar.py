"""The small residual networks for CIFAR-10: ResNet-20, 32, 44, 56, 110."""

from __future__ import annotations

from gpunn._tensor import Tensor
from gpunn.errors import UsageError
from gpunn.nn.adaptive_pooling import AdaptiveAvgPool2d
from gpunn.nn.batchnorm import BatchNorm2d
from gpunn.nn.containers import Sequential
from gpunn.nn.conv import Conv2d
from gpunn.nn.linear import Linear
from gpunn.nn.module import Module
from gpunn.ops.pad import pad

_WIDTHS = (16, 32, 64)


class ResNetCifar(Module):
    """3×3 convolution, three stages of residual blocks with 16, 32 and 64 channels, mean over the image, linear.

    Each stage has n = (depth - 2) / 6 blocks of two 3×3 convolutions; the first block of the second and third
    stage halves the image. ReLU and the residual addition run inside the batch normalisations.

    Parameters
    ----------
    depth : int
        Layers with weights, 6 n + 2: 20, 32, 44, 56, 110, ...
    shortcut : str
        How the input bypasses a block that changes its shape. "A": every second pixel, and zeros for the new
        channels, no parameters (269,722 in all at depth 20). "B": a 1×1 convolution and batch norm (272,474).
    in_channels : int
        Channels of the images.
    classes : int
        Number of scores.

    Shape
    -----
    x : (N, in_channels, H, W) float32 or float64, of any size;  y : (N, classes), scores before the softmax

    Raises
    ------
    UsageError
        If the depth is not 6 n + 2, or there is no such shortcut.

    References
    ----------
    He, Zhang, Ren, Sun 2015, arXiv:1512.03385, section 4.2; lecture, N3.

    Examples
    --------
    >>> from gpunn.models import ResNetCifar
    >>> sum(p.numel() for p in ResNetCifar(20).parameters())
    269722
    """

    def __init__(self, depth: int = 20, shortcut: str = "A", in_channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise UsageError(f"ResNetCifar: depth: expected 6 n + 2, such as 20, 32 or 56; got {depth}.")
        if shortcut not in ("A", "B"):
            raise UsageError(f"ResNetCifar: shortcut: expected 'A' (no parameters) or 'B' (1×1); got {shortcut!r}.")
        self.depth, self.shortcut = depth, shortcut
        self.conv1 = _conv3(in_channels, _WIDTHS[0], 1)
        self.bn1 = BatchNorm2d(_WIDTHS[0])
        channels = _WIDTHS[0]
        for number, width in enumerate(_WIDTHS, 1):
            blocks = []
            for block in range((depth - 2) // 6):
                blocks.append(BasicBlock(channels, width, 2 if number > 1 and block == 0 else 1, shortcut))
                channels = width
            self.add_module(f"layer{number}", Sequential(*blocks))
        self.avgpool = AdaptiveAvgPool2d(1)
        self.fc = Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x), activation="relu")
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.avgpool(x).flatten(1))

    def extra_repr(self) -> str:
        return f"depth={self.depth}, shortcut={self.shortcut!r}"


class BasicBlock(Module):
    """y = relu(F(x) + shortcut(x)), F: 3×3 convolution, batch norm, ReLU, 3×3 convolution, batch norm.

    Parameters
    ----------
    in_channels, out_channels : int
        C and K.
    stride : int
        Of the first convolution.
    shortcut : str
        "A" or "B", see :class:`ResNetCifar`; without effect where the block keeps the shape.

    Shape
    -----
    x : (N, C, H, W) float32 or float64;  y : (N, K, ceil(H / stride), ceil(W / stride))

    References
    ----------
    He, Zhang, Ren, Sun 2015, arXiv:1512.03385.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, shortcut: str = "A") -> None:
        super().__init__()
        self.conv1 = _conv3(in_channels, out_channels, stride)
        self.bn1 = BatchNorm2d(out_channels)
        self.conv2 = _conv3(out_channels, out_channels, 1)
        self.bn2 = BatchNorm2d(out_channels)
        self.stride, self.extra = stride, out_channels - in_channels
        self.downsample: Module | None = None
        if shortcut == "B" and (stride != 1 or self.extra):
            narrow = Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)
            self.downsample = Sequential(narrow, BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.bn1(self.conv1(x), activation="relu"))
        return self.bn2(y, residual=self._past(x), activation="relu")

    def _past(self, x: Tensor) -> Tensor:
        if self.downsample is not None:
            return self.downsample(x)
        if self.stride != 1:
            x = x[:, :, :: self.stride, :: self.stride]
        return pad(x, (0, 0, 0, 0, 0, self.extra)) if self.extra else x


def _conv3(in_channels: int, out_channels: int, stride: int) -> Conv2d:
    return Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
