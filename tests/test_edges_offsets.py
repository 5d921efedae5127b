"""Normalisations and variances of what is constant, or far from 0 for how little it varies, against longer numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import gpunn
import gpunn.nn.functional as F
from gpunn.ops.batch_norm import batch_norm_statistics
from gpunn.ops.group_norm import group_norm_forward
from gpunn.ops.layer_norm import layer_norm_forward
from gpunn.ops.var import variance_axes
from tests.devices import EVERYWHERE, call

BODIES = ["plain", *EVERYWHERE]
EPS = 1e-5  # of the normalisations
# Shapes (N, C, H, W): of several parts on the CPU with few and with many channels (less on the emulator), and one row.
SHAPES: dict[str, list[tuple[int, ...]]] = {
    "cpu": [(40, 8, 28, 28), (16, 3, 32, 32), (4, 64, 3, 3), (1, 5, 1, 1)],
    "kernels": [(4, 6, 9, 9), (9, 3, 5, 5), (1, 5, 1, 1)],
}
CONSTANTS = [0.1, 1e4 / 3, -0.003, 7e-20, 1e15, 0.0]
OFFSETS = [(1e4, 0.1), (-1e6, 3.0), (1.0, 1e-3), (1e-3, 1e-6), (0.0, 1.0)]  # mean and deviation


def _shapes(where: str) -> list[tuple[int, ...]]:
    return SHAPES["cpu" if where in ("cpu", "plain") else "kernels"]


def _run(primitive: Any, where: str, *args: Any) -> Any:
    return primitive.plain(np, *args) if where == "plain" else call(primitive, where, *args)


def _moments(x: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance in numbers of more digits, from the first element on, so that hardly any is lost."""
    wide = x.astype(np.longdouble)
    first = np.take(wide, [0], axis)
    away = wide - first
    rest = away.mean(axis=axis, keepdims=True)
    return (first + rest).squeeze(axis), ((away - rest) ** 2).mean(axis=axis)


def _found(name: str, where: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What ``name`` finds in the rows of a matrix: mean, variance, and the mean and variance that are right."""
    rows, cols = x.shape
    if name == "batch_norm":
        mean, var = _run(batch_norm_statistics, where, np.ascontiguousarray(x.T), None, None, None, 0.1)
    elif name == "layer_norm":
        _, mean, rstd = _run(layer_norm_forward, where, x, None, None, EPS)
        return mean, rstd, np.stack(_moments(x, 1))
    elif name == "group_norm":
        _, mean, rstd = _run(group_norm_forward, where, x.reshape(rows, 1, 1, 1, cols), None, None, EPS)
        return mean.reshape(-1), rstd.reshape(-1), np.stack(_moments(x, 1))
    else:
        var, mean = (a.reshape(-1) for a in _run(variance_axes, where, x, (1,), float(cols), False))
    return mean, var, np.stack(_moments(x, 1))


def _check(name: str, where: str, x: np.ndarray, roundings: int = 8) -> None:
    """``roundings``: how often a sum of numbers of one sign is rounded at its full size, more or less."""
    eps = float(np.finfo(x.dtype).eps)
    if where == "plain" and x.dtype == np.float64:
        roundings += math.isqrt(x.shape[1])  # NumPy adds the rows of float64 one by one; in float32 it adds in float64
    mean, second, (right_mean, right_var) = _found(name, where, x)
    size, deviation = np.abs(right_mean), np.sqrt(right_var)
    # A mean is rounded to the dtype, by half a unit of its size. On the way there are sums, or merged means, of numbers
    # as far apart as the deviation: a few of its roundings more.
    assert (np.abs(mean - right_mean) <= eps * size + roundings * eps * deviation).all()
    # A mean that is off by a rounding adds its square to the variance. Chan's formula takes squares of differences
    # between means, each rounded to eps times the mean: that is eps times mean times deviation.
    bound = roundings * eps * (right_var + size * deviation) + (eps * size) ** 2
    if name in ("layer_norm", "group_norm"):
        # They keep 1 / sqrt(variance + eps). Of a mean of up to two deviations its square is subtracted: that costs a
        # factor of five.
        least, most = (1 / np.sqrt(np.maximum(right_var + sign * 5 * bound, 0) + EPS) for sign in (1, -1))
        assert (second >= least * (1 - 8 * eps)).all()
        assert (second <= most * (1 + 8 * eps)).all()
    else:
        assert (np.abs(second - right_var) <= bound).all()


NAMES = ["batch_norm", "layer_norm", "group_norm", "var"]


@pytest.mark.parametrize("where", BODIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", CONSTANTS)
def test_a_constant_has_itself_as_mean_and_no_variance(where: str, dtype: Any, name: str, value: float) -> None:
    eps = float(np.finfo(dtype).eps)
    for n, c, h, w in _shapes(where):
        x = np.full((c, n * h * w), value, dtype)
        mean, second, _ = _found(name, where, x)
        assert (np.abs(mean - x[:, 0]) <= np.spacing(np.abs(x[:, 0]))).all()
        # At most the square of a mean that is off by one unit.
        var = second if name in ("batch_norm", "var") else np.maximum(1 / second.astype(np.longdouble) ** 2 - EPS, 0)
        floor = 0 if name in ("batch_norm", "var") else 4 * eps * EPS  # 1 / sqrt(eps) is rounded
        assert (var <= (eps * value) ** 2 + floor).all()


@pytest.mark.parametrize("where", BODIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("mean", "deviation"), OFFSETS)
def test_far_from_zero_nothing_is_lost(where: str, dtype: Any, name: str, mean: float, deviation: float) -> None:
    rng = np.random.Generator(np.random.Philox(3))
    for n, c, h, w in _shapes(where):
        _check(name, where, (mean + deviation * rng.standard_normal((c, n * h * w))).astype(dtype))


@pytest.mark.parametrize("where", BODIES)
@pytest.mark.parametrize("name", NAMES)
def test_one_far_number_among_many(where: str, name: str) -> None:
    """What is subtracted first must not be the number that happens to be the first one."""
    rng = np.random.Generator(np.random.Philox(4))
    for place in (0, 100):
        x = rng.standard_normal((3, 300 if where not in ("cpu", "plain") else 100_000)).astype(np.float32)
        x[:, place] = 1e4
        _check(name, where, x, 64)  # runs of thousands, of which the first is nearly all


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", CONSTANTS)
def test_normalised_constants_are_the_bias(where: str, dtype: Any, value: float) -> None:
    for shape in _shapes(where):
        if math.prod(shape) == shape[1]:
            continue  # PyTorch, and we, refuse statistics of one value a channel
        x = gpunn.full(shape, value, dtype=dtype, device=where)
        made = {
            "batch_norm": F.batch_norm(x, None, None, training=True, eps=EPS),
            "layer_norm": F.layer_norm(x, shape[1:], eps=EPS),
            "group_norm": F.group_norm(x, 1, eps=EPS),
        }
        # A mean that is off by one unit, times 1 / sqrt(eps).
        bound = float(np.spacing(np.abs(dtype(value)))) / math.sqrt(EPS)
        for name, y in made.items():
            assert np.abs(y.numpy()).max() <= bound, name
        assert np.abs(x.std().item()) <= np.finfo(dtype).eps * abs(value)
