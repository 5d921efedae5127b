"""Four axes in logical order on the CPU: results, gradients and hooks are those of images, without their copies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn._rows import rows_of
from gpunn.primitive import count_bodies
from tests.devices import EVERYWHERE

_SHAPE = (2, 3, 4, 5)


def _attention(x: Any, module: Any, seen: list[Any], where: str = "cpu") -> Any:
    """Three heads' attention as minGPT writes it."""
    place = {"device": where} if module is gpunn else {}
    b, t, c = x.shape
    q, k, v = (part.view(b, t, 3, c // 9).transpose(1, 2) for part in x.split(c // 3, dim=2))
    scores = (q @ k.transpose(-2, -1)) * 0.5
    scores = scores.masked_fill(module.tril(module.ones(1, 1, t, t, **place)) == 0, float("-inf"))
    weights = module.softmax(scores, dim=-1)
    seen += [scores, weights]
    y = (weights / 1.25 + 0.125 * weights) @ v
    return y.transpose(1, 2).contiguous().view(b, t, c // 3)


def _input(where: str = "cpu") -> Any:
    values = np.random.Generator(np.random.Philox(3)).standard_normal((2, 5, 36))
    return gpunn.tensor(values, device=where, requires_grad=True)


@pytest.mark.parity
@pytest.mark.parametrize("where", EVERYWHERE)
def test_attention_is_pytorchs(where: str) -> None:
    torch = pytest.importorskip("torch")
    x = _input(where)
    other = torch.tensor(x.detach().cpu().numpy(), requires_grad=True)
    results = []
    for module, tensor in ((gpunn, x), (torch, other)):
        seen: list[Any] = []
        y = _attention(tensor, module, seen, where)
        seen[1].retain_grad()  # after it has been used
        doubled: list[Any] = []
        seen[0].register_hook(lambda g, doubled=doubled: doubled.append(g.shape) or g * 2)
        (y * y).sum().backward()
        assert tuple(doubled[0]) == (2, 3, 5, 5)
        results.append([t.detach().cpu().numpy() for t in (y, tensor.grad, seen[1].grad, seen[1])])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)  # sums of a few dozen terms in float64


def test_attention_reorders_nothing_but_what_is_transposed() -> None:
    x, seen = _input(), list[Any]()
    with count_bodies() as counts:
        y = _attention(x, gpunn, seen)
        y.sum().backward()
    assert all(rows_of(t) is not None for t in seen)
    # q, k, v and y each change the order of their axes once, k twice; and so do their gradients.
    copies = ("permute_axes", "batched_transpose", "read_strided")
    assert sum(n for (name, _), n in counts.items() if name in copies) == 10


def _in_rows() -> Any:
    """A tensor in rows, 0 to 119, on the tape."""
    flat = gpunn.arange(120, dtype=gpunn.float64).reshape(2, 3, 20).requires_grad_()
    x = (flat * 1).view(*_SHAPE)
    assert rows_of(x) is not None
    return x


def _product() -> Any:
    x = gpunn.rand(2, 3, 4, 2, dtype=gpunn.float64, requires_grad=True) @ gpunn.rand(2, 3, 2, 5, dtype=gpunn.float64)
    assert rows_of(x) is not None
    return x


@pytest.mark.parametrize("make", [_in_rows, _product])
def test_what_does_not_know_rows_gets_images(make: Any) -> None:
    x = make()
    expected = x.detach().numpy().copy()
    x = make() if make is _in_rows else x
    assert x.shape == _SHAPE
    assert (x.dtype, x.ndim, x.numel()) == (np.float64, 4, 120)
    assert x.is_contiguous()
    np.testing.assert_array_equal(x.array, expected)
    np.testing.assert_array_equal(nn.ReLU()(x).detach().numpy(), np.maximum(expected, 0))
    found: list[Any] = []
    x.register_hook(lambda g: found.append(g.numpy().copy()))
    # Both kinds of paths meet: a convolution's gradient is channels last, a product's in rows.
    weight = gpunn.ones(2, 3, 1, 1, dtype=gpunn.float64)
    (gpunn.nn.functional.conv2d(x, weight).sum() + (x * 3).sum() + x.transpose(1, 2).sum()).backward()
    np.testing.assert_array_equal(found[0], np.full(_SHAPE, 2.0 + 3 + 1))


@pytest.mark.parametrize("make", [_in_rows, _product])
def test_changes_in_place_are_seen(make: Any) -> None:
    with gpunn.no_grad():
        x = make()
        turned, flat = x.transpose(2, 3), x.view(2, -1)
        before = x.numpy().copy()
        x[0, 1, 2, 3] = -7.0
        before[0, 1, 2, 3] = -7.0
        flat[1, 0] += 1
        before[1, 0, 0, 0] += 1
        turned *= 2
        before *= 2
        for got, expected in ((x, before), (turned, before.swapaxes(2, 3)), (flat, before.reshape(2, -1))):
            np.testing.assert_array_equal(got.numpy(), expected)
        for name, expected in ((x, before), (turned, before.swapaxes(2, 3))):  # nothing goes on with the rows of before
            np.testing.assert_array_equal((name * 1).numpy(), expected)


@pytest.mark.parametrize("make", [_in_rows, _product])
def test_rows_that_are_a_copy_are_given_up_when_what_they_copy_changes(make: Any) -> None:
    with gpunn.no_grad():
        x = make()
        turned = x.transpose(2, 3)
        assert rows_of(turned) is not None
        x.view(-1)[7] = 9.0
        expected = x.numpy().swapaxes(2, 3)
        assert (expected == 9).any()
        np.testing.assert_array_equal((turned * 1).numpy(), expected)


def test_a_lent_copy_is_not_written_to_through_a_view() -> None:
    x = gpunn.arange(24.0).reshape(2, 3, 4)
    copied = x.transpose(1, 2).contiguous()
    part = copied.transpose(1, 2)
    part += 100
    np.testing.assert_array_equal(x.transpose(1, 2).numpy(), np.arange(24.0).reshape(2, 3, 4).swapaxes(1, 2))
    np.testing.assert_array_equal(copied.numpy(), 100 + np.arange(24.0).reshape(2, 3, 4).swapaxes(1, 2))


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_along_each_axis(name: str, dim: int) -> None:
    x = _product()
    y = getattr(gpunn, name)(x, dim)
    assert rows_of(y) is not None
    expected = getattr(gpunn, name)(x.detach().clone(), dim)
    np.testing.assert_allclose(y.detach().numpy(), expected.numpy(), rtol=1e-14)  # sums of few terms, in another order
