"""NaN in the ops that compare and mask: values and gradients are where PyTorch has them.

What a comparison with NaN says depends on how it is asked: a ReLU's gradient is 0 where x <= 0, so at NaN it passes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import gpunn
import gpunn.nn.functional as F
from gpunn import nn
from gpunn.ops.conv2d_max_pool2d import conv2d_max_pool2d
from gpunn.ops.maxout import maxout
from tests.devices import EVERYWHERE

parity = pytest.importorskip("tests.parity")
torch = parity.torch
T = torch.nn.functional

_NAN, _INF = np.nan, np.inf
# A few at a time, so that PyTorch computes each by its formula. Its vectors of 8 or more give relu6 and hardtanh
# another gradient at NaN (0), and elu too (NaN), than the numbers left over, than a GPU, and than the formulas.
_VALUES = ((_NAN, -1.0, _INF, 2.0, 0.0), (-_INF, -0.0, -_NAN, 6.0), (1e-37, 0.5, -1e-37, _NAN))


class _Case(NamedTuple):
    ours: Callable[..., Any]
    theirs: Callable[..., Any]


_ACTIVATIONS: dict[str, _Case] = {
    "relu": _Case(F.relu, T.relu),
    "absolute_relu": _Case(F.absolute_relu, torch.abs),
    "leaky_relu": _Case(F.leaky_relu, T.leaky_relu),
    "leaky_relu, slope 0": _Case(lambda x: F.leaky_relu(x, 0.0), lambda x: T.leaky_relu(x, 0.0)),
    "leaky_relu, slope 2": _Case(lambda x: F.leaky_relu(x, 2.0), lambda x: T.leaky_relu(x, 2.0)),
    "leaky_relu, slope -1": _Case(lambda x: F.leaky_relu(x, -1.0), lambda x: T.leaky_relu(x, -1.0)),
    "relu6": _Case(F.relu6, T.relu6),
    "hardtanh": _Case(F.hardtanh, T.hardtanh),
    "elu": _Case(F.elu, T.elu),
    "elu, alpha 0": _Case(lambda x: F.elu(x, 0.0), lambda x: T.elu(x, 0.0)),
    "softplus": _Case(F.softplus, T.softplus),
    "logsigmoid": _Case(F.logsigmoid, T.logsigmoid),
    "clamp": _Case(lambda x: x.clamp(-1, 2), lambda x: x.clamp(-1, 2)),
    "clamp from below": _Case(lambda x: x.clamp(min=0), lambda x: x.clamp(min=0)),
    "clamp from above": _Case(lambda x: x.clamp(max=2), lambda x: x.clamp(max=2)),
    "max": _Case(lambda x: x.max(), lambda x: x.max()),
    "min": _Case(lambda x: x.min(), lambda x: x.min()),
    "max along an axis": _Case(lambda x: x.max(0).values, lambda x: x.max(0).values),
    "min along an axis": _Case(lambda x: x.min(0).values, lambda x: x.min(0).values),
    "amax": _Case(lambda x: x.amax(0), lambda x: x.amax(0)),
    "amin": _Case(lambda x: x.amin(0), lambda x: x.amin(0)),
    "norm, infinite": _Case(lambda x: x.norm(_INF), lambda x: torch.linalg.vector_norm(x, _INF)),
    "norm, -infinite": _Case(lambda x: x.norm(-_INF), lambda x: torch.linalg.vector_norm(x, -_INF)),
    "prelu": _Case(
        lambda x: F.prelu(x, gpunn.full((1,), 0.25, dtype=x.dtype, device=x.device)),
        lambda x: T.prelu(x, torch.full((1,), 0.25, dtype=x.dtype)),
    ),
    "smooth_l1_loss": _Case(
        lambda x: F.smooth_l1_loss(x, gpunn.zeros_like(x), reduction="none"),
        lambda x: T.smooth_l1_loss(x, torch.zeros_like(x), reduction="none"),
    ),
    "huber_loss": _Case(
        lambda x: F.huber_loss(x, gpunn.zeros_like(x), reduction="none"),
        lambda x: T.huber_loss(x, torch.zeros_like(x), reduction="none"),
    ),
    "l1_loss": _Case(
        lambda x: F.l1_loss(x, gpunn.zeros_like(x), reduction="none"),
        lambda x: T.l1_loss(x, torch.zeros_like(x), reduction="none"),
    ),
}


def _compare(case: _Case, arrays: list[np.ndarray], where: str, dy: float | None = None) -> None:
    """Values and gradients, from ``dy`` everywhere or a drawn one: NaN at the same places, the rest within rounding."""
    mine = [gpunn.tensor(a, device=where, requires_grad=True) for a in arrays]
    other = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, expected = case.ours(*mine), case.theirs(*other)
    # Sums of some dozen products of numbers of order one: a few last digits of a number of order ten.
    eps = float(np.finfo(arrays[0].dtype).eps)
    np.testing.assert_allclose(y.detach().numpy(), expected.detach().numpy(), rtol=20 * eps, atol=100 * eps)
    drawn = np.random.Generator(np.random.Philox(2)).standard_normal(expected.shape)
    given = np.asarray(drawn if dy is None else np.full(expected.shape, dy), arrays[0].dtype)
    y.backward(gpunn.tensor(given, device=where))
    expected.backward(torch.tensor(given))
    for a, b in zip(mine, other, strict=True):
        assert a.grad is not None
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=20 * eps, atol=100 * eps)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", _ACTIVATIONS)
def test_elements(where: str, dtype: Any, name: str) -> None:
    # Far below 0 PyTorch's gradient of these is that of another formula: infinity times a number that rounds to 0.
    far = _INF if name in ("elu", "elu, alpha 0", "softplus", "logsigmoid") else None
    for some in _VALUES:
        values = np.array([v for v in some if far is None or v != -far], dtype)
        for dy in (1.0, -2.0, _NAN):
            _compare(_ACTIVATIONS[name], [values], where, dy)


_PAIRS: dict[str, _Case] = {
    "maximum": _Case(lambda a, b: a.maximum(b), torch.maximum),
    "minimum": _Case(lambda a, b: a.minimum(b), torch.minimum),
    "clamp, lower bounds": _Case(lambda a, b: a.clamp(min=b), lambda a, b: a.clamp(min=b)),
    "clamp, upper bounds": _Case(lambda a, b: a.clamp(max=b), lambda a, b: a.clamp(max=b)),
    "clamp, both": _Case(lambda a, b: a.clamp(b, b + 1.0), lambda a, b: a.clamp(b, b + 1.0)),
    "where": _Case(lambda a, b: gpunn.where(a > b, a, b), lambda a, b: torch.where(a > b, a, b)),
}


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("name", _PAIRS)
def test_pairs(where: str, name: str) -> None:
    values = np.array([_NAN, -1.0, 0.0, 1.0, 2.0, _INF, -_INF], np.float32)
    a, b = (g.copy() for g in np.broadcast_arrays(values[:, None], values))  # every pair, ties among them
    if (
        name == "clamp, both"
    ):  # where the bounds are equal, as infinity and infinity + 1, PyTorch gives them no gradient
        b[:, 5:] = 0.5
    _compare(_PAIRS[name], [a, b], where)


def _numbers(shape: tuple[int, ...], dtype: Any, share: float, seed: int = 1) -> np.ndarray:
    """Drawn numbers, a ``share`` of them NaN."""
    rng = np.random.Generator(np.random.Philox(seed))
    found = rng.standard_normal(shape).astype(dtype)
    found[rng.random(shape) < share] = _NAN
    return found


# (channels, filters, kernel, groups, images): each of them goes another way on the CPU or through another kernel.
_CONVOLUTIONS = [(1, 5, 5, 1, 12), (6, 6, 3, 1, 8), (6, 8, 1, 1, 8), (6, 6, 3, 6, 8), (4, 6, 5, 1, 12)]


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("c", "k", "r", "groups", "size"), _CONVOLUTIONS)
def test_a_relu_behind_a_convolution(where: str, dtype: Any, c: int, k: int, r: int, groups: int, size: int) -> None:
    x = _numbers((3, c, size, size), dtype, 0.003)
    # Where a tile of outputs juts out of the image a kernel multiplies what it read by 0, and a NaN there goes further
    # than in PyTorch. Here they are away from that edge.
    x[:, :, 4:] = x[:, :, :, 4:] = 0.5
    x[0, 0, 3, 3] = _NAN
    weight = _numbers((k, c // groups, r, r), dtype, 0)
    bias = _numbers((k,), dtype, 0, 5)
    bias[1] = _NAN
    options: dict[str, Any] = {"padding": r // 2, "groups": groups}

    def theirs(x: Any, w: Any, b: Any) -> Any:
        return T.relu(T.conv2d(x, w, b, **options))

    def fused(x: Any, w: Any, b: Any) -> Any:
        return conv2d_max_pool2d(x, w, b, 1, r // 2, 1, groups, nn.MaxPool2d(2), activation="relu")

    alone = _Case(lambda x, w, b: F.conv2d(x, w, b, activation="relu", **options), theirs)
    pooled = _Case(fused, lambda x, w, b: T.max_pool2d(theirs(x, w, b), 2))
    for nan_of in ("bias", "x"):
        given = [x if nan_of == "x" else np.nan_to_num(x), weight, bias if nan_of == "bias" else np.nan_to_num(bias)]
        _compare(alone, given, where)
        _compare(pooled, given, where)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [3, 70])
def test_a_relu_behind_a_product(where: str, dtype: Any, rows: int) -> None:
    x, weight, bias = _numbers((rows, 7), dtype, 0.02), _numbers((9, 7), dtype, 0), _numbers((9,), dtype, 0.3)
    case = _Case(lambda x, w, b: F.linear(x, w, b, activation="relu"), lambda x, w, b: T.relu(T.linear(x, w, b)))
    _compare(case, [x, weight, bias], where)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_a_relu_behind_a_batch_norm(where: str, dtype: Any, residual: bool, training: bool) -> None:
    x, weight, bias = _numbers((4, 6, 3, 3), dtype, 0), _numbers((6,), dtype, 0), _numbers((6,), dtype, 0.3)
    beside = _numbers(x.shape, dtype, 0.1, 9)

    def ours(x: Any, w: Any, b: Any, *more: Any) -> Any:
        mean, var = gpunn.zeros(6, dtype=x.dtype, device=where), gpunn.ones(6, dtype=x.dtype, device=where)
        return F.batch_norm(
            x, mean, var, w, b, training=training, activation="relu", residual=more[0] if more else None
        )

    def theirs(x: Any, w: Any, b: Any, *more: Any) -> Any:
        mean, var = torch.zeros(6, dtype=x.dtype), torch.ones(6, dtype=x.dtype)
        return T.relu(T.batch_norm(x, mean, var, w, b, training=training) + (more[0] if more else 0))

    _compare(_Case(ours, theirs), [x, weight, bias, *([beside] if residual else [])], where)


_WINDOWS: list[dict[str, Any]] = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 3, "stride": 1},
    {"kernel_size": 2, "dilation": 2},
    {"kernel_size": 3, "stride": 2, "ceil_mode": True},
]


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("window", _WINDOWS, ids=str)
def test_max_pooling(where: str, window: dict[str, Any]) -> None:
    x = _numbers((2, 3, 9, 9), np.float32, 0.2)
    x[0, 1] = _NAN
    _compare(_Case(lambda x: F.max_pool2d(x, **window), lambda x: T.max_pool2d(x, **window)), [x], where)
    behind = _Case(lambda x: F.max_pool2d(x, activation="relu", **window), lambda x: T.max_pool2d(T.relu(x), **window))
    _compare(behind, [x], where)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("size", [1, 2, (4, 5), 9])
@pytest.mark.parametrize("image", [9, 12, 30])
def test_adaptive_max_pooling(where: str, size: Any, image: int) -> None:
    x = _numbers((2, 5, image, image), np.float32, 0.1)
    _compare(_Case(lambda x: F.adaptive_max_pool2d(x, size), lambda x: T.adaptive_max_pool2d(x, size)), [x], where)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_the_first_nan_of_a_maxout_wins(where: str) -> None:
    x = gpunn.tensor([[1.0, _NAN, _NAN, 5.0, -1.0, 2.0]], device=where, requires_grad=True)
    y = maxout(x, 3)
    np.testing.assert_array_equal(y.detach().numpy(), [[_NAN, 5.0]])
    y.backward(gpunn.tensor([[2.0, 3.0]], device=where))
    assert x.grad is not None
    assert x.grad.tolist() == [[0.0, 2.0, 0.0, 3.0, 0.0, 0.0]]
