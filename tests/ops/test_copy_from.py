"""copy_, fill_ and zero_: what is converted and broadcast, on and off the tape, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn.errors import DTypeError, ShapeError, UsageError
from tests.devices import EVERYWHERE


@pytest.mark.parametrize("where", EVERYWHERE)
def test_sources_are_converted_and_broadcast(where: str) -> None:
    x = gpunn.zeros(2, 3, device=where)
    assert x.copy_(gpunn.arange(3)) is x
    assert x.tolist() == [[0, 1, 2]] * 2
    assert x.copy_(np.array([[5.0], [6.0]])).tolist() == [[5] * 3, [6] * 3]
    assert x.copy_(gpunn.ones(1, 1, 1, 3, device=where)).tolist() == [[1] * 3] * 2
    assert x.copy_(2.5).sum().item() == 15
    assert gpunn.zeros(2, dtype=np.int64, device=where).copy_(gpunn.tensor([1.7, -1.7])).tolist() == [1, -1]
    images = gpunn.zeros(2, 3, 2, 2, device=where).copy_(gpunn.arange(3).view(3, 1, 1))
    assert images[1, :, 1, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("where", EVERYWHERE)
def test_gradients(where: str) -> None:
    w: Any = gpunn.tensor([1.0, 2.0, 3.0], requires_grad=True, device=where)
    v: Any = gpunn.tensor([[1.0], [4.0]], requires_grad=True, device=where)
    y = gpunn.ones(2, 3, device=where) * w
    y.copy_(v)
    (y * w).sum().backward()
    assert (w.grad.tolist(), v.grad.tolist()) == ([5, 5, 5], [[6], [6]])
    out = gpunn.zeros(3, device=where)
    out.copy_(w)
    out.sum().backward()
    assert w.grad.tolist() == [6, 6, 6]


def test_what_is_filled_has_no_gradient_of_its_own() -> None:
    w: Any = gpunn.ones(3, requires_grad=True)
    y = w * 2
    y.zero_()
    y.sum().backward()
    assert w.grad.tolist() == [0, 0, 0]


@pytest.mark.parametrize("where", EVERYWHERE)
def test_a_strided_view_does_not_take_the_source_over(where: str) -> None:
    x, source = gpunn.zeros(2, 3, device=where), gpunn.ones(3, 2, device=where)
    turned = x.t()
    turned.copy_(source)
    source.add_(1)
    assert (source.tolist(), turned.tolist(), x.tolist()) == ([[2, 2]] * 3, [[1, 1]] * 3, [[1] * 3] * 2)


def test_parts_of_one_memory() -> None:
    x = gpunn.arange(5)
    x[1:].copy_(x[:-1])
    assert x.tolist() == [0, 0, 1, 2, 3]


@pytest.mark.parametrize("where", EVERYWHERE)
def test_to_and_from_other_devices(where: str) -> None:
    x: Any = gpunn.ones(2, requires_grad=True)
    there = gpunn.zeros(2, device=where)
    there.copy_(x, non_blocking=True)
    there.sum().backward()
    assert (there.tolist(), x.grad.tolist()) == ([1, 1], [1, 1])


def test_refuses() -> None:
    x = gpunn.zeros(2, 3)
    with pytest.raises(ShapeError, match=r"copy_: expected a shape that broadcasts to \(2, 3\); got \(2,\)"):
        x.copy_(gpunn.ones(2))
    with pytest.raises(ShapeError, match="copy_"):
        x.copy_(gpunn.ones(2, 2, 3))
    with pytest.raises(ShapeError, match=r"fill_: expected a number.*got shape \(3,\)"):
        x.fill_(gpunn.ones(3))
    with pytest.raises(DTypeError, match="copy_: expected a Tensor, an array or a number; got str"):
        x.copy_("1")
    with pytest.raises(DTypeError, match="fill_: 300 does not fit into uint8"):
        gpunn.zeros(2, dtype=np.uint8).fill_(300)
    with pytest.raises(UsageError, match="fill_: this tensor is a leaf that requires a gradient"):
        gpunn.zeros(2, requires_grad=True).fill_(1)
    assert x.sum().item() == 0
