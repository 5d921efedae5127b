"""Convolution and locally connected layers: arguments, shapes, state, what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.errors import ShapeError, UsageError
from tests.devices import EVERYWHERE


@pytest.mark.parametrize(
    ("make", "x", "y", "state"),
    [
        (lambda: nn.Conv1d(4, 6, 3), (2, 4, 9), (2, 6, 7), {"weight": (6, 4, 3), "bias": (6,)}),
        (lambda: nn.Conv1d(4, 6, (3,), 2, (1,), 1, 2, False), (1, 4, 8), (1, 6, 4), {"weight": (6, 2, 3)}),
        (
            lambda: nn.Conv1d(2, 2, 4, padding="same", groups=2),
            (2, 2, 7),
            (2, 2, 7),
            {"weight": (2, 1, 4), "bias": (2,)},
        ),
        (lambda: nn.Conv1d(2, 3, 3, padding=((0, 2),)), (1, 2, 7), (1, 3, 7), {"weight": (3, 2, 3), "bias": (3,)}),
        (
            lambda: nn.Conv2d(2, 3, 3, padding=((0, 2), 1)),
            (1, 2, 7, 5),
            (1, 3, 7, 5),
            {"weight": (3, 2, 3, 3), "bias": (3,)},
        ),
        (
            lambda: nn.Conv2d(2, 3, 2, padding="same"),
            (1, 2, 7, 5),
            (1, 3, 7, 5),
            {"weight": (3, 2, 2, 2), "bias": (3,)},
        ),
        (
            lambda: nn.LocallyConnected1d(2, 3, 3, 7, 2, 1),
            (4, 2, 7),
            (4, 3, 4),
            {"weight": (4, 3, 2, 3), "bias": (3, 4)},
        ),
        (
            lambda: nn.LocallyConnected2d(2, 3, (3, 2), (5, 6), (1, 2), bias=False),
            (4, 2, 5, 6),
            (4, 3, 3, 3),
            {"weight": (3, 3, 3, 2, 3, 2)},
        ),
        (
            lambda: nn.LocallyConnected2d(1, 2, 3, 4, padding="same", dtype=np.float64).float(),
            (0, 1, 4, 4),
            (0, 2, 4, 4),
            {"weight": (4, 4, 2, 1, 3, 3), "bias": (2, 4, 4)},
        ),
    ],
)
def test_shapes_and_state(make, x, y, state) -> None:
    layer = make()
    given = gpunn.randn(*x, requires_grad=True)
    made = layer(given)
    assert made.shape == y
    assert {name: tensor.shape for name, tensor in layer.state_dict().items()} == state
    made.sum().backward()
    assert given.grad.shape == x
    assert all(p.grad is not None and p.grad.shape == p.shape for p in layer.parameters())


@pytest.mark.parametrize(
    ("layer", "fan_in"),
    [
        (lambda: nn.Conv1d(30, 48, 5, groups=3), 50),
        (lambda: nn.LocallyConnected1d(10, 20, 5, 20), 50),
        (lambda: nn.LocallyConnected2d(2, 6, 5, (9, 9)), 50),
    ],
)
def test_initial_values_are_uniform_by_fan_in(layer, fan_in) -> None:
    gpunn.manual_seed(3)
    made, bound = layer(), 1 / np.sqrt(fan_in)
    for values in (p.detach().numpy() for p in made.parameters()):
        assert np.abs(values).max() <= bound * (1 + 1e-6)  # the bound rounded to float32
        # Of a uniform distribution; the smallest sample, 48 biases, has this deviation within 25 %.
        assert abs(values.std() / (bound / np.sqrt(3)) - 1) < 0.25
    first = made.weight.detach().numpy().copy()
    made.reset_parameters()
    assert (made.weight.detach().numpy() != first).any()


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: nn.Conv1d(3, 4, 0), UsageError, r"Conv1d: kernel_size: expected an integer >= 1"),
        (lambda: nn.Conv1d(3, 4, (1, 3)), UsageError, r"Conv1d: kernel_size"),
        (lambda: nn.Conv1d(3, 4, 3, padding=(1, 2)), UsageError, r"Conv1d: padding: .*\(\(left, right\),\)"),
        (lambda: nn.Conv1d(3, 4, 3, padding="same", stride=2), UsageError, "Conv1d: padding='same' needs stride 1"),
        (
            lambda: nn.Conv1d(3, 4, 3, padding_mode="wrap"),
            UsageError,
            "Conv1d: padding_mode: expected 'zeros', 'reflect'",
        ),
        (lambda: nn.Conv1d(3, 4, 3, groups=2), UsageError, r"Conv1d: groups: expected a divisor of in_channels \(3\)"),
        (lambda: nn.Conv2d(3, 4, 3, padding=((1, 2), (3, 4, 5))), UsageError, r"Conv2d: padding: .*\(top, bottom\)"),
        (lambda: nn.LocallyConnected1d(1, 0, 3, 5), UsageError, "LocallyConnected1d: out_channels"),
        (lambda: nn.LocallyConnected1d(1, 1, 3, 2), ShapeError, "LocallyConnected1d: the window is 3 in length"),
        (lambda: nn.LocallyConnected1d(1, 1, 3, 6, 2, strict=True), ShapeError, r"strict: .*the last 1 element\(s\)"),
        (lambda: nn.LocallyConnected2d(1, 1, 3, (5, 2)), ShapeError, "LocallyConnected2d: the window is 3 in width"),
        (lambda: nn.LocallyConnected2d(1, 1, 3, 7, 3, strict=True), ShapeError, r"LocallyConnected2d: strict"),
    ],
)
def test_impossible_arguments_are_named_when_the_layer_is_made(make, error, match) -> None:
    with pytest.raises(error, match=match):
        make()


def test_errors_name_the_layer() -> None:
    net = nn.Sequential(nn.Conv1d(2, 3, 3, stride=2, strict=True), nn.LocallyConnected1d(3, 1, 2, 4))
    assert net(gpunn.zeros(1, 2, 9)).shape == (1, 1, 3)
    with pytest.raises(ShapeError, match=r"^0 \(Conv1d\): expected 2 input channels to match weight \(3, 2, 3\); got"):
        net(gpunn.zeros(1, 3, 9))
    with pytest.raises(ShapeError, match=r"^0 \(Conv1d\): strict: .*length 8 .* the last 1 element\(s\)"):
        net(gpunn.zeros(1, 2, 8))
    with pytest.raises(ShapeError, match=r"^1 \(LocallyConnected1d\): the weight has filters for 3 positions"):
        net(gpunn.zeros(1, 2, 11))


def test_a_relu_is_fused_into_conv1d_too() -> None:
    net = nn.Sequential(nn.Conv1d(2, 3, 3), nn.ReLU())
    assert nn.fused_pairs(net) == [(net[0], net[1])]
    x = gpunn.randn(2, 2, 8)
    np.testing.assert_array_equal(net(x).detach().numpy(), np.maximum(net[0](x).detach().numpy(), 0))


def test_window_says_the_output_size() -> None:
    window = nn.Conv2d(1, 1, (3, 5), 2, ((0, 1), (2, 3))).window(8, 9)
    assert (window.P, window.Q, window.unused) == (4, 5, (0, 1))
    window = nn.Conv1d(1, 1, 4, padding="same").window(6)
    assert (window.P, window.Q, window.padding, window.after) == (1, 6, (0, 1), (0, 2))


def test_repr_and_state_dict_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch")

    def build(nn):
        return nn.Sequential(
            nn.Conv1d(3, 8, 3, stride=2, padding=1, dilation=2, bias=False),
            nn.Conv1d(8, 8, 3, padding="same", groups=2),
            nn.Conv1d(8, 2, 1),
        )

    assert repr(build(nn)) == repr(build(torch.nn))
    ours, theirs = build(nn).state_dict(), build(torch.nn).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: tuple(v.shape) for k, v in theirs.items()}
    assert list(ours) == list(theirs)


def test_repr_of_what_torch_has_not() -> None:
    assert repr(nn.Conv2d(1, 2, 3, padding=((0, 1), 2), strict=True)) == (
        "Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1), padding=((0, 1), (2, 2)), strict=True)"
    )
    assert repr(nn.LocallyConnected1d(1, 2, 3, 5, padding="same", dilation=2, bias=False)) == (
        "LocallyConnected1d(1, 2, kernel_size=(3,), input_size=(5,), stride=(1,), padding='same', "
        "dilation=(2,), bias=False)"
    )


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("padding", [(1, 2), "same"])
@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_borders_that_are_not_zeros(mode: str, padding: Any, where: str) -> None:
    """A ReLU and a pooling run in the same layer; the border is no part of the image whose gradient is asked for."""
    torch = pytest.importorskip("torch")
    x = np.random.Generator(np.random.Philox(8)).standard_normal((2, 3, 7, 6)).astype(np.float32)
    mine = nn.Conv2d(3, 4, (3, 4), padding=padding, padding_mode=mode).to(where)
    theirs = torch.nn.Conv2d(3, 4, (3, 4), padding=padding, padding_mode=mode)
    theirs.load_state_dict({name: torch.tensor(v.numpy()) for name, v in mine.state_dict().items()})
    assert repr(mine) == repr(theirs)

    def of(library: Any, layer: Any, **where: Any) -> list[np.ndarray]:
        leaf = library.tensor(x, requires_grad=True, **where)
        y = library.nn.Sequential(layer, library.nn.ReLU(), library.nn.MaxPool2d(2))(leaf)
        (y * y).sum().backward()
        return [t.numpy() for t in (y.detach(), leaf.grad, layer.weight.grad, layer.bias.grad)]

    for got, expected in zip(of(gpunn, mine, device=where), of(torch, theirs), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)  # sums of hundreds of terms of order one


def test_a_sequence_with_a_border() -> None:
    layer = nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular", bias=False)
    layer.weight.data.fill_(1)
    assert layer(gpunn.tensor([[[1.0, 2.0, 4.0]]])).tolist() == [[[7.0, 7.0, 7.0]]]
    with pytest.raises(ShapeError, match=r"Conv1d: mode .reflect. cannot pad axis 2, of length 2"):
        nn.Conv1d(1, 1, 3, padding=3, padding_mode="reflect")(gpunn.ones(1, 1, 2))
