"""Initial values: spreads, generators, and what PyTorch's functions give."""

from __future__ import annotations

import math

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.errors import ShapeError, UsageError
from gpunn.nn import init
from gpunn.random import Generator

# -- initial values ------------------------------------------------------------------------------


@pytest.mark.parametrize(("layer", "fan_in"), [(nn.Linear, 500), (nn.Conv2d, 20 * 25)])
def test_default_initial_values_are_uniform_on_one_over_the_root_of_fan_in(layer, fan_in) -> None:
    made = layer(500, 400) if layer is nn.Linear else layer(20, 400, 5)
    bound = 1 / math.sqrt(fan_in)
    for values in (made.weight.detach().numpy(), made.bias.detach().numpy()):
        assert np.abs(values).max() <= bound
        n = values.size
        # The mean of n uniforms on ±bound has standard deviation bound / sqrt(3 n); five of them.
        assert abs(values.mean()) < 5 * bound / math.sqrt(3 * n)
        # Their variance bound² / 3 is estimated with relative error sqrt(0.8 / n).
        assert abs(values.var() * 3 / bound**2 - 1) < 5 * math.sqrt(0.8 / n)


@pytest.mark.parametrize(
    ("fill", "variance"),
    [
        (lambda w: init.normal_(w, std=0.3), 0.09),
        (lambda w: init.uniform_(w, -2, 2), 16 / 12),
        (lambda w: init.xavier_uniform_(w, gain=2), 4 * 2 / (300 + 200)),
        (lambda w: init.xavier_normal_(w), 2 / (300 + 200)),
        (lambda w: init.kaiming_uniform_(w), 2 / 300),
        (lambda w: init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu"), 2 / 200),
        (lambda w: init.kaiming_normal_(w, a=0.5), 2 / 1.25 / 300),
        (lambda w: init.kaiming_uniform_(w, nonlinearity="linear"), 1 / 300),
        (lambda w: init.kaiming_normal_(w, nonlinearity="tanh"), 25 / 9 / 300),
        # Cut at ±2 deviations a Gaussian keeps 1 - 4 phi(2) / (2 Phi(2) - 1) of its variance.
        (lambda w: init.trunc_normal_(w, std=0.5, a=-1, b=1), 0.25 * 0.7737413),
        (lambda w: init.orthogonal_(w, gain=3), 9 / 300),
    ],
)
def test_variances(fill, variance) -> None:
    weight = nn.Parameter(gpunn.zeros(200, 300))
    assert fill(weight) is weight
    values = weight.detach().numpy()
    # 60,000 draws: the relative error of a Gaussian's variance is sqrt(2 / n) = 0.6 %; five of them.
    assert abs(values.var() / variance - 1) < 0.03
    assert abs(values.mean()) < 5 * math.sqrt(variance / values.size)


def test_init_writes_in_logical_order_from_the_given_generator() -> None:
    weight = init.normal_(gpunn.zeros(4, 3, 2, 5), generator=Generator(5))
    np.testing.assert_array_equal(weight.numpy(), Generator(5).normal(0, 1, (4, 3, 2, 5)))
    assert init.constant_(gpunn.zeros(3), 0.1).tolist() == pytest.approx([0.1] * 3)
    assert init.ones_(gpunn.zeros(2)).tolist() == [1, 1]
    assert init.zeros_(gpunn.ones(2)).tolist() == [0, 0]
    assert init._calculate_fan_in_and_fan_out(gpunn.zeros(6, 4, 3, 5)) == (60, 90)
    with pytest.raises(ShapeError, match=r"need a weight of two axes or more; got shape \(3,\)"):
        init.xavier_normal_(gpunn.zeros(3))
    with pytest.raises(UsageError, match="mode: expected 'fan_in' or 'fan_out'; got 'fan'"):
        init.kaiming_normal_(gpunn.zeros(3, 3), mode="fan")
    with pytest.raises(UsageError, match="expected one of linear"):
        init.calculate_gain("relux")


def test_a_seed_gives_the_same_weights_and_different_layers_different_ones() -> None:
    gpunn.manual_seed(11)
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    gpunn.manual_seed(11)
    again = nn.Linear(4, 4)
    np.testing.assert_array_equal(first.weight.detach().numpy(), again.weight.detach().numpy())
    assert not np.array_equal(first.weight.detach().numpy(), second.weight.detach().numpy())


def test_init_spreads_as_in_torch() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    for name, options in (
        ("kaiming_uniform_", {"a": math.sqrt(5)}),
        ("kaiming_normal_", {"mode": "fan_out", "nonlinearity": "relu"}),
        ("xavier_uniform_", {"gain": 1.5}),
        ("xavier_normal_", {}),
    ):
        ours, theirs = gpunn.zeros(80, 40, 3, 3), torch.zeros(80, 40, 3, 3)
        getattr(init, name)(ours, **options)
        getattr(torch.nn.init, name)(theirs, **options)
        # 28,800 draws each: the ratio of two estimated standard deviations is within 3 % (five errors).
        assert abs(float(ours.numpy().std() / theirs.numpy().std()) - 1) < 0.03, name
    for nonlinearity in (
        "linear",
        "conv1d",
        "conv2d",
        "conv3d",
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
        "sigmoid",
        "tanh",
        "relu",
        "selu",
        "leaky_relu",
    ):
        assert init.calculate_gain(nonlinearity) == pytest.approx(torch.nn.init.calculate_gain(nonlinearity))


@pytest.mark.parametrize(
    ("mean", "std", "a", "b"), [(0, 1, -2, 2), (1, 0.5, -1, 1.2), (0, 1, 3, 100), (0, 2, -0.1, 0.1)]
)
def test_truncated_normal_matches_its_distribution(mean: float, std: float, a: float, b: float) -> None:
    """Both ways of drawing: Gaussian where most draws are inside, uniform where few would be."""
    values = init.trunc_normal_(gpunn.zeros(200, 100, dtype=np.float64), mean, std, a, b).numpy().ravel()
    assert values.min() >= a
    assert values.max() <= b

    def beyond(v: float) -> float:
        return math.erfc((v - mean) / std / math.sqrt(2)) / 2

    for v in np.quantile(values, [0.1, 0.5, 0.9]):
        share = (beyond(a) - beyond(v)) / (beyond(a) - beyond(b))
        # A share p of n draws has standard deviation sqrt(p (1 - p) / n) <= 0.0036; five of them.
        assert abs(share - (values <= v).mean()) < 0.018


def test_truncated_normal_is_exact_at_its_edges_and_repeats() -> None:
    first = init.trunc_normal_(gpunn.zeros(5, 4), generator=Generator(2)).numpy()
    np.testing.assert_array_equal(init.trunc_normal_(gpunn.zeros(5, 4), generator=Generator(2)).numpy(), first)
    assert init.trunc_normal_(gpunn.zeros(0, 4)).shape == (0, 4)
    with pytest.raises(UsageError, match=r"expected a < b; got a=1.0, b=1.0"):
        init.trunc_normal_(gpunn.zeros(2), a=1, b=1)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 2, 3, 2), (3, 1)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    weight = init.orthogonal_(gpunn.zeros(*shape, dtype=np.float64), gain=2).numpy().reshape(shape[0], -1)
    small = weight @ weight.T if weight.shape[0] <= weight.shape[1] else weight.T @ weight
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-13)  # float64 roundings of a small product
    with pytest.raises(ShapeError, match="two axes or more"):
        init.orthogonal_(gpunn.zeros(3))


def test_gain_of_leaky_relu() -> None:
    assert init.calculate_gain("leaky_relu", 0.2) == pytest.approx(math.sqrt(2 / 1.04))
    with pytest.raises(UsageError, match="negative slope"):
        init.calculate_gain("leaky_relu", True)
