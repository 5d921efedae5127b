"""A product of two inputs: PyTorch's values and gradients, the layer, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn as typed
from gpunn.errors import DTypeError, ShapeError, UsageError
from tests.devices import EVERYWHERE
from tests.ops.composed import Case, matches_torch, rows

gpunn: Any = typed
nn = gpunn.nn
F = nn.functional


def _call(lib: Any, *tensors: Any) -> Any:
    return lib.nn.functional.bilinear(*tensors)


CASES = rows(
    ("bias", _call, ((5, 3), (5, 4), (2, 3, 4), (2,))),
    ("no bias", _call, ((5, 3), (5, 1), (2, 3, 1))),
    ("many axes", _call, ((2, 3, 2, 4), (2, 3, 2, 5), (3, 4, 5), (3,))),
    ("no axes", _call, ((3,), (4,), (2, 3, 4), (2,))),
    ("empty", _call, ((0, 3), (0, 4), (2, 3, 4), (2,))),
)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("case", CASES)
def test_matches_torch(where: str, case: Case) -> None:
    matches_torch(case, where)


def test_the_layer_starts_as_pytorchs_does() -> None:
    parity = pytest.importorskip("tests.parity")
    layer, theirs = nn.Bilinear(16, 3, 40), parity.torch.nn.Bilinear(16, 3, 40)
    assert [(k, tuple(v.shape)) for k, v in layer.state_dict().items()] == [
        (k, tuple(v.shape)) for k, v in theirs.state_dict().items()
    ]
    for ours, other in ((layer.weight, theirs.weight), (layer.bias, theirs.bias)):
        most, its = np.abs(ours.detach().numpy()).max(), np.abs(other.detach().numpy()).max()
        # Of 40 numbers or more, uniform on ±0.25, the largest is above 0.2 but for one time in 7,000.
        assert 0.2 < most <= 0.25
        assert 0.2 < its <= 0.25
    assert nn.Bilinear(2, 3, 4, bias=False).bias is None


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((5, 3), (5, 4), (2, 3, 5)), r"expected input1 \(\*, 3\) and input2 \(\*, 5\)"),
        (((4, 3), (5, 4), (2, 3, 4)), r"expected input1 \(\*, 3\) and input2 \(\*, 4\), with the same axes"),
        (((5, 3), (5, 4), (2, 12)), r"expected weight \(K, I, J\); got \(2, 12\)"),
        (((5, 3), (5, 4), (2, 3, 4), (3,)), r"expected a bias of shape \(2,\); got \(3,\)"),
        (((), (), (2, 1, 1)), r"expected input1 \(\*, 1\)"),
    ],
)
def test_refuses(shapes: tuple[tuple[int, ...], ...], message: str) -> None:
    with pytest.raises(ShapeError, match=f"^bilinear: {message}"):
        F.bilinear(*(gpunn.ones(*shape) for shape in shapes))


def test_refuses_dtypes_and_arguments() -> None:
    with pytest.raises(DTypeError, match=r"^bilinear: expected one floating dtype; got float32, float32, float64"):
        F.bilinear(gpunn.ones(1, 2), gpunn.ones(1, 2), gpunn.ones(1, 2, 2).double())
    with pytest.raises(UsageError, match=r"^Bilinear: in2_features: expected a whole number of at least 1; got 0"):
        nn.Bilinear(1, 0, 1)
