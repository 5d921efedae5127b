"""The networks of :mod:`gpunn.models` under torchvision's names; parameters have torchvision's names too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpunn._calls import explains_all
from gpunn.errors import UsageError
from gpunn.models import VGG, AlexNet, DenseNet, GoogLeNet, ResNet, VisionTransformer
from gpunn.nn.module import Module

__all__ = [
    "VGG",
    "AlexNet",
    "DenseNet",
    "GoogLeNet",
    "ResNet",
    "VisionTransformer",
    "alexnet",
    "densenet121",
    "densenet169",
    "densenet201",
    "googlenet",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
    "vit_b_16",
]


def _network(name: str, what: str, kind: Callable[..., Module], *given: Any, **usual: Any) -> Callable[..., Any]:
    def build(*, weights: Any = None, progress: bool = True, **kwargs: Any) -> Any:
        if weights is not None or kwargs.pop("pretrained", False):
            raise UsageError(
                f"{name}: weights are not downloaded here: expected weights=None. Save torchvision's state_dict() to a "
                "file, and give it to the network: net.load_state_dict(gpunn.load(file))."
            )
        return kind(*given, **{**usual, **kwargs})

    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"""{what}

    Parameters
    ----------
    weights : None
        Trained weights are not downloaded; ``load_state_dict`` takes torchvision's from a file. The older
        ``pretrained`` is taken too, if it is False.
    progress : bool
        Without effect, as nothing is downloaded.
    **kwargs
        Of the network's class in :mod:`gpunn.models`, such as ``num_classes``.

    Returns
    -------
    {kind.__name__}

    Raises
    ------
    UsageError
        If ``weights`` are asked for.
    """
    return build


alexnet = _network("alexnet", "AlexNet in torchvision's form.", AlexNet)
vgg11, vgg13, vgg16, vgg19 = (_network(f"vgg{n}", f"VGG of {n} layers.", VGG, n) for n in (11, 13, 16, 19))
vgg11_bn, vgg13_bn, vgg16_bn, vgg19_bn = (
    _network(f"vgg{n}_bn", f"VGG of {n} layers with batch norm.", VGG, n, True) for n in (11, 13, 16, 19)
)
googlenet = _network("googlenet", "GoogLeNet, Inception v1 with batch norm.", GoogLeNet, aux_logits=True)
resnet18, resnet34, resnet50, resnet101, resnet152 = (
    _network(f"resnet{n}", f"Residual network of {n} layers.", ResNet, n) for n in (18, 34, 50, 101, 152)
)
densenet121, densenet169, densenet201 = (
    _network(f"densenet{n}", f"DenseNet of {n} layers.", DenseNet, n) for n in (121, 169, 201)
)
vit_b_16 = _network("vit_b_16", "The vision transformer ViT-B/16.", VisionTransformer)

explains_all(globals())
