"""Operators of two operands against PyTorch: broadcasting, dtypes, numbers, gradients."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.errors import DeviceError, DTypeError, ShapeError
from tests.arrays import DTYPES, arrays, tolerance
from tests.devices import EVERYWHERE

OPERATORS = {name: getattr(operator, name) for name in ("add", "sub", "mul", "truediv")}


@st.composite
def pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays whose shapes broadcast, up to five axes."""
    full = draw(st.lists(st.sampled_from([1, 2, 3, 4, 0]), max_size=5))
    dtype = draw(DTYPES)

    def part() -> np.ndarray:
        kept = [n if draw(st.booleans()) else 1 for n in full]
        lead = draw(st.integers(0, len(full)))
        return draw(arrays(st.just(tuple(kept[lead:])), 0.5, 2.0, dtype))

    return part(), part()


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("name", sorted(OPERATORS))
@given(pair=pairs())
@settings(max_examples=60, deadline=None)
def test_matches_torch(where: str, name: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    parity = pytest.importorskip("tests.parity")
    arguments = dict(zip("ab", pair, strict=True))
    # Gradients are sums over the repeated axes, of terms of order one.
    f = OPERATORS[name]
    parity.compare(
        lambda a, b: f(a, b), lambda a, b: f(a, b), arguments, where, tolerance(pair[0].dtype, 200), least_scale=1.0
    )


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("name", sorted(OPERATORS))
@pytest.mark.parametrize("number", [2, -1.5, True, np.float64(0.25)])
@pytest.mark.parametrize("left", [False, True])
def test_numbers(where: str, name: str, number: object, left: bool) -> None:
    parity = pytest.importorskip("tests.parity")
    if name == "sub" and number is True:
        number = 3
    f = OPERATORS[name]
    x = np.linspace(0.5, 2, 24).reshape(2, 3, 2, 2).astype(np.float32)
    number = float(number) if isinstance(number, np.float64) and left else number
    run = (lambda x: f(number, x)) if left else (lambda x: f(x, number))
    parity.compare(run, run, {"x": x}, where, tolerance(np.float32))


@pytest.mark.parametrize("name", [*sorted(OPERATORS), "pow", "floordiv", "mod", "eq", "lt"])
def test_result_dtypes_are_torchs(name: str) -> None:
    parity = pytest.importorskip("tests.parity")
    torch, f = parity.torch, getattr(operator, name)
    tensors = [np.array([3, 1], t) for t in (np.float32, np.int64, np.int32, np.uint8, np.bool_)]
    for a in tensors:
        for b in [*tensors, 2, 1.5]:
            others = (torch.tensor(a), torch.tensor(b) if isinstance(b, np.ndarray) else b)
            mine = (gpunn.tensor(a), gpunn.tensor(b) if isinstance(b, np.ndarray) else b)
            try:
                expected = f(*others)
            except RuntimeError:  # bool - bool, bool ** bool and so on, which NumPy has its own mind about
                continue
            if (
                a.dtype == bool
                and (not isinstance(b, np.ndarray) or b.dtype == bool)
                and name in ("pow", "floordiv", "mod")
            ):
                continue
            got = f(*mine)
            assert str(expected.dtype) == f"torch.{got.dtype}", (a.dtype, getattr(b, "dtype", b))
            np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-6)


def test_a_broken_number_is_not_cut_off_by_integers() -> None:
    assert (gpunn.tensor([1, 2]) * 0.5).tolist() == [0.5, 1.0]
    assert (gpunn.tensor([1, 2]) / 2).tolist() == [0.5, 1.0]


def test_gradients_of_mixed_ranks() -> None:
    rng = np.random.Generator(np.random.Philox(2))
    for first, second in (
        ((2, 3, 2, 2), (2, 2, 3, 2, 2)),
        ((3, 1, 2), (2, 1, 4, 2)),
        ((), (2, 3, 1, 2)),
        ((1,), (3, 1)),
    ):
        a, b = (gpunn.tensor(1 + rng.random(s), requires_grad=True) for s in (first, second))
        assert gradcheck(lambda u, v: (u * v - u) / (v + u), (a, b))


def test_sums_of_many_gradients_keep_their_digits() -> None:
    b = gpunn.zeros(3, requires_grad=True)
    (gpunn.zeros(500_000, 3) + b).backward(gpunn.full((500_000, 3), 0.1))
    # Runs of 512 in float32, where every addition rounds the same way; without runs it would be off by 1e-2.
    np.testing.assert_allclose(b.grad.numpy(), 50_000, rtol=1e-5)


@pytest.mark.parametrize(
    ("other", "error", "message"),
    [
        (lambda: gpunn.ones(4), ShapeError, r"add: shapes \(2, 3\) and \(4,\) do not broadcast"),
        (lambda: 1j, TypeError, "add: expected a number or a Tensor; got a complex"),
        (lambda: "2", TypeError, "add: expected a number or a Tensor; got the string '2'"),
    ],
)
def test_refuses(other: Callable[[], Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        gpunn.ones(2, 3) + other()


def test_refuses_two_devices(kernels: str) -> None:
    with pytest.raises(DeviceError, match=f"cpu and {kernels}"):
        gpunn.ones(2, 3) + gpunn.ones(3, device=kernels)


def test_numbers_that_do_not_fit() -> None:
    with pytest.raises(DTypeError, match="300 does not fit into uint8"):
        gpunn.ones(2, dtype=np.uint8) + 300


def test_infinite_and_zero_quietly() -> None:
    x = gpunn.tensor([1.0, 0.0, -1.0])
    np.testing.assert_array_equal((x / 0).numpy(), np.array([np.inf, np.nan, -np.inf], np.float32))
    assert (gpunn.tensor([3e38]) * 10).tolist() == [np.inf]


def test_kernels_refuse_dtypes_they_do_not_know_and_too_many_groups_of_axes(kernels: str) -> None:
    with pytest.raises(DTypeError, match=r"add: kernels know float32, .*; got int16"):
        gpunn.tensor(np.arange(3, dtype=np.int16), device=kernels) + 1
    a, b = np.ones((2, 1, 2, 1, 2, 1, 2), np.float32), np.ones((1, 2, 1, 2, 1, 2, 1), np.float32)
    with pytest.raises(ShapeError, match="alternates between 7 groups of axes; kernels know 6"):
        gpunn.tensor(a, device=kernels) + gpunn.tensor(b, device=kernels)
