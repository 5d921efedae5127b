"""conv2d_max_pool2d against the two ops that it is made of, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn._gradcheck import gradcheck
from gpunn.errors import ShapeError, UsageError
from gpunn.nn.functional import conv2d, max_pool2d, relu
from gpunn.ops.conv2d_max_pool2d import conv2d_max_pool2d
from tests.devices import KERNELS

HALVES = nn.MaxPool2d(2)
# (images, channels, size), (filters, kernel size, stride, padding, groups), pooling
CASES: dict[str, tuple[tuple[int, int, tuple[int, int]], tuple[int, int, int, int, int], nn.MaxPool2d]] = {
    "first layer": ((18, 1, (12, 11)), (20, 5, 1, 2, 1), HALVES),
    "Winograd along the rows": ((40, 20, (14, 14)), (50, 5, 1, 2, 1), HALVES),
    "Winograd in tiles": ((8, 64, (12, 12)), (64, 3, 1, 1, 1), HALVES),
    "product by product": ((6, 160, (14, 14)), (192, 3, 1, 1, 1), HALVES),
    "large filters": ((9, 64, (10, 10)), (160, 7, 1, 3, 1), HALVES),
    "a plain product": ((4, 12, (7, 9)), (9, 1, 1, 0, 1), HALVES),
    "depthwise, windows that overlap": ((3, 6, (9, 8)), (6, 3, 1, 1, 6), nn.MaxPool2d(3, 2, 1)),
    "groups, stride, ceil_mode": ((2, 8, (11, 14)), (12, 3, 2, 1, 2), nn.MaxPool2d(2, ceil_mode=True)),
    "an image that is cut into rows": ((1, 2, (300, 300)), (5, 3, 1, 1, 1), HALVES),
    # More elements than a byte names, or with a ReLU's mask beside them.
    "first layer, the largest of an image": ((9, 1, (28, 28)), (20, 5, 1, 2, 1), nn.MaxPool2d(28)),
    "first layer, windows of 256": ((3, 1, (32, 20)), (6, 3, 1, 1, 1), nn.MaxPool2d(16)),
    "Winograd along the rows, tall windows": ((40, 20, (130, 8)), (50, 5, 1, 2, 1), nn.MaxPool2d((130, 2))),
    "no images": ((0, 3, (6, 6)), (2, 3, 1, 1, 1), HALVES),
}
# A matter of the CPU's ways through a convolution, and long on the emulator.
CPU_ONLY = (
    *("Winograd in tiles", "Winograd along the rows, tall windows"),
    "product by product",
    "large filters",
    "an image that is cut into rows",
)


def _made(name: str, where: str) -> tuple[list[gpunn.Tensor], dict[str, Any], nn.MaxPool2d]:
    (n, c, size), (k, r, stride, padding, groups), pool = CASES[name]
    if where != "cpu" and name == "Winograd along the rows":
        n = 3  # as many as the CPU wants would take the emulator ten seconds; its kernels go through images alike
    rng = np.random.Generator(np.random.Philox(4))
    arrays = [rng.standard_normal(s).astype(np.float32) for s in ((n, c, *size), (k, c // groups, r, r), (k,))]
    if arrays[0].size:
        arrays[0].flat[3] = np.nan
    tensors = [gpunn.tensor(a, device=where, requires_grad=True) for a in arrays]
    return tensors, {"stride": stride, "padding": padding, "dilation": 1, "groups": groups}, pool


@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize(
    ("name", "where"),
    [
        *((name, "cpu") for name in CASES),
        *(
            pytest.param(name, *where.values, marks=where.marks)
            for name in CASES
            if name not in CPU_ONLY
            for where in KERNELS
        ),
    ],
)
def test_gives_what_the_two_ops_give(name: str, activation: str | None, where: str) -> None:
    results = []
    for fused in (True, False):
        (x, weight, bias), how, pool = _made(name, where)
        if fused:
            y = conv2d_max_pool2d(x, weight, bias, pool=pool, activation=activation, flatten=True, **how)
        else:
            z = conv2d(x, weight, bias, **how)
            y = pool(z if activation is None else relu(z)).flatten(1)
        dy = np.random.Generator(np.random.Philox(5)).standard_normal(y.shape).astype(np.float32)
        y.backward(gpunn.tensor(dy, device=where))
        results.append([y.detach().numpy(), *(t.grad.numpy() for t in (x, weight, bias))])
    # Behind a NaN the gradient passes in both or in neither; else the bits are the same.
    reordered = name.startswith("Winograd along the rows") and where == "cpu"
    for a, b in zip(*(found[: 2 if reordered else 4] for found in results), strict=True):
        np.testing.assert_array_equal(a, b)
    # Here, where there is no gradient between the two, the sums over pixels are made in another order.
    for a, b in zip(*(found[2:] for found in results if reordered), strict=True):
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
        assert np.nanmax(np.abs(a - b), initial=0) <= 5e-6 * np.nanmax(np.abs(b), initial=0)


def test_tasks_pool_what_they_convolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only an image that is too large for a task goes through all of the convolution's output."""
    from gpunn.cpu.conv2d import ways

    whole, forward = [], ways.forward

    def counted(*args: Any) -> Any:
        whole.append(args)
        return forward(*args)

    monkeypatch.setattr(ways, "forward", counted)
    for name in CASES:
        (x, weight, bias), how, pool = _made(name, "cpu")
        whole.clear()
        conv2d_max_pool2d(x.detach(), weight.detach(), bias.detach(), pool=pool, **how)
        assert bool(whole) == (name == "an image that is cut into rows"), name


def test_without_a_bias_and_without_a_gradient() -> None:
    (x, weight, _), how, pool = _made("first layer", "cpu")
    y = conv2d_max_pool2d(x.detach(), weight.detach(), None, pool=pool, **how)
    assert not y.requires_grad
    np.testing.assert_array_equal(y.numpy(), max_pool2d(conv2d(x, weight, None, **how), 2).detach().numpy())
    conv2d_max_pool2d(x.detach(), weight, None, pool=pool, **how).sum().backward()
    assert weight.grad.shape == weight.shape


def test_gradcheck() -> None:
    rng = np.random.Generator(np.random.Philox(2))
    shapes = ((2, 2, 6, 5), (3, 2, 3, 3), (3,))
    inputs = [gpunn.tensor(rng.standard_normal(shape), requires_grad=True) for shape in shapes]
    how: dict[str, Any] = {"stride": 1, "padding": 1, "dilation": 1, "groups": 1, "pool": HALVES}
    assert gradcheck(lambda *t: conv2d_max_pool2d(*t, **how, activation="relu"), inputs)


def test_refuses() -> None:
    (x, weight, bias), how, _ = _made("first layer", "cpu")
    with pytest.raises(UsageError, match="activation: expected None or 'relu'; got 'tanh'"):
        conv2d_max_pool2d(x, weight, bias, pool=HALVES, activation="tanh", **how)
    with pytest.raises(ShapeError, match=r"^MaxPool2d: the window is 13 in height"):
        conv2d_max_pool2d(x, weight, bias, pool=nn.MaxPool2d(13), **how)
