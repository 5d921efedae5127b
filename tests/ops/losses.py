"""What the tests of the losses share: inputs of any shape, and the comparison with PyTorch under every reduction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

import gpunn
from gpunn.errors import DeviceError, DTypeError, ShapeError, UsageError

# Sums are added in float64, so what differs is the rounding of the terms themselves.
TOLERANCE = {np.dtype(np.float32): 2e-6, np.dtype(np.float64): 1e-14}


def strided(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same values as they are, or with gaps between them, or in Fortran's order."""
    form = rng.integers(0, 3)
    if form == 0 or values.ndim == 0:
        return values
    if form == 1:
        return np.asfortranarray(values)
    wide = np.zeros((*values.shape, 2), values.dtype)
    wide[..., 0] = values
    return wide[..., 0]


@st.composite
def cases(draw: st.DrawFn, *names: str, uniform: bool = False) -> dict[str, Any]:
    """Arrays of one shape with 0 to 5 axes, odd and empty ones among them, and a reduction.

    ``uniform``: numbers from 0 to 1 in place of normal ones.
    """
    shape = tuple(draw(st.lists(st.sampled_from([0, 1, 1, 2, 3, 3, 5]), max_size=5)))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    rng = np.random.Generator(np.random.Philox(draw(st.integers(0, 2**16))))
    make = rng.random if uniform else rng.standard_normal
    arrays = {name: strided(np.asarray(make(shape), dtype), rng) for name in names}
    # The mean over nothing is NaN, which is tested on its own.
    reduction = draw(st.sampled_from(["mean", "sum", "none"] if np.prod(shape) else ["sum", "none"]))
    return {"arrays": arrays, "reduction": reduction, "dtype": np.dtype(dtype), "rng": rng}


def compare_with_torch(
    name: str, case: dict[str, Any], least_scale: float = 1e-6, where: str = "cpu", **options: Any
) -> None:
    """Value and all gradients of ``F.name`` on ``where`` and in PyTorch; ``least_scale`` as in parity.close."""
    parity = pytest.importorskip("tests.parity")
    ours, theirs = getattr(gpunn.nn.functional, name), getattr(parity.torch.nn.functional, name)
    options = {"reduction": case["reduction"], **options}
    parity.compare(
        lambda **tensors: ours(**tensors, **options),
        lambda **tensors: theirs(**tensors, **options),
        case["arrays"],
        where,
        TOLERANCE[case["dtype"]],
        no_gradient=("weight", "pos_weight"),
        least_scale=least_scale,
    )


def check_empty(loss: Callable[..., Any]) -> None:
    """As PyTorch: the mean over nothing is NaN, the sum 0, and there are no losses; gradients are empty."""
    for reduction, expected in (("mean", np.nan), ("sum", 0.0)):
        x = gpunn.zeros(0, 3, requires_grad=True)
        got = loss(x, gpunn.zeros(0, 3), reduction=reduction)
        np.testing.assert_equal(got.item(), expected)
        got.backward()
        assert x.grad.shape == (0, 3)
    assert loss(gpunn.zeros(0, 3), gpunn.zeros(0, 3), reduction="none").shape == (0, 3)


def check_refusals(name: str, loss: Callable[..., Any]) -> None:
    """Of pairs that do not go together."""
    x = gpunn.ones(4, 1)
    with pytest.raises(ShapeError, match=rf"^{name}: expected a target of the input's shape \(4, 1\); got \(4,\)"):
        loss(x, gpunn.ones(4))
    with pytest.raises(DTypeError, match=rf"^{name}: input: expected a floating dtype; got int64"):
        loss(gpunn.arange(3), gpunn.arange(3))
    if name.startswith("binary"):  # the others convert: tests/test_promotion.py
        with pytest.raises(DTypeError, match=r"target: expected the input's dtype, float32; got float64.*'float32'"):
            loss(x, gpunn.ones(4, 1, dtype=np.float64))
    with pytest.raises(UsageError, match=rf"^{name}: reduction: expected 'mean', 'sum'.*; got 'max'"):
        loss(x, x, reduction="max")


def check_two_devices(loss: Callable[..., Any], where: str) -> None:
    """Refused, naming both."""
    with pytest.raises(DeviceError, match=f"cpu and {where}"):
        loss(gpunn.ones(2), gpunn.ones(2, device=where))


def check_blocks(loss: Callable[..., Any], reference: Callable[..., Any], *, uniform: bool = False) -> None:
    """More elements than one part of the CPU path holds: as the formula in float64, the same with one thread or two."""
    from gpunn.cpu import threads

    rng = np.random.Generator(np.random.Philox(5))
    make = rng.random if uniform else rng.standard_normal
    a, b = (make(100_003).astype(np.float32) for _ in range(2))
    found, before = [], threads.get_num_threads()
    try:
        for count in (1, 2):
            threads.set_num_threads(count)
            x = gpunn.tensor(a, requires_grad=True)
            value = loss(x, gpunn.tensor(b))
            value.backward()
            found.append((value.item(), x.grad.numpy()))
    finally:
        threads.set_num_threads(before)
    assert found[0][0] == found[1][0]
    np.testing.assert_array_equal(found[0][1], found[1][1])
    # One rounding of the sum, a few of each term.
    assert found[0][0] == pytest.approx(reference(a.astype(np.float64), b.astype(np.float64)).mean(), rel=2e-7)


def check_saved(loss: Callable[..., Any]) -> None:
    """Inputs that were changed in place before backward are noticed."""
    from gpunn.errors import GraphError

    for changed in (0, 1):
        pair = gpunn.ones(3, requires_grad=True), gpunn.zeros(3)
        pair = tuple(t * 0.5 for t in pair)
        value = loss(*pair)
        with gpunn.no_grad():
            pair[changed].data.fill_(0.25)
        with pytest.raises(GraphError, match="changed in place"):
            value.backward()
