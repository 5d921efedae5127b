"""VGG: 3×3 convolutions in stages of equal width, with torchvision's parameter names."""

from __future__ import annotations

from collections.abc import Sequence

from gpunn._tensor import Tensor
from gpunn.errors import UsageError
from gpunn.nn import init
from gpunn.nn.activation import ReLU
from gpunn.nn.adaptive_pooling import AdaptiveAvgPool2d
from gpunn.nn.batchnorm import BatchNorm2d
from gpunn.nn.containers import Sequential
from gpunn.nn.conv import Conv2d
from gpunn.nn.dropout import Dropout
from gpunn.nn.linear import Linear
from gpunn.nn.module import Module
from gpunn.nn.pooling import MaxPool2d

_WIDTHS = (64, 128, 256, 512, 512)
_LAYERS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


class VGG(Module):
    """Five stages of 3×3 convolutions, each halved by a pooling, then three linear layers.

    Parameters
    ----------
    depth : int
        Layers with weights: 11, 13, 16 or 19.
    batch_norm : bool
        Batch normalisation behind each convolution.
    num_classes : int
        Number of scores.
    dropout : float
        Behind the first two linear layers.
    in_channels : int
        Channels of the images.

    Shape
    -----
    x : (N, in_channels, H, W), H and W at least 32;  y : (N, num_classes), scores before the softmax

    Raises
    ------
    UsageError
        If there is no such depth.

    References
    ----------
    Simonyan, Zisserman 2015, arXiv:1409.1556.

    Examples
    --------
    >>> from gpunn.models import VGG
    >>> sum(p.numel() for p in VGG(11).parameters())
    132863336
    """

    def __init__(
        self,
        depth: int = 16,
        batch_norm: bool = False,
        num_classes: int = 1000,
        dropout: float = 0.5,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        if depth not in _LAYERS:
            raise UsageError(f"VGG: depth: expected one of {', '.join(map(str, _LAYERS))}; got {depth!r}.")
        self.features = Sequential(*_stages(_LAYERS[depth], batch_norm, in_channels))
        self.avgpool = AdaptiveAvgPool2d(7)
        self.classifier = Sequential(
            Linear(512 * 7 * 7, 4096),
            ReLU(),
            Dropout(dropout),
            Linear(4096, 4096),
            ReLU(),
            Dropout(dropout),
            Linear(4096, num_classes),
        )
        for module in self.modules():
            if isinstance(module, Conv2d) and module.bias is not None:
                init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                init.zeros_(module.bias)
            elif isinstance(module, Linear) and module.bias is not None:
                init.normal_(module.weight, 0, 0.01)
                init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def _stages(counts: Sequence[int], batch_norm: bool, channels: int) -> list[Module]:
    layers: list[Module] = []
    for width, count in zip(_WIDTHS, counts, strict=True):
        for _ in range(count):
            layers.append(Conv2d(channels, width, 3, padding=1))
            layers += [BatchNorm2d(width), ReLU()] if batch_norm else [ReLU()]
            channels = width
        layers.append(MaxPool2d(2))
    return layers
