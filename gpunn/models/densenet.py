"""DenseNet-121 and its kin: each layer sees the outputs of all before it, with torchvision's parameter names."""

from __future__ import annotations

from gpunn._tensor import Tensor
from gpunn.errors import UsageError
from gpunn.nn import init
from gpunn.nn.activation import ReLU
from gpunn.nn.adaptive_pooling import AdaptiveAvgPool2d
from gpunn.nn.batchnorm import BatchNorm2d
from gpunn.nn.containers import Sequential
from gpunn.nn.conv import Conv2d
from gpunn.nn.linear import Linear
from gpunn.nn.module import Module
from gpunn.nn.pooling import AvgPool2d, MaxPool2d
from gpunn.ops.cat import cat

_BLOCKS = {121: (6, 12, 24, 16), 169: (6, 12, 32, 32), 201: (6, 12, 48, 32)}
_GROWTH, _BOTTLENECK, _FIRST = 32, 4, 64


class DenseNet(Module):
    """7×7 convolution, pooling, four dense blocks with transitions that halve image and channels, mean, linear.

    Parameters
    ----------
    depth : int
        Layers with weights: 121, 169 or 201.
    num_classes : int
        Number of scores.
    in_channels : int
        Channels of the images.

    Shape
    -----
    x : (N, in_channels, H, W), H and W at least 29;  y : (N, num_classes), scores before the softmax

    Raises
    ------
    UsageError
        If there is no such depth.

    References
    ----------
    Huang, Liu, van der Maaten, Weinberger 2017, arXiv:1608.06993; lecture, N3.

    Examples
    --------
    >>> from gpunn.models import DenseNet
    >>> sum(p.numel() for p in DenseNet(121).parameters())
    7978856
    """

    def __init__(self, depth: int = 121, num_classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__()
        if depth not in _BLOCKS:
            raise UsageError(f"DenseNet: depth: expected one of {', '.join(map(str, _BLOCKS))}; got {depth!r}.")
        layers: dict[str, Module] = {
            "conv0": Conv2d(in_channels, _FIRST, 7, stride=2, padding=3, bias=False),
            "norm0": BatchNorm2d(_FIRST),
            "relu0": ReLU(),
            "pool0": MaxPool2d(3, 2, padding=1),
        }
        channels = _FIRST
        for number, count in enumerate(_BLOCKS[depth], 1):
            layers[f"denseblock{number}"] = DenseBlock(channels, count)
            channels += count * _GROWTH
            if number < len(_BLOCKS[depth]):
                layers[f"transition{number}"] = _transition(channels)
                channels //= 2
        layers["norm5"] = BatchNorm2d(channels)
        self.features = Sequential(layers)
        self.avgpool = AdaptiveAvgPool2d(1)
        self.classifier = Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, Conv2d):
                init.kaiming_normal_(module.weight)
        if self.classifier.bias is not None:
            init.zeros_(self.classifier.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x).relu()).flatten(1))


class DenseBlock(Module):
    """Layers of which each adds 32 channels, computed from all channels so far.

    Parameters
    ----------
    in_channels : int
        C.
    count : int
        How many layers.

    Shape
    -----
    x : (N, C, H, W);  y : (N, C + 32 count, H, W)

    References
    ----------
    Huang, Liu, van der Maaten, Weinberger 2017, arXiv:1608.06993, section 3.
    """

    def __init__(self, in_channels: int, count: int) -> None:
        super().__init__()
        for number in range(count):
            self.add_module(f"denselayer{number + 1}", DenseLayer(in_channels + number * _GROWTH))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = cat([x, layer(x)], 1)
        return x


class DenseLayer(Module):
    """Batch norm, ReLU, 1×1 convolution to 128 channels, batch norm, ReLU, 3×3 convolution to 32.

    Parameters
    ----------
    in_channels : int
        C.

    Shape
    -----
    x : (N, C, H, W);  y : (N, 32, H, W)

    References
    ----------
    Huang, Liu, van der Maaten, Weinberger 2017, arXiv:1608.06993, section 3.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.norm1 = BatchNorm2d(in_channels)
        self.conv1 = Conv2d(in_channels, _BOTTLENECK * _GROWTH, 1, bias=False)
        self.norm2 = BatchNorm2d(_BOTTLENECK * _GROWTH)
        self.conv2 = Conv2d(_BOTTLENECK * _GROWTH, _GROWTH, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(self.norm1(x, activation="relu"))
        return self.conv2(self.norm2(y, activation="relu"))


def _transition(channels: int) -> Sequential:
    layers: dict[str, Module] = {
        "norm": BatchNorm2d(channels),
        "relu": ReLU(),
        "conv": Conv2d(channels, channels // 2, 1, bias=False),
        "pool": AvgPool2d(2),
    }
    return Sequential(layers)
