"""Lecture topics L10 to L14: convolutions, their sizes and costs, and locally connected layers."""

from __future__ import annotations

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn._window import Window, sides
from gpunn.errors import ShapeError
from gpunn.nn import functional as F
from gpunn.nn.counting import full_weights, local_weights, shared_weights


def size(n: int, k: int, s: int = 1, p: int = 0, d: int = 1) -> int:
    """The lecture's formula, with p the total padding of both sides and d the dilation."""
    return (n - d * (k - 1) - 1 + p + s) // s


def test_L10_sizes_follow_the_formula() -> None:
    for n in (7, 12):
        for k, s, d in ((3, 1, 1), (3, 2, 1), (3, 3, 1), (2, 2, 3), (5, 1, 1)):
            for top, bottom in ((0, 0), (1, 1), (0, 2), (3, 1)):
                expected = size(n, k, s, top + bottom, d)
                layer = nn.Conv2d(1, 1, (k, 1), (s, 1), ((top, bottom), 0), (d, 1))
                assert layer(gpunn.zeros(1, 1, n, 3)).shape == (1, 1, expected, 3)
                layer = nn.Conv2d(1, 1, (1, k), (1, s), (0, (top, bottom)), (1, d))
                assert layer(gpunn.zeros(1, 1, 3, n)).shape == (1, 1, 3, expected)
                assert nn.Conv1d(1, 1, k, s, ((top, bottom),), d)(gpunn.zeros(1, 1, n)).shape == (1, 1, expected)


@pytest.mark.parametrize(("kernel", "padding"), [(3, 1), (5, 2), (7, 3)])
def test_L10_padding_that_keeps_the_size(kernel: int, padding: int) -> None:
    assert padding == (kernel - 1) // 2
    x = gpunn.randn(1, 1, 9, 8)
    layer = nn.Conv2d(1, 1, kernel, padding=padding)
    assert layer(x).shape == x.shape
    same = F.conv2d(x, layer.weight, layer.bias, padding="same")
    np.testing.assert_array_equal(same.detach().numpy(), layer(x).detach().numpy())


def test_L10_seven_by_seven_with_three_by_three() -> None:
    x, unused = (
        gpunn.zeros(1, 1, 7, 7),
        ("last row of the padded input unused", "last column of the padded input unused"),
    )
    for stride, expected, notes in ((1, 5, ()), (2, 3, ()), (3, 2, unused)):
        layer = nn.Conv2d(1, 1, 3, stride)
        assert layer(x).shape == (1, 1, expected, expected)
        assert nn.summarize(layer, (1, 7, 7)).layers[0].notes == notes
        strict = nn.Conv2d(1, 1, 3, stride, strict=True)
        if notes:
            with pytest.raises(ShapeError, match=r"strict: .*the last 1 row\(s\) and 1 column\(s\) are in no window"):
                strict(x)
        else:
            assert strict(x).shape == (1, 1, expected, expected)
    assert nn.Conv2d(1, 1, 3, padding=1)(x).shape == (1, 1, 7, 7)


def test_L10_channels_and_receptive_fields() -> None:
    net = nn.Sequential(nn.Conv2d(3, 6, 5), nn.Conv2d(6, 10, 5))
    first, second = nn.summarize(net, (3, 32, 32)).layers
    assert (first.output_shape, second.output_shape) == ((6, 28, 28), (10, 24, 24))
    assert (net[0].weight.shape, net[1].weight.shape) == ((6, 3, 5, 5), (10, 6, 5, 5))
    assert (first.receptive_field, second.receptive_field) == ((5, 5), (9, 9))
    assert nn.Conv2d(3, 64, 6)(gpunn.zeros(1, 3, 32, 32)).shape == (1, 64, 27, 27)
    # Two layers of 3x3 see 5x5, three 7x7.
    deep = nn.summarize(nn.Sequential(*(nn.Conv2d(1, 1, 3) for _ in range(3))), (1, 9, 9))
    assert [layer.receptive_field for layer in deep.layers] == [(3, 3), (5, 5), (7, 7)]


def test_L10_groups_and_depthwise() -> None:
    x = gpunn.randn(2, 4, 6, 5)
    depthwise = nn.Conv2d(4, 4, 3, groups=4, bias=False)
    assert depthwise.weight.shape == (4, 1, 3, 3)
    y = depthwise(x).detach().numpy()
    for c in range(4):
        alone = F.conv2d(
            gpunn.tensor(x.numpy()[:, c : c + 1]), gpunn.tensor(depthwise.weight.detach().numpy()[c : c + 1])
        )
        # Sums of nine products of order one in another order.
        np.testing.assert_allclose(y[:, c], alone.numpy()[:, 0], rtol=0, atol=1e-6)


def test_L11_parameters_and_multiply_adds() -> None:
    summary = nn.summarize(nn.Conv2d(3, 10, 5, stride=1, padding=2), (3, 32, 32))
    (layer,) = summary.layers
    assert layer.output_shape == (10, 32, 32)
    assert (layer.parameters, layer.multiply_adds) == (760, 768_000)
    assert (summary.parameters, summary.multiply_adds) == (760, 768_000)
    assert "760" in str(summary)
    assert "768,000" in str(summary)


def test_L12_convolution_1d() -> None:
    x, theta = np.array([1.0, 1, 1, 0, 0]), np.array([1.0, 0, 1])
    image, filters = gpunn.tensor(x[None, None]), gpunn.tensor(theta[None, None])
    assert F.conv1d(image, filters).tolist() == [[[2, 1, 1]]]
    # Centred: row i of the matrix has theta on the columns i - 1, i, i + 1, the same weights in each row.
    matrix = sum(np.eye(5, k=k) * t for k, t in zip((-1, 0, 1), theta, strict=True))
    centred = F.conv1d(image, filters, padding="same").numpy()[0, 0]
    np.testing.assert_array_equal(centred, matrix @ x)
    assert nn.Conv1d(1, 1, 3, padding="same", bias=False).weight.numel() == 3


def test_L13_worked_example() -> None:
    image = [[1, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 1], [0, 0, 1, 1, 0], [0, 1, 1, 0, 0]]
    kernel = [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    x, weight = (gpunn.tensor(np.array(a, np.float32)[None, None]) for a in (image, kernel))
    assert F.conv2d(x, weight).tolist() == [[[[4, 3, 4], [2, 4, 3], [2, 3, 4]]]]


def test_L14_parameters_of_full_local_and_shared() -> None:
    n, m = 5, 3
    full = nn.Linear(n, n, bias=False)
    local = nn.LocallyConnected1d(1, 1, m, n, padding="same", bias=False)
    shared = nn.Conv1d(1, 1, m, padding="same", bias=False)
    assert full.weight.numel() == full_weights(n, n) == 25
    assert shared.weight.numel() == shared_weights(shared.window(n), 1, 1) == 3
    assert local_weights(local.window(n), 1, 1, inside=True) == 3 * n - 2 == 13
    assert nn.summarize(local, (1, n)).layers[0].notes == ("2 weights meet only padding",)
    assert local.weight.numel() == 13 + 2
    # As matrices: the columns are what the layers make of the unit vectors.
    units = gpunn.tensor(np.eye(n, dtype=np.float32)[:, None])
    banded = local(units).detach().numpy()[:, 0]
    assert np.count_nonzero(banded) == 13
    assert np.count_nonzero(shared(units).detach().numpy()) == 13
    assert len(np.unique(banded)) == 1 + 13  # zero, and all different
    assert len(np.unique(shared(units).detach().numpy())) == 1 + 3
    # Valid windows: m weights for each output.
    valid = nn.LocallyConnected1d(1, 1, m, n, bias=False)
    assert valid.weight.numel() == local_weights(valid.window(n), 1, 1) == (n - m + 1) * m


def test_L14_image_of_200_by_200() -> None:
    assert full_weights(200 * 200, 400_000) == 16_000_000_000
    # 400,000 hidden units: ten at each pixel, with fields of 10x10.
    (top, bottom), (left, right) = sides("same", "field", (10, 10), (1, 1), (1, 1))
    fields = Window(200, 200, 10, 10, (1, 1), (top, left), (1, 1), False, (bottom, right))
    assert fields.P * fields.Q * 10 == 400_000
    assert local_weights(fields, 1, 10) == 40_000_000
    assert shared_weights(fields, 1, 10) == 1_000
    # The same functions at work in the summary, at a size that fits.
    small = nn.LocallyConnected2d(1, 10, 4, 12, padding="same", bias=False)
    (layer,) = nn.summarize(small, (1, 12, 12)).layers
    assert layer.parameters == layer.multiply_adds == local_weights(small.window(12, 12), 1, 10) == 144 * 160
    assert nn.summarize(nn.Linear(144, 1440, bias=False), (144,)).multiply_adds == full_weights(144, 1440)


def test_L14_locally_connected_layers_learn() -> None:
    gpunn.manual_seed(0)
    for layer, shape in (
        (nn.LocallyConnected1d(2, 1, 3, 6), (4, 2, 6)),
        (nn.LocallyConnected2d(2, 1, 3, 5), (4, 2, 5, 5)),
    ):
        x = gpunn.randn(*shape)
        target = gpunn.randn(*layer(x).shape)
        optimizer = gpunn.optim.SGD(layer.parameters(), lr=0.005)
        losses = []
        for _ in range(200):
            optimizer.zero_grad()
            error = layer(x) - target
            loss = (error * error).sum()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.1 * losses[0]  # more weights than targets: it fits them
