"""Pooling by the p-norm: PyTorch's values and gradients, the layers, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn as typed
from gpunn.errors import GpunnError, ShapeError, UsageError
from tests.devices import EVERYWHERE
from tests.ops.composed import Case, matches_torch, rows

gpunn: Any = typed
nn = gpunn.nn
F = nn.functional


def _case(name: str, shape: tuple[int, ...], *options: Any) -> tuple[str, Any, tuple[tuple[int, ...], ...]]:
    return f"{name}{options}", lambda lib, x: getattr(lib.nn.functional, name)(x, *options), (shape,)


CASES = rows(
    _case("lp_pool1d", (2, 3, 7), 2, 3),
    _case("lp_pool1d", (2, 3, 7), 1.5, 3, 2, True),
    _case("lp_pool1d", (2, 5), 3.0, 2, 1),
    _case("lp_pool1d", (1, 1, 4), -1.0, 2),
    _case("lp_pool2d", (2, 3, 5, 6), 2, (2, 3)),
    _case("lp_pool2d", (2, 3, 5, 6), 4.0, 2, (2, 1), True),
    _case("lp_pool2d", (3, 5, 6), 1.0, 3, 2),
    _case("lp_pool3d", (2, 3, 4, 5, 6), 2, (2, 3, 1)),
    _case("lp_pool3d", (3, 4, 5, 6), 3.0, 2, (1, 2, 1), True),
)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("case", CASES)
def test_matches_torch(where: str, case: Case) -> None:
    # Away from 0: a negative sum has no root, and at 0 a power's gradient is infinite.
    matches_torch(case, where, lambda x: np.abs(x) + 0.25)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_sums_of_0_have_no_gradient(where: str) -> None:
    parity = pytest.importorskip("tests.parity")
    x = np.array([[[0, 0, 3, -4, -1, 1]]], np.float32)
    theirs = parity.torch.nn.functional.lp_pool1d
    # A handful of roundings.
    parity.compare(lambda x: F.lp_pool1d(x, 2, 2), lambda x: theirs(x, 2, 2), {"x": x}, where, 1e-6)


def test_layers_are_the_functions() -> None:
    x = gpunn.rand(2, 3, 6, 6)
    assert nn.LPPool2d(2, 3, (1, 2), True)(x).tolist() == F.lp_pool2d(x, 2, 3, (1, 2), True).tolist()
    assert nn.LPPool3d(2, 3, 1)(x.unsqueeze(0)).tolist() == F.lp_pool3d(x.unsqueeze(0), 2, 3, 1).tolist()
    assert nn.LPPool1d(2, 3, 1)(x[0]).tolist() == F.lp_pool1d(x[0], 2, 3, 1).tolist()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.lp_pool1d(gpunn.ones(1, 1, 4), 0, 2), UsageError, "lp_pool1d: norm_type: expected another number"),
        (lambda: F.lp_pool2d(gpunn.ones(1, 1, 4, 4), "a", 2), UsageError, "lp_pool2d: norm_type: expected a finite"),
        (lambda: F.lp_pool2d(gpunn.ones(1, 1, 4, 4), 2, 0), UsageError, "lp_pool2d: kernel_size: expected an integer"),
        (lambda: F.lp_pool1d(gpunn.ones(1, 1, 4), 2, 5), ShapeError, "avg_pool1d: the window is 5 in length"),
        (lambda: nn.LPPool1d(2, (1, 1)), UsageError, "LPPool1d: kernel_size: expected an integer >= 1; got"),
        (lambda: nn.LPPool2d(2, 1, 0), UsageError, "LPPool2d: stride: expected an integer >= 1"),
        (lambda: nn.LPPool2d(0, 1), UsageError, "LPPool2d: norm_type: expected another number than 0"),
    ],
)
def test_refuses(call: Any, error: type[GpunnError], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        call()
