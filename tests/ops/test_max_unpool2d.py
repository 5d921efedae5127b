"""The reverse of max pooling: PyTorch's values and gradients over one to three axes, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn as typed
from gpunn.errors import DTypeError, GpunnError, RangeError, ShapeError, UsageError
from tests.devices import EVERYWHERE

gpunn: Any = typed
nn = gpunn.nn
F = nn.functional

CASES: list[tuple[int, tuple[int, ...], dict[str, Any], Any]] = [
    (1, (2, 3, 8), {"kernel_size": 2}, None),
    (1, (3, 9), {"kernel_size": 3, "stride": 2, "padding": 1}, (9,)),
    (2, (2, 3, 6, 8), {"kernel_size": 2}, None),
    (2, (2, 3, 7, 6), {"kernel_size": 3, "stride": 2}, (2, 3, 7, 6)),
    (2, (3, 7, 9), {"kernel_size": (2, 3), "stride": (3, 2), "padding": (1, 0)}, (7, 9)),
    (3, (2, 3, 4, 6, 4), {"kernel_size": 2}, None),
    (3, (1, 5, 5, 5), {"kernel_size": 3, "stride": 2}, (5, 5, 5)),
]


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize(("axes", "shape", "options", "size"), CASES)
def test_matches_torch(where: str, axes: int, shape: tuple[int, ...], options: dict[str, Any], size: Any) -> None:
    parity = pytest.importorskip("tests.parity")
    x = np.random.Generator(np.random.Philox(4)).standard_normal(shape)
    pool, unpool = f"max_pool{axes}d", f"max_unpool{axes}d"
    y, places = getattr(parity.torch.nn.functional, pool)(parity.torch.tensor(x), **options, return_indices=True)
    index, theirs = gpunn.tensor(places.numpy(), device=where), getattr(parity.torch.nn.functional, unpool)
    # Numbers are moved, but for sums of equal ones that are divided again, where windows overlap.
    parity.compare(
        lambda y: getattr(F, unpool)(y, index, **options, output_size=size),
        lambda y: theirs(y, places, **options, output_size=size),
        {"y": y.numpy()}, where, 1e-15, least_scale=1,
    )  # fmt: skip
    layers = [getattr(lib.nn, f"MaxUnpool{axes}d")(**options) for lib in (gpunn, parity.torch)]
    assert repr(layers[0]) == repr(layers[1])
    mine = layers[0](gpunn.tensor(y.numpy(), device=where), index, size)
    np.testing.assert_allclose(mine.numpy(), layers[1](y, places, size).numpy(), rtol=1e-15)


def test_an_empty_batch() -> None:
    assert F.max_unpool2d(gpunn.ones(0, 2, 3, 3), gpunn.zeros(0, 2, 3, 3, dtype="int64"), 2).shape == (0, 2, 6, 6)


def test_captured_equals_eager(kernels: str) -> None:
    found = []
    for captured in (False, True):
        weight = gpunn.tensor(np.arange(1, 3, dtype=np.float32).reshape(1, 2, 1, 1), device=kernels, requires_grad=True)

        def step(x: Any, weight: Any = weight) -> Any:
            weight.grad = None
            y, places = F.max_pool2d(x * weight, 2, return_indices=True)
            loss = (F.max_unpool2d(y.square(), places, 2) * x).sum()
            loss.backward()
            return loss

        run = gpunn.capture(step) if captured else step
        x = gpunn.tensor(np.arange(32, dtype=np.float32).reshape(1, 2, 4, 4), device=kernels)
        losses = [run(x).item() for _ in range(4)]
        found.append((losses, weight.grad.tolist()))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x, i: F.max_unpool2d(x[0, 0], i[0, 0], 2), ShapeError, "max_unpool2d: expected x with 3 or 4 axes"),
        (lambda x, i: F.max_unpool2d(x, i[:, :1], 2), ShapeError, "max_unpool2d: .* and indices of the same shape"),
        (lambda x, i: F.max_unpool2d(x, i + 16, 2), RangeError, "max_unpool2d"),
        (lambda x, i: F.max_unpool2d(x, x, 2), DTypeError, "max_unpool2d: index: expected a Tensor of integers"),
        (lambda x, i: F.max_unpool2d(i, i, 2), DTypeError, "max_unpool2d: expected a floating dtype"),
        (lambda x, i: F.max_unpool2d(x, i, 2, output_size=(4, 6)), UsageError, "max_unpool2d: output_size: .* 3 to 5"),
        (lambda x, i: F.max_unpool2d(x, i, 2, output_size=(4,)), UsageError, "max_unpool2d: output_size: expected 2"),
        (lambda x, i: F.max_unpool2d(x, i, 2, 1, 2), UsageError, "max_unpool2d: padding: the result would have"),
        (
            lambda x, i: nn.MaxUnpool3d((2, 2)),
            UsageError,
            "MaxUnpool3d: kernel_size: expected an integer >= 1 or three",
        ),
        (lambda x, i: nn.MaxUnpool1d(2, 0), UsageError, "MaxUnpool1d: stride: expected an integer >= 1"),
    ],
)
def test_refuses(call: Any, error: type[GpunnError], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        call(gpunn.ones(1, 2, 2, 2), gpunn.zeros(1, 2, 2, 2, dtype="int64"))
