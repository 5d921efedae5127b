"""GroupNorm: PyTorch's arguments, names and values, and what summaries and optimisers make of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn, optim
from gpunn.errors import ShapeError, UsageError


@pytest.mark.parametrize(
    ("args", "options"),
    [
        ((3, 6), {}),
        ((2, 6), {"bias": False}),
        ((1, 6, 1e-3), {}),
        ((6, 6, 1e-5, False), {}),
    ],
)
@pytest.mark.parametrize("shape", [(3, 6), (3, 6, 7), (3, 6, 4, 5)])
def test_matches_torch(args: tuple[Any, ...], options: dict[str, Any], shape: tuple[int, ...]) -> None:
    parity = pytest.importorskip("tests.parity")
    ours = nn.GroupNorm(*args, **{"dtype": "float64", **options})
    theirs = parity.torch.nn.GroupNorm(*args, dtype=parity.torch.float64, **options)
    assert repr(ours) == repr(theirs)
    state = {name: tensor.detach().numpy() for name, tensor in theirs.state_dict().items()}
    assert list(ours.state_dict()) == list(state)
    for name, tensor in ours.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), state[name])
    x = np.random.Generator(np.random.Philox(0)).standard_normal(shape)
    # Groups of one or two numbers have variances near 0: 1 / sqrt(1e-5) = 300 times a dozen roundings of 1e-16.
    parity.compare(lambda x: ours(x), lambda x: theirs(x), {"x": x}, "cpu", 1e-12, least_scale=1)
    for name, parameter in ours.named_parameters():
        parity.close(name, parameter.grad.numpy(), theirs.get_parameter(name).grad.numpy(), 1e-12, 1)


def test_mode_and_batch_do_not_matter() -> None:
    layer, x = nn.GroupNorm(2, 8), gpunn.randn(4, 8, 5, 5)
    together = layer(x).detach().numpy()
    layer.eval()
    alone = layer(gpunn.tensor(x.numpy()[:1])).detach().numpy()
    # Sums may be cut differently for one item: a few roundings of values up to 4.
    np.testing.assert_allclose(alone[0], together[0], rtol=0, atol=2e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameters_are_made_as_asked_and_can_be_reset(dtype: str) -> None:
    layer = nn.GroupNorm(2, 4, dtype=dtype)
    assert [(p.dtype.name, p.tolist()) for p in layer.parameters()] == [(dtype, [1] * 4), (dtype, [0] * 4)]
    with gpunn.no_grad():
        for p in layer.parameters():
            p.fill_(7)
    layer.reset_parameters()
    assert [p.tolist() for p in layer.parameters()] == [[1] * 4, [0] * 4]


def test_summary_and_weight_decay_know_it_as_a_norm() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Conv2d(4, 2, 3))
    conv, norm, relu, last = nn.summarize(net, (1, 8, 8)).layers
    assert (norm.parameters, norm.multiply_adds, norm.activation_bytes) == (8, 4 * 36, 4 * 4 * 36)
    assert conv.receptive_field == (3, 3)
    # Its mean is one of all positions, so everything behind it sees all of the image.
    assert [row.sees_all for row in (conv, norm, relu, last)] == [False, True, True, True]
    features = nn.summarize(nn.Sequential(nn.GroupNorm(2, 4), nn.Linear(4, 3)), (4,)).layers
    assert [row.sees_all for row in features] == [False, True]
    decayed, others = optim.decay_groups(net, 0.1)
    assert {id(p) for p in others["params"]} == {id(p) for p in (net[0].bias, net[1].weight, net[1].bias, net[3].bias)}
    assert len(decayed["params"]) == 2


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((3, 4), "num_channels: expected a multiple of num_groups = 3; got 4"),
        ((0, 4), "num_groups: expected a whole number of at least 1; got 0"),
        ((2, 2.0), "num_channels: expected a whole number of at least 1; got 2.0"),
    ],
)
def test_impossible_arguments(args: tuple[Any, ...], message: str) -> None:
    with pytest.raises(UsageError, match=f"^GroupNorm: {message}"):
        nn.GroupNorm(*args)


def test_errors_name_the_layer() -> None:
    net = nn.Sequential(nn.GroupNorm(2, 4))
    with pytest.raises(
        ShapeError, match=r"^0 \(GroupNorm\): weight: expected shape \(6,\) to match x of shape \(2, 6\)"
    ):
        net(gpunn.ones(2, 6))
    with pytest.raises(ShapeError, match=r"^0 \(GroupNorm\): expected channels in a multiple of num_groups = 2; got 5"):
        net(gpunn.ones(2, 5))
