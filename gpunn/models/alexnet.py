"""AlexNet: the lecture's form with two groups, torchvision's, and one for the small images of CIFAR."""

from __future__ import annotations

from gpunn._tensor import Tensor
from gpunn.nn.activation import ReLU
from gpunn.nn.adaptive_pooling import AdaptiveAvgPool2d
from gpunn.nn.containers import Sequential
from gpunn.nn.conv import Conv2d
from gpunn.nn.dropout import Dropout
from gpunn.nn.linear import Linear
from gpunn.nn.module import Module
from gpunn.nn.pooling import MaxPool2d


class AlexNet(Module):
    """Five convolutions with three poolings, mean over 6×6 parts, three linear layers: torchvision's AlexNet.

    Parameters
    ----------
    num_classes : int
        Number of scores.
    dropout : float
        Before the first two linear layers.
    in_channels : int
        Channels of the images.

    Shape
    -----
    x : (N, in_channels, H, W), H and W at least 63;  y : (N, num_classes), scores before the softmax

    References
    ----------
    Krizhevsky 2014, arXiv:1404.5997; lecture, N3.

    Examples
    --------
    >>> from gpunn.models import AlexNet
    >>> sum(p.numel() for p in AlexNet().parameters())
    61100840
    """

    _mistaken_for = (
        (
            "features.0.weight",
            (96, 3, 11, 11),
            "These are weights of the AlexNet of 2012 with two groups: load them into AlexNetTwoGroups.",
        ),
    )

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5, in_channels: int = 3) -> None:
        super().__init__()
        self.features = Sequential(
            Conv2d(in_channels, 64, 11, stride=4, padding=2),
            ReLU(),
            MaxPool2d(3, 2),
            Conv2d(64, 192, 5, padding=2),
            ReLU(),
            MaxPool2d(3, 2),
            Conv2d(192, 384, 3, padding=1),
            ReLU(),
            Conv2d(384, 256, 3, padding=1),
            ReLU(),
            Conv2d(256, 256, 3, padding=1),
            ReLU(),
            MaxPool2d(3, 2),
        )
        self.avgpool = AdaptiveAvgPool2d(6)
        self.classifier = _classifier(256 * 6 * 6, 4096, num_classes, dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


class AlexNetTwoGroups(Module):
    """The network of 2012, as the lecture shows it: 96 filters of 11×11×3, then groups that see half the channels.

    The second, fourth and fifth convolution have two groups, which two GPUs computed. Its local response normalisation,
    which has no parameters, is left out, as in the lecture.

    Parameters
    ----------
    num_classes : int
        Number of scores.
    dropout : float
        Before the first two linear layers.
    in_channels : int
        Channels of the images.

    Shape
    -----
    x : (N, in_channels, 227, 227);  y : (N, num_classes), scores before the softmax

    References
    ----------
    Krizhevsky, Sutskever, Hinton 2012, "ImageNet classification with deep convolutional neural networks"; lecture, N3.

    Examples
    --------
    >>> from gpunn.models import AlexNetTwoGroups
    >>> sum(p.numel() for p in AlexNetTwoGroups().parameters())
    60965224
    """

    _mistaken_for = (
        (
            "features.0.weight",
            (64, 3, 11, 11),
            "These are weights of torchvision's AlexNet, which has no groups: load them into AlexNet.",
        ),
    )

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5, in_channels: int = 3) -> None:
        super().__init__()
        self.features = Sequential(
            Conv2d(in_channels, 96, 11, stride=4),
            ReLU(),
            MaxPool2d(3, 2),
            Conv2d(96, 256, 5, padding=2, groups=2),
            ReLU(),
            MaxPool2d(3, 2),
            Conv2d(256, 384, 3, padding=1),
            ReLU(),
            Conv2d(384, 384, 3, padding=1, groups=2),
            ReLU(),
            Conv2d(384, 256, 3, padding=1, groups=2),
            ReLU(),
            MaxPool2d(3, 2),
        )
        self.classifier = _classifier(256 * 6 * 6, 4096, num_classes, dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


class AlexNetCifar(Module):
    """AlexNet's pattern for images of 32×32 pixels: 3×3 filters, stride 1, and narrower linear layers.

    Parameters
    ----------
    num_classes : int
        Number of scores.
    dropout : float
        Before the first two linear layers.
    in_channels : int
        Channels of the images.

    Shape
    -----
    x : (N, in_channels, 32, 32);  y : (N, num_classes), scores before the softmax

    References
    ----------
    Lecture, N3.
    """

    def __init__(self, num_classes: int = 10, dropout: float = 0.5, in_channels: int = 3) -> None:
        super().__init__()
        self.features = Sequential(
            Conv2d(in_channels, 64, 3, padding=1),
            ReLU(),
            MaxPool2d(2),
            Conv2d(64, 192, 3, padding=1),
            ReLU(),
            MaxPool2d(2),
            Conv2d(192, 384, 3, padding=1),
            ReLU(),
            Conv2d(384, 256, 3, padding=1),
            ReLU(),
            Conv2d(256, 256, 3, padding=1),
            ReLU(),
            MaxPool2d(2),
        )
        self.classifier = _classifier(256 * 4 * 4, 1024, num_classes, dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


def _classifier(features: int, hidden: int, classes: int, dropout: float) -> Sequential:
    return Sequential(
        Dropout(dropout),
        Linear(features, hidden),
        ReLU(),
        Dropout(dropout),
        Linear(hidden, hidden),
        ReLU(),
        Linear(hidden, classes),
    )
