"""Every op that the table has, in onnxruntime: values, shapes and dtypes, with a batch of another size."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.nn import functional as F
from tests.onnx_runs import Applied, compare

pytest.importorskip("onnxruntime", reason="what is exported is run in onnxruntime: pip install onnx onnxruntime")

_RNG = np.random.Generator(np.random.Philox(3))


def normal(*shape: int) -> Callable[[int], np.ndarray]:
    """Batches of standard normal numbers."""
    return lambda n: _RNG.normal(size=(n, *shape)).astype(np.float32)


def positive(*shape: int) -> Callable[[int], np.ndarray]:
    return lambda n: _RNG.uniform(0.1, 3, size=(n, *shape)).astype(np.float32)


def whole(low: int, high: int, *shape: int, dtype: str = "int64") -> Callable[[int], np.ndarray]:
    return lambda n: _RNG.integers(low, high, size=(n, *shape)).astype(dtype)


def bools(*shape: int) -> Callable[[int], np.ndarray]:
    return lambda n: _RNG.integers(0, 2, size=(n, *shape)).astype(bool)


def special(n: int) -> np.ndarray:
    """Not only finite numbers."""
    return np.tile(np.array([0.5, -2, np.nan, np.inf, -np.inf, 0], np.float32), (n, 1))


W = gpunn.tensor(_RNG.normal(size=(4, 6)).astype(np.float32))
FILTERS = gpunn.tensor(_RNG.normal(size=(6, 4, 3, 3)).astype(np.float32))
GROUPED = gpunn.tensor(_RNG.normal(size=(6, 2, 3, 2)).astype(np.float32))
VOLUME = gpunn.tensor(_RNG.normal(size=(6, 2, 2, 3, 2)).astype(np.float32))
TAPS = gpunn.tensor(_RNG.normal(size=(6, 4, 3)).astype(np.float32))
BIAS = gpunn.tensor(_RNG.normal(size=6).astype(np.float32))
FOUR = gpunn.tensor(_RNG.normal(size=4).astype(np.float32))
INDEX = gpunn.tensor([2, 0, 2])
L1 = gpunn.tensor(_RNG.normal(size=(2, 2, 2, 4)).astype(np.float32))
L2 = gpunn.tensor(_RNG.normal(size=(2, 4, 3, 2, 2, 2)).astype(np.float32))
L2_BIAS = gpunn.tensor(_RNG.normal(size=(3, 2, 4)).astype(np.float32))
MASK = gpunn.tensor(np.tri(5, dtype=bool))


def _in_place(x: Any) -> Any:
    y = x * 2
    y += 1
    y.mul_(x).sub_(0.5)
    F.relu(y, inplace=True)
    y.sigmoid_().pow_(2)
    return y.clamp(max=3), y.detach() + y.data


def _outer(x: Any) -> Any:
    pairs = x.unsqueeze(1) * x
    turned = pairs.permute(2, 0, 1).reshape(len(x), -1)
    return pairs.reshape(len(x), -1), pairs.reshape(3 * len(x), len(x)), pairs.reshape(-1, 3), turned


def _assigned(x: Any) -> Any:
    y = gpunn.zeros(3, 4)
    y[1:, ::2] = x.sum(0)[:2]
    y[0, 1] = 7
    return x.sum() + y


def _assigned_rows(x: Any) -> Any:
    y = gpunn.zeros(len(x), 3, 4)
    for step in range(2):
        y[:, step] = x[:, step] * 2 + y[:, step - 1]
    y[:, :, [0, 2]] = 5
    y[:, 1:, 1] = x[:, :1, 3]
    return y


def _attended(x: Any, mask: Any = None, **options: Any) -> Any:
    q, k, v = x.chunk(3, -1)
    return F.scaled_dot_product_attention(q, k, v, mask, **options)


# name: (function, batches of its arguments)
CASES: dict[str, tuple[Any, ...]] = {
    # convolutions
    "conv2d": (lambda x: F.conv2d(x, FILTERS, BIAS), normal(4, 7, 6)),
    "conv2d of all options": (
        lambda x: F.conv2d(x, GROUPED, None, (2, 1), ((1, 0), (2, 1)), (1, 2), 2),
        normal(4, 9, 8),
    ),
    "conv2d same": (lambda x: F.conv2d(x, FILTERS, padding="same", dilation=2), normal(4, 7, 6)),
    "conv2d relu": (lambda x: F.conv2d(x, FILTERS, BIAS, activation="relu"), normal(4, 5, 5)),
    "conv1d": (lambda x: F.conv1d(x, TAPS, BIAS, 2, 1, 2), normal(4, 11)),
    "conv1d same": (lambda x: F.conv1d(x, TAPS[:, :2], None, padding="same", groups=2), normal(4, 6)),
    "conv_transpose1d": (lambda x: F.conv_transpose1d(x, TAPS.transpose(0, 1), BIAS, 2, 1, 1), normal(4, 5)),
    "conv_transpose2d of all options": (
        lambda x: F.conv_transpose2d(x, GROUPED, None, (2, 3), (1, 0), (1, 2), 2, (2, 1)),
        normal(6, 4, 3),
    ),
    "conv_transpose2d beyond its padding": (
        lambda x: F.conv_transpose2d(x, FILTERS.transpose(0, 1), BIAS, 3, 0, (2, 1)),
        normal(4, 3, 4),
    ),
    "conv3d": (
        lambda x: F.conv3d(x, VOLUME, BIAS, (1, 2, 1), ((1, 0), (0, 1), (2, 1)), (1, 1, 2), 2),
        normal(4, 4, 5, 7),
    ),
    "conv3d same": (lambda x: F.conv3d(x, VOLUME, None, padding="same", groups=2), normal(4, 3, 3, 4)),
    "conv_transpose3d": (lambda x: F.conv_transpose3d(x, VOLUME, None, 2, 1, 1), normal(6, 2, 3, 2)),
    "locally_connected1d": (lambda x: F.locally_connected1d(x, L1, BIAS[:4].reshape(2, 2)), normal(2, 5)),
    "locally_connected2d": (
        lambda x: F.locally_connected2d(x, L2, L2_BIAS, (2, 1), ((1, 0), (0, 1)), (1, 2)),
        normal(2, 4, 5),
    ),
    # pooling
    "max_pool3d": (lambda x: F.max_pool3d(x, (2, 3, 1), 2, (1, 0, 0), (1, 1, 1), True), normal(3, 5, 6, 4)),
    "avg_pool3d": (lambda x: F.avg_pool3d(x, 3, 2, 1, True, False), normal(3, 5, 6, 4)),
    "avg_pool3d by a divisor": (lambda x: F.avg_pool3d(x, 2, 2, 1, False, True, 5), normal(3, 5, 6, 4)),
    "adaptive_avg_pool3d": (lambda x: F.adaptive_avg_pool3d(x, (2, 1, 2)), normal(3, 4, 3, 2)),
    "adaptive_max_pool3d to one": (lambda x: F.adaptive_max_pool3d(x, 1), normal(3, 4, 3, 2)),
    "adaptive_max_pool1d": (lambda x: F.adaptive_max_pool1d(x, 3), normal(3, 6)),
    "lp_pool2d": (lambda x: F.lp_pool2d(x, 2, 2), normal(3, 4, 6)),
    "local_response_norm": (lambda x: F.local_response_norm(x, 3, 0.5), normal(5, 4, 3)),
    "unfold": (lambda x: F.unfold(x, (2, 3), 1, (0, 1), 2), normal(2, 5, 6)),
    "max_pool2d": (lambda x: F.max_pool2d(x, 3, 2, 1), normal(2, 7, 8)),
    "max_pool2d ceil": (lambda x: F.max_pool2d(x, (3, 2), (2, 3), (1, 0), (1, 2), True), normal(2, 8, 9)),
    "max_pool2d of indices": (lambda x: F.max_pool2d(x, 2, return_indices=True)[0], normal(2, 4, 4)),
    "max_pool1d": (lambda x: F.max_pool1d(x, 3, 2, 1, ceil_mode=True), normal(2, 8)),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 3, 2, 1), normal(2, 7, 8)),
    "avg_pool2d ceil": (lambda x: F.avg_pool2d(x, 3, 2, 1, True), normal(2, 8, 8)),
    "avg_pool2d without padding": (lambda x: F.avg_pool2d(x, 3, 2, 1, True, False), normal(2, 8, 7)),
    "avg_pool2d divisor": (lambda x: F.avg_pool2d(x, 2, 2, 0, False, True, 7), normal(2, 5, 4)),
    "avg_pool1d": (lambda x: F.avg_pool1d(x, 3, 2, 1, True, False), normal(2, 8)),
    "adaptive_avg_pool2d 1": (lambda x: F.adaptive_avg_pool2d(x, 1), normal(2, 5, 7)),
    "adaptive_avg_pool2d even": (lambda x: F.adaptive_avg_pool2d(x, (2, None)), normal(2, 6, 7)),
    "adaptive_avg_pool2d uneven": (lambda x: F.adaptive_avg_pool2d(x, (3, 2)), normal(2, 7, 5)),
    "adaptive_avg_pool1d": (lambda x: F.adaptive_avg_pool1d(x, 3), normal(2, 8)),
    "adaptive_max_pool2d 1": (lambda x: F.adaptive_max_pool2d(x, 1), normal(2, 5, 7)),
    "adaptive_max_pool2d even": (lambda x: F.adaptive_max_pool2d(x, (3, 2)), normal(2, 6, 4)),
    "adaptive_max_pool2d uneven": (lambda x: F.adaptive_max_pool2d(x, (3, 2), True)[0], normal(2, 7, 5)),
    # linear and normalisation
    "linear": (lambda x: F.linear(x, W, FOUR), normal(6)),
    "linear of three axes": (lambda x: F.linear(x, W, FOUR, activation="relu"), normal(5, 6)),
    "linear without bias": (lambda x: F.linear(x, W), normal(5, 6)),
    "batch_norm": (lambda x: F.batch_norm(x, FOUR, FOUR.abs() + 1, FOUR, FOUR), normal(4, 3, 2)),
    "batch_norm fused": (lambda x: F.batch_norm(x, FOUR, FOUR.abs(), residual=x, activation="relu"), normal(4)),
    "batch_norm of the batch": (lambda x: F.batch_norm(x, None, None, FOUR, FOUR, True), normal(4, 3, 2)),
    "layer_norm": (lambda x: F.layer_norm(x, (3, 6), None, None, 1e-3), normal(2, 3, 6)),
    "layer_norm affine": (lambda x: F.layer_norm(x, 6, BIAS, BIAS), normal(3, 6)),
    "group_norm": (lambda x: F.group_norm(x, 2, FOUR, FOUR), normal(4, 3, 2)),
    "group_norm plain": (lambda x: F.group_norm(x, 4), normal(4, 5)),
    "embedding": (lambda i: F.embedding(i, W), whole(0, 4, 3)),
    "dropout in evaluation": (lambda x: F.dropout(x, 0.5, False), normal(3)),
    # activations
    "relu": (F.relu, special),
    "absolute_relu": (F.absolute_relu, normal(4)),
    "leaky_relu": (lambda x: F.leaky_relu(x, 0.1), normal(4)),
    "elu": (lambda x: F.elu(x, 0.7), normal(4)),
    "prelu of one": (lambda x: F.prelu(x, FOUR[:1]), normal(4, 3, 2)),
    "prelu of channels": (lambda x: F.prelu(x, FOUR), normal(4, 3, 2)),
    "prelu of features": (lambda x: F.prelu(x, FOUR), normal(4)),
    "sigmoid": (F.sigmoid, special),
    "tanh": (F.tanh, special),
    "silu": (F.silu, normal(4)),
    "gelu": (F.gelu, normal(40)),
    "gelu tanh": (lambda x: F.gelu(x, "tanh"), normal(40)),
    "erf": (lambda x: x.erf(), normal(9)),  # of NaN older runtimes make 1
    "hardtanh": (lambda x: F.hardtanh(x, -0.5, 1), normal(9)),
    "relu6": (lambda x: F.relu6(x * 9), normal(9)),
    "softplus": (F.softplus, special),
    "softplus of options": (lambda x: F.softplus(30 * x, 2.0, 3.0), normal(9)),
    "logsigmoid": (lambda x: F.logsigmoid(x), normal(9)),
    "step": (F.step, special),
    "step strict": (lambda x: F.step(x, strict=True), special),
    "maxout": (lambda x: F.maxout(x, 2, 1), normal(6, 2)),
    "softmax": (lambda x: F.softmax(x, -1), normal(3, 4)),
    "softmax of channels": (lambda x: F.softmax(x, 1, np.float64), normal(3, 4, 2)),
    "log_softmax": (lambda x: F.log_softmax(x, 1), normal(3, 4)),
    # operators
    "add": (lambda x, y: gpunn.add(x, y, alpha=2) + 1 - y, normal(3, 4), normal(1, 4)),
    "sub": (lambda x: 3 - gpunn.sub(x, 2, alpha=3), normal(4)),
    "neg": (lambda x, i: (-x, -i), normal(4), whole(-3, 3, 4)),
    "mul": (lambda x, i: (x * i, i * 2, 0.5 * i, i * i), normal(4), whole(-3, 3, 4, dtype="int32")),
    "div": (lambda x, i: (x / 3, 1 / x, i / 2, i / i.abs().clamp(1)), positive(4), whole(-3, 3, 4)),
    "div rounded": (lambda i: (gpunn.div(i, 2, rounding_mode="floor"), i // 3, i % 3, i % -3), whole(-9, 9, 8)),
    "div trunc": (lambda x: gpunn.div(x, 0.7, rounding_mode="trunc"), normal(8)),
    "div trunc of integers": (lambda i: gpunn.div(i, 4, rounding_mode="trunc"), whole(-9, 9, 8)),
    "floor_divide": (lambda x: (x // 0.7, x % 0.7, x % -0.7), normal(8)),
    "pow": (lambda x, i: (x**2, x**-0.5, 2**x, i**2), positive(4), whole(0, 5, 4)),
    "of bools": (lambda a, b: (a & b, a | b, a ^ b, ~a, a + b, a * b, a == b, a < b), bools(4), bools(4)),
    "of bits": (lambda a: (a & 6, a | 1, a ^ 3, ~a), whole(0, 9, 4)),
    "logical": (
        lambda x, y: (x.logical_and(y), x.logical_or(y), x.logical_xor(y), x.logical_not()),
        whole(-1, 2, 5),
        whole(-1, 2, 5),
    ),
    "compare": (lambda x, i: (x < i, x <= 0, x > i, x >= 0.5, i == 1, i != 2), normal(5), whole(-1, 3, 5)),
    "maximum": (lambda x, y: (gpunn.maximum(x, y), gpunn.minimum(x, y)), normal(4), normal(4)),
    "dtypes": (lambda i, b: (i + 0.5, b * 2, i * b, b + 0.25, i.float() / 2, b.long()), whole(-2, 3, 4), bools(4)),
    "clamp": (lambda x, y: (x.clamp(-0.5, 1), x.clamp(min=y), x.clamp(max=0)), normal(6), normal(6)),
    "clamp of integers": (lambda i: (i.clamp(0, 2), i.clamp(max=1.5)), whole(-3, 5, 6)),
    "functions": (
        lambda x: (x.exp(), x.log(), x.sqrt(), x.rsqrt(), x.reciprocal(), x.square(), x.sin(), x.cos()),
        positive(5),
    ),
    "signs": (lambda x: (x.abs(), x.sign(), x.floor(), x.ceil(), x.round(), (9 * x).round(decimals=1)), normal(9)),
    "whole signs": (lambda i: (i.abs(), i.sign(), i.floor(), i.round(), i.square()), whole(-4, 4, 9)),
    "expm1": (lambda x: (x.expm1() / x, (x * 1e-6).expm1() / x), normal(9)),
    "log1p": (lambda x: (x.log1p(), (x * 1e-9).log1p() * 1e9), positive(9)),
    "is": (lambda x: (x.isnan(), x.isinf(), x.isfinite()), special),
    "where": (lambda x, b: (gpunn.where(b, x, 0), gpunn.where(x > 0, 1, x)), normal(4), bools(4)),
    "masked_fill": (lambda x, b: x.masked_fill(b, -math.inf), normal(4), bools(4)),
    "in place": (_in_place, normal(4)),
    "filled in place": (lambda x: (x * 2).zero_() + x, normal(4)),
    "copy_": (lambda x: gpunn.zeros(3, 4).copy_(x.sum(0)), normal(4)),
    # reductions
    "sum": (lambda x, b: (x.sum(), x.sum(1), x.sum((1, 2), keepdim=True), b.sum(1)), normal(3, 4), bools(3)),
    "mean": (lambda x: (x.mean(), x.mean(-1), x.mean((0, 2), keepdim=True)), normal(3, 4)),
    "extrema": (lambda x: (x.amax((1, 2)), x.amin(), x.max(), x.min(), *x.max(2), *x.min(1, True)), normal(3, 4)),
    "argmax": (lambda x: (x.argmax(1), x.argmin(-1, True), x.argmax(1).float()), normal(3, 4)),
    "argmax of all": (lambda x: x.argmax() * 0 + x.argmin(keepdim=True) * 0, normal(3, 4)),
    "prod": (lambda x: (x.prod(), x.prod(1, True)), positive(3, 2)),
    "var": (lambda x: (x.var(), x.std(1), x.var((1, 2), unbiased=False), x.std(2, keepdim=True)), normal(3, 4)),
    "var over the batch": (lambda x: x.var(0), normal(3)),
    "norm": (
        lambda x: (gpunn.norm(x), gpunn.norm(x, 1, 1), gpunn.norm(x, math.inf, (1, 2)), gpunn.norm(x, 3, 2, True)),
        normal(3, 4),
    ),
    "all": (lambda b, x: (b.all(1), b.any(), x.any((1, 2))), bools(3), whole(0, 2, 3, 2)),
    "matmul": (lambda x, y: (x @ y, x @ W, x[0, 0] @ W), normal(5, 4), normal(4, 3)),
    "mm": (lambda x: gpunn.mm(x, W.T), normal(6)),
    "bmm": (lambda x, y: gpunn.bmm(x, y) + x.mean((1, 2), keepdim=True), normal(5, 4), normal(4, 3)),
    # shapes
    "reshape": (lambda x: (x.view(-1, 12), x.reshape(len(x), 2, -1), x.flatten(), x.ravel()), normal(3, 4)),
    "reshape of two": (
        lambda x: (x.reshape(3, -1), x.view(x.size(0) * 3, 4), x.transpose(0, 1).reshape(-1)),
        normal(3, 4),
    ),
    "reshape of two dynamic axes": (_outer, normal(3)),
    "one less than the batch": (lambda x: x[1:] + gpunn.ones(len(x) - 1, 3), normal(3)),
    "flatten": (lambda x: (x.flatten(1), x.flatten(1, 2), x.unflatten(1, (2, -1))), normal(4, 3, 2)),
    "squeeze": (lambda x: (x.squeeze(), x.squeeze(1), x.unsqueeze(-1), x.unsqueeze(0)), normal(1, 3)),
    "expand": (lambda x: (x.expand(-1, 5, 3), x[:, 0].expand(2, len(x), 3), x.repeat(2, 3, 1)), normal(1, 3)),
    "broadcast_to": (lambda x: gpunn.broadcast_to(x, (2, len(x), 3)).clone().contiguous(), normal(3)),
    "expand a constant": (
        lambda x: gpunn.cat([FOUR.expand(len(x), 1, 4), gpunn.zeros(len(x), 2, 4), x], 1),
        normal(3, 4),
    ),
    "permute": (
        lambda x: (x.permute(2, 0, 3, 1), x.transpose(1, -1), x.movedim((1, 2), (-1, 0)), x.mT, x[0, 0].t()),
        normal(2, 3, 4),
    ),
    "flip": (lambda x: x.flip(1, 2), normal(3, 4)),
    "cat": (
        lambda x, i: (gpunn.cat([x, i, x], 1), gpunn.stack([x, x], 1), gpunn.cat([i, i])),
        normal(3),
        whole(0, 3, 3),
    ),
    "pad": (
        lambda x: (F.pad(x, (1, 2)), F.pad(x, (1, 0, 2, 1), value=3), F.pad(x, (-1, 1)), F.pad(x, (0, -1))),
        normal(2, 4, 5),
    ),
    "pad modes": (
        lambda x: (
            F.pad(x, (1, 2, 0, 1), "reflect"),
            F.pad(x, (1, 2, 0, 1), "replicate"),
            F.pad(x, (1, 2, 0, 1), "circular"),
            F.pad(x, (-1, 2, 0, 1), "circular"),
            F.pad(x, (-1, 2, 0, 1), "replicate"),
        ),
        normal(2, 4, 5),
    ),
    "split": (lambda x: (*x.split(2, 1), *x.split([1, 4], 1), *x.chunk(5, 1), *x.unbind(1)), normal(5, 2)),
    "slices": (
        lambda x: (x[:, 1:], x[:, -2:, ::2], x[:, 0], x[:, -1, 1], x[..., None, 2], x[0], x[-1], x[None, 1:, :2]),
        normal(4, 5),
    ),
    "index arrays": (
        lambda x: (
            x[:, INDEX],
            x[:, [1, 3], [0, 2]],
            x[:, :, [[0, 1], [2, 0]]],
            x[:, np.array([True, False, True, False])],
        ),
        normal(4, 5),
    ),
    "index arrays apart": (lambda x: x[:, [1, 3], :, [0, 2]], normal(4, 5, 3)),
    "an index of the input's": (lambda x, i: (FOUR[i], x[i[0, 0]] * 0), normal(3), whole(0, 2, 2)),
    "select": (lambda x: (x.select(1, -1), x.narrow(1, 1, 2), x.index_select(2, INDEX)), normal(4, 5)),
    "halves of the batch": (lambda x: x[: len(x)].narrow(0, 0, len(x)), normal(3)),
    "gather": (lambda x, i: (x.gather(1, i), x.take_along_dim(i[:, :1], 1)), normal(4, 2), whole(0, 4, 3, 2)),
    "take the best": (lambda x: x.take_along_dim(x.argmax(1, True), 1), normal(4, 2)),
    "tril": (lambda x: (x.tril(), x.triu(1), x.tril(-1)), normal(3, 4)),
    "assignment": (_assigned, normal(3, 2)),
    "assignment to a batch": (_assigned_rows, normal(3, 4)),
    # attention
    "attention": (_attended, normal(5, 12)),
    "attention with a mask": (lambda x: _attended(x, MASK, scale=0.3), normal(5, 12)),
    "attention with numbers added": (lambda x, m: _attended(x, m), normal(5, 12), normal(5, 5)),
    "causal attention": (lambda x: _attended(x, is_causal=True), normal(2, 5, 12)),
    "attention of shared heads": (
        lambda x, y: F.scaled_dot_product_attention(x, y, y, enable_gqa=True),
        normal(4, 5, 8),
        normal(2, 3, 8),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_onnxruntime_computes_the_same(name: str) -> None:
    function, *batches = CASES[name]
    compare(Applied(function), [batch(2) for batch in batches], [batch(3) for batch in batches])


def test_every_op_in_the_table_has_a_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """What no case and no network reaches would be exported untried."""
    from gpunn.onnx import _export
    from gpunn.onnx._table import LOWERINGS

    met: set[str] = set()

    class Enough(Exception):
        pass

    def noting(model: Any, first: Any, *rest: Any) -> Any:
        met.update(call.op for call in first.calls)
        raise Enough

    monkeypatch.setattr(_export, "_written", noting)
    models: list[tuple[nn.Module, list[Any]]] = [
        (Applied(function), [batch(2) for batch in batches]) for function, *batches in CASES.values()
    ]
    models += [(layer(1, 2, batch_first=True), [np.zeros((2, 3, 1), "f")]) for layer in (nn.LSTM, nn.GRU)]
    models += [(cell(1, 2), [np.zeros((2, 1), "f")]) for cell in (nn.LSTMCell, nn.GRUCell)]
    models.append((nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2)), [np.zeros((1, 1, 8, 8), "f")]))
    for model, arrays in models:
        with pytest.raises(Enough):
            gpunn.onnx.export(model, tuple(map(gpunn.tensor, arrays)))
    assert set(LOWERINGS) - met == {"to_device"}
