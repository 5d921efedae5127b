"""smooth_l1_loss against PyTorch, known answers, the edge, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.errors import UsageError
from gpunn.ops.huber_loss import huber_loss
from gpunn.ops.smooth_l1_loss import smooth_l1_loss
from tests.devices import EVERYWHERE
from tests.ops import losses


@given(losses.cases("input", "target"), st.sampled_from([0.0, 0.3, 1.0, 2.5]))
@settings(max_examples=150, deadline=None)
def test_matches_torch(case: dict[str, Any], beta: float) -> None:
    losses.compare_with_torch("smooth_l1_loss", case, beta=beta)


@given(losses.cases("input", "target"), st.sampled_from([0.0, 0.3, 1.0, 2.5]))
@settings(max_examples=15, deadline=None)
def test_matches_torch_with_kernels(kernels: str, case: dict[str, Any], beta: float) -> None:
    losses.compare_with_torch("smooth_l1_loss", case, where=kernels, beta=beta)


@pytest.mark.parametrize(
    ("z", "beta", "loss", "slope"),
    [(0.5, 1.0, 0.125, 0.5), (-3.0, 1.0, 2.5, -1.0), (1.0, 1.0, 0.5, 1.0), (1.0, 2.0, 0.25, 0.5), (0.0, 0.0, 0.0, 0.0)],
)
def test_known_answers(z: float, beta: float, loss: float, slope: float) -> None:
    x = gpunn.tensor([z], requires_grad=True)
    got = smooth_l1_loss(x, gpunn.zeros(1), beta=beta)
    got.backward()
    assert (got.item(), x.grad.item()) == (loss, slope)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_gradcheck_of_both(reduction: str) -> None:
    x = gpunn.tensor(np.linspace(-3, 3, 14).reshape(7, 2), requires_grad=True)  # none at ±0.5, the edge, or 0
    t = gpunn.zeros(7, 2, dtype=np.float64, requires_grad=True)
    assert gradcheck(lambda a, b: smooth_l1_loss(a, b, reduction=reduction, beta=0.5), [x, t])


def test_special_values() -> None:
    x = gpunn.tensor(np.array([np.nan, np.inf, -np.inf, 0.0], np.float32), requires_grad=True)
    loss = smooth_l1_loss(x, gpunn.zeros(4), reduction="none")
    np.testing.assert_array_equal(loss.detach().numpy(), np.array([np.nan, np.inf, np.inf, 0], np.float32))
    loss.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.array([np.nan, 1, -1, 0], np.float32))


def test_nothing() -> None:
    losses.check_empty(smooth_l1_loss)


def test_large() -> None:
    losses.check_blocks(smooth_l1_loss, lambda a, b: np.where(np.abs(a - b) < 1, (a - b) ** 2 / 2, np.abs(a - b) - 0.5))


def test_refuses() -> None:
    losses.check_refusals("smooth_l1_loss", smooth_l1_loss)
    losses.check_saved(smooth_l1_loss)
    for beta in (-1.0, np.nan):
        with pytest.raises(UsageError, match="beta: expected a number of at least 0"):
            smooth_l1_loss(gpunn.ones(1), gpunn.ones(1), beta=beta)


def test_refuses_two_devices(kernels: str) -> None:
    losses.check_two_devices(smooth_l1_loss, kernels)


# From the smallest numbers that there are to the largest: 1 / beta, or the square of z, is beyond all of them.
_EXTREMES = [5e-324, 1e-310, 1e-45, 1e-42, 1e-40, 1e-38, 1e-20, 1.0, 1e10, 1e30, 3e38]


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reduction", ["none", "mean"])
@pytest.mark.parametrize("beta", _EXTREMES)
@pytest.mark.parametrize("op", [smooth_l1_loss, huber_loss])
def test_extreme_edges(where: str, dtype: Any, reduction: str, beta: float, op: Any) -> None:
    limits = np.finfo(dtype)
    least, tiny = float(limits.smallest_subnormal), float(limits.tiny)
    values = [0, least, -3 * least, tiny, -tiny / 4, 1e-30, 1e-10, 1e-3, 1, -2, 1e5, 1e18]
    z = np.array(values + ([float(limits.max), np.inf, -np.inf] if reduction == "none" else []), dtype)
    x = gpunn.tensor(z, device=where, requires_grad=True)
    option = {"beta": beta} if op is smooth_l1_loss else {"delta": beta}
    loss = op(x, gpunn.zeros_like(x), reduction=reduction, **option)
    loss.sum().backward()
    # By the definition, in numbers with a wider range; an edge that the dtype rounds to 0 is none.
    wide, edge = z.astype(np.longdouble), np.longdouble(dtype(beta))
    size = np.abs(wide)
    # CuPy compiles with -ftz=true: a float32 below the smallest normal one is 0 on a GPU, and so is such a delta.
    flushes = where.startswith("cuda")
    if flushes and dtype is np.float32 and edge < tiny:
        edge = np.longdouble(0)
    with np.errstate(all="ignore"):
        slope, scale = (np.longdouble(1), edge) if op is smooth_l1_loss else (edge, np.longdouble(1))
        expected = np.where(size < edge, size / 2 * (size / scale), slope * (size - edge / 2))
        gradient = np.where(size < edge, wide / scale, slope * np.sign(wide))
        if reduction == "mean":
            expected, gradient = expected.mean(), gradient / len(z)
        expected, gradient = expected.astype(dtype), gradient.astype(dtype)
    # A few roundings, also of numbers below the smallest normal one. Where a GPU takes them for 0 the gradient is that
    # of 0, so it is not looked at where z or the edge is so small.
    eps, floor = float(limits.eps), 4 * (tiny if flushes else least)
    np.testing.assert_allclose(loss.detach().numpy(), expected, rtol=4 * eps, atol=floor)
    seen = (size >= tiny) & (edge >= tiny) if flushes else size >= 0
    np.testing.assert_allclose(x.grad.numpy()[seen], gradient[seen], rtol=4 * eps, atol=floor)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_without_an_edge_it_is_l1_loss(where: str) -> None:
    z = np.array([np.nan, -1.0, 0.0, 2.0, np.inf], np.float32)
    x = gpunn.tensor(z, device=where, requires_grad=True)
    smooth_l1_loss(x, gpunn.zeros_like(x), beta=0.0, reduction="sum").backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0, -1, 0, 1, 1])  # at NaN 0, as PyTorch's
