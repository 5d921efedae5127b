"""Activations made of other ops: PyTorch's values and gradients, at the kinks and far out too, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import gpunn
from gpunn.errors import DTypeError, ShapeError, UsageError
from gpunn.nn import functional as F
from tests.devices import EVERYWHERE
from tests.ops import activations
from tests.ops.activations import arrays

# Each with its name in both libraries, its options, and its kinks.
CASES: dict[str, tuple[str, dict[str, Any], tuple[float, ...]]] = {
    "hardsigmoid": ("hardsigmoid", {}, (-3.0, 3.0)),
    "hardswish": ("hardswish", {}, (-3.0, 3.0)),
    "mish": ("mish", {}, (0.0,)),
    "selu": ("selu", {}, (0.0,)),
    "celu": ("celu", {}, (0.0,)),
    "celu, sharper": ("celu", {"alpha": 0.5}, (0.0,)),
    "celu, negative": ("celu", {"alpha": -2.0}, (0.0,)),
    "softsign": ("softsign", {}, (0.0,)),
    "tanhshrink": ("tanhshrink", {}, (0.0,)),
}


def _both(name: str) -> tuple[Callable[..., Any], Callable[[Any, Any], Any]]:
    function, options, _ = CASES[name]
    ours = getattr(F, function)
    return lambda x: ours(x, **options), lambda torch, x: getattr(torch.nn.functional, function)(x, **options)


def _compare(name: str, x: np.ndarray, where: str) -> None:
    if name == "hardsigmoid" and x.dtype == np.float64:
        # PyTorch's gradient has single precision's 1/6, half a digit of which is 5e-9, for incoming gradients below 4.
        parity = pytest.importorskip("tests.parity")
        ours, theirs = _both(name)
        parity.compare(ours, lambda x: theirs(parity.torch, x), {"x": x}, where, 2e-8, least_scale=1)
    else:
        activations.compare(*_both(name), x, where)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_hardsigmoid_has_the_gradient_of_its_formula(where: str) -> None:
    x = gpunn.tensor([-3.0, -2.9, 0.0, 2.9, 3.0], dtype="float64", device=where, requires_grad=True)
    F.hardsigmoid(x).sum().backward()
    assert x.grad.tolist() == [0, 1 / 6, 1 / 6, 1 / 6, 0]


@pytest.mark.parametrize("name", CASES)
@given(x=arrays(kinks=(-3.0, 0.0, 3.0)))
@settings(max_examples=20, deadline=None)
def test_matches_torch(name: str, x: Any) -> None:
    _compare(name, x, "cpu")


@pytest.mark.parametrize("name", CASES)
@given(x=arrays(kinks=(-3.0, 0.0, 3.0)))
@settings(max_examples=2, deadline=None)
def test_matches_torch_with_kernels(kernels: str, name: str, x: Any) -> None:
    _compare(name, x, kernels)


# celu of a negative alpha overflows far out, and its gradient with it; hardsigmoid's is compared above.
@pytest.mark.parametrize("name", [name for name in CASES if name not in ("celu, negative", "hardsigmoid")])
@pytest.mark.parametrize("where", EVERYWHERE)
def test_far_out(name: str, where: str) -> None:
    activations.compare_far(*_both(name), where)


@pytest.mark.parametrize("name", ["hardsigmoid", "hardswish", "mish", "selu", "celu"])
def test_in_place_changes_the_input(name: str) -> None:
    x = gpunn.tensor([-4.0, -0.5, 2.0])
    expected = getattr(F, name)(x)
    made = getattr(F, name)(x, inplace=True)
    assert made is x
    assert x.tolist() == expected.tolist()


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize(("shape", "dim"), [((4,), 0), ((3, 6), -1), ((2, 4, 3, 5), 1), ((2, 0), 1), ((0, 2), 1)])
def test_glu_matches_torch(where: str, shape: tuple[int, ...], dim: int) -> None:
    parity = pytest.importorskip("tests.parity")
    x = parity.np.random.Generator(parity.np.random.Philox(2)).standard_normal(shape)
    # A handful of roundings of float64.
    parity.compare(lambda x: F.glu(x, dim), lambda x: parity.torch.nn.functional.glu(x, dim), {"x": x}, where, 1e-14)


def test_refuses() -> None:
    for name, options, _ in CASES.values():
        with pytest.raises(DTypeError, match=f"{name}: expected a floating dtype; got int64"):
            getattr(F, name)(gpunn.arange(3), **options)
    with pytest.raises(UsageError, match="celu: alpha: expected another number than 0"):
        F.celu(gpunn.ones(2), 0.0)
    with pytest.raises(ShapeError, match=r"glu: expected an even length along axis 1; got x of shape \(2, 3\)"):
        F.glu(gpunn.ones(2, 3))
    with pytest.raises(ShapeError, match="glu: expected a tensor with an axis"):
        F.glu(gpunn.tensor(1.0))
