"""prelu against PyTorch, the gradient of its slopes, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.cpu import threads
from gpunn.cpu.elementwise import PART
from gpunn.errors import DTypeError, ShapeError
from gpunn.ops.prelu import prelu
from tests.devices import EVERYWHERE
from tests.ops import activations


@st.composite
def configurations(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """x of any shape, with one slope or one for each channel."""
    shape = tuple(draw(st.lists(st.integers(0, 9), max_size=4)))
    x = draw(activations.arrays(shape=shape))
    slopes = shape[1] if len(shape) > 1 and draw(st.booleans()) else 1
    rng = np.random.Generator(np.random.Philox(draw(st.integers(0, 2**16))))
    return x, rng.standard_normal(slopes).astype(x.dtype)


def _compare(configuration: tuple[np.ndarray, np.ndarray], where: str) -> None:
    parity = pytest.importorskip("tests.parity")
    x, weight = configuration
    if weight.size == 0:
        return
    # The gradient of a slope is a sum of up to 9^4 products, in another order.
    tolerance = 1e-5 if x.dtype == np.float32 else 1e-12
    arrays = {"x": x, "weight": weight}
    parity.compare(prelu, parity.torch.nn.functional.prelu, arrays, where, tolerance, least_scale=1)


@given(configurations())
@settings(max_examples=150, deadline=None)
def test_matches_torch_on_cpu(configuration: tuple) -> None:
    _compare(configuration, "cpu")


@given(configurations())
@settings(max_examples=40, deadline=None)
def test_matches_torch_with_kernels(kernels: str, configuration: tuple) -> None:
    _compare(configuration, kernels)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_known_answer(where: str) -> None:
    """One slope for each channel; the slope's gradient is the sum of x dy over its negative x."""
    x = gpunn.tensor(np.array([[-1, -2], [-3, 4]], np.float32), device=where, requires_grad=True)
    weight = gpunn.tensor(np.array([0.5, 0.25], np.float32), device=where, requires_grad=True)
    y = prelu(x, weight)
    assert y.tolist() == [[-0.5, -0.5], [-1.5, 4]]
    y.backward(gpunn.tensor(np.array([[1, 10], [100, 1000]], np.float32), device=where))
    assert x.grad.tolist() == [[0.5, 2.5], [50, 1000]]
    assert weight.grad.tolist() == [-301, -20]


@pytest.mark.parametrize("where", EVERYWHERE)
def test_gradient_at_zero_is_the_slope_and_gives_none_to_it(where: str) -> None:
    x = gpunn.tensor(np.array([[0.0, -0.0]], np.float32), device=where, requires_grad=True)
    weight = gpunn.tensor(np.array([0.25], np.float32), device=where, requires_grad=True)
    prelu(x, weight).sum().backward()
    assert x.grad.tolist() == [[0.25, 0.25]]
    assert weight.grad.tolist() == [0]


@pytest.mark.parametrize("where", EVERYWHERE)
def test_infinities_and_nan(where: str) -> None:
    x = gpunn.tensor(np.array([np.inf, -np.inf, np.nan, 2], np.float32), device=where, requires_grad=True)
    weight = gpunn.tensor(np.array([0.5], np.float32), device=where, requires_grad=True)
    y = prelu(x, weight)
    np.testing.assert_array_equal(y.detach().numpy(), [np.inf, -np.inf, np.nan, 2])
    # An open unit gives the slope nothing, not infinity times 0.
    y.backward(gpunn.tensor(np.array([1, 0.5, 0.5, np.inf], np.float32), device=where))
    np.testing.assert_array_equal(x.grad.numpy(), np.array([1, 0.25, 0.25, np.inf], np.float32))
    assert np.isnan(weight.grad.tolist()[0])


def test_infinite_gradient_of_an_open_unit_stays_away_from_the_slope() -> None:
    x = gpunn.tensor(np.array([3.0, -1], np.float32))
    weight = gpunn.tensor(np.array([0.5], np.float32), requires_grad=True)
    prelu(x, weight).backward(gpunn.tensor(np.array([np.inf, 2], np.float32)))
    assert weight.grad.tolist() == [-2]


@pytest.mark.parametrize("shape", [(PART // 8, 16), (2, 3, PART), (3, 5, 50, 120), (1, 2 * PART)])
@pytest.mark.parametrize("slopes", ["one", "each"])
def test_threads_do_not_change_bits_and_large_sums_keep_their_digits(shape: tuple, slopes: str) -> None:
    rng = np.random.Generator(np.random.Philox(4))
    x, dy = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
    weight = rng.standard_normal(1 if slopes == "one" else shape[1]).astype(np.float32)
    before, results = threads.get_num_threads(), []
    try:
        for count in (1, 2):
            threads.set_num_threads(count)
            t, w = gpunn.tensor(x, requires_grad=True), gpunn.tensor(weight, requires_grad=True)
            y = prelu(t, w)
            y.backward(gpunn.tensor(dy))
            results.append([y.detach().numpy(), t.grad.numpy(), w.grad.numpy()])
    finally:
        threads.set_num_threads(before)
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)
    axes = tuple(a for a in range(x.ndim) if slopes == "one" or a != 1)
    terms = np.minimum(x.astype(np.float64), 0) * dy
    # The roundings of float32 sums, relative to the sum of the terms' magnitudes.
    np.testing.assert_allclose(results[0][2], terms.sum(axis=axes).reshape(-1), atol=1e-6 * np.abs(terms).sum())


@pytest.mark.parametrize("shape", [(700, 3), (600, 4), (9, 130), (5, 8), (2, 8, 3, 3), (3, 2, 8), (3, 4, 5)])
@pytest.mark.parametrize("slopes", ["one", "each"])
def test_chunks_and_vectors_with_kernels(kernels: str, shape: tuple, slopes: str) -> None:
    """More rows than one block takes; vectors of columns with one slope and with several; rows that fit no vector."""
    parity = pytest.importorskip("tests.parity")
    rng = np.random.Generator(np.random.Philox(4))
    arrays = {"x": rng.standard_normal(shape), "weight": rng.standard_normal(1 if slopes == "one" else shape[1])}
    # float64 roundings of sums of up to 2400 terms.
    parity.compare(prelu, parity.torch.nn.functional.prelu, arrays, kernels, 1e-13, least_scale=100)


@pytest.mark.parametrize(("shape", "slopes"), [((4, 3), 1), ((4, 3), 3), ((2, 3, 4), 3), ((2, 3, 2, 2), 3), ((5,), 1)])
def test_gradcheck(shape: tuple, slopes: int) -> None:
    rng = np.random.Generator(np.random.Philox(1))
    x = rng.standard_normal(shape)
    x[np.abs(x) < 0.01] += 0.1
    weight = gpunn.tensor(rng.standard_normal(slopes), requires_grad=True)
    assert gradcheck(prelu, [gpunn.tensor(x, requires_grad=True), weight])


def test_gradients_that_nobody_wants_are_not_computed() -> None:
    x = gpunn.tensor(np.array([-1.0, 1]), requires_grad=True)
    prelu(x, gpunn.tensor(np.array([0.5]))).sum().backward()
    assert x.grad.tolist() == [0.5, 1]


@pytest.mark.parametrize(
    ("x", "weight", "error", "message"),
    [
        (gpunn.zeros(2, 3), gpunn.zeros(2), ShapeError, r"expected a weight of shape \(1,\) or \(3,\).*got \(2,\)"),
        (gpunn.zeros(3), gpunn.zeros(3), ShapeError, r"expected a weight of shape \(1,\)"),
        (gpunn.zeros(2, 3), gpunn.zeros(1, 3), ShapeError, r"got \(1, 3\)"),
        (gpunn.zeros(2, 3), gpunn.zeros(3, dtype=np.float64), DTypeError, "expected a weight of dtype float32"),
        (gpunn.arange(3), gpunn.zeros(1), DTypeError, "expected a floating dtype; got int64"),
    ],
)
def test_refuses(x: gpunn.Tensor, weight: gpunn.Tensor, error: type, message: str) -> None:
    with pytest.raises(error, match=f"prelu: {message}" if not message.startswith("got") else message):
        prelu(x, weight)


def test_refuses_two_devices(kernels: str) -> None:
    from gpunn.errors import DeviceError

    with pytest.raises(DeviceError, match="prelu"):
        prelu(gpunn.zeros(2), gpunn.zeros(1, device=kernels))
