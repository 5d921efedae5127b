"""Convolutions of narrow groups in 16 bits: their kernels read and write them, and compute in float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpunn._device import device
from gpunn.gpu import conv2d_narrow
from gpunn.gpu.launcher import trace_launches
from gpunn.ops.conv2d import conv2d_backward, conv2d_forward
from tests.devices import host
from tests.halves import KINDS, check, numbers, window

# n, h, w, c, groups, k, r, s, stride, padding, dilation: depthwise 3 x 3 of stride 1 and 2; of another size, of
# channels that fill no vector, dilated; groups of 4 and 8; of 2 and 3; one in, several out; a batch whose sums are cut.
CASES = (
    (2, 9, 10, 16, 16, 16, 3, 3, (1, 1), (1, 1), (1, 1)),
    (2, 9, 10, 16, 16, 16, 3, 3, (2, 2), (1, 1), (1, 1)),
    (1, 11, 12, 12, 12, 12, 7, 7, (1, 1), (3, 3), (1, 1)),
    (2, 9, 10, 7, 7, 7, 3, 3, (1, 1), (1, 1), (1, 1)),
    (1, 12, 9, 8, 8, 8, 5, 3, (1, 2), (2, 1), (2, 1)),
    (2, 8, 9, 16, 4, 16, 3, 3, (1, 1), (1, 1), (1, 1)),
    (2, 8, 9, 16, 2, 16, 3, 3, (2, 2), (1, 1), (1, 1)),
    (1, 8, 9, 6, 3, 9, 3, 3, (1, 1), (0, 0), (1, 1)),
    (1, 8, 9, 6, 6, 18, 3, 3, (1, 1), (1, 1), (1, 1)),
    (9, 20, 20, 8, 8, 8, 3, 3, (1, 1), (1, 1), (1, 1)),
    (0, 8, 9, 8, 8, 8, 3, 3, (1, 1), (1, 1), (1, 1)),
)


@pytest.fixture(autouse=True)
def _with_bfloat16() -> None:
    pytest.importorskip("ml_dtypes")


def _plain(body: Any, *args: Any) -> Any:
    """By the formula, in float64."""
    return body.plain(np, *(a.astype(np.float64) if isinstance(a, np.ndarray) else a for a in args))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("relu", [False, True])
def test_forward_and_gradients(kernels: str, kind: str, case: Any, relu: bool) -> None:
    n, h, w, c, groups, k, r, s, *rest = case
    where, over = device(kernels), window(h, w, r, s, *rest)
    x, weight = numbers(kind, n, h, w, c), numbers(kind, k, r, s, c // groups, seed=1)
    bias, dy = numbers(kind, k, seed=2), numbers(kind, n, over.P, over.Q, k, seed=3)
    more = numbers(kind, n, h, w, c, seed=4) if relu else None
    assert conv2d_narrow.takes(weight.shape, groups)
    given = [where.array(a) for a in (x, weight, bias, dy)]
    needs = (True, True, True)
    with trace_launches() as launches:
        y = conv2d_forward(where, *given[:2], over, groups, given[2], relu)
        added = None if more is None else where.array(more)
        gradients = conv2d_backward(where, given[3], y if relu else None, *given[:2], over, groups, needs, added)
    assert "cast" not in [launch.kernel for launch in launches]
    check(kind, y, _plain(conv2d_forward, x, weight, over, groups, bias, relu))
    gate = host(y) if relu else None
    expected = _plain(conv2d_backward, dy, gate, x, weight, over, groups, needs, None)
    check(kind, gradients[1], expected[1])
    check(kind, gradients[2], expected[2])
    if more is None:
        check(kind, gradients[0], expected[0])
    else:  # rounded before it is added, and then again
        error = np.abs(host(gradients[0]).astype(np.float64) - (expected[0] + more.astype(np.float64)))
        assert error.max(initial=0) <= 2.0 ** (-7 if kind == "bfloat16" else -10) * np.abs(expected[0]).max(initial=0)


@pytest.mark.parametrize("needs", [(True, False, False), (False, True, False), (False, False, True)], ids=str)
def test_each_gradient_alone(kernels: str, needs: tuple[bool, bool, bool]) -> None:
    where, over = device(kernels), window(9, 10, 3, 3, (1, 1), (1, 1), (1, 1))
    x, weight, dy = numbers("bfloat16", 2, 9, 10, 8), numbers("bfloat16", 8, 3, 3, 1), numbers("bfloat16", 2, 9, 10, 8)
    y = np.maximum(numbers("bfloat16", 2, 9, 10, 8, seed=3), x.dtype.type(0))
    found = conv2d_backward(where, *map(where.array, (dy, y, x, weight)), over, 8, needs)
    for one, expected in zip(found, _plain(conv2d_backward, dy, y, x, weight, over, 8, needs), strict=True):
        assert (one is None) == (expected is None)
        if one is not None:
            check("bfloat16", one, expected)


def test_of_two_dtypes_float32_copies_are_made(kernels: str) -> None:
    where, over = device(kernels), window(9, 10, 3, 3, (1, 1), (1, 1), (1, 1))
    x, weight = numbers("bfloat16", 2, 9, 10, 8), numbers("float16", 8, 3, 3, 1)
    with trace_launches() as launches:
        y = conv2d_forward(where, where.array(x), where.array(weight), over, 8, None, False)
    assert "cast" in [launch.kernel for launch in launches]
    check("bfloat16", y, _plain(conv2d_forward, x, weight, over, 8, None, False))
