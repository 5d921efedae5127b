"""sync_batch_norm on one rank, with others that are played: values, gradients, estimates, accuracy, refusals.

What real ranks do together: tests/distributed/test_syncbatchnorm.py.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn._device import device
from gpunn.errors import DTypeError, ShapeError, UsageError
from gpunn.nn import functional as F
from gpunn.ops.sync_batch_norm import sync_batch_norm, sync_batch_norm_backward, sync_batch_norm_combine
from tests.devices import EVERYWHERE, call
from tests.distributed.played import OtherRows, SameRows


def _numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.Generator(np.random.Philox(seed)).standard_normal(shape)


def _rows(x: np.ndarray) -> np.ndarray:
    """(N, C, ...) as (rows, C)."""
    return np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])


_CASES: dict[str, tuple[tuple[int, ...], int, dict[str, Any]]] = {
    "images": ((2, 3, 4, 5), 3, {}),
    "rows": ((4, 5), 3, {"relu": True}),
    "a sequence": ((2, 3, 7), 1, {"residual": True}),
    "volumes": ((2, 3, 2, 3, 2), 3, {"relu": True, "residual": True}),
    "one row": ((1, 5), 3, {"residual": True}),
    "nothing": ((0, 4, 3, 2), 2, {"relu": True, "residual": True}),
    "no parameters": ((5, 3), 2, {"affine": False}),
    "no bias": ((5, 3), 2, {"bias": False}),
    "no estimates": ((5, 3), 2, {"tracked": False}),
    "the average": ((5, 3), 2, {"momentum": None}),
}


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("name", _CASES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_is_this_ranks_part_of_batch_norm_of_the_whole(name: str, where: str, dtype: Any) -> None:
    """In float64 a wrong formula alone can differ by 1e-11 (sums of 300 cubes); float32 by some 50 roundings."""
    shape, others, how = _CASES[name]
    n, c, limit = shape[0], shape[1], 1e-11 if dtype == np.float64 else 5e-6
    counts = [n, 3, 0, 6][: others + 1]
    whole = (3 * _numbers(sum(counts), *shape[1:]) + 2).astype(dtype)
    extra = _numbers(*whole.shape, seed=1).astype(dtype) if how.get("residual") else None
    weight, bias, start = (_numbers(c, seed=s).astype(dtype) for s in (2, 3, 4))
    activation, momentum = "relu" if how.get("relu") else None, how.get("momentum", 0.3)

    def run(home: str, dtype: Any, part: slice, op: Any) -> dict[str, Any]:
        def leaf(array: Any, wanted: bool = True) -> Any:
            return gpunn.tensor(array.astype(dtype), device=home, requires_grad=True) if wanted else None

        x, res = leaf(whole[part]), None if extra is None else leaf(extra[part])
        w, b = leaf(weight, how.get("affine", True)), leaf(bias, how.get("affine", True) and how.get("bias", True))
        moved: list[Any] = [None] * 2
        if how.get("tracked", True):
            moved = [gpunn.tensor(a.astype(dtype), device=home) for a in (start, start**2)]
        batches = gpunn.tensor(7, device=home)
        y = op(x, *moved, w, b, momentum, residual=res, activation=activation, num_batches_tracked=batches)
        (y * y * y).sum().backward()
        gradients = {k: None if t is None else t.grad.numpy() for k, t in zip("xwbr", (x, w, b, res), strict=True)}
        running = {f"running {k}": None if t is None else t.numpy() for k, t in enumerate(moved)}
        return {"y": y.detach().numpy(), **gradients, **running, "batches": batches.numpy()}

    def plain(*args: Any, **more: Any) -> Any:
        x, mean, var, w, b, momentum = args
        return F.batch_norm(x, mean, var, w, b, True, momentum, 1e-3, **more)

    ends = np.cumsum([0, *counts])
    parts = [slice(a, b) for a, b in itertools.pairwise(ends)]
    expected = run("cpu", np.float64, slice(None), plain)
    # What the other ranks' rows add to the sums of all: from the whole batch, by the formulas.
    rows = _rows(whole.astype(np.float64))
    xhat = (rows - rows.mean(axis=0)) / np.sqrt(rows.var(axis=0) + 1e-3)
    z = xhat * (weight if how.get("affine", True) else 1)
    z = z + (bias if how.get("affine", True) and how.get("bias", True) else 0)
    z = z if extra is None else z + _rows(extra)
    dz = 3 * np.maximum(z, 0) ** 2 if activation else 3 * z * z
    first = len(_rows(whole[parts[0]]))
    sums = np.stack([(dz * xhat)[first:].sum(axis=0), dz[first:].sum(axis=0)])
    group = OtherRows([_rows(whole[p]) for p in parts[1:]], sums)

    def synchronous(*args: Any, **more: Any) -> Any:
        x, mean, var, w, b, momentum = args
        return sync_batch_norm(x, mean, var, w, b, momentum, 1e-3, group, **more)

    got = run(where, dtype, parts[0], synchronous)
    # The gradients of weight and bias are of this rank's rows.
    expected["w"] = None if expected["w"] is None else (dz * xhat)[:first].sum(axis=0)
    expected["b"] = None if expected["b"] is None else dz[:first].sum(axis=0)
    for key in ("y", "x", "r"):
        expected[key] = None if expected[key] is None else expected[key][parts[0]]
    for key, value in expected.items():
        if value is None:
            assert got[key] is None, key
            continue
        assert got[key].shape == value.shape, key
        scale = np.abs(value).max(initial=1)
        assert np.abs(got[key] - value).max(initial=0) <= limit * scale, key
    assert group.calls == ["all_gather", "all_reduce"]


@pytest.mark.parametrize("where", EVERYWHERE)
def test_calls_are_those_that_the_gradients_need(where: str) -> None:
    x = gpunn.tensor(_numbers(4, 3), device=where)
    weight = gpunn.tensor(_numbers(3), device=where, requires_grad=True)
    group = OtherRows([_numbers(5, 3)], np.zeros((2, 3)))
    args = (None, None, weight, None, 0.1, 1e-5, group)
    sync_batch_norm(x, *args).sum().backward()
    assert group.calls == ["all_gather"]
    with gpunn.no_grad():
        sync_batch_norm(x, *args)
    assert group.calls == ["all_gather"] * 2
    x.requires_grad_()
    sync_batch_norm(x, *args).sum().backward()
    assert group.calls == ["all_gather"] * 3 + ["all_reduce"]


@pytest.mark.parametrize("where", EVERYWHERE)
def test_what_is_far_from_zero_loses_no_digits(where: str) -> None:
    """Means of 1000 and deviations of 1: sums of squares would lose 6 of 7 digits of the variance.

    The ranks' means are rounded to float32: 3e-5 each, where they differ by 0.1. So the variance is off by some 1e-5.
    """
    whole = (1000 + _numbers(4, 200, 3)).astype(np.float32)
    parts = np.stack([[*x.mean(axis=0, dtype=np.float64), *x.var(axis=0, dtype=np.float64), len(x)] for x in whole])
    mean, var, count = call(sync_batch_norm_combine, where, parts.astype(np.float32), None, None, None, 0.1)
    rows = whole.reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(mean, rows.mean(axis=0), rtol=1e-7)
    np.testing.assert_allclose(var, rows.var(axis=0), rtol=2e-5)
    assert count.tolist() == [800]


@pytest.mark.parametrize("where", EVERYWHERE)
def test_a_constant_channel_has_its_mean_and_no_variance(where: str) -> None:
    """In float32, of which float64 adds up what there is. A mean in float32 is wrong in every fifth channel."""
    numbers, none = 1000 * _numbers(40), np.zeros(40)
    parts = np.stack([[*none, *none, 0]] + [[*numbers, *none, rows] for rows in (3, 6, 11)]).astype(np.float32)
    mean, var, _ = call(sync_batch_norm_combine, where, parts, None, None, None, 0.1)
    np.testing.assert_array_equal(mean, numbers.astype(np.float32))
    assert var.max() < 1e-20  # squares of float64's roundings


@pytest.mark.parametrize("where", EVERYWHERE)
def test_far_rows_have_the_gradient_of_near_ones(where: str) -> None:
    """dx does not change if all of x moves; in float64, of whose 16 digits a mean of 1e6 takes 6."""
    x, dy = _numbers(60, 5), _numbers(60, 5, seed=1)
    got = []
    for mean in (0.0, 1e6):
        arrays = (dy, x + mean, None, np.full(5, mean), np.ones(5), None, np.ones((2, 5)), np.array([90.0]))
        got.append(call(sync_batch_norm_backward, where, *arrays, 1e-5, (True, False))[0])
    np.testing.assert_allclose(got[1], got[0], atol=1e-9)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_one_value_on_all_ranks_together_is_refused_before_estimates_move(where: str) -> None:
    for own, rest in ((1, 0), (0, 1)):
        mean, var = (gpunn.zeros(3, dtype=np.float64, device=where) for _ in range(2))
        x = gpunn.tensor(_numbers(own, 3), device=where)
        message = "expected more than 1 value per channel when training; got one on all 2 ranks together"
        with pytest.raises(ShapeError, match=message):
            sync_batch_norm(x, mean, var, None, None, 0.1, 1e-5, OtherRows([_numbers(rest, 3)]))
        assert not any(t.numpy().any() for t in (mean, var))
    y = sync_batch_norm(
        gpunn.zeros(0, 3, device=where), None, None, None, None, 0.1, 1e-5, OtherRows([np.zeros((0, 3))])
    )
    assert y.shape == (0, 3)


def test_refuses_before_any_call() -> None:
    group = OtherRows([_numbers(5, 3)])
    x, none = gpunn.tensor(_numbers(4, 3)), (None, None)
    wrong: Any = "tanh"
    calls: list[tuple[Any, type[Exception], str]] = [
        (lambda: sync_batch_norm(gpunn.zeros(3), *none, *none, 0.1, 1e-5, group), ShapeError, "expected x of shape"),
        (
            lambda: sync_batch_norm(x, *none, gpunn.ones(3), None, 0.1, 1e-5, group),
            DTypeError,
            "weight: expected float64",
        ),
        (lambda: sync_batch_norm(x, *none, *none, 0.1, 0.0, group), UsageError, "eps"),
        (lambda: sync_batch_norm(x, *none, *none, -1.0, 1e-5, group), UsageError, "momentum"),
        (lambda: sync_batch_norm(x, *none, *none, 0.1, 1e-5, group, activation=wrong), UsageError, "activation"),
        (
            lambda: sync_batch_norm(x, gpunn.zeros(3, dtype=np.float64), None, *none, None, 1e-5, group),
            UsageError,
            "needs num_batches_tracked",
        ),
    ]
    for make, kind, message in calls:
        with pytest.raises(kind, match=message):
            make()
    assert group.calls == []


def test_bad_data_stops_the_estimates(kernels: str) -> None:
    """A wrong class index that a kernel found earlier in the step: nothing is updated until somebody has been told."""
    where = device(kernels)
    buffer = where.error_buffer
    mean, var = gpunn.zeros(3, device=kernels), gpunn.ones(3, device=kernels)
    batches = gpunn.zeros(dtype=np.int64, device=kernels)
    x = gpunn.tensor(_numbers(4, 3).astype(np.float32), device=kernels)
    where.fill(buffer, 1)
    try:
        sync_batch_norm(x, mean, var, None, None, 0.1, 1e-5, SameRows(2), num_batches_tracked=batches)
    finally:
        where.fill(buffer, 0)
    assert not mean.numpy().any()
    assert (var.numpy() == 1).all()
    assert batches.item() == 0
