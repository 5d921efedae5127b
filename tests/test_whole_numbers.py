"""Wherever a whole number goes, NumPy's and tensors of one element go too, and NumPy's floats where a number goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunn as typed
from gpunn.errors import UsageError

gpunn: Any = typed  # annotations say int and float
nn, F = gpunn.nn, gpunn.nn.functional

X = gpunn.tensor(np.arange(24.0).reshape(2, 3, 4).astype(np.float32))
IMAGES = gpunn.tensor(np.random.Generator(np.random.Philox(1)).random((2, 4, 8, 8)).astype(np.float32))
LINES = IMAGES.reshape(2, 4, 64)
FILTERS, LINE_FILTERS = gpunn.ones(6, 2, 3, 3), gpunn.ones(6, 2, 3)

WHOLE: dict[str, Callable[[Any], Any]] = {
    "sum": lambda i: X.sum(i(1)) + gpunn.sum(X, (i(0), i(1))).sum(),
    "mean": lambda i: X.mean(i(1)),
    "prod": lambda i: X.prod(i(1)),
    "var": lambda i: X.var(i(1), correction=i(0)),
    "norm": lambda i: X.norm(i(2), i(1)),
    "amax": lambda i: X.amax(i(1)),
    "argmax": lambda i: X.argmax(i(1)),
    "all": lambda i: X.all(i(1)),
    "softmax": lambda i: X.softmax(i(1)) + X.log_softmax(i(-1)),
    "reshape": lambda i: X.reshape(i(6), i(4)) + gpunn.reshape(X, (i(6), i(-1))) + X.view([i(6), i(4)]),
    "flatten": lambda i: X.flatten(i(1)),
    "unflatten": lambda i: X.unflatten(i(2), (i(2), i(2))),
    "squeeze": lambda i: X[None].squeeze(i(0)) + X[None].squeeze((i(0),)),
    "unsqueeze": lambda i: X.unsqueeze(i(1)),
    "permute": lambda i: X.permute(i(2), i(0), i(1)),
    "transpose": lambda i: X.transpose(i(0), i(1)),
    "movedim": lambda i: X.movedim(i(0), i(1)) + X.movedim((i(0), i(1)), (i(1), i(0))),
    "flip": lambda i: X.flip(i(0)) + gpunn.flip(X, (i(0), i(1))),
    "expand": lambda i: X[:1].expand(i(5), i(-1), i(4)),
    "repeat": lambda i: X.repeat(i(2), i(1), i(1)),
    "tril": lambda i: X.tril(i(1)),
    "narrow": lambda i: X.narrow(i(0), i(0), i(1)),
    "select": lambda i: X.select(i(0), i(1)) + X[i(1)],
    "slice": lambda i: X[:, i(1), i(0) : i(2)],
    "index_select": lambda i: X.index_select(i(0), gpunn.tensor([1])),
    "gather": lambda i: X.gather(i(0), gpunn.zeros(1, 3, 4, dtype="int64")),
    "split": lambda i: X.split(i(2), i(1))[0] + X.split([i(2), i(1)], i(1))[0],
    "chunk": lambda i: X.chunk(i(2), i(2))[0],
    "unbind": lambda i: X.unbind(i(1))[0],
    "cat": lambda i: gpunn.cat([X, X], i(1)),
    "stack": lambda i: gpunn.stack([X, X], i(1)),
    "round": lambda i: X.round(decimals=i(1)),
    "pow": lambda i: X ** i(2),
    "add": lambda i: gpunn.add(X, i(2), alpha=i(2)),
    "clamp": lambda i: X.clamp(i(1), i(2)),
    "conv2d": lambda i: F.conv2d(IMAGES, FILTERS, None, i(1), (i(1), i(0)), [i(1), i(2)], i(2)),
    "conv2d sides": lambda i: F.conv2d(IMAGES, FILTERS, None, 1, ((i(1), i(0)), (i(0), i(2))), 1, 2),
    "conv1d": lambda i: F.conv1d(LINES, LINE_FILTERS, None, i(1), i(1), i(1), i(2)),
    "max_pool2d": lambda i: F.max_pool2d(IMAGES, i(2), (i(2), i(1)), i(1), i(1)),
    "avg_pool2d": lambda i: F.avg_pool2d(IMAGES, i(2), i(1), i(1), divisor_override=i(3)),
    "max_pool1d": lambda i: F.max_pool1d(LINES, i(2), i(1), i(0), i(1)),
    "adaptive_avg_pool2d": lambda i: F.adaptive_avg_pool2d(IMAGES, (i(2), None)),
    "adaptive_avg_pool1d": lambda i: F.adaptive_avg_pool1d(LINES, i(2)),
    "adaptive_max_pool2d": lambda i: F.adaptive_max_pool2d(IMAGES, i(2)),
    "pad": lambda i: F.pad(IMAGES, (i(1), i(1))),
    "layer_norm": lambda i: F.layer_norm(X, i(4)) + F.layer_norm(X, (i(3), i(4))),
    "group_norm": lambda i: F.group_norm(IMAGES, i(2)),
    "embedding": lambda i: F.embedding(gpunn.tensor([1, 0]), X[0], i(1)),
    "maxout": lambda i: F.maxout(IMAGES, i(2)),
    "cross_entropy": lambda i: F.cross_entropy(X[0], gpunn.tensor([1, 0, 2]), ignore_index=i(0)),
    "nll_loss": lambda i: F.nll_loss(X[0], gpunn.tensor([1, 0, 2]), ignore_index=i(0)),
    "elu": lambda i: F.elu(X, i(1)) + F.softplus(X, i(1), i(20)),
    "Linear": lambda i: nn.Linear(i(4), i(2))(X),
    "Conv2d": lambda i: nn.Conv2d(i(4), i(6), (i(3), i(1)), i(1), i(1), i(1), i(2))(IMAGES),
    "Conv1d": lambda i: nn.Conv1d(i(4), i(6), i(3), padding=i(1), groups=i(2))(LINES),
    "BatchNorm2d": lambda i: nn.BatchNorm2d(i(4))(IMAGES),
    "LayerNorm": lambda i: nn.LayerNorm([i(3), i(4)])(X),
    "GroupNorm": lambda i: nn.GroupNorm(i(2), i(4))(IMAGES),
    "Embedding": lambda i: nn.Embedding(i(4), i(2), i(1)).weight,
    "MaxPool2d": lambda i: nn.MaxPool2d(i(2), i(2), i(1))(IMAGES),
    "AvgPool2d": lambda i: nn.AvgPool2d(i(2), divisor_override=i(2))(IMAGES),
    "AdaptiveAvgPool2d": lambda i: nn.AdaptiveAvgPool2d((i(2), i(1)))(IMAGES),
    "Flatten": lambda i: nn.Flatten(i(1), i(2))(IMAGES),
    "Unflatten": lambda i: nn.Unflatten(i(1), (i(2), i(2)))(IMAGES),
    "ZeroPad2d": lambda i: nn.ZeroPad2d(i(1))(IMAGES),
    "ReflectionPad2d": lambda i: nn.ReflectionPad2d((i(1), i(1), i(2), i(0)))(IMAGES),
    "PReLU": lambda i: nn.PReLU(i(4))(IMAGES),
    "Softmax": lambda i: nn.Softmax(i(1))(X),
    "Sequential": lambda i: nn.Sequential(nn.ReLU(), nn.Tanh())[i(1)](X),
}
NUMBERS: dict[str, Callable[[Any], Any]] = {
    "arithmetic": lambda f: (X + f(0.5)) * f(0.5) / f(0.25) - f(0.5),
    "pow": lambda f: X ** f(0.5),
    "clamp": lambda f: X.clamp(f(0.5), f(2.5)),
    "where": lambda f: gpunn.where(X > 1, f(0.5), X),
    "masked_fill": lambda f: X.masked_fill(X > 1, f(0.5)),
    "norm": lambda f: X.norm(f(3.0)),
    "elu": lambda f: F.elu(-X, f(0.5)) + F.leaky_relu(-X, f(0.5)) + F.softplus(X, f(0.5), f(2.0)),
    "hardtanh": lambda f: F.hardtanh(X, f(-0.5), f(0.5)),
    "dropout": lambda f: F.dropout(X, f(0.5)),
    "layer_norm": lambda f: F.layer_norm(X, 4, eps=f(0.5)),
    "batch_norm": lambda f: nn.BatchNorm2d(4, f(0.5), f(0.5))(IMAGES),
    "pad": lambda f: F.pad(IMAGES, (1, 1), value=f(0.5)),
    "losses": lambda f: F.huber_loss(X, 2 * X, delta=f(0.5)) + F.smooth_l1_loss(X, 2 * X, beta=f(0.5)),
    "label_smoothing": lambda f: F.cross_entropy(X[0], gpunn.tensor([1, 0, 2]), label_smoothing=f(0.5)),
    "gain": lambda f: gpunn.tensor(nn.init.calculate_gain("leaky_relu", f(0.5))),
    "clipping": lambda f: _clipped(f(0.5), f(2.0), f(0.25)),
}


def _clipped(norm: Any, order: Any, value: Any) -> Any:
    leaf = gpunn.ones(2, requires_grad=True)
    leaf.grad = gpunn.tensor([3.0, 4.0])
    nn.utils.clip_grad_norm_([leaf], norm, order)
    nn.utils.clip_grad_value_([leaf], value)
    return leaf.grad


def _same(call: Callable[[Any], Any], kind: Callable[[Any], Any]) -> None:
    found = []
    for of in (lambda number: number, kind):
        gpunn.manual_seed(0)
        y = call(of)
        found.append((y.dtype, y.detach().numpy()))
    assert found[0][0] == found[1][0]
    np.testing.assert_array_equal(found[0][1], found[1][1])


@pytest.mark.parametrize("kind", [np.int64, np.int8, gpunn.tensor], ids=["int64", "int8", "Tensor"])
@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers(name: str, kind: Callable[[Any], Any]) -> None:
    _same(WHOLE[name], kind)


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("name", NUMBERS)
def test_numbers(name: str, kind: Callable[[Any], Any]) -> None:
    _same(NUMBERS[name], kind)


@pytest.mark.parametrize("wrong", [1.0, True, "1", None, np.float32(1), gpunn.tensor(1.0), gpunn.tensor([1, 0]), {1}])
def test_what_is_no_whole_number(wrong: Any) -> None:
    for call in (
        lambda: X.chunk(wrong),
        lambda: nn.Linear(wrong, 2),
        lambda: F.group_norm(IMAGES, wrong),
        lambda: X.round(decimals=wrong),
    ):
        with pytest.raises(UsageError, match="expected a whole number"):
            call()
    if wrong is not None:
        with pytest.raises(UsageError, match="sum: "):
            X.sum(wrong if not isinstance(wrong, typed.Tensor) or not wrong.ndim else [wrong])
