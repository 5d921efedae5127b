"""layer_norm against PyTorch and float64, gradients, memory layouts, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.cpu import threads
from gpunn.errors import DeviceError, DTypeError, GraphError, ShapeError, UsageError
from gpunn.ops import layer_norm as module
from gpunn.ops.layer_norm import layer_norm
from tests.devices import EVERYWHERE

# Means and variances of up to some thousand numbers, in another order: a dozen roundings of 6e-8 and 1e-16.
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def _compare(
    shape: tuple[int, ...],
    axes: int,
    affine: tuple[bool, bool],
    eps: float,
    dtype: Any,
    seed: int,
    where: str = "cpu",
) -> None:
    parity = pytest.importorskip("tests.parity")
    rng, trailing = _rng(seed), shape[-axes:]
    arrays: dict[str, Any] = {"x": (2 * rng.standard_normal(shape) + rng.standard_normal()).astype(dtype)}
    for name, wanted in zip(("weight", "bias"), affine, strict=True):
        arrays[name] = rng.standard_normal(trailing).astype(dtype) if wanted else None
    parity.compare(
        lambda x, weight, bias: layer_norm(x, trailing, weight, bias, eps),
        lambda x, weight, bias: parity.torch.nn.functional.layer_norm(x, trailing, weight, bias, eps),
        arrays,
        where,
        TOLERANCE[dtype],
        least_scale=1,
    )


@st.composite
def configurations(draw: st.DrawFn) -> tuple[Any, ...]:
    """Any trailing axes of any tensor. eps is 0.1: two neighbours that happen to be equal would amplify roundings."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=5))
    axes = min(draw(st.integers(1, 5)), len(sizes))
    if draw(st.booleans()) and axes < len(sizes):
        sizes[0] = 0
    affine, dtype = draw(st.tuples(st.booleans(), st.booleans())), draw(st.sampled_from([np.float32, np.float64]))
    return tuple(sizes), axes, affine, 0.1, dtype, draw(st.integers(0, 2**16))


@given(configurations())
@settings(max_examples=150, deadline=None)
def test_matches_torch(configuration: tuple[Any, ...]) -> None:
    _compare(*configuration)


@given(configurations())
@settings(max_examples=40, deadline=None)
def test_matches_torch_with_kernels(kernels: str, configuration: tuple[Any, ...]) -> None:
    everything: tuple[Any, ...] = (*configuration, kernels)
    _compare(*everything)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((700, 300), 1), ((9, 40, 33, 16), 3), ((3, 5, 20000), 2), ((2, 3, 50, 60), 1), ((1, 200_000), 1)],
)
def test_several_blocks_match_torch(shape: tuple[int, ...], axes: int) -> None:
    for affine in ((True, True), (True, False), (False, True), (False, False)):
        _compare(shape, axes, affine, 1e-5, np.float32, 1)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("mean", [0, 1, 100, 1000])
@pytest.mark.parametrize("shape", [(64, 4096), (6, 20000)])
def test_float32_is_accurate_wherever_the_mean_is(mean: float, shape: tuple[int, int], where: str) -> None:
    x = (mean + _rng().standard_normal(shape)).astype(np.float32)
    dy = _rng(1).standard_normal(x.shape).astype(np.float32)
    got, expected = list[np.ndarray](), list[np.ndarray]()
    for dtype, found, place in ((np.float32, got, where), (np.float64, expected, "cpu")):
        t = gpunn.tensor(x.astype(dtype), device=place, requires_grad=True)
        weight = gpunn.ones(shape[1], dtype=dtype, device=place, requires_grad=True)
        y = layer_norm(t, shape[1], weight)
        y.backward(gpunn.tensor(dy.astype(dtype), device=place))
        found += [y.detach().numpy(), t.grad.numpy(), weight.grad.numpy()]
    for name, a, b in zip(("y", "dx", "dweight"), got, expected, strict=True):
        # Long rows' kernel of dweight has the means in float32, of 1000 to 3e-5: six such errors times dy up to 4.
        tolerance = 5e-5 if name == "dweight" and shape[1] > 8192 and where != "cpu" else 1e-5
        assert np.abs(a - b).max() <= tolerance * np.abs(b).max(), name


def test_known_answers() -> None:
    x = gpunn.tensor([[1.0, 3.0], [5.0, 5.0]])
    assert layer_norm(gpunn.tensor([[1.0, 3.0]]), 2, eps=0.0).tolist() == [[-1, 1]]
    weight, bias = gpunn.tensor([2.0, 3.0]), gpunn.tensor([0.5, -0.5])
    assert layer_norm(x, (2,), weight, bias, 1e-12).tolist() == [[-1.5, 2.5], [0.5, -0.5]]


def test_strided_inputs_and_images() -> None:
    x = _rng().standard_normal((4, 6, 8, 10))
    part = x[:, ::2, 1:7, ::-2]
    for axes in (1, 2, 3):
        over = tuple(range(4 - axes, 4))
        expected = (part - part.mean(over, keepdims=True)) / np.sqrt(part.var(over, keepdims=True) + 1e-5)
        got = layer_norm(gpunn.from_numpy(part), part.shape[-axes:]).numpy()
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-13)  # float64: some hundred roundings


def test_nan_stays_in_its_row() -> None:
    x = np.array([[1, np.nan], [1, 3], [np.inf, 0]], np.float32)
    with np.errstate(invalid="ignore"):
        y = layer_norm(gpunn.tensor(x), 2).numpy()
    assert np.isnan(y[0]).all()
    assert np.isfinite(y[1]).all()
    assert np.isnan(y[2]).all()


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("cols", [6, 20000])
def test_infinite_weights_and_gradients(where: str, cols: int) -> None:
    """What is infinite and what is NaN is as in PyTorch: shortcuts must not make inf - inf of a value."""
    parity = pytest.importorskip("tests.parity")
    x, dy = (_rng(seed).standard_normal((4, cols)).astype(np.float32) for seed in range(2))
    weight, bias = np.ones(cols, np.float32), np.ones(cols, np.float32)
    weight[2], bias[3], dy[1, 4] = np.inf, -np.inf, np.inf
    mine = [gpunn.tensor(a, device=where, requires_grad=True) for a in (x, weight, bias)]
    other = [parity.torch.tensor(a, requires_grad=True) for a in (x, weight, bias)]
    y = layer_norm(mine[0], cols, mine[1], mine[2])
    expected = parity.torch.nn.functional.layer_norm(other[0], (cols,), *other[1:])
    y.backward(gpunn.tensor(dy, device=where))
    expected.backward(parity.torch.tensor(dy))
    pairs = [(y.detach(), expected.detach()), *((a.grad, b.grad) for a, b in zip(mine[1:], other[1:], strict=True))]
    for a, b in pairs:
        # A dozen roundings of numbers of order one.
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-5)
    assert not np.isfinite(mine[0].grad.numpy()).any()


@pytest.mark.parametrize("shape", [(900, 700), (5, 40000)])
@pytest.mark.parametrize("mean", [0, 50])
def test_threads_do_not_change_a_bit(shape: tuple[int, int], mean: float) -> None:
    x, dy = (mean + _rng(seed).standard_normal(shape).astype(np.float32) for seed in range(2))
    weight = np.ones(shape[1], np.float32)
    before = threads.get_num_threads()
    made = []
    try:
        for count in (1, 3):
            threads.set_num_threads(count)
            y, mean, rstd = module.layer_norm_forward.numpy_body(x, weight, weight, 1e-5)
            back = module.layer_norm_backward.numpy_body(dy, x, mean, rstd, weight, (True, True, True))
            made.append([a.tobytes() for a in (y, mean, rstd, *back)])
    finally:
        threads.set_num_threads(before)
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("shape", "axes"), [((3, 5), 1), ((2, 2, 3, 2), 3), ((2, 2, 3, 2), 2), ((2, 2, 3, 2), 4), ((1, 2, 1, 2, 3), 4)]
)
def test_gradcheck(shape: tuple[int, ...], axes: int) -> None:
    trailing = shape[-axes:]
    leaves = [
        gpunn.tensor(_rng(n).standard_normal(s), requires_grad=True) for n, s in enumerate((shape, *[trailing] * 2))
    ]
    assert gradcheck(lambda x, weight, bias: layer_norm(x, trailing, weight, bias), leaves)


def test_only_the_gradients_asked_for() -> None:
    x, weight = gpunn.ones(2, 3), gpunn.ones(3, requires_grad=True)
    layer_norm(x, 3, weight).sum().backward()
    assert x.grad is None
    assert weight.grad.tolist() == [0, 0, 0]


def test_changing_the_weight_between_forward_and_backward_raises() -> None:
    x, weight = gpunn.randn(4, 3, requires_grad=True), gpunn.ones(3)
    y = layer_norm(x, 3, weight)
    weight.fill_(2)
    with pytest.raises(GraphError, match="changed in place 1 time"):
        y.sum().backward()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: layer_norm(gpunn.ones(2, 3), 4), ShapeError, r"expected x of shape \(..., 4\) to match .*\(2, 3\)"),
        (lambda: layer_norm(gpunn.ones(3), (2, 3)), ShapeError, r"expected x of shape \(..., 2, 3\)"),
        (lambda: layer_norm(gpunn.ones(2, 3), 3, gpunn.ones(2)), ShapeError, r"weight: expected shape \(3,\)"),
        (lambda: layer_norm(gpunn.ones(2, 3), 0), UsageError, "normalized_shape: expected a positive integer"),
        (lambda: layer_norm(gpunn.ones(2, 3), ()), UsageError, "normalized_shape"),
        (lambda: layer_norm(gpunn.ones(2, 3, dtype=np.int64), 3), DTypeError, "got int64"),
        (lambda: layer_norm(gpunn.ones(2, 3), 3, None, gpunn.ones(3, dtype=np.float64)), DTypeError, "bias: expected"),
    ],
)
def test_refuses(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_kernels_and_mixed_devices(kernels: str) -> None:
    x = _rng().standard_normal((2, 3, 4, 5)).astype(np.float32)
    got = layer_norm(gpunn.tensor(x, device=kernels), (4, 5)).numpy()
    # A dozen roundings of values up to 3.
    np.testing.assert_allclose(got, layer_norm(gpunn.tensor(x), (4, 5)).numpy(), rtol=0, atol=2e-6)
    with pytest.raises(DeviceError):
        layer_norm(gpunn.tensor(x, device=kernels), 5, gpunn.ones(5))
