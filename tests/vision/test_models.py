"""Networks under torchvision's names."""

from __future__ import annotations

from typing import Any

import pytest

from gpunn import models as ours
from gpunn.errors import UsageError
from gpunn.nn import Module
from gpunn.vision import models as typed
from tests.parity_vision import torchvision

models: Any = typed  # so that wrong arguments pass the type checker
_NAMES = [name for name in typed.__all__ if name.islower()]
_SMALL = ["googlenet", "resnet18", "densenet121"]
_KINDS: list[Any] = [ours.AlexNet, ours.DenseNet, ours.GoogLeNet, ours.ResNet, ours.VGG, ours.VisionTransformer]


def shapes(network: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


@pytest.mark.parametrize("name", _SMALL)
def test_networks_have_torchvisions_parameters(name: str) -> None:
    theirs = torchvision("models")
    options = {"init_weights": False} if name == "googlenet" else {}
    other = getattr(theirs, name)(num_classes=7, **options)
    assert shapes(getattr(models, name)(num_classes=7)) == shapes(other)


def test_num_classes() -> None:
    network = models.resnet18(weights=None, progress=False, pretrained=False, num_classes=3)
    assert isinstance(network, Module)
    *_, last = network.parameters()
    assert last.shape[0] == 3


@pytest.mark.parametrize("name", _NAMES)
def test_weights_are_refused(name: str) -> None:
    build = getattr(models, name)
    assert build.__name__ == name
    for options in ({"weights": "DEFAULT"}, {"pretrained": True}):
        with pytest.raises(UsageError, match=rf"^{name}: weights are not downloaded here.*load_state_dict"):
            build(**options)


@pytest.mark.parametrize("name", _NAMES)
def test_names_say_which_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    kind = next(k for k in _KINDS if name.startswith("vit" if k is ours.VisionTransformer else k.__name__.lower()))
    monkeypatch.setattr(kind, "__init__", lambda self, *given, **named: made.append((given, named)))
    assert type(getattr(models, name)(num_classes=2)) is kind
    depth = "".join(c for c in name if c.isdigit()) if kind not in (ours.AlexNet, ours.VisionTransformer) else ""
    given = ((int(depth),) if depth else ()) + ((True,) if name.endswith("_bn") else ())
    assert made == [(given, {"num_classes": 2, **({"aux_logits": True} if kind is ours.GoogLeNet else {})})]


def test_other_words_are_pythons_to_refuse() -> None:
    with pytest.raises(TypeError, match="norm"):
        models.resnet18(norm=3)
