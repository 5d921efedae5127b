"""CIFAR ResNets: published sizes, shapes, PyTorch's numbers from PyTorch's weights, refusals."""

from __future__ import annotations

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.errors import UsageError
from gpunn.models import ResNetCifar, build

PUBLISHED = {("A", 20): 269_722, ("B", 20): 272_474}


@pytest.mark.parametrize(("option", "depth"), PUBLISHED)
def test_parameter_counts_are_the_published_ones(option: str, depth: int) -> None:
    assert sum(p.numel() for p in ResNetCifar(depth, option).parameters()) == PUBLISHED[option, depth]


def test_the_zoo_builds_it_by_name() -> None:
    net = build("resnet20")
    assert isinstance(net, ResNetCifar)
    assert net(gpunn.randn(2, 3, 32, 32)).shape == (2, 10)
    assert build("resnet20", (1, 28, 28), 7)(gpunn.randn(2, 1, 28, 28)).shape == (2, 7)


def test_depth_is_the_number_of_layers_with_weights() -> None:
    for depth in (8, 14, 20):
        convolutions = [m for m in ResNetCifar(depth).modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        assert len(convolutions) == depth


def test_work_is_the_papers() -> None:
    # 27·16·32² + 6·9·16²·32² + (9·16·32 + 5·9·32²)·16² + (9·32·64 + 5·9·64²)·8² + 640, and batch norm's elements.
    products = 442_368 + 14_155_776 + 12_976_128 + 12_976_128 + 640
    norms = 7 * 16 * 1024 + 6 * 32 * 256 + 6 * 64 * 64
    assert nn.summarize(ResNetCifar(20), (3, 32, 32)).multiply_adds == products + norms


def test_option_a_takes_every_second_pixel_and_adds_channels_of_zeros() -> None:
    block = ResNetCifar(8).layer2[0]
    x = gpunn.randn(1, 16, 5, 6)
    past = block._past(x).numpy()
    np.testing.assert_array_equal(past[:, :16], x.numpy()[:, :, ::2, ::2])
    assert past.shape == (1, 32, 3, 3)
    assert not past[:, 16:].any()


@pytest.mark.parametrize("option", ["A", "B"])
def test_values_and_gradients_are_pytorchs(option: str) -> None:
    torch = pytest.importorskip("torch")
    from gpunn.bench import networks

    network = networks.resnet_cifar(8, option, 9)
    ours, theirs = networks.gpunn_network(network, gpunn.device("cpu"), "float64"), network.twin(torch).double()
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})
    x = np.random.default_rng(1).standard_normal((3, 3, 9, 9))
    y, expected = ours(gpunn.tensor(x)), theirs(torch.tensor(x))
    y.sum().backward()
    expected.sum().backward()
    np.testing.assert_allclose(y.detach().numpy(), expected.detach().numpy(), rtol=1e-10)
    gradients = {name: p.grad.numpy() for name, p in ours.named_parameters()}
    for name, p in theirs.named_parameters():
        # float64 through eight layers: sums of a few hundred terms that cancel.
        np.testing.assert_allclose(gradients[name], p.grad.numpy(), rtol=1e-8, atol=1e-10, err_msg=name)
    running = {name: b.numpy() for name, b in ours.named_buffers()}
    for name, b in theirs.named_buffers():
        np.testing.assert_allclose(running[name], b.numpy(), rtol=1e-10, err_msg=name)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(UsageError, match=r"depth: expected 6 n \+ 2, such as 20, 32 or 56; got 18"):
        ResNetCifar(18)
    with pytest.raises(UsageError, match=r"depth: .*got 2"):
        ResNetCifar(2)
    with pytest.raises(UsageError, match=r"shortcut: expected 'A' .*got 'C'"):
        ResNetCifar(20, "C")
