"""The lectures' numbers on normalisation (L7, L8), pooling (L15) and initialisation (L18)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.data import DataLoader, Digits
from gpunn.errors import ShapeError
from gpunn.nn import functional as F

# -- L7: batch normalisation ----------------------------------------------------------------------


@pytest.mark.parametrize(("name", "shape"), [("BatchNorm1d", (6, 3)), ("BatchNorm2d", (4, 3, 5, 4))])
def test_L7_batch_norm_equals_torch_in_train_and_eval(name: str, shape: tuple[int, ...]) -> None:
    """float64: only a wrong formula can differ by more than 1e-12."""
    parity = pytest.importorskip("tests.parity")
    ours = getattr(nn, name)(3, eps=1e-3, momentum=0.2, dtype=np.float64)
    theirs = getattr(parity.torch.nn, name)(3, eps=1e-3, momentum=0.2, dtype=parity.torch.float64)
    rng = np.random.Generator(np.random.Philox(0))
    for training in (True, True, False):
        ours.train(training)
        theirs.train(training)
        parity.compare(lambda x: ours(x), lambda x: theirs(x), {"x": 2 + rng.standard_normal(shape)}, "cpu", 1e-12)
        for key, tensor in theirs.state_dict().items():
            np.testing.assert_allclose(ours.state_dict()[key].numpy(), tensor.numpy(), rtol=1e-12)


def test_L7_gamma_beta_epsilon_and_the_running_estimate() -> None:
    layer = nn.BatchNorm1d(1, eps=3.0, momentum=0.25, dtype=np.float64)
    nn.init.constant_(layer.weight, 5.0)
    nn.init.constant_(layer.bias, 7.0)
    # Mean 2, variance 1: (x - 2) / sqrt(1 + 3) * 5 + 7.
    x = gpunn.tensor(np.array([[1.0], [3.0]]))
    assert layer(x).tolist() == [[4.5], [9.5]]
    # x <- (1 - m) x + m xhat, of the mean and of the unbiased variance 2.
    assert layer.running_mean.item() == 0.75 * 0 + 0.25 * 2
    assert layer.running_var.item() == 0.75 * 1 + 0.25 * 2
    layer.eval()
    expected = (x.numpy() - 0.5) / math.sqrt(1.25 + 3) * 5 + 7
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-15)


def _digits(train: bool, count: int) -> tuple[gpunn.Tensor, gpunn.Tensor]:
    images, labels = Digits(train).batch(range(count))
    return gpunn.tensor(images), gpunn.tensor(labels)


def _loss_and_accuracy(model: nn.Module, x: gpunn.Tensor, target: gpunn.Tensor) -> tuple[float, float]:
    with gpunn.no_grad():
        scores = model(x)
        right = (scores.numpy().argmax(axis=1) == target.numpy()).mean()
        return F.cross_entropy(scores, target).item(), float(right)


def test_L7_statistics_of_the_training_set_beat_a_stale_running_estimate() -> None:
    """One epoch, 23 steps, moves an estimate of momentum 0.01 by a fifth of the way only."""
    pytest.importorskip("sklearn")
    gpunn.manual_seed(1)
    norms = nn.BatchNorm2d(8, momentum=0.01), nn.BatchNorm1d(32, momentum=0.01)
    features = (nn.Conv2d(1, 8, 5, stride=2), norms[0], nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    model = nn.Sequential(*features, nn.Linear(8 * 36, 32), norms[1], nn.ReLU(), nn.Linear(32, 10))
    optimizer = gpunn.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    train = Digits(train=True)
    loader = DataLoader(train, batch_size=64, shuffle=True)
    for x, target in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), target).backward()
        optimizer.step()
    x, target = _digits(train=False, count=360)
    with_batch = _loss_and_accuracy(model, x, target)  # first choice: the batch's own statistics
    model.eval()
    stale = _loss_and_accuracy(model, x, target)  # second choice
    nn.recompute_batch_statistics(model, DataLoader(train, batch_size=256), batches=4)
    part = _loss_and_accuracy(model, x, target)
    nn.recompute_batch_statistics(model, DataLoader(train, batch_size=256))
    whole = _loss_and_accuracy(model, x, target)  # third choice
    assert whole[0] < 0.5 * stale[0]
    assert whole[1] > stale[1] + 0.05
    assert part[0] < 0.5 * stale[0]  # a large part of the training set does nearly as well
    assert abs(whole[1] - with_batch[1]) < 0.03
    assert whole[1] > 0.9


# -- L8: layer normalisation and residual connections ---------------------------------------------


@pytest.mark.parametrize("shape", [(3, 6), (2, 3, 6), (2, 2, 3, 6)])
def test_L8_gradient_of_a_residual_connection_around_layer_norm(shape: tuple[int, ...]) -> None:
    """x + f(layer_norm(x)): the gradient goes both ways, past the branch and through it."""
    rng = np.random.Generator(np.random.Philox(0))
    branch = nn.Sequential(nn.LayerNorm(6, dtype=np.float64), nn.Linear(6, 6, dtype=np.float64))
    x = gpunn.tensor(rng.standard_normal(shape), requires_grad=True)
    weight, bias = (gpunn.tensor(rng.standard_normal(6), requires_grad=True) for _ in range(2))
    assert gpunn.gradcheck(lambda x: x + branch(x), x)
    assert gpunn.gradcheck(lambda x, w, b: x + F.layer_norm(x, 6, w, b), [x, weight, bias])


def test_L8_rows_have_mean_0_and_variance_1_whatever_the_batch() -> None:
    x = gpunn.tensor(np.random.Generator(np.random.Philox(0)).normal(4, 3, (5, 400)))
    y = nn.LayerNorm(400, eps=0.0, dtype=np.float64)(x).detach().numpy()
    # float64: some hundred roundings of 1e-16.
    np.testing.assert_allclose(y.mean(axis=1), 0, atol=1e-13)
    np.testing.assert_allclose(y.var(axis=1), 1, atol=1e-13)
    assert nn.LayerNorm(400)(gpunn.ones(1, 400)).shape == (1, 400)  # a batch of one is no problem


# -- L15: pooling ---------------------------------------------------------------------------------

ROWS: list[list[float]] = [[1.0, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]]


def _image(size: int) -> gpunn.Tensor:
    return gpunn.ones(1, 1, size, size)


def test_L15_example() -> None:
    """Rows 1124, 5678, 3210, 1234 with K = 2, S = 2 give 68, 34."""
    x = gpunn.tensor([[ROWS]])
    assert F.max_pool2d(x, 2, 2).tolist() == [[[[6, 8], [3, 4]]]]
    assert F.avg_pool2d(x, 2, 2).tolist() == [[[[3.25, 5.25], [2, 2]]]]
    assert F.adaptive_avg_pool2d(x, 1).item() == sum(sum(row) for row in ROWS) / 16


@pytest.mark.parametrize("pool", [F.max_pool2d, F.avg_pool2d])
def test_L15_sizes(pool: Any) -> None:
    """H' = (H - K) / S + 1."""
    for size in range(1, 12):
        for kernel in range(1, size + 1):
            for stride in range(1, 5):
                expected = (size - kernel) // stride + 1
                assert pool(_image(size), kernel, stride).shape == (1, 1, expected, expected)
    alexnet = [55, 27, 13, 6]  # its three poolings, K = 3 and S = 2, overlap by one
    assert [pool(_image(n), 3, 2).shape[2] for n in alexnet[:3]] == alexnet[1:]


@pytest.mark.parametrize("layer", [nn.MaxPool2d, nn.AvgPool2d])
def test_L15_sizes_that_do_not_divide(layer: Any) -> None:
    x = _image(6)
    assert layer(3, 2)(x).shape == (1, 1, 2, 2)  # (6 - 3) / 2 + 1 = 2.5: the floor
    assert layer(3, 2, ceil_mode=True)(x).shape == (1, 1, 3, 3)
    with pytest.raises(ShapeError, match=rf"{layer.__name__}: strict: .*the last 1 row\(s\) and 1 column\(s\)"):
        layer(3, 2, strict=True)(x)
    assert layer(3, 2, strict=True)(_image(7)).shape == (1, 1, 3, 3)
    assert layer(3, 2, padding=1)(x).shape == (1, 1, 3, 3)


def test_L15_a_shift_by_one_pixel_changes_few_outputs() -> None:
    """Of sparse features, as behind a ReLU: nearly all inputs change by a shift, of the maxima a part only."""
    rng = np.random.Generator(np.random.Philox(0))
    x = np.zeros((1, 1, 64, 65), np.float32)
    spots = rng.permutation(64 * 65)[:40]
    x.reshape(-1)[spots] = 1 + rng.random(40)
    here, there = (gpunn.tensor(part.copy()) for part in (x[..., :64], x[..., 1:]))
    lit = (here.numpy() > 0) | (there.numpy() > 0)
    changed = (here.numpy() != there.numpy())[lit].mean()

    def share(kernel: int) -> float:
        a, b = (F.max_pool2d(t, kernel).numpy() for t in (here, there))
        return float((a != b)[(a > 0) | (b > 0)].mean())

    assert changed == 1.0  # every lit pixel is another one
    # A maximum leaves a window of width K by a shift of one with probability 1/K, and then two windows change.
    assert share(2) == pytest.approx(2 / 3, abs=0.15)
    assert share(4) == pytest.approx(2 / 5, abs=0.15)
    assert share(8) < 0.35
    assert share(8) < share(4) < share(2) < changed


def test_L15_average_pooling_of_a_shifted_image_hardly_changes() -> None:
    gpunn.manual_seed(0)
    x = np.random.Generator(np.random.Philox(0)).standard_normal((1, 1, 32, 33)).astype(np.float32)
    a, b = (F.avg_pool2d(gpunn.tensor(part.copy()), 8).numpy() for part in (x[..., :32], x[..., 1:]))
    # Of 8 columns one leaves and one enters: the mean's change has 2/8 of its variance.
    assert np.mean((a - b) ** 2) / np.mean(a**2) < 0.5
    assert np.mean((x[..., :32] - x[..., 1:]) ** 2) / np.mean(x**2) > 1.8


# -- L18: initialisation --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "variance"),
    [
        ("normal_", {"std": 0.01}, 1e-4),
        ("xavier_normal_", {}, 2 / (600 + 400)),
        ("xavier_uniform_", {}, 2 / (600 + 400)),
        ("kaiming_normal_", {"nonlinearity": "relu"}, 2 / 600),
        ("kaiming_uniform_", {"nonlinearity": "relu"}, 2 / 600),
    ],
)
def test_L18_variances(name: str, options: dict[str, Any], variance: float) -> None:
    weight = getattr(nn.init, name)(gpunn.zeros(400, 600), **options).numpy()
    # n = 240,000 draws: the mean has standard deviation sqrt(variance / n), a Gaussian's measured variance a
    # relative one of sqrt(2 / n) = 0.3 % (a uniform's less); five of each.
    assert abs(weight.mean()) < 5 * math.sqrt(variance / weight.size)
    assert abs(weight.var() / variance - 1) < 5 * math.sqrt(2 / weight.size)


def test_L18_a_signal_keeps_its_size_through_twenty_layers() -> None:
    """He's variance for ReLU; with Xavier's, half of it at equal widths, twenty layers make it 2^20 times smaller."""
    x = gpunn.tensor(np.random.Generator(np.random.Philox(0)).standard_normal((64, 512)).astype(np.float32))

    def second_moment(initialise: Any) -> float:
        h = x
        for _ in range(20):
            h = F.relu(F.linear(h, initialise(gpunn.zeros(512, 512))))
        return float((h.numpy() ** 2).mean())

    # He keeps the expected square, at 1 before and 1/2 ... 1 after: width 512 makes it wander by sqrt(5 / 512) a
    # layer, 45 % in twenty.
    assert 0.2 < second_moment(lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu")) < 5
    assert second_moment(nn.init.xavier_normal_) < 1e-5


def test_L18_constant_and_a_small_positive_bias() -> None:
    layer = nn.Linear(3, 4)
    assert nn.init.constant_(layer.bias, 0.1) is layer.bias
    assert layer.bias.tolist() == [np.float32(0.1)] * 4
    nn.init.zeros_(layer.weight)
    assert (F.relu(layer(gpunn.zeros(2, 3))).detach().numpy() > 0).all()  # every unit starts alive
