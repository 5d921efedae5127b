"""The large networks: published sizes, and values and gradients of definitions written in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import models, nn
from gpunn.errors import UsageError

PUBLISHED = {
    "alexnet": 61_100_840,
    "alexnet-two-groups": 60_965_224,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "densenet121": 7_978_856,
    "googlenet": 6_624_904,
    "vgg11": 132_863_336,
    "vgg16": 138_357_544,
    "vit-b-16": 86_567_656,
}


@pytest.fixture
def no_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are zeros: where only their shapes count."""

    def zeros(self: Any, *args: Any) -> np.ndarray:
        shape = args[2]
        return np.zeros(shape, np.float32)

    for name in ("uniform", "normal"):
        monkeypatch.setattr(gpunn.Generator, name, zeros)
    monkeypatch.setattr("gpunn.nn.init.trunc_normal_", lambda tensor, *args, **options: tensor)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts_are_the_published_ones(name: str, no_draws: None) -> None:
    assert sum(p.numel() for p in models.build(name, classes=1000).parameters()) == PUBLISHED[name]


def test_googlenets_additional_classifiers(no_draws: None) -> None:
    assert sum(p.numel() for p in models.GoogLeNet(aux_logits=True).parameters()) == 13_004_888


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("alexnet", 63, None),
        ("alexnet-two-groups", 227, 258),
        ("alexnet-cifar", 32, 39),
        ("vgg11", 32, None),
        ("googlenet", 31, None),
        ("densenet121", 29, None),
    ],
)
def test_images_of_sizes_that_do_not_fit_are_refused_and_the_others_run(
    name: str, least: int, most: int | None, no_draws: None
) -> None:
    text = rf"expected images .*{least}x{least}.* pixels; got {least - 1}x{least}\. A folder of images is resized"
    with pytest.raises(UsageError, match=text):
        models.build(name, (1, least - 1, least))
    if most is not None:
        with pytest.raises(UsageError, match=rf"from {least}x{least} to {most}x{most} pixels; got {least}x{most + 1}"):
            models.build(name, (1, least, most + 1))
    for size in (least, most):
        if size is not None:
            net = models.build(name, (1, size, size), 3).eval()
            with gpunn.no_grad():
                assert net(gpunn.zeros(1, 1, size, size)).shape == (1, 3)


@pytest.mark.parametrize(("name", "size"), [("vit-small", 30), ("vit-b-16", 40)])
def test_images_that_patches_do_not_divide_are_refused(name: str, size: int) -> None:
    with pytest.raises(UsageError, match=rf"whose size is a multiple of \d+; got {size}x{size}"):
        models.build(name, (3, size, size))


@pytest.mark.parametrize(
    ("kind", "match"), [(models.ResNet, "18, 34, 50"), (models.VGG, "11, 13"), (models.DenseNet, "121")]
)
def test_an_unknown_depth_is_refused(kind: Callable[..., Any], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        kind(20)


def _networks() -> dict[str, tuple[Callable[[], Any], Callable[[Any], Any], tuple[int, int], bool]]:
    """Ours, PyTorch's, image size, whether to train: by name."""
    return {
        "resnet18": (lambda: models.ResNet(18, 7), lambda t: t.ResNet(18, 7), (63, 72), True),
        "resnet50": (lambda: models.ResNet(50, 7), lambda t: t.ResNet(50, 7), (64, 64), True),
        "densenet121": (lambda: models.DenseNet(121, 7), lambda t: t.DenseNet(7), (64, 70), True),
        "googlenet": (
            lambda: models.GoogLeNet(7, aux_logits=True, dropout=0.0, dropout_aux=0.0),
            lambda t: t.GoogLeNet(7),
            (72, 63),
            True,
        ),
        "alexnet": (lambda: models.AlexNet(7), lambda t: t.alexnet(7, False), (71, 64), False),
        "alexnet-two-groups": (lambda: models.AlexNetTwoGroups(7), lambda t: t.alexnet(7, True), (227, 227), False),
        "vgg11": (lambda: models.VGG(11, False, 7), lambda t: t.vgg11(7, False), (32, 37), False),
        "vit-small": (
            lambda: models.build("vit-small", classes=7),
            lambda t: t.ViT(32, 4, 6, 3, 192, 768, 7),
            (32, 32),
            True,
        ),
        # ViT-B/16's patches and heads, with a quarter of its blocks, and narrower.
        "vit-b-16": (
            lambda: models.VisionTransformer(48, 16, 3, 12, 96, 384, num_classes=7),
            lambda t: t.ViT(48, 16, 3, 12, 96, 384, 7),
            (48, 48),
            True,
        ),
        "vgg11-bn": (lambda: models.VGG(11, True, 7), lambda t: t.vgg11(7, True), (32, 32), False),
    }


@pytest.mark.parity
@pytest.mark.parametrize("name", _networks())
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 1e-4)])
def test_outputs_and_gradients_are_pytorchs(name: str, dtype: str, tolerance: float) -> None:
    """Relative to the largest number of each tensor.

    In training mode in float64: batch norm divides by the deviation of few numbers in the last stages, which multiplies
    rounding errors, so that in float32 two orders of summation differ by more than 1e-4.
    """
    torch = pytest.importorskip("torch")
    from tests.models import torch_networks

    make_ours, make_theirs, (height, width), training = _networks()[name]
    if dtype == "float64" and name.startswith(("vgg", "alexnet-two")):
        pytest.skip("half a gigabyte of weights, twice: float32 has shown it")
    training = training and dtype == "float64"
    gpunn.manual_seed(4)
    ours = make_ours().to(dtype).train(training)
    if name.startswith("vit"):  # class token and head are zeros at first, which would hide their part
        for parameter in (ours.class_token, ours.heads.head.weight, ours.heads.head.bias):
            nn.init.normal_(parameter, std=0.1)
    theirs = make_theirs(torch_networks).to(getattr(torch, dtype)).train(training)
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})
    x = np.random.Generator(np.random.Philox(1)).normal(size=(3, 3, height, width)).astype(dtype)
    given, wanted = gpunn.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, expected = ours(given), theirs(wanted)
    y, expected = (list(v) if isinstance(v, tuple) else [v] for v in (y, expected))
    if len(expected) > len(y):  # of GoogLeNet's three only the first is wanted in evaluation mode
        expected = expected[:1]
    weights = np.random.Generator(np.random.Philox(2)).normal(size=y[0].shape).astype(dtype)
    sum(((one * gpunn.tensor(weights)).sum() for one in y[1:]), (y[0] * gpunn.tensor(weights)).sum()).backward()
    sum((one * torch.tensor(weights)).sum() for one in expected).backward()

    def close(mine: Any, other: Any, what: str) -> None:
        other = other.detach().numpy()
        np.testing.assert_allclose(mine, other, rtol=0, atol=tolerance * max(1e-3, np.abs(other).max()), err_msg=what)

    for mine, other in zip(y, expected, strict=True):
        close(mine.detach().numpy(), other, "scores")
    close(given.grad.numpy(), wanted.grad, "images")
    others = dict(theirs.named_parameters())
    for key, p in ours.named_parameters():
        if p.grad is None:  # of classifiers that were not asked
            continue
        close(p.grad.numpy(), others[key].grad, key)
