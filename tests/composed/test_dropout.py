"""Dropout of whole channels and to SELU's end: which elements, with which factor, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.errors import DTypeError, GpunnError, ShapeError, UsageError
from gpunn.nn import functional as F
from tests.devices import EVERYWHERE

# Name, shape, and how many of its first axes count channels, of each item or of one.
CASES = [
    ("dropout1d", (50, 6), 1),
    ("dropout1d", (9, 30, 5), 2),
    ("dropout2d", (9, 30, 5), 2),
    ("dropout2d", (9, 30, 3, 4), 2),
    ("dropout3d", (50, 2, 3, 2), 1),
    ("dropout3d", (9, 30, 2, 3, 2), 2),
]


@pytest.mark.parametrize(("name", "shape", "leading"), CASES)
@pytest.mark.parametrize("where", EVERYWHERE)
def test_whole_channels_are_dropped(where: str, name: str, shape: tuple[int, ...], leading: int) -> None:
    generator = gpunn.Generator().manual_seed(1)
    x = gpunn.ones(*shape, device=where, requires_grad=True)
    y = getattr(F, name)(x, 0.25, generator=generator)
    factors = y.detach().numpy().reshape(*shape[:leading], -1)
    assert (factors == factors[..., :1]).all()
    assert set(np.unique(factors)) == {np.float32(0), np.float32(1 / 0.75)}
    y.backward(gpunn.ones_like(y))
    np.testing.assert_array_equal(x.grad.numpy().reshape(factors.shape), factors)


@pytest.mark.parametrize("name", ["dropout1d", "dropout2d", "dropout3d"])
def test_evaluation_and_probability_0_change_nothing(name: str) -> None:
    x = gpunn.ones(2, 3, 4, 5, 6) if name == "dropout3d" else gpunn.ones(2, 3, 4)
    assert getattr(F, name)(x, 0.5, training=False) is x
    assert getattr(F, name)(x, 0.0) is x
    assert not getattr(F, name)(x, 1.0).any().item()


def test_a_draw_with_probability_0_moves_the_generator_on() -> None:
    generator = gpunn.Generator().manual_seed(1)
    F.dropout2d(gpunn.ones(1, 1, 1, 1), 0.0, generator=generator)
    after = F.dropout2d(gpunn.ones(4, 8, 1, 1), 0.5, generator=generator)
    again = gpunn.Generator().manual_seed(1)
    F.dropout2d(gpunn.ones(1, 1, 1, 1), 0.9, generator=again)
    assert after.tolist() == F.dropout2d(gpunn.ones(4, 8, 1, 1), 0.5, generator=again).tolist()


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("Dropout1d", (4, 9, 3)),
        ("Dropout2d", (4, 9, 3, 3)),
        ("AlphaDropout", (4, 9)),
        ("FeatureAlphaDropout", (4, 9, 3)),
    ],
)
def test_layers(name: str, shape: tuple[int, ...]) -> None:
    def made(**options: Any) -> Any:
        gpunn.manual_seed(5)
        return getattr(nn, name)(**options)

    x = gpunn.ones(*shape)
    first = made()(x)
    assert (first != first.max()).any().item()
    assert first.tolist() == made()(x).tolist()
    changed = gpunn.ones(*shape)
    assert made(inplace=True)(changed) is changed
    assert changed.tolist() == first.tolist()
    layer = made(p=0.3, inplace=True)
    assert layer.eval()(x) is x
    parity = pytest.importorskip("tests.parity")
    assert repr(layer) == repr(getattr(parity.torch.nn, name)(0.3, True))


# -- alpha dropout --------------------------------------------------------------------------------


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("name", ["alpha_dropout", "feature_alpha_dropout"])
def test_what_is_dropped_goes_to_the_end_of_selu(where: str, name: str) -> None:
    p, end = 0.25, float(nn.SELU()(gpunn.tensor([-100.0])).item())
    x = gpunn.randn(50, 40, 3, generator=gpunn.Generator().manual_seed(2)).to(where).requires_grad_()
    y = getattr(F, name)(x, p, training=True, generator=gpunn.Generator().manual_seed(1))
    y.sum().backward()
    scale = x.grad.numpy().max()
    given, found = x.detach().numpy(), y.detach().numpy()
    kept = x.grad.numpy() != 0
    shift = -scale * end * p
    # A product, a sum, and constants in single precision.
    np.testing.assert_allclose(found, np.where(kept, given, end) * scale + shift, rtol=0, atol=2e-6)
    if name == "feature_alpha_dropout":
        assert (kept == kept[..., :1]).all()
    # A quarter of 2,000 channels or 6,000 numbers is dropped, to six standard deviations.
    count = 2000 if name == "feature_alpha_dropout" else 6000
    assert abs(kept.mean() - 0.75) < 6 * (p * (1 - p) / count) ** 0.5
    # Mean 0 and variance 1 stay, up to how far so few numbers stray.
    assert abs(found.mean()) < 0.15
    assert abs(found.std() - 1) < 0.15


def test_the_scale_of_alpha_dropout_is_pytorchs() -> None:
    parity = pytest.importorskip("tests.parity")
    x = gpunn.zeros(1000, dtype="float64")
    ours = np.unique(F.alpha_dropout(x, 0.3, True).numpy())
    theirs = np.unique(parity.torch.nn.functional.alpha_dropout(parity.torch.zeros(1000).double(), 0.3, True).numpy())
    np.testing.assert_allclose(ours, theirs, rtol=1e-13)  # a few roundings


@pytest.mark.parametrize("name", ["alpha_dropout", "feature_alpha_dropout"])
def test_alpha_dropout_of_nothing_and_of_all(name: str) -> None:
    x = gpunn.ones(2, 3, 4)
    assert getattr(F, name)(x) is x
    assert getattr(F, name)(x, 0.0, True) is x
    assert not getattr(F, name)(x, 1.0, True).any().item()
    with pytest.raises(UsageError, match=f"^{name}: p: expected a probability from 0 to 1; got 2"):
        getattr(F, name)(x, 2)
    with pytest.raises(DTypeError, match=f"^{name}: expected a floating dtype"):
        getattr(F, name)(gpunn.ones(2, 3, dtype="int64"))
    if name == "feature_alpha_dropout":
        with pytest.raises(ShapeError, match=r"^feature_alpha_dropout: expected x \(N, C, \*\)"):
            F.feature_alpha_dropout(gpunn.ones(2), 0.5, True)


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "x", "p", "error", "message"),
    [
        ("dropout1d", (2, 3, 4, 5), 0.5, ShapeError, r"expected x with 2 to 3 axes; got shape \(2, 3, 4, 5\)"),
        ("dropout2d", (2,), 0.5, ShapeError, r"expected x with 2 to 5 axes; got shape \(2,\)"),
        ("dropout3d", (2, 3, 4), 0.5, ShapeError, r"expected x with 4 to 5 axes; got shape \(2, 3, 4\)"),
        ("dropout2d", (2, 3, 4), 1.5, UsageError, "p: expected a probability from 0 to 1; got 1.5"),
    ],
)
def test_refuses(name: str, x: tuple[int, ...], p: float, error: type[GpunnError], message: str) -> None:
    with pytest.raises(error, match=f"^{name}: {message}"):
        getattr(F, name)(gpunn.ones(*x), p)
    if error is UsageError:
        with pytest.raises(error, match=f"^{name.capitalize()}: {message}"):
            getattr(nn, name.capitalize())(p)
    with pytest.raises(DTypeError, match=f"^{name}: expected a floating dtype"):
        getattr(F, name)(
            gpunn.ones(2, 3, dtype="int64") if name != "dropout3d" else gpunn.arange(6).reshape(1, 1, 2, 3)
        )
