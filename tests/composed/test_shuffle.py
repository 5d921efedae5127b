"""Channels exchanged with pixels and with one another: PyTorch's order, gradients, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import gpunn
from gpunn.errors import GpunnError, ShapeError, UsageError
from gpunn.nn import functional as F
from tests.devices import EVERYWHERE


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize(
    ("name", "shape", "factor"),
    [
        ("pixel_shuffle", (2, 8, 3, 5), 2),
        ("pixel_shuffle", (9, 1, 2), 3),
        ("pixel_shuffle", (2, 3, 4, 2, 2), 1),
        ("pixel_unshuffle", (2, 3, 4, 6), 2),
        ("pixel_unshuffle", (1, 3, 6), 3),
        ("pixel_unshuffle", (2, 2, 1, 4, 4), 4),
        ("channel_shuffle", (2, 6, 3, 4), 3),
        ("channel_shuffle", (3, 4, 5), 2),
        ("channel_shuffle", (2, 6, 2, 1, 3), 6),
    ],
)
def test_matches_torch(where: str, name: str, shape: tuple[int, ...], factor: int) -> None:
    parity = pytest.importorskip("tests.parity")
    x = np.random.Generator(np.random.Philox(1)).standard_normal(shape).astype(np.float32)
    theirs = getattr(parity.torch.nn.functional, name)
    # Numbers are only moved.
    parity.compare(lambda x: getattr(F, name)(x, factor), lambda x: theirs(x, factor), {"x": x}, where, 0)


def test_an_empty_batch() -> None:
    x = gpunn.ones(0, 4, 2, 2, requires_grad=True)  # of which PyTorch fails to make a gradient
    y = F.pixel_shuffle(x, 2)
    y.sum().backward()
    assert (y.shape, x.grad.shape) == ((0, 1, 4, 4), (0, 4, 2, 2))


def test_integers_are_moved_too() -> None:
    x = gpunn.arange(16).reshape(1, 4, 2, 2)
    assert F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2).tolist() == x.tolist()


@pytest.mark.parametrize(
    ("name", "shape", "factor", "error", "message"),
    [
        ("pixel_shuffle", (1, 6, 2, 2), 2, ShapeError, r"expected x \(..., C, H, W\) with C a multiple of 4"),
        ("pixel_shuffle", (4, 4), 2, ShapeError, r"expected x \(..., C, H, W\)"),
        ("pixel_shuffle", (1, 4, 2, 2), 0, UsageError, "upscale_factor: expected a whole number of at least 1"),
        ("pixel_unshuffle", (1, 1, 3, 4), 2, ShapeError, r"expected x \(..., C, H, W\) with H and W multiples of 2"),
        ("channel_shuffle", (1, 5, 2), 2, UsageError, "groups: expected a divisor of the 5 channels; got 2"),
        ("channel_shuffle", (1, 4), 2, ShapeError, r"expected x \(N, C, \*\) with at least three axes"),
    ],
)
def test_refuses(name: str, shape: tuple[int, ...], factor: int, error: type[GpunnError], message: str) -> None:
    with pytest.raises(error, match=f"^{name}: {message}"):
        getattr(F, name)(gpunn.ones(*shape), factor)
