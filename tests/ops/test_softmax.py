"""softmax against PyTorch, its Jacobian, extreme and infinite scores, and what it refuses."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.cpu import threads
from gpunn.errors import DTypeError, UsageError
from gpunn.ops.softmax import softmax
from tests.devices import EVERYWHERE
from tests.ops.losses import TOLERANCE, strided
from tests.traces import dry_launches


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    """Scores with 0 to 5 axes, odd and empty ones among them, large ones among the scores, and any axis."""
    shape = tuple(draw(st.lists(st.sampled_from([0, 1, 1, 2, 3, 5, 7]), max_size=5)))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    rng = np.random.Generator(np.random.Philox(draw(st.integers(0, 2**16))))
    x = np.asarray(draw(st.sampled_from([1.0, 30.0, 1e4])) * rng.standard_normal(shape), dtype)
    x[rng.random(shape) < 0.1] = -1e4  # never a whole row of -inf, which is NaN and tested on its own
    ndim = max(len(shape), 1)
    return {"x": strided(x, rng), "dim": draw(st.integers(-ndim, ndim - 1))}


def compare_with_torch(ours: Any, theirs: Any, how: dict[str, Any], where: str = "cpu") -> None:
    parity = pytest.importorskip("tests.parity")
    dim, x = how["dim"], how["x"]
    # exp of a difference of scores up to 1e4, each rounded: the difference is exact to one rounding of the scores,
    # and so is PyTorch's; the sum of 7 and the product with dy add some more. The gradient's sum over dy, of order
    # one, is subtracted from dy: hence the scale of 1.
    parity.compare(
        lambda x: ours(x, dim), lambda x: theirs(x, dim), {"x": x}, where, 2 * TOLERANCE[x.dtype], least_scale=1
    )


@given(configurations())
@settings(max_examples=200, deadline=None)
def test_matches_torch(how: dict[str, Any]) -> None:
    parity = pytest.importorskip("tests.parity")
    compare_with_torch(softmax, parity.torch.softmax, how)


@given(configurations())
@settings(max_examples=25, deadline=None)
def test_matches_torch_with_kernels(kernels: str, how: dict[str, Any]) -> None:
    parity = pytest.importorskip("tests.parity")
    compare_with_torch(softmax, parity.torch.softmax, how, kernels)


@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 3, 2), (2, 3, 1, 2)])
def test_gradcheck(shape: tuple[int, ...]) -> None:
    x = gpunn.randn(*shape, dtype=np.float64, requires_grad=True)
    for dim in range(len(shape)):
        assert gradcheck(lambda a, dim=dim: softmax(a, dim), x)


def test_extreme_scores() -> None:
    y = softmax(gpunn.tensor([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]]), 1)
    np.testing.assert_array_equal(y.numpy()[0], [1, 0, 0])
    np.testing.assert_allclose(y.numpy()[1], 1 / 3, rtol=1e-7)


INFINITE = np.array([[-np.inf, 0, 0], [-np.inf] * 3, [np.inf, 0, 0], [np.nan, 0, 0]], np.float32)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("dim", [0, 1])
def test_infinite_scores_and_nan(where: str, dim: int) -> None:
    """As PyTorch: impossible classes are fine; a row without a possible one, with a certain one, or NaN is NaN."""
    y = softmax(gpunn.tensor(INFINITE if dim else INFINITE.T, device=where), dim).numpy()
    np.testing.assert_array_equal(y if dim else y.T, [[0, 0.5, 0.5], [np.nan] * 3, [np.nan] * 3, [np.nan] * 3])


@pytest.mark.parametrize("where", EVERYWHERE)
def test_an_impossible_class_gets_no_gradient(where: str) -> None:
    x = gpunn.tensor(INFINITE[:1], device=where, requires_grad=True)
    softmax(x, 1).backward(gpunn.tensor([[5.0, 1.0, 0.0]], device=where))
    assert x.grad.tolist() == [[0, 0.25, -0.25]]


@pytest.mark.parametrize(("shape", "dim"), [((20_011, 7), 1), ((7, 20_011), 0), ((3, 41, 37, 40), 1), ((3, 5), 0)])
def test_sums_to_one_with_any_number_of_threads(shape: tuple[int, ...], dim: int) -> None:
    x = np.random.Generator(np.random.Philox(4)).standard_normal(shape).astype(np.float32)
    found, before = [], threads.get_num_threads()
    try:
        for count in (1, 2):
            threads.set_num_threads(count)
            leaf = gpunn.tensor(x, requires_grad=True)
            y = softmax(leaf, dim)
            y.backward(gpunn.tensor(x))
            found.append((y.detach().numpy(), leaf.grad.numpy()))
    finally:
        threads.set_num_threads(before)
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_allclose(found[0][0].sum(axis=dim, dtype=np.float64), 1, rtol=1e-6)  # some roundings


def test_long_axis_in_front_is_added_up_exactly() -> None:
    """Along an axis that is not the last NumPy adds one by one: a million in float32 are off in the fourth digit."""
    x = np.random.Generator(np.random.Philox(4)).random((1_000_000, 2)).astype(np.float32)
    y = softmax(gpunn.tensor(x), 0).numpy()
    np.testing.assert_allclose(y.sum(axis=0, dtype=np.float64), 1, rtol=2e-7)  # a few roundings of every element


@pytest.mark.parametrize("shape", [(1, 90_001), (90_001, 1)])
def test_long_lines_are_added_up_exactly_by_the_kernel(kernels: str, shape: tuple[int, int]) -> None:
    """176 numbers a thread, or 352: added in float32, equal ones would be off by 2e-6, all in the same direction."""
    dim = int(shape[0] == 1)
    x = np.full(shape if dim else (*shape, 2), -0.3, np.float32)
    x.reshape(-1)[:2] = 0
    y = softmax(gpunn.tensor(x, device=kernels), dim).numpy()
    np.testing.assert_allclose(y.sum(axis=dim, dtype=np.float64), 1, rtol=5e-7)  # a few roundings, of all elements


@pytest.mark.parametrize(
    ("shape", "dim", "block"),
    [
        ((3, 10), 1, (32, 3, 1)),
        ((300, 512), 1, (32, 8, 1)),  # a warp's 16 vectors of 4
        ((3, 516), 1, (96, 1, 1)),
        ((3, 257), 1, (160, 1, 1)),
        ((1, 50_000), 1, (512, 1, 1)),
        ((8, 100), 0, (32, 1, 1)),
        ((9, 5), 0, (8, 2, 1)),
        ((2, 4100, 3), 1, (4, 128, 1)),
    ],
)
def test_launch_shape(kernels: str, shape: tuple[int, ...], dim: int, block: tuple[int, int, int]) -> None:
    with dry_launches() as launches:
        softmax(gpunn.zeros(*shape, device=kernels), dim)
    assert [launch.block for launch in launches] == [block]


def test_input_is_left_alone() -> None:
    x = np.ones((2, 3), np.float32)
    softmax(gpunn.from_numpy(x), 1)
    np.testing.assert_array_equal(x, 1)


def test_is_public() -> None:
    assert gpunn.softmax is gpunn.nn.functional.softmax
    assert inspect.unwrap(gpunn.softmax) is softmax


def test_refuses() -> None:
    with pytest.raises(UsageError, match=r"^softmax: dim: expected the axis.*got None. For scores \(N, C\) it is 1"):
        softmax(gpunn.ones(2, 3))
    wrong: tuple[Any, ...] = (2, -3, 1.0, True)
    for dim in wrong:
        with pytest.raises(UsageError, match=r"^softmax: dim: axis .* does not exist in shape \(2, 3\)"):
            softmax(gpunn.ones(2, 3), dim)
    with pytest.raises(DTypeError, match="softmax: expected a floating dtype; got int64"):
        softmax(gpunn.arange(3), 0)
