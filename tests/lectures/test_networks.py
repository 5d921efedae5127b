"""The lectures' networks (N1, N2, N3), and attention (L17)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import models, nn, optim
from gpunn.data import DataLoader, Digits
from gpunn.train import Trainer


def test_N1_lenet_shapes_weights_and_parameters() -> None:
    net = models.LeNet5()
    outputs = [layer.output_shape for layer in nn.summarize(net, (1, 28, 28)).layers]
    assert outputs == [
        *((20, 28, 28), (20, 28, 28), (20, 14, 14), (50, 14, 14), (50, 14, 14), (50, 7, 7)),
        *((2450,), (500,), (500,), (10,)),
    ]
    shapes = [p.shape for name, p in net.named_parameters() if name.endswith("weight")]
    # Matrices are kept as PyTorch keeps them: the lecture's 500 x 2450 maps 2450 numbers to 500.
    assert shapes == [(20, 1, 5, 5), (50, 20, 5, 5), (500, 2450), (10, 500)]
    assert sum(p.numel() for p in net.parameters()) == 1_256_080


def test_N1_lenet_is_one_case_of_the_pattern() -> None:
    layers = models.convolutional_layers(1, (28, 28), (20, 50), (500,), 10)
    kinds = [type(layer).__name__ for layer in layers.values()]
    conv, dense = ["Conv2d", "ReLU", "MaxPool2d"], ["Linear", "ReLU"]
    assert kinds == [*conv, *conv, "Flatten", *dense, "Linear"]
    net = nn.Sequential(layers)
    net.load_state_dict(models.LeNet5().state_dict())
    deeper = models.convolutional_layers(3, (32, 32), (8, 16, 32), (64, 32), 5)
    kinds = [type(layer).__name__ for layer in deeper.values()]
    assert kinds == [*conv * 3, "Flatten", *dense * 2, "Linear"]
    assert nn.Sequential(deeper)(gpunn.ones(2, 3, 32, 32)).shape == (2, 5)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("mlp", "Linear ReLU"),
        ("mlp-dropout", "Linear ReLU Dropout"),
        ("modern-mlp", "Linear BatchNorm1d PReLU"),
        ("modern-mlp-dropout", "Linear BatchNorm1d PReLU Dropout"),
    ],
)
def test_N2_mlp_pads_digits_to_1024_features(name: str, kinds: str) -> None:
    net: Any = models.build(name)
    assert net.features == 1024
    expected = ["ZeroPad2d", "Flatten", *kinds.split() * 2, "Linear"]
    assert [type(layer).__name__ for layer in net] == expected
    image = np.random.Generator(np.random.Philox(0)).standard_normal((2, 1, 28, 28)).astype(np.float32)
    padded = net[0](gpunn.tensor(image)).numpy()
    assert padded.shape == (2, 1, 32, 32)
    np.testing.assert_array_equal(padded[:, :, 2:30, 2:30], image)
    assert abs(padded).sum() == abs(image).sum()


@pytest.mark.parametrize("name", ["mlp", "modern-mlp", "modern-mlp-dropout"])
def test_N2_mlp_learns_digits(name: str) -> None:
    """The figure on MNIST, above 98 %, is in the README with its command; here a few seconds on Digits."""
    pytest.importorskip("sklearn")
    gpunn.manual_seed(0)
    net = models.build(name)
    trainer = Trainer(net, optim.Adam(net.parameters(), lr=1e-3), device="cpu", log=None)
    trainer.fit(DataLoader(Digits(train=True), 64, shuffle=True), DataLoader(Digits(train=False), 360), epochs=4)
    assert trainer.history[-1].test_accuracy_percent >= 95


def test_N2_refuses_images_larger_than_the_padding() -> None:
    with pytest.raises(gpunn.errors.UsageError, match="pad_to: expected at least the images' 40x40; got 32"):
        models.MLP((1, 40, 40), pad_to=32)


# -- N3: the large networks ------------------------------------------------------------------------


@pytest.fixture
def no_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are zeros, which cost no time: where only shapes count."""
    for name in ("uniform", "normal"):
        monkeypatch.setattr(gpunn.Generator, name, lambda self, *args: np.zeros(args[2], np.float32))
    monkeypatch.setattr("gpunn.nn.init.trunc_normal_", lambda tensor, *args, **options: tensor)


@pytest.mark.parametrize(
    ("make", "published"),
    [
        (lambda: models.ResNet(18), 11_689_512),
        (lambda: models.ResNet(34), 21_797_672),
        (lambda: models.ResNet(50), 25_557_032),
        (lambda: models.DenseNet(121), 7_978_856),
        (lambda: models.VisionTransformer(), 86_567_656),
        (lambda: models.AlexNetTwoGroups(), 60_965_224),
        (lambda: models.AlexNet(), 61_100_840),
        (lambda: models.GoogLeNet(), 6_624_904),
        (lambda: models.ResNetCifar(20, "A"), 269_722),
        (lambda: models.ResNetCifar(20, "B"), 272_474),
    ],
    ids=lambda value: f"{value:,}" if isinstance(value, int) else "",
)
def test_N3_parameter_counts_are_the_published_ones(make: Any, published: int, no_draws: None) -> None:
    assert sum(p.numel() for p in make().parameters()) == published


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda: models.AlexNet(3), 63),
        (lambda: models.AlexNetTwoGroups(3), 227),
        (lambda: models.GoogLeNet(3), 33),
        (lambda: models.ResNet(18, 3), 33),
        (lambda: models.ResNet(50, 3), 32),
        (lambda: models.ResNetCifar(20, classes=3), 32),
        (lambda: models.DenseNet(121, 3), 32),
        (lambda: models.VisionTransformer(32, 16, 2, 12, 96, 384, num_classes=3), 32),  # ViT-B/16's structure
        (lambda: models.build("vit-small", classes=3), 32),
    ],
    ids=["alexnet", "two groups", "googlenet", "resnet18", "resnet50", "resnet20", "densenet121", "vit-b-16", "vit"],
)
def test_N3_networks_run_forward_and_backward(make: Any, size: int) -> None:
    gpunn.manual_seed(0)
    net = make()
    images = gpunn.randn(2, 3, size, size)
    loss = nn.CrossEntropyLoss()(net(images), gpunn.tensor([0, 2]))
    loss.backward()
    assert np.isfinite(loss.item())
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert np.isfinite(parameter.grad.numpy()).all(), name


# Names and shapes of torchvision's state_dicts at the places that tell its networks from others, and their lengths.
TORCHVISION: dict[str, tuple[Any, int, dict[str, tuple[int, ...]]]] = {
    "alexnet": (
        lambda: models.AlexNet(),
        16,
        {"features.0.weight": (64, 3, 11, 11), "features.10.bias": (256,), "classifier.6.weight": (1000, 4096)},
    ),
    "resnet18": (
        lambda: models.ResNet(18),
        122,
        {
            "conv1.weight": (64, 3, 7, 7),
            "bn1.num_batches_tracked": (),
            "layer2.0.downsample.0.weight": (128, 64, 1, 1),
            "layer4.1.bn2.running_var": (512,),
            "fc.weight": (1000, 512),
        },
    ),
    "resnet50": (
        lambda: models.ResNet(50),
        320,
        {
            "layer1.0.conv3.weight": (256, 64, 1, 1),
            "layer3.5.bn2.bias": (256,),
            "layer4.0.downsample.1.running_mean": (2048,),
            "fc.bias": (1000,),
        },
    ),
    "densenet121": (
        lambda: models.DenseNet(121),
        727,
        {
            "features.conv0.weight": (64, 3, 7, 7),
            "features.denseblock1.denselayer6.norm1.weight": (224,),
            "features.denseblock4.denselayer16.conv2.weight": (32, 128, 3, 3),
            "features.transition3.conv.weight": (512, 1024, 1, 1),
            "features.norm5.running_var": (1024,),
            "classifier.weight": (1000, 1024),
        },
    ),
    "googlenet": (
        lambda: models.GoogLeNet(),
        344,
        {
            "conv1.conv.weight": (64, 3, 7, 7),
            "inception3a.branch3.1.conv.weight": (32, 16, 3, 3),
            "inception5b.branch4.1.bn.weight": (128,),
            "fc.weight": (1000, 1024),
        },
    ),
    "vit_b_16": (
        lambda: models.VisionTransformer(),
        152,
        {
            "class_token": (1, 1, 768),
            "conv_proj.weight": (768, 3, 16, 16),
            "encoder.pos_embedding": (1, 197, 768),
            "encoder.layers.encoder_layer_11.self_attention.in_proj_weight": (2304, 768),
            "encoder.layers.encoder_layer_0.self_attention.out_proj.bias": (768,),
            "encoder.layers.encoder_layer_5.mlp.0.weight": (3072, 768),
            "encoder.layers.encoder_layer_5.mlp.3.weight": (768, 3072),
            "encoder.ln.weight": (768,),
            "heads.head.weight": (1000, 768),
        },
    ),
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_N3_state_dicts_have_torchvisions_names_and_shapes(name: str, no_draws: None) -> None:
    make, count, places = TORCHVISION[name]
    net = make()
    state = net.state_dict()
    assert len(state) == count
    assert {key: state[key].shape for key in places} == places
    report = net.load_state_dict({key: np.zeros(value.shape, value.dtype) for key, value in state.items()})
    assert report == ([], [])


# -- L17: attention --------------------------------------------------------------------------------


def test_L17_attention_is_the_formula_by_heads() -> None:
    """softmax(q kT / sqrt(d)) v in each head's part of the features, then the last projection."""
    gpunn.manual_seed(1)
    layer = nn.MultiheadAttention(6, 2, batch_first=True).double()
    for bias in (layer.in_proj_bias, layer.out_proj.bias):
        nn.init.normal_(bias)
    x = np.random.Generator(np.random.Philox(2)).normal(size=(3, 5, 6))
    y, weights = layer(gpunn.tensor(x), gpunn.tensor(x), gpunn.tensor(x), average_attn_weights=False)
    projected = x @ layer.in_proj_weight.detach().numpy().T + layer.in_proj_bias.detach().numpy()
    heads = []
    for head in range(2):
        q, k, v = (projected[..., 6 * part + 3 * head : 6 * part + 3 * head + 3] for part in range(3))
        scores = np.exp(q @ k.swapaxes(1, 2) / np.sqrt(3))
        shares = scores / scores.sum(-1, keepdims=True)
        np.testing.assert_allclose(weights.detach().numpy()[:, head], shares, rtol=0, atol=1e-14)  # of at most 1
        heads.append(shares @ v)
    expected = (
        np.concatenate(heads, -1) @ layer.out_proj.weight.detach().numpy().T + layer.out_proj.bias.detach().numpy()
    )
    # Sums of some ten terms of the order of 1, in float64.
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=0, atol=1e-13)


def test_L17_positions_tell_permuted_patches_apart_and_the_class_token_reads_them() -> None:
    gpunn.manual_seed(3)
    net = models.VisionTransformer(8, 4, 2, 2, 8, 16, num_classes=3).double().eval()
    for parameter in (net.class_token, net.heads.head.weight):
        nn.init.normal_(parameter)
    image = np.random.Generator(np.random.Philox(4)).normal(size=(1, 3, 8, 8))
    turned = np.concatenate([image[:, :, 4:], image[:, :, :4]], 2)  # the patches of both rows exchanged
    scores = [net(gpunn.tensor(one)).detach().numpy() for one in (image, turned)]
    assert abs(scores[0] - scores[1]).max() > 1e-3
    gpunn.nn.init.zeros_(net.encoder.pos_embedding)
    scores = [net(gpunn.tensor(one)).detach().numpy() for one in (image, turned)]
    # Without positions the token sees a set of patches; only the order of adding differs.
    np.testing.assert_allclose(scores[0], scores[1], rtol=0, atol=1e-12)
    x = gpunn.tensor(image, requires_grad=True)
    net(x).sum().backward()
    assert (abs(x.grad.numpy()) > 0).all()  # every pixel has reached the token


@pytest.mark.parity
def test_L17_self_attention_position_embedding_and_class_token_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    from tests.models.torch_networks import ViT

    gpunn.manual_seed(5)
    ours = models.VisionTransformer(8, 4, 1, 2, 8, 16, num_classes=3).double()
    for parameter in ours.parameters():
        nn.init.normal_(parameter, std=0.3)
    theirs = ViT(8, 4, 1, 2, 8, 16, 3).double()
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: tuple(v.shape) for k, v in theirs.state_dict().items()
    }
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})
    x = np.random.Generator(np.random.Philox(6)).normal(size=(2, 3, 8, 8))
    y, expected = ours(gpunn.tensor(x)), theirs(torch.tensor(x))
    y.square().sum().backward()
    expected.square().sum().backward()
    # float64, numbers of about 1, some hundred terms a sum.
    np.testing.assert_allclose(y.detach().numpy(), expected.detach().numpy(), rtol=0, atol=1e-12)
    others = dict(theirs.named_parameters())
    for name, p in ours.named_parameters():
        q = others[name]
        largest = max(1.0, float(q.grad.abs().max()))
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=0, atol=1e-11 * largest, err_msg=name)
