"""group_norm against PyTorch and float64, gradients, memory layouts, its neighbours, and what it refuses."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._device import device
from gpunn._gradcheck import gradcheck
from gpunn.cpu import threads
from gpunn.errors import DeviceError, DTypeError, GraphError, ShapeError, UsageError
from gpunn.gpu.launcher import trace_launches
from gpunn.ops import group_norm as module
from gpunn.ops.group_norm import group_norm
from gpunn.ops.layer_norm import layer_norm
from tests.devices import EVERYWHERE, in_order

# Means and variances of up to some thousand numbers, in another order: a dozen roundings of 6e-8 and 1e-16.
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def _compare(
    shape: tuple[int, ...],
    groups: int,
    affine: tuple[bool, bool],
    eps: float,
    dtype: Any,
    seed: int,
    where: str = "cpu",
) -> None:
    parity = pytest.importorskip("tests.parity")
    rng = _rng(seed)
    arrays: dict[str, Any] = {"x": (2 * rng.standard_normal(shape) + rng.standard_normal()).astype(dtype)}
    for name, wanted in zip(("weight", "bias"), affine, strict=True):
        arrays[name] = rng.standard_normal(shape[1]).astype(dtype) if wanted else None

    def theirs(x: Any, weight: Any, bias: Any) -> Any:
        if weight is None and bias is not None:  # of which PyTorch cannot take the gradient
            weight = parity.torch.ones_like(bias)
        return parity.torch.nn.functional.group_norm(x, groups, weight, bias, eps)

    parity.compare(
        lambda x, weight, bias: group_norm(x, groups, weight, bias, eps),
        theirs,
        arrays,
        where,
        TOLERANCE[dtype],
        least_scale=1,
    )


# Shape, groups, whether there are weight and bias, eps, dtype, seed.
Configuration = tuple[tuple[int, ...], int, tuple[bool, bool], float, Any, int]


@st.composite
def configurations(draw: st.DrawFn) -> Configuration:
    """(N, C, *), up to six axes. eps is 0.1: two numbers that happen to be equal would amplify roundings."""
    groups, channels = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    n, rest = draw(st.integers(0, 5)), draw(st.lists(st.integers(1, 6), max_size=4))
    if n * channels * math.prod(rest) == 1:
        n = 2
    affine, dtype = draw(st.tuples(st.booleans(), st.booleans())), draw(st.sampled_from([np.float32, np.float64]))
    return (n, groups * channels, *rest), groups, affine, 0.1, dtype, draw(st.integers(0, 2**16))


@given(configurations())
@settings(max_examples=150, deadline=None)
def test_matches_torch(configuration: Configuration) -> None:
    _compare(*configuration)


@given(configurations())
@settings(max_examples=40, deadline=None)
def test_matches_torch_with_kernels(kernels: str, configuration: Configuration) -> None:
    _compare(*configuration, kernels)


@pytest.mark.parametrize(
    ("shape", "groups"),
    [((16, 64, 32, 32), 8), ((40, 12, 31, 33), 3), ((1, 16, 128, 128), 1), ((6, 24, 3000), 4), ((500, 300), 20)],
)
def test_several_blocks_match_torch(shape: tuple[int, ...], groups: int) -> None:
    for affine in ((True, True), (True, False), (False, True), (False, False)):
        _compare(shape, groups, affine, 1e-5, np.float32, 1)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("mean", [0, 1, 100, 1000])
@pytest.mark.parametrize(("shape", "groups"), [((4, 8, 40, 40), 2), ((2, 6, 20000), 3), ((64, 512), 8)])
def test_float32_is_accurate_wherever_the_mean_is(mean: float, shape: tuple[int, ...], groups: int, where: str) -> None:
    x = (mean + _rng().standard_normal(shape)).astype(np.float32)
    dy = _rng(1).standard_normal(x.shape).astype(np.float32)
    got: list[np.ndarray] = []
    expected: list[np.ndarray] = []
    for dtype, found, place in ((np.float32, got, where), (np.float64, expected, "cpu")):
        t = gpunn.tensor(x.astype(dtype), device=place, requires_grad=True)
        weight = gpunn.ones(shape[1], dtype=dtype, device=place, requires_grad=True)
        y = group_norm(t, groups, weight)
        y.backward(gpunn.tensor(dy.astype(dtype), device=place))
        found += [y.detach().numpy(), t.grad.numpy(), weight.grad.numpy()]
    # The mean itself can only be stored to 1000 * 2^-24 = 6e-5. An error e in it shifts xhat by e, of at most 4, and
    # adds e times the sum of dy to dweight.
    tolerance = {"y": 1e-5 + mean * 2e-8, "dx": 1e-5, "dweight": 1e-5 + mean * 6e-8}
    for name, a, b in zip(tolerance, got, expected, strict=True):
        assert np.abs(a - b).max() <= tolerance[name] * np.abs(b).max(), name


@pytest.mark.parametrize("mean", [0.5, 1000])
@pytest.mark.parametrize(
    ("shape", "groups"),
    [((1, 4, 1 << 18), 1), ((1, 4, 512, 512), 1), ((1, 512, 128, 64), 512), ((1, 512, 16, 32), 512)],
)
def test_long_sums_lose_no_digits(shape: tuple[int, ...], groups: int, mean: float) -> None:
    x = (mean + _rng().standard_normal(shape)).astype(np.float32)
    rows = gpunn.tensor(x)._physical.reshape(module._grouped_shape(shape, groups))
    _, about, rstd = module.group_norm_forward(device("cpu"), rows, None, None, 0.0)
    wide = x.reshape(groups, -1).astype(np.float64)
    # One rounding of the mean, as the sums of parts are added in float64, and a mean far from 0 is taken twice. Of
    # a single channel there is one sum of 512 numbers with some roundings of its own.
    once = groups == 1 or mean == 1000
    np.testing.assert_allclose(about[0], wide.mean(axis=1), rtol=1e-7 if once else 1e-6)
    # The squares of such a channel are added one after the other: up to some dozen roundings of 6e-8.
    np.testing.assert_allclose(rstd[0], 1 / wide.std(axis=1), rtol=2e-6)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_known_answers(where: str) -> None:
    def of(values: Any) -> gpunn.Tensor:
        return gpunn.tensor(np.array(values, np.float32), device=where)

    x = of([[1, 3, 5, 5]])
    assert group_norm(x, 2, eps=3.0).tolist() == [[-0.5, 0.5, 0, 0]]
    assert group_norm(x, 2, of([2, 3, 4, 5]), of([0, 1, 2, 3]), 3.0).tolist() == [[-1, 2.5, 2, 3]]
    # Neighbouring channels are a group, with all positions: 1, 1, 3, 3 and 2, 2, 6, 6.
    image = of([[[[1, 1]], [[3, 3]], [[2, 2]], [[6, 6]]]])
    assert group_norm(image, 2, eps=0.0).tolist() == [[[[-1, -1]], [[1, 1]], [[-1, -1]], [[1, 1]]]]
    assert group_norm(image[:, :, 0], 2, eps=0.0).tolist() == [[[-1, -1], [1, 1], [-1, -1], [1, 1]]]


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("shape", [(3, 6, 5, 7), (3, 6, 35), (2, 6, 2, 3, 4), (3, 6)])
def test_one_group_is_layer_norm(shape: tuple[int, ...], where: str) -> None:
    x = gpunn.tensor(_rng().standard_normal(shape).astype(np.float32), device=where)
    # The same means in another order: a dozen roundings of values up to 4.
    np.testing.assert_allclose(group_norm(x, 1).numpy(), layer_norm(x, shape[1:]).numpy(), rtol=0, atol=4e-6)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("shape", [(3, 6, 5, 7), (3, 6, 35)])
def test_as_many_groups_as_channels_is_instance_norm(shape: tuple[int, ...], where: str) -> None:
    x = _rng().standard_normal(shape)
    over = tuple(range(2, len(shape)))
    expected = (x - x.mean(over, keepdims=True)) / np.sqrt(x.var(over, keepdims=True) + 1e-5)
    got = group_norm(gpunn.tensor(x, device=where), shape[1]).numpy()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-13)  # float64: some hundred roundings


@pytest.mark.parametrize("where", EVERYWHERE)
def test_strided_inputs(where: str) -> None:
    x = _rng().standard_normal((4, 8, 8, 10))
    for part in (
        x[::2, ::2, 1:7, ::-2],
        x.transpose(3, 1, 0, 2),
        x[:, :, 3],
        x[:, ::-1, 2, 3],
        x.reshape(4, 4, 2, -1).T,
    ):
        n, c, *rest = part.shape
        rows = part.reshape(n, 2, -1)
        expected = (rows - rows.mean(2, keepdims=True)) / np.sqrt(rows.var(2, keepdims=True) + 1e-5)
        t = gpunn.from_numpy(part) if where == "cpu" else gpunn.tensor(part, device=where)
        # float64: some hundred roundings.
        np.testing.assert_allclose(group_norm(t, 2).numpy(), expected.reshape(part.shape), rtol=0, atol=1e-13)
        assert c % 2 == 0
        assert rest or part.ndim == 2


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("shape", [(0, 4, 3, 3), (0, 4), (2, 4, 0), (2, 4, 3, 0), (0, 4, 0)])
def test_without_elements(shape: tuple[int, ...], where: str) -> None:
    """PyTorch gives NaN for the weight's gradient where there are items without positions; of no terms it is 0."""
    x = gpunn.zeros(*shape, device=where, requires_grad=True)
    weight, bias = (gpunn.ones(4, device=where, requires_grad=True) for _ in range(2))
    y = group_norm(x, 2, weight, bias)
    assert y.shape == shape
    y.sum().backward()
    assert x.grad.shape == shape
    assert weight.grad.tolist() == bias.grad.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("where", EVERYWHERE)
def test_nan_and_infinity_stay_in_their_group(where: str) -> None:
    x = _rng().standard_normal((2, 4, 5, 5)).astype(np.float32)
    x[0, 1, 2, 3], x[1, 2, 0, 0] = np.nan, np.inf
    y = group_norm(gpunn.tensor(x, device=where), 2).numpy()
    assert np.isnan(y[0, :2]).all()
    assert np.isnan(y[1, 2:]).all()
    assert np.isfinite(y[0, 2:]).all()
    assert np.isfinite(y[1, :2]).all()


@pytest.mark.parametrize("where", EVERYWHERE)
def test_an_infinite_weight_or_gradient(where: str) -> None:
    """Shortcuts must not make inf - inf of what has a value."""
    x, dy = (_rng(seed).standard_normal((2, 4, 5, 5)).astype(np.float32) for seed in range(2))
    weight = np.ones(4, np.float32)
    weight[1], dy[0, 2, 0, 0] = np.inf, np.inf
    leaves = [gpunn.tensor(a, device=where, requires_grad=True) for a in (x, weight, weight[::-1].copy())]
    made = group_norm(leaves[0], 2, leaves[1], leaves[2])
    made.backward(gpunn.tensor(dy, device=where))
    y = made.detach().numpy()
    assert np.isinf(y[:, 1]).all()
    assert (np.sign(y[:, 1]) == np.sign(group_norm(gpunn.tensor(x), 2).numpy()[:, 1])).all()
    assert (y[:, 2] == np.inf).all()
    assert np.isfinite(y[:, [0, 3]]).all()
    assert np.isfinite(leaves[1].grad.numpy()).tolist() == [True, True, False, True]
    assert np.isfinite(leaves[2].grad.numpy()).tolist() == [True, True, False, True]


@pytest.mark.parametrize(("shape", "groups"), [((30, 16, 40, 40), 4), ((9, 6, 9000), 3), ((50, 48), 4)])
@pytest.mark.parametrize("mean", [0, 50])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_threads_do_not_change_a_bit(shape: tuple[int, ...], groups: int, mean: float, dtype: Any) -> None:
    x, dy = (_rng(seed).standard_normal(shape).astype(dtype) for seed in range(2))
    x += mean
    before = threads.get_num_threads()
    made = []
    try:
        for count in (1, 3):
            threads.set_num_threads(count)
            leaf, weight = (gpunn.tensor(a, requires_grad=True) for a in (x, np.ones(shape[1], dtype)))
            y = group_norm(leaf, groups, weight)
            y.backward(gpunn.tensor(dy))
            made.append([a.numpy().tobytes() for a in (y.detach(), leaf.grad, weight.grad)])
    finally:
        threads.set_num_threads(before)
    assert made[0] == made[1]


@pytest.mark.parametrize("shape", [(2, 300, 3, 4, 1), (2, 1, 3, 2, 5000), (70, 9, 5, 3, 1)])
def test_result_does_not_depend_on_how_the_work_is_cut(kernels: str, shape: tuple[int, ...]) -> None:
    """To rounding on other cuts; to the bit when run again, whatever order threads and blocks run in."""
    home = device(kernels)
    x, dy = (_rng(seed).standard_normal(shape).astype(np.float32) for seed in range(2))
    x, dy, weight = (home.array(a) for a in (x + 5, dy, np.ones(shape[2:4], np.float32)))
    made = []
    for most, size in ((2048, 256), (1, 64), (10_000, 32)):
        runs = []
        for order in ("forward", "reverse", "shuffled"):
            with in_order(kernels, order, seed=3):
                first = module.group_norm_forward.kernel_body(home, x, weight, None, 1e-5, most, size)
                back = module.group_norm_backward.kernel_body(
                    home, dy, x, *first[1:], weight, (True, True, True), most, size
                )
            runs.append([home.to_host(a) for a in (*first, *back)])
        assert len({tuple(a.tobytes() for a in run) for run in runs}) == 1
        made.append(runs[0])
    for other in made[1:]:
        for a, b in zip(made[0], other, strict=True):
            # Sums of up to some thousand terms in another order: some dozen roundings of the largest.
            assert np.abs(a - b).max() <= 5e-6 * np.abs(a).max()


def test_gradients_that_nobody_wants_are_not_computed(kernels: str) -> None:
    home = device(kernels)
    x = home.array(_rng().standard_normal((2, 30, 2, 4, 1)).astype(np.float32))
    _, mean, rstd = module.group_norm_forward(home, x, None, None, 1e-5)
    launched = {}
    for needs in ((True, False, False), (False, True, True), (False, False, True)):
        with trace_launches() as launches:
            made = module.group_norm_backward(home, x, x, mean, rstd, None, needs)
        assert tuple(a is not None for a in made) == needs
        launched[needs] = [launch.kernel.removeprefix("group_norm_") for launch in launches]
    assert launched[True, False, False] == ["backward_sums", "backward_means", "backward"]
    assert launched[False, True, True] == launched[False, False, True] == ["backward_sums", "parameters"]


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize(
    ("shape", "groups"), [((3, 4), 2), ((2, 4, 3), 2), ((2, 6, 3, 2), 3), ((2, 4, 5, 5), 4), ((1, 4, 1, 2, 3), 1)]
)
def test_gradcheck(shape: tuple[int, ...], groups: int, where: str) -> None:
    leaves = [
        gpunn.tensor(_rng(n).standard_normal(s), device=where, requires_grad=True)
        for n, s in enumerate((shape, shape[1:2], shape[1:2]))
    ]
    assert gradcheck(lambda x, weight, bias: group_norm(x, groups, weight, bias), leaves)


def test_only_the_gradients_asked_for() -> None:
    x, weight = gpunn.ones(2, 4, 3), gpunn.ones(4, requires_grad=True)
    group_norm(x, 2, weight).sum().backward()
    assert x.grad is None
    assert weight.grad.tolist() == [0, 0, 0, 0]


def test_changing_the_weight_between_forward_and_backward_raises() -> None:
    x, weight = gpunn.randn(4, 6, requires_grad=True), gpunn.ones(6)
    y = group_norm(x, 3, weight)
    weight.fill_(2)
    with pytest.raises(GraphError, match="changed in place 1 time"):
        y.sum().backward()


X = gpunn.ones(2, 4, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: group_norm(X, 3), ShapeError, r"channels in a multiple of num_groups = 3; got 4 .*divisor of 4"),
        (lambda: group_norm(gpunn.ones(4), 1), ShapeError, r"expected x of shape \(N, C, \*\).*got \(4,\)"),
        (lambda: group_norm(gpunn.ones(2, 0, 3), 1), ShapeError, r"at least one channel; got \(2, 0, 3\)"),
        (lambda: group_norm(gpunn.ones(1, 4), 4), ShapeError, "more than 1 value per group.*Use fewer groups"),
        (lambda: group_norm(gpunn.ones(1, 4, 1, 1), 4), ShapeError, "more than 1 value per group"),
        (lambda: group_norm(X, 2, gpunn.ones(3)), ShapeError, r"weight: expected shape \(4,\).*got \(3,\)"),
        (lambda: group_norm(X, 2, None, gpunn.ones(4, 1)), ShapeError, r"bias: expected shape \(4,\).*got \(4, 1\)"),
        (lambda: group_norm(X, 0), UsageError, "num_groups: expected a whole number of at least 1; got 0"),
        (lambda: group_norm(X, -2), UsageError, "num_groups: expected a whole number of at least 1; got -2"),
        (
            lambda: group_norm(X, cast(Any, 2.0)),
            UsageError,
            "num_groups: expected a whole number of at least 1; got 2.0",
        ),
        (lambda: group_norm(X, True), UsageError, "num_groups: expected a whole number of at least 1; got True"),
        (lambda: group_norm(X.long(), 2), DTypeError, "expected a floating dtype; got int64.*float"),
        (lambda: group_norm(X, 2, None, gpunn.ones(4, dtype=np.float64)), DTypeError, "bias: expected float32"),
    ],
)
def test_refuses(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"group_norm: .*{message}"):
        call()


def test_one_value_a_group_is_fine_in_several_items() -> None:
    assert group_norm(gpunn.randn(2, 4), 4, None, gpunn.ones(4)).tolist() == [[1, 1, 1, 1]] * 2


def test_mixed_devices(kernels: str) -> None:
    with pytest.raises(DeviceError, match="group_norm"):
        group_norm(gpunn.ones(2, 4, device=kernels), 2, gpunn.ones(4))
