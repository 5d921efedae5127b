"""Adaptive max pooling of sequences: PyTorch's values, gradients and indices, the layer, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn as typed
from gpunn.errors import DTypeError, GpunnError, ShapeError, UsageError
from tests.devices import EVERYWHERE

gpunn: Any = typed
F = gpunn.nn.functional


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize(
    ("shape", "size"), [((2, 3, 7), 3), ((2, 3, 6), 3), ((4, 5), 7), ((2, 1, 5), None), ((0, 2, 4), 2), ((1, 1, 9), 1)]
)
def test_matches_torch(where: str, shape: tuple[int, ...], size: int | None) -> None:
    parity = pytest.importorskip("tests.parity")
    x = np.random.Generator(np.random.Philox(2)).integers(0, 4, shape).astype(np.float32)  # with ties
    if not x.size:  # which PyTorch refuses
        assert F.adaptive_max_pool1d(gpunn.tensor(x, device=where), size).shape == (*shape[:-1], size)
        return
    size = shape[-1] if size is None else size  # which PyTorch's function does not take
    theirs = parity.torch.nn.functional.adaptive_max_pool1d
    # Values are only moved; up to three gradients of order one meet, in another order than PyTorch's.
    parity.compare(lambda x: F.adaptive_max_pool1d(x, size), lambda x: theirs(x, size), {"x": x}, where, 1e-6)
    y, index = F.adaptive_max_pool1d(gpunn.tensor(x, device=where), size, return_indices=True)
    expected = theirs(parity.torch.tensor(x), size, return_indices=True)
    assert (y.tolist(), index.tolist()) == tuple(t.tolist() for t in expected)
    layer = gpunn.nn.AdaptiveMaxPool1d(size, return_indices=True)
    assert [t.tolist() for t in layer(gpunn.tensor(x, device=where))] == [y.tolist(), index.tolist()]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.adaptive_max_pool1d(gpunn.ones(3), 2), ShapeError, r"adaptive_max_pool1d: expected x of shape \(N,"),
        (lambda: F.adaptive_max_pool1d(gpunn.ones(2, 0), 2), ShapeError, r"adaptive_max_pool1d: expected x of shape"),
        (lambda: F.adaptive_max_pool1d(gpunn.ones(2, 4), 0), UsageError, "adaptive_max_pool1d: output_size: expected"),
        (
            lambda: F.adaptive_max_pool1d(gpunn.arange(4).reshape(1, 4), 2),
            DTypeError,
            "adaptive_max_pool1d: expected a",
        ),
        (lambda: gpunn.nn.AdaptiveMaxPool1d((1, 2)), UsageError, "AdaptiveMaxPool1d: output_size: expected"),
    ],
)
def test_refuses(call: Any, error: type[GpunnError], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        call()
