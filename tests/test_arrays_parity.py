"""gpunn.arrays against PyTorch on the CPU: results, and gradients by its autograd."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpunn import arrays
from tests.array_calls import CALLS
from tests.parity import close, torch

T: Any = torch.nn.functional


def _conv(axes: int, x: Any, weight: Any, bias: Any = None, **how: Any) -> Any:
    run = T.conv2d if axes == 2 else T.conv1d
    padding = how.pop("padding", 0)
    planes = weight.ndim == axes
    inner = x
    if planes or x.ndim == axes:
        inner = x.unsqueeze(-axes - 1)
    lead = inner.shape[: -axes - 1]
    inner = inner.reshape(-1 if inner.numel() else 0, *inner.shape[-axes - 1 :])
    filters = weight[None, None] if planes else weight
    kind = torch.complex128 if torch.finfo(x.dtype).bits == 64 else torch.complex64
    if x.dtype.is_complex or weight.dtype.is_complex:
        inner, filters = inner.to(kind), filters.to(kind)
        bias = None if bias is None else bias.to(kind)
    if isinstance(padding, tuple):
        sides = [n for pair in reversed(padding) for n in pair]
        real = torch.view_as_real(inner).movedim(-1, 0) if inner.dtype.is_complex else inner[None]
        parts = [T.pad(part, sides) for part in real]
        inner = torch.complex(*parts) if len(parts) == 2 else parts[0]
        padding = 0
    y = run(inner, filters, bias, padding=padding, **how)
    y = y.squeeze(1) if planes else y
    return y.reshape(*lead, *y.shape[1:])


def _pooled(run: Any, x: Any, *args: Any, **how: Any) -> Any:
    how.pop("return_offsets", None)
    planes = x.reshape(-1, 1, *x.shape[-2:])
    y = run(planes, *args, **how)
    return y.reshape(*x.shape[:-2], *y.shape[-2:])


def _trained(x: Any, weight: Any = None, bias: Any = None, mean: Any = None, var: Any = None) -> Any:
    axes = [a for a in range(x.ndim) if a != 1]
    return T.batch_norm(x, mean, var, weight, bias, True), x.mean(axes), x.var(axes, unbiased=False)


FORWARD: dict[str, Any] = {
    "conv2d": lambda *a, **how: _conv(2, *a, **how),
    "conv1d": lambda *a, **how: _conv(1, *a, **how),
    "linear": lambda x, w, b=None: T.linear(x, w, b if b is None or b.dtype == x.dtype else b.to(x.dtype)),
    "max_pool2d": lambda x, *a, **how: _pooled(T.max_pool2d, x, *a, **how),
    "avg_pool2d": lambda x, *a, **how: _pooled(T.avg_pool2d, x, *a, **how),
    "batch_norm": lambda x, m, v, w=None, b=None: T.batch_norm(x, m, v, w, b),
    "batch_norm_training": _trained,
    "layer_norm": lambda x, n, w=None, b=None: T.layer_norm(x, (n,) if isinstance(n, int) else n, w, b),
    "group_norm": T.group_norm,
    "softmax": lambda x, axis=-1: T.softmax(x, axis),
    "log_softmax": lambda x, axis=-1: T.log_softmax(x, axis),
    "relu": T.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "gelu": lambda x, approximate="none": T.gelu(x, approximate=approximate),
    "cross_entropy": lambda x, t, w=None, **how: T.cross_entropy(x, t, w, **how),
}


BACK = {f"{name}_backward" for name in ("softmax", "log_softmax", "relu", "sigmoid", "tanh", "gelu")}


def up(value: Any, leaf: bool = False) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    made = torch.tensor(value.copy(order="C"))
    return made.requires_grad_() if leaf and value.dtype.kind in "fc" else made


def tolerance(array: np.ndarray) -> float:
    """Sums of up to 84 products and a few functions: a hundred roundings."""
    return 100 * float(np.finfo(array.dtype).eps)


@pytest.mark.parametrize("name", [n for n, call in CALLS.items() if call.function in FORWARD])
def test_forward(name: str) -> None:
    call = CALLS[name]
    args = [a.copy() if isinstance(a, np.ndarray) and "running" in name else a for a in call.args]
    theirs = [up(a) for a in args]
    expected = FORWARD[call.function](*theirs, **call.options)
    got = getattr(arrays, call.function)(*args, **call.options)
    if call.options.get("return_offsets"):
        got = got[0]
    pairs = zip(got, expected, strict=True) if isinstance(got, tuple) else [(got, expected)]
    for ours, wanted in pairs:
        close(name, ours, wanted.numpy(), tolerance(ours), 1)
    if "running" in name:
        for mine, its in zip(args[3:], theirs[3:], strict=True):
            close(name, mine, its.numpy(), tolerance(mine), 1)


@pytest.mark.parametrize(
    "name",
    [n for n, c in CALLS.items() if c.function.startswith(("conv", "linear_b", "layer_norm_b", "group_norm_b"))
     and c.function.endswith("_backward")],
)  # fmt: skip
def test_backward_of_what_has_weights(name: str) -> None:
    call = CALLS[name]
    dy, x, *rest = call.args
    how = dict(call.options)
    needs = how.pop("needs", (True, True, True))
    got = getattr(arrays, call.function)(*call.args, **call.options)
    function = call.function.removesuffix("_backward")
    leaf = up(x, True)
    between = rest[:1] if "norm" in function else []
    shape = (x.shape[1],) if function == "group_norm" else np.atleast_1d(rest[0]) if between else ()
    own = (rest[1] if len(rest) > 1 else np.ones(shape, x.dtype)) if between else rest[0]
    weight = up(own, True)
    count = own.shape if between else own.shape[:1] if own.ndim > (2 if "2d" in function else 1) else (1,)
    y_dtype = np.result_type(x.dtype, own.dtype)
    bias = up(np.zeros(count, y_dtype), True)
    FORWARD[function](leaf, *between, weight, bias, **how).backward(up(dy))
    for part, mine, its in zip(("x", "weight", "bias"), got, (leaf, weight, bias), strict=True):
        if not needs[("x", "weight", "bias").index(part)]:
            assert mine is None
        else:
            close(f"{name}: {part}", mine, its.grad.numpy(), tolerance(mine), 1)


@pytest.mark.parametrize("name", [n for n in CALLS if CALLS[n].function in BACK])
def test_backward_of_activations(name: str) -> None:
    call = CALLS[name]
    dy, given, *rest = call.args
    function = call.function.removesuffix("_backward")
    # Those of softmax, sigmoid and tanh get y, from which an x follows; gelu's gets x, and relu's y has the same signs.
    x = np.log(np.exp(given).sum(1, keepdims=True) ** -1 * np.exp(given)) if "softmax" in function else given
    if function == "sigmoid":
        x = np.log(given / (1 - given))
    if function == "tanh":
        x = np.arctanh(given)
    if function == "softmax":
        given = np.exp(x)
    if function == "log_softmax":
        given = x
    leaf = up(x, True)
    FORWARD[function](leaf, *rest).backward(up(dy))
    close(name, getattr(arrays, call.function)(dy, given, *rest), leaf.grad.numpy(), tolerance(dy), 1)


@pytest.mark.parametrize("how", [{}, {"padding": 1}, {"stride": 2, "ceil_mode": True}])
@pytest.mark.parametrize("function", ["max_pool2d", "avg_pool2d"])
def test_backward_of_pooling(function: str, how: dict[str, Any]) -> None:
    x = CALLS["conv2d"].args[0]
    leaf = up(x, True)
    y = FORWARD[function](leaf, 3, **how)
    dy = np.random.Generator(np.random.Philox(5)).standard_normal(tuple(y.shape))
    y.backward(up(dy))
    offsets = (arrays.max_pool2d(x, 3, return_offsets=True, **how)[1],) if function == "max_pool2d" else ()
    got = getattr(arrays, f"{function}_backward")(dy, *offsets, x.shape[2:], 3, **how)
    close(function, got, leaf.grad.numpy(), tolerance(got), 1)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_backward_of_batch_norm(training: bool, weighted: bool) -> None:
    dy, x, mean, var, weight = CALLS["batch_norm_backward"].args
    leaf, scale, shift = up(x, True), up(weight if weighted else np.ones(4), True), up(np.zeros(4), True)
    T.batch_norm(leaf, up(mean), up(var), scale, shift, training).backward(up(dy))
    got = arrays.batch_norm_backward(dy, x, mean, var, weight if weighted else None, training=training)
    for mine, its in zip(got, (leaf, scale, shift), strict=True):
        close("batch_norm", mine, its.grad.numpy(), tolerance(mine), 1)


@pytest.mark.parametrize("name", [n for n in CALLS if n.startswith("cross_entropy_backward")])
def test_backward_of_cross_entropy(name: str) -> None:
    call = CALLS[name]
    scores, target, *rest = call.args
    leaf = up(scores, True)
    loss = T.cross_entropy(leaf, up(target), *(up(r) for r in rest[:1]), **call.options)
    loss.backward(up(rest[1]) if len(rest) > 1 else torch.ones_like(loss))
    got = arrays.cross_entropy_backward(*call.args, **call.options)
    close(name, got, leaf.grad.numpy(), tolerance(got), 1)
