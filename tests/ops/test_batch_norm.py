"""batch_norm against PyTorch and float64, running estimates, fusion, bad data, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn._half import half_named
from gpunn.cpu import threads
from gpunn.errors import DeviceError, DTypeError, GraphError, LabelError, ShapeError, UsageError
from gpunn.gpu.launcher import trace_launches
from gpunn.ops import batch_norm as module
from gpunn.ops.batch_norm import batch_norm
from gpunn.ops.cross_entropy import cross_entropy
from tests.devices import EVERYWHERE, call, in_order


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


# -- against PyTorch ------------------------------------------------------------------------------


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    """Any use of the op on a small float64 tensor of at least four values a channel."""
    n, c = draw(st.integers(4, 9)), draw(st.integers(1, 9))
    shape = (n, c, draw(st.integers(1, 4)), draw(st.integers(1, 4))) if draw(st.booleans()) else (n, c)
    return {
        "shape": shape,
        "training": draw(st.booleans()),
        "affine": draw(st.booleans()),
        "tracked": draw(st.booleans()),
        "residual": draw(st.booleans()),
        "relu": draw(st.booleans()),
        "momentum": draw(st.sampled_from([0.0, 0.1, 1.0])),
        "eps": draw(st.sampled_from([1e-5, 0.1])),
        "seed": draw(st.integers(0, 2**16)),
    }


def _check_against_torch(where: str, how: dict[str, Any]) -> None:
    """In float64, so that only a wrong formula can differ by more than 1e-9: float32 is measured below."""
    parity = pytest.importorskip("tests.parity")
    torch, rng, c = parity.torch, _rng(how["seed"]), how["shape"][1]
    arrays = {"x": 2 * rng.standard_normal(how["shape"]) + 1, "weight": None, "bias": None, "residual": None}
    if how["affine"]:
        arrays |= {"weight": rng.standard_normal(c), "bias": rng.standard_normal(c)}
    if how["residual"]:
        arrays["residual"] = rng.standard_normal(how["shape"])
    mine: list[Any] = [None, None]
    other: list[Any] = [None, None]
    if how["tracked"] or not how["training"]:
        start = [rng.standard_normal(c), 0.5 + rng.random(c)]
        mine = [gpunn.tensor(a, device=where) for a in start]
        other = [torch.tensor(a) for a in start]
    rest = how["training"], how["momentum"], how["eps"]
    activation = "relu" if how["relu"] else None

    def ours(x: Any, weight: Any, bias: Any, residual: Any) -> Any:
        return batch_norm(x, mine[0], mine[1], weight, bias, *rest, residual=residual, activation=activation)

    def theirs(x: Any, weight: Any, bias: Any, residual: Any) -> Any:
        y = torch.nn.functional.batch_norm(x, *other, weight, bias, *rest)
        y = y if residual is None else y + residual
        return torch.relu(y) if how["relu"] else y

    parity.compare(ours, theirs, arrays, where, 1e-9)
    for got, expected in zip(mine, other, strict=True):
        if got is not None:
            parity.close("running estimate", got.numpy(), expected.numpy(), 1e-12)


@given(configurations())
@settings(max_examples=60, deadline=None)
def test_matches_torch_on_cpu(how: dict[str, Any]) -> None:
    _check_against_torch("cpu", how)


@given(configurations())
@settings(max_examples=25, deadline=None)
def test_matches_torch_with_kernels(kernels: str, how: dict[str, Any]) -> None:
    _check_against_torch(kernels, how)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("momentum", [0.1, None])
def test_estimates_over_several_batches_match_torch(where: str, momentum: float | None) -> None:
    parity = pytest.importorskip("tests.parity")
    theirs = parity.torch.nn.BatchNorm2d(5, momentum=momentum, dtype=parity.torch.float64)
    mean, var = gpunn.zeros(5, dtype=np.float64, device=where), gpunn.ones(5, dtype=np.float64, device=where)
    count = gpunn.zeros(dtype=np.int64, device=where)
    for seed in range(3):
        array = _rng(seed).standard_normal((4, 5, 3, 2))
        theirs(parity.torch.tensor(array))
        x = gpunn.tensor(array, device=where)
        batch_norm(x, mean, var, training=True, momentum=momentum, num_batches_tracked=count)
    parity.close("running_mean", mean.numpy(), theirs.running_mean.numpy(), 1e-12)
    parity.close("running_var", var.numpy(), theirs.running_var.numpy(), 1e-12)
    assert count.item() == 3


# -- accuracy -------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", EVERYWHERE)
def test_float32_is_accurate_when_the_mean_is_far_from_zero(where: str) -> None:
    """Mean 100, deviation 1: the sum of squares minus the squared mean would lose four of seven digits."""
    x = (100 + _rng().standard_normal((8, 8, 20, 20))).astype(np.float32)
    dy = _rng(1).standard_normal(x.shape).astype(np.float32)
    got, expected = list[np.ndarray](), list[np.ndarray]()
    for dtype, found in ((np.float32, got), (np.float64, expected)):
        t = gpunn.tensor(x.astype(dtype), device=where if dtype == np.float32 else "cpu", requires_grad=True)
        mean, var = (make(8, dtype=dtype, device=t.device) for make in (gpunn.zeros, gpunn.ones))
        y = batch_norm(t, mean, var, training=True, momentum=1.0)
        y.backward(gpunn.tensor(dy.astype(dtype), device=t.device))
        found += [y.detach().numpy(), t.grad.numpy(), mean.numpy(), var.numpy()]
    for name, a, b in zip(("y", "dx", "mean", "var"), got, expected, strict=True):
        # The mean itself can only be stored to 100 * 2^-24 = 6e-6, a part in 6e5 of y's largest, 4.
        assert np.abs(a - b).max() <= 1e-5 * np.abs(b).max(), name


@pytest.mark.parametrize("where", EVERYWHERE)
def test_result_does_not_depend_on_how_the_work_is_cut(where: str) -> None:
    """To rounding on other cuts; to the bit when run again, whatever order threads and blocks run in."""
    x = (5 + _rng().standard_normal((570, 133))).astype(np.float32)
    args = (x, None, None, None, 0.1)
    mean, var = call(module.batch_norm_statistics, where, *args)
    assert np.abs(mean - x.mean(axis=0, dtype=np.float64)).max() < 1e-6 * 5  # one rounding of 5 is 2.4e-7
    if where == "cpu":
        before = threads.get_num_threads()
        try:
            for n in (1, 3):
                threads.set_num_threads(n)
                again = call(module.batch_norm_statistics, where, *args)
                assert [a.tobytes() for a in again] == [mean.tobytes(), var.tobytes()]
        finally:
            threads.set_num_threads(before)
        return
    for order in ("reverse", "shuffled"):
        with in_order(where, order):
            again = call(module.batch_norm_statistics, where, *args)
        assert [a.tobytes() for a in again] == [mean.tobytes(), var.tobytes()]
    for most in (11, 300):  # chunks: two, and more than one block merges
        small = call(module.batch_norm_statistics, where, *args, kernel={"threads": 32, "most": most})
        np.testing.assert_allclose(small, [mean, var], rtol=1e-6)  # a few roundings


@pytest.mark.parametrize("most", [11, 300])
def test_same_bits_whichever_block_is_last(kernels: str, most: int) -> None:
    """Two levels of blocks that merge what others left, and one; with tickets of several tiles of channels."""
    x, dy, y = (3 + _rng().standard_normal((3, 570, 133))).astype(np.float32)
    mean, var = x.mean(axis=0), x.var(axis=0)
    cut, found = {"threads": 32, "most": most}, set()
    for order in ("forward", "reverse", "shuffled"):
        running, count = np.ones((2, 133), np.float32), np.array(4)
        with in_order(kernels, order):
            made = call(module.batch_norm_statistics, kernels, x, *running, count, None, kernel=cut)
            args = (dy, x, y, mean, var, None, None, 1e-5, True, True, (True, True, True, False))
            made += call(module.batch_norm_backward, kernels, *args, kernel=cut)
        found.add(tuple(a.tobytes() for a in (*made, running, count) if a is not None))
    assert len(found) == 1
    assert count == 5
    np.testing.assert_allclose(running[0], 1 + (mean - 1) / 5, rtol=1e-6)  # a few roundings


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("biased", [True, False])
def test_without_a_residual_where_y_is_0_is_told_from_x(kernels: str, dtype: str, biased: bool) -> None:
    """The same gradients, to the bit, as from y itself, though many outputs are about 0, and some are rounded to it."""
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    kind = half_named("test", dtype) if dtype.endswith("16") else np.dtype(dtype)
    wide = np.float64 if dtype == "float64" else np.float32
    rng = _rng()
    x = rng.integers(-3, 4, (40, 5, 5, 12)).astype(kind)
    dy = rng.standard_normal(x.shape).astype(kind)
    # One in seven outputs is exactly 0, or so near that float16 makes it 0.
    mean, var = rng.integers(-1, 2, 12).astype(wide), rng.uniform(0.5, 2, 12).astype(wide)
    mean[6:9], mean[9:] = 1e-8, -1e-8
    weight = rng.uniform(-1, 1, 12).astype(wide)
    bias = np.zeros(12, wide) if biased else None
    y = call(module.batch_norm_normalise, kernels, x, mean, var, weight, bias, None, 1e-3, True)
    assert 0.2 < (y > 0).mean() < 0.8
    for training in (True, False):
        found, expected = (
            call(module.batch_norm_backward, kernels, dy, x, y, mean, var, weight, bias, 1e-3, training, *rest)
            for rest in ((False, (True, True, True, False)), (True, (True, True, True, False)))
        )
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("shape", "most"), [((40, 133), 7), ((3, 5, 7, 4), 7), ((300, 133), 200), ((8300, 31), 1100)])
def test_small_blocks_and_many_chunks_agree_with_the_formula(kernels: str, shape: tuple[int, ...], most: int) -> None:
    """Blocks of one warp, chunks merged at one to three levels: edges that the default shape has on large tensors."""
    x, y, dy = _rng().standard_normal((3, *shape))
    mean, var, weight = 0.5 + _rng(1).random((3, shape[-1]))
    args: tuple[Any, ...] = (x, mean, var, weight, mean, dy, 1e-5, True)
    got = call(module.batch_norm_normalise, kernels, *args, kernel={"threads": 32})
    expected = module.batch_norm_normalise.plain(np, *args)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-13)  # float64: some hundred roundings
    args = (dy, x, y, mean, var, weight, None, 1e-5, True, True, (True, True, True, True))
    got = call(module.batch_norm_backward, kernels, *args, kernel={"threads": 32, "most": most})
    for a, b in zip(got, module.batch_norm_backward.plain(np, *args), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-13 * max(1, np.abs(b).max()))


# -- gradients ------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_gradcheck(training: bool, activation: str | None) -> None:
    rng = _rng(2)
    leaves = [
        gpunn.tensor(rng.standard_normal(s), requires_grad=True) for s in ((3, 2, 2, 2), (2,), (2,), (3, 2, 2, 2))
    ]

    def f(x: Any, weight: Any, bias: Any, residual: Any) -> gpunn.Tensor:
        mean, var = gpunn.zeros(2, dtype=np.float64), gpunn.ones(2, dtype=np.float64)
        return batch_norm(x, mean, var, weight, bias, training, residual=residual, activation=activation)

    assert gradcheck(f, leaves)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_infinite_gradient_stays_out_of_closed_units(where: str) -> None:
    x = gpunn.tensor([[-1.0], [1.0]], device=where, requires_grad=True)
    estimates = gpunn.zeros(1, device=where), gpunn.ones(1, device=where)
    y = batch_norm(x, *estimates, activation="relu", eps=0.0)
    y.backward(gpunn.tensor([[np.inf], [2.0]], device=where))
    assert x.grad.tolist() == [[0.0], [2.0]]


def test_gradient_of_the_residual_is_no_alias() -> None:
    x, residual = (gpunn.randn(4, 3, requires_grad=True) for _ in range(2))
    y = batch_norm(x, None, None, training=True, residual=residual)
    y.backward(gradient := gpunn.ones(4, 3))
    assert not np.shares_memory(residual.grad.array, gradient.array)
    assert residual.grad.tolist() == gradient.tolist()


def test_changing_the_estimates_between_forward_and_backward_raises() -> None:
    x, mean, var = gpunn.randn(4, 3, requires_grad=True), gpunn.zeros(3), gpunn.ones(3)
    y = batch_norm(x, mean, var)
    batch_norm(x.detach(), mean, var, training=True)
    with pytest.raises(GraphError, match="changed in place 1 time"):
        y.sum().backward()


# -- what is launched, and what is not ------------------------------------------------------------


def _launched(f: Any) -> list[str]:
    with trace_launches() as launches:
        f()
    return [launch.kernel for launch in launches]


def test_launches(kernels: str) -> None:
    """Evaluation is one kernel each way; a gradient that nobody needs costs nothing."""
    x = gpunn.randn(4, 4, 2, 2, device=kernels)
    mean, var, weight = (gpunn.ones(4, device=kernels) for _ in range(3))
    dy = gpunn.ones(4, 4, 2, 2, device=kernels)
    assert _launched(lambda: batch_norm(x, mean, var, weight)) == ["batch_norm_normalise"]
    forward = ["batch_norm_statistics", "batch_norm_normalise"]
    assert _launched(lambda: batch_norm(x, mean, var, weight, training=True)) == forward
    x.requires_grad_()
    frozen = batch_norm(x, mean, var, weight, activation="relu")
    assert _launched(lambda: frozen.backward(dy)) == ["batch_norm_backward"]
    x.grad = None
    trained = batch_norm(x, mean, var, weight, training=True)
    assert _launched(lambda: trained.backward(dy)) == ["batch_norm_backward_sums", "batch_norm_backward"]
    x.requires_grad_(False)
    weight.requires_grad_()
    y = batch_norm(x, mean, var, weight, training=True)
    assert _launched(lambda: y.backward(dy)) == ["batch_norm_backward_sums"]


@pytest.mark.parametrize("where", EVERYWHERE)
def test_an_empty_batch_changes_nothing(where: str) -> None:
    x = gpunn.zeros(0, 3, 2, 2, device=where, requires_grad=True)
    mean, var = gpunn.ones(3, device=where), gpunn.ones(3, device=where)
    weight, count = gpunn.ones(3, device=where, requires_grad=True), gpunn.zeros(dtype=np.int64, device=where)
    y = batch_norm(x, mean, var, weight, training=True, num_batches_tracked=count)
    assert y.shape == (0, 3, 2, 2)
    y.sum().backward()
    assert x.grad.shape == x.shape
    assert weight.grad.tolist() == [0, 0, 0]
    assert mean.tolist() == var.tolist() == [1, 1, 1]
    assert count.item() == 0


@pytest.mark.parametrize("where", EVERYWHERE)
def test_without_estimates_momentum_none_needs_no_counter(where: str) -> None:
    x = gpunn.tensor(_rng().standard_normal((4, 3)), device=where)
    y = batch_norm(x, None, None, training=True, momentum=None)
    np.testing.assert_array_equal(y.numpy(), batch_norm(x, None, None, training=True).numpy())


@pytest.mark.parametrize("where", EVERYWHERE)
def test_nan_stays_in_its_channel(where: str) -> None:
    x = np.ones((4, 2), np.float32)
    x[1, 0] = np.nan
    x[2, 1] = 3
    y = batch_norm(gpunn.tensor(x, device=where), None, None, training=True, activation="relu").numpy()
    assert np.isnan(y[:, 0]).all()
    assert np.isfinite(y[:, 1]).all()


def test_bad_data_stops_the_estimates_until_it_was_raised(kernels: str) -> None:
    x = gpunn.randn(6, 3, device=kernels)
    mean, var = gpunn.zeros(3, device=kernels), gpunn.ones(3, device=kernels)
    count = gpunn.zeros(dtype=np.int64, device=kernels)

    def train() -> None:
        batch_norm(x, mean, var, training=True, num_batches_tracked=count)

    cross_entropy(x, gpunn.tensor([0, 1, 2, 3, 0, 0], device=kernels))
    train()
    with pytest.raises(LabelError, match="label 3 at position 3"):
        mean.tolist()
    assert mean.tolist() == [0, 0, 0]
    assert var.tolist() == [1, 1, 1]
    assert count.item() == 0
    train()
    assert count.item() == 1
    assert mean.tolist() != [0, 0, 0]


# -- refusals -------------------------------------------------------------------------------------


def _call(*shape: int, dtype: Any = np.float32, **how: Any) -> None:
    how = {"running_mean": gpunn.zeros(3), "running_var": gpunn.ones(3), **how}
    batch_norm(gpunn.zeros(*shape, dtype=dtype), **how)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: _call(3), ShapeError, r"expected x of shape \(N, C\).*; got \(3,\)"),
        (lambda: _call(2, 4), ShapeError, r"running_mean: expected shape \(4,\) to match x of shape \(2, 4\)"),
        (lambda: _call(2, 3, weight=gpunn.ones(2)), ShapeError, r"weight: expected shape \(3,\)"),
        (lambda: _call(2, 3, residual=gpunn.ones(3, 3)), ShapeError, r"residual: expected shape \(2, 3\)"),
        (lambda: _call(1, 3, training=True), ShapeError, "expected more than 1 value per channel"),
        (lambda: _call(1, 3, 1, 1, training=True), ShapeError, "expected more than 1 value per channel"),
        (lambda: _call(2, 3, dtype=np.int64), DTypeError, "got int64"),
        (lambda: _call(2, 3, bias=gpunn.ones(3, dtype=np.float64)), DTypeError, "bias: expected float32"),
        (lambda: _call(2, 3, num_batches_tracked=gpunn.zeros(1)), DTypeError, "expected one int64; got float32"),
        (lambda: _call(2, 3, activation="tanh"), UsageError, "expected None or 'relu'; got 'tanh'"),
        (lambda: _call(2, 3, running_var=None), UsageError, "evaluation needs running_mean and running_var"),
        (lambda: _call(2, 3, training=True, momentum=-0.1), UsageError, "momentum: expected a number of at least 0"),
        (lambda: _call(2, 3, training=True, momentum=None), UsageError, "needs num_batches_tracked"),
    ],
)
def test_refuses(call: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_refuses_two_devices(kernels: str) -> None:
    with pytest.raises(DeviceError, match=f"cpu and {kernels}"):
        _call(2, 3, weight=gpunn.ones(3, device=kernels))


def test_refused_training_leaves_the_estimates_alone() -> None:
    mean = gpunn.zeros(3)
    with pytest.raises(ShapeError):
        _call(1, 3, running_mean=mean, training=True)
    assert mean.tolist() == [0, 0, 0]


@pytest.mark.parametrize(("channels", "rows"), [(80, 113), (80, 5329), (32, 521), (3, 2731), (192, 5041), (512, 7)])
def test_rows_that_no_number_divides(channels: int, rows: int) -> None:
    """On the CPU several rows are taken for one, also where a prime number of them is as wide as a row should be."""
    rng = np.random.Generator(np.random.Philox(3))
    values, dy = rng.standard_normal((2, rows, channels))
    x = gpunn.tensor(values, requires_grad=True)
    y = batch_norm(x, None, None, training=True, eps=0.5)
    y.backward(gpunn.tensor(dy))
    deviation = np.sqrt(values.var(0) + 0.5)
    normal = (values - values.mean(0)) / deviation
    # Sums of thousands of float64 numbers of order one.
    np.testing.assert_allclose(y.detach().numpy(), normal, rtol=0, atol=1e-12)
    expected = (dy - dy.mean(0) - normal * (dy * normal).mean(0)) / deviation
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=0, atol=1e-12)
