"""The networks of the lectures, and the registry that the command line chooses from."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from gpunn._calls import explains_all
from gpunn.errors import UsageError, quoted
from gpunn.models.alexnet import AlexNet, AlexNetCifar, AlexNetTwoGroups
from gpunn.models.cifar_speed import CifarSpeedNet
from gpunn.models.densenet import DenseNet
from gpunn.models.googlenet import GoogLeNet
from gpunn.models.lenet import LeNet5, convolutional_layers
from gpunn.models.mlp import MLP
from gpunn.models.perceptron import Perceptron, PerceptronFit
from gpunn.models.resnet import ResNet
from gpunn.models.resnet9 import ResNet9
from gpunn.models.resnet_cifar import ResNetCifar
from gpunn.models.vgg import VGG
from gpunn.models.vit import VisionTransformer
from gpunn.nn.module import Module

__all__ = [
    "MLP",
    "MODELS",
    "VGG",
    "AlexNet",
    "AlexNetCifar",
    "AlexNetTwoGroups",
    "CifarSpeedNet",
    "DenseNet",
    "GoogLeNet",
    "LeNet5",
    "ModelEntry",
    "Perceptron",
    "PerceptronFit",
    "ResNet",
    "ResNet9",
    "ResNetCifar",
    "VisionTransformer",
    "build",
    "convolutional_layers",
    "find",
]


@dataclass(frozen=True)
class ModelEntry:
    """A network that can be chosen by name.

    Attributes
    ----------
    build : callable
        ``build(input_shape, classes)``, with the shape (C, H, W) of one image, returns the module.
    input_shape : tuple of int
        The customary (C, H, W).
    description : str
        One line.
    """

    build: Callable[[tuple[int, int, int], int], Module]
    input_shape: tuple[int, int, int]
    description: str

    @property
    def classes(self) -> int:
        """The customary number of classes: 1000 for images as large as ImageNet's, else 10."""
        return 1000 if min(self.input_shape) and self.input_shape[1] >= 224 else 10


def _lenet5(input_shape: tuple[int, int, int], classes: int) -> LeNet5:
    return LeNet5(input_shape[0], classes, image=input_shape[1:])


def _mlp(modern: bool, dropout: float) -> Callable[[tuple[int, int, int], int], MLP]:
    def build(input_shape: tuple[int, int, int], classes: int) -> MLP:
        # The lecture pads MNIST to 32x32; other images are used as they are.
        pad_to = 32 if input_shape == (1, 28, 28) else None
        return MLP(input_shape, classes, modern=modern, dropout=dropout, pad_to=pad_to)

    return build


def _resnet_cifar(depth: int) -> Callable[[tuple[int, int, int], int], ResNetCifar]:
    return lambda input_shape, classes: ResNetCifar(depth, "A", input_shape[0], classes)


def _cifar_speed(input_shape: tuple[int, int, int], classes: int) -> CifarSpeedNet:
    channels, height, width = input_shape
    if min(height, width) < 25 or max(height, width) > 48:
        raise UsageError(
            f"CifarSpeedNet: expected images from 25x25 to 48x48 pixels; got {height}x{width}. A folder of images is "
            "resized with --image-size 32; for other data take lenet5 or resnet20."
        )
    return CifarSpeedNet(channels, classes)


def _of_depth(
    kind: Callable[..., Module], least: int, *depth: int, most: int | None = None
) -> Callable[[tuple[int, int, int], int], Module]:
    """A network that takes images from ``least`` pixels on, up to ``most`` if its first linear layer needs that."""

    def build(input_shape: tuple[int, int, int], classes: int) -> Module:
        channels, height, width = input_shape
        if min(height, width) < least or (most is not None and max(height, width) > most):
            sizes = f"of at least {least}x{least}" if most is None else f"from {least}x{least} to {most}x{most}"
            raise UsageError(
                f"{kind.__name__}: expected images {sizes} pixels; got {height}x{width}. A folder of images is resized "
                f"with --image-size {least}; for other data take a network for images of any size, lenet5 or resnet20."
            )
        return kind(*depth, num_classes=classes, in_channels=channels)

    return build


def _vit(image: int, patch: int, layers: int, heads: int, hidden: int) -> Callable[[tuple[int, int, int], int], Module]:
    def build(input_shape: tuple[int, int, int], classes: int) -> VisionTransformer:
        channels, height, width = input_shape
        if height != width or height % patch:
            raise UsageError(
                f"VisionTransformer: expected square images whose size is a multiple of {patch}; got {height}x{width}. "
                f"A folder of images is resized with --image-size {image}; for other data take lenet5 or resnet20, "
                "or vit-small for sizes that 4 divides."
            )
        return VisionTransformer(
            height, patch, layers, heads, hidden, 4 * hidden, num_classes=classes, in_channels=channels
        )

    return build


_MNIST = (1, 28, 28)
_CIFAR = (3, 32, 32)
_IMAGENET = (3, 224, 224)
MODELS: dict[str, ModelEntry] = {
    "lenet5": ModelEntry(_lenet5, _MNIST, "the lecture's LeNet: 20 and 50 filters of 5x5, 500 hidden units"),
    "mlp": ModelEntry(_mlp(False, 0.0), _MNIST, "two hidden layers of 1024 units, ReLU"),
    "mlp-dropout": ModelEntry(_mlp(False, 0.5), _MNIST, "the same with dropout"),
    "modern-mlp": ModelEntry(_mlp(True, 0.0), _MNIST, "the same with batch norm and PReLU"),
    "modern-mlp-dropout": ModelEntry(_mlp(True, 0.2), _MNIST, "with batch norm, PReLU and dropout"),
    "resnet20": ModelEntry(_resnet_cifar(20), _CIFAR, "the residual network of 20 layers for CIFAR-10, option A"),
    "resnet56": ModelEntry(_resnet_cifar(56), _CIFAR, "the same of 56 layers"),
    "resnet9": ModelEntry(
        lambda shape, classes: ResNet9(shape[0], classes),
        _CIFAR,
        "a wide residual network of 9 layers for 32x32 pixels",
    ),
    "cifar-speed": ModelEntry(
        _cifar_speed, _CIFAR, "the network of the fastest trainings on CIFAR-10, first layer whitened"
    ),
    "alexnet-cifar": ModelEntry(_of_depth(AlexNetCifar, 32, most=39), _CIFAR, "AlexNet's pattern for 32x32 pixels"),
    "alexnet": ModelEntry(_of_depth(AlexNet, 63), _IMAGENET, "torchvision's AlexNet"),
    "alexnet-two-groups": ModelEntry(
        _of_depth(AlexNetTwoGroups, 227, most=258),
        (3, 227, 227),
        "the AlexNet of 2012: 96 filters of 11x11, two groups",
    ),
    "vgg11": ModelEntry(_of_depth(VGG, 32, 11), _IMAGENET, "3x3 convolutions, 11 layers"),
    "vgg16": ModelEntry(_of_depth(VGG, 32, 16), _IMAGENET, "3x3 convolutions, 16 layers"),
    "googlenet": ModelEntry(_of_depth(GoogLeNet, 31), _IMAGENET, "Inception v1 with batch norm"),
    "resnet18": ModelEntry(_of_depth(ResNet, 1, 18), _IMAGENET, "residual network of 18 layers"),
    "resnet34": ModelEntry(_of_depth(ResNet, 1, 34), _IMAGENET, "residual network of 34 layers"),
    "resnet50": ModelEntry(_of_depth(ResNet, 1, 50), _IMAGENET, "residual network of 50 layers, bottlenecks"),
    "vit-small": ModelEntry(_vit(32, 4, 6, 3, 192), _CIFAR, "a small vision transformer: 64 patches of 4x4"),
    "vit-b-16": ModelEntry(_vit(224, 16, 12, 12, 768), _IMAGENET, "the vision transformer ViT-B/16"),
    "densenet121": ModelEntry(_of_depth(DenseNet, 29, 121), _IMAGENET, "each layer sees all before it, 121 layers"),
}
"""The networks that :func:`build` and the command line know, by name."""


def find(name: str) -> ModelEntry:
    """The entry of this name.

    Raises
    ------
    UsageError
        If there is none; the message suggests the nearest name.
    """
    if name not in MODELS:
        near = difflib.get_close_matches(name[:40].lower().replace("-", ""), MODELS, n=1, cutoff=0.5)
        hint = f"; did you mean '{near[0]}'?" if near else "."
        raise UsageError(f"unknown model {quoted(name)}: expected one of {', '.join(MODELS)}{hint}")
    return MODELS[name]


def build(name: str, input_shape: tuple[int, int, int] | None = None, classes: int = 10) -> Module:
    """Make the network ``name`` for images of ``input_shape`` (C, H, W) and a number of ``classes``.

    Without ``input_shape`` the network's customary one is used.

    Raises
    ------
    UsageError
        If there is no such network, or the images do not fit it; the message says which sizes it takes.

    Examples
    --------
    >>> from gpunn.models import build
    >>> sum(p.numel() for p in build("lenet5").parameters())
    1256080
    """
    entry = find(name)
    return entry.build(entry.input_shape if input_shape is None else input_shape, classes)


explains_all(globals())
