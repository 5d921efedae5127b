"""Activations that cut at thresholds and draw slopes: PyTorch's values and gradients, seeds, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn as typed
from gpunn.errors import GpunnError
from tests.devices import EVERYWHERE

gpunn: Any = typed
F = gpunn.nn.functional

# The thresholds themselves, both sides of them, and infinity.
_EDGES = np.array([[-2, -0.5, -0.25, -0.0, 0.0, 0.25, 0.5, 0.75, 2], [-0.75, np.inf, -np.inf, 1, -1, 3, -3, 0.5, 4]])


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("hardshrink", ()),
        ("hardshrink", (0.25,)),
        ("hardshrink", (0.0,)),
        ("softshrink", ()),
        ("softshrink", (0.0,)),
        ("softshrink", (0.75,)),
        ("threshold", (0.5, 7.0)),
        ("threshold", (-0.25, -1.5)),
        ("rrelu", ()),
        ("rrelu", (0.25, 0.75)),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_matches_torch(where: str, name: str, options: tuple[float, ...], dtype: Any) -> None:
    parity = pytest.importorskip("tests.parity")
    theirs = getattr(parity.torch.nn.functional, name)
    # A rounding or two.
    parity.compare(
        lambda x: getattr(F, name)(x, *options), lambda x: theirs(x, *options), {"x": _EDGES.astype(dtype)}, where,
        2 * np.finfo(dtype).eps,
    )  # fmt: skip


def test_nan_stays() -> None:
    """Its gradient in PyTorch depends on where in a vector it stands."""
    x = gpunn.tensor([np.nan, 1.0])
    for y in (F.hardshrink(x), F.softshrink(x), F.threshold(x, 0.5, 7.0), F.rrelu(x), F.rrelu(x, training=True)):
        assert y.isnan().tolist() == [True, False]


def test_the_tensor_itself_may_become_the_result() -> None:
    for function in (lambda x: F.threshold(x, 0.5, 7.0, inplace=True), lambda x: F.rrelu(x, 0.5, 0.5, inplace=True)):
        leaf = gpunn.tensor([-1.0, 2.0], requires_grad=True)
        x = leaf * 1
        assert function(x) is x
        x.sum().backward()
        assert leaf.grad[1].item() == 1


@pytest.mark.parametrize("where", EVERYWHERE)
def test_random_slopes(where: str) -> None:
    layer = gpunn.nn.RReLU(0.25, 0.5)
    x = (gpunn.arange(1000.0, device=where) - 500).requires_grad_()
    y = layer(x)
    y.sum().backward()
    slopes, flat = x.grad.numpy(), y.detach().numpy()
    np.testing.assert_array_equal(flat, x.detach().numpy() * slopes)
    assert (slopes[501:] == 1).all()
    assert ((slopes[:500] >= 0.25) & (slopes[:500] < 0.5)).all()
    # 500 numbers uniform on an interval of 0.25 have this mean, to six of its standard deviations.
    assert abs(slopes[:500].mean() - 0.375) < 6 * 0.25 / 12**0.5 / 500**0.5
    assert (layer(x).detach().numpy() != flat).any()
    layer.eval()
    np.testing.assert_array_equal(layer(x).detach().numpy()[:500], x.detach().numpy()[:500] * np.float32(0.375))


def test_the_seed_is_the_layers() -> None:
    def slopes() -> Any:
        gpunn.manual_seed(3)
        return gpunn.nn.RReLU()(gpunn.full((50,), -1.0)).tolist()

    assert slopes() == slopes()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: F.softshrink(gpunn.ones(2), -0.5), "softshrink: lambd: expected a number of at least 0; got -0.5"),
        (lambda: F.hardshrink(gpunn.ones(2), float("nan")), "hardshrink: lambd: expected a finite number"),
        (lambda: F.rrelu(gpunn.ones(2), 0.5, 0.25), "rrelu: lower: expected at most upper, 0.25; got 0.5"),
        (lambda: F.threshold(gpunn.ones(2), 0.5, "a"), "threshold: value: expected a finite number"),
        (lambda: F.hardshrink(gpunn.arange(2)), "hardshrink: expected a floating dtype"),
        (lambda: F.threshold(gpunn.arange(2), 1, 2), "threshold: expected a floating dtype"),
        (lambda: gpunn.nn.Softshrink(-1), "Softshrink: lambd: expected a number of at least 0"),
        (lambda: gpunn.nn.RReLU(0.5, 0.25), "RReLU: lower: expected at most upper"),
        (lambda: gpunn.nn.Threshold("a", 1), "Threshold: threshold: expected a finite number"),
    ],
)
def test_refuses(call: Any, message: str) -> None:
    with pytest.raises(GpunnError, match=f"^{message}"):
        call()
