"""Tensor's own methods: in-place changes, conversions, hooks, printing; and the functions that make tensors."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn.errors import DTypeError, GraphError, ShapeError, UsageError
from tests.arrays import arrays


def leaf(values: object) -> gpunn.Tensor:
    return gpunn.tensor(np.array(values, np.float64), requires_grad=True)


# -- in place -------------------------------------------------------------------------------------


@given(
    st.sampled_from(["add_", "sub_", "mul_", "div_"]),
    arrays(st.just((2, 3, 1, 4)), 0.5),
    st.sampled_from([(), (4,), (3, 2, 4)]),
)
@settings(max_examples=40, deadline=None)
def test_updates_match_torch(name: str, x: np.ndarray, shape: tuple) -> None:
    parity = pytest.importorskip("tests.parity")
    shape = tuple(1 if n == 2 else n for n in shape)
    other = np.random.Generator(np.random.Philox(1)).uniform(1, 2, shape).astype(x.dtype)
    mine = gpunn.tensor(x)
    storage = mine._physical
    assert getattr(mine, name)(gpunn.tensor(other)) is mine
    assert mine._physical is storage
    expected = getattr(parity.torch.tensor(x), name)(parity.torch.tensor(other)).numpy()
    parity.close(name, mine.numpy(), expected, 0)


def test_numbers_alpha_and_limits() -> None:
    x = gpunn.tensor([1.0, 2.0, 3.0])
    assert x.add_(1, alpha=2).tolist() == [3.0, 4.0, 5.0]
    assert x.sub_(gpunn.ones(3), alpha=0.5).tolist() == [2.5, 3.5, 4.5]
    assert x.clamp_(3, 4).tolist() == [3.0, 3.5, 4.0]
    assert x.add(1, alpha=2).tolist() == [5.0, 5.5, 6.0]
    assert x.sub(gpunn.ones(3), alpha=2).tolist() == [1.0, 1.5, 2.0]
    assert gpunn.tensor([1, 2]).mul_(3).tolist() == [3, 6]


def test_operators_change_what_is_off_the_tape() -> None:
    x = gpunn.ones(2, 3, 2, 2)
    same = x
    x += 1
    x *= gpunn.full((3, 1, 1), 2.0)
    x -= 1.0
    x /= 2
    assert same is x
    assert (x == 1.5).all()


def test_operators_change_all_names_of_a_tensor_on_the_tape() -> None:
    x = leaf([1.0, 2.0])
    total = before = gpunn.zeros(2, dtype=np.float64)
    total += x * 2.0
    total *= x
    assert before is total
    assert before.tolist() == [2, 8]
    total.sum().backward()
    assert x.grad.tolist() == [4.0, 8.0]


def test_a_leaf_changes_only_under_no_grad() -> None:
    x = leaf([1.0])
    with pytest.raises(UsageError, match=r"sub_: this tensor is a leaf.*no_grad"):
        x -= 1.0
    with gpunn.no_grad():
        x -= 0.5
        x.mul_(4.0)
    assert x.tolist() == [2.0]
    assert x.requires_grad


def test_changes_are_noticed_by_backward() -> None:
    x, w = leaf([2.0]), leaf([3.0])
    y = (x * w).sum()
    with gpunn.no_grad():
        w += 1.0
    with pytest.raises(GraphError, match="changed in place"):
        y.backward()


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.add_(gpunn.ones(4, 2)),
        lambda t: t.mul_(gpunn.ones(3, 2, dtype=np.float64)),
        lambda t: t.long().div_(2),
    ],
)
def test_results_that_do_not_fit(change: Callable[[gpunn.Tensor], Any]) -> None:
    with pytest.raises((ShapeError, DTypeError), match=r"does not fit|expected one dtype"):
        change(gpunn.ones(2))


def test_draws() -> None:
    x = gpunn.empty(10_000)
    x.normal_(2.0, 0.5)
    # Four standard errors of a mean and of a spread of 10,000 numbers.
    assert abs(x.mean().item() - 2.0) < 4 * 0.5 / 100
    assert abs(x.std().item() - 0.5) < 4 * 0.5 / 141
    x.uniform_(-1, 3)
    assert x.min().item() >= -1
    assert x.max().item() < 3
    assert abs(x.mean().item() - 1.0) < 4 * 4 / 12**0.5 / 100
    assert gpunn.equal(x.uniform_(generator=gpunn.Generator(3)), gpunn.rand(10_000, generator=gpunn.Generator(3)))
    with pytest.raises(DTypeError, match="normal_: expected a floating dtype"):
        gpunn.arange(3).normal_()


# -- conversions ----------------------------------------------------------------------------------


def test_conversions() -> None:
    x = gpunn.tensor([1.7, -1.7, 0.0], requires_grad=True)
    assert (x.long().tolist(), x.int().dtype) == ([1, -1, 0], np.int32)
    assert x.bool().tolist() == [True, True, False]
    assert x.double().requires_grad
    assert (
        x.type(gpunn.float64).dtype
        == x.to(dtype=gpunn.double).dtype
        == x.type_as(gpunn.zeros(1, dtype=np.float64)).dtype
    )
    assert (x.type(), x.to("cpu", gpunn.int64).type()) == ("float32", "int64")
    assert x.to("cpu") is x
    assert (x.half().type(), x.detach().half().float().dtype) == ("float16", np.float32)
    x.double().sum().backward()
    assert x.grad.dtype == np.float32


def test_non_blocking_is_taken(kernels: str) -> None:
    assert gpunn.ones(3).to(kernels, non_blocking=True).device is gpunn.device(kernels)


def test_clone_is_on_the_tape_and_apart() -> None:
    x = leaf([1.0, 2.0])
    y = x.clone()
    y.detach().zero_()
    assert x.tolist() == [1.0, 2.0]
    (y * 3.0).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    labels = gpunn.tensor([1, 2])
    labels.clone().zero_()
    assert labels.tolist() == [1, 2]


def test_numpy_of_a_leaf_under_no_grad() -> None:
    x = leaf([1.0])
    with pytest.raises(UsageError, match="detach"):
        x.numpy()
    with gpunn.no_grad():
        assert x.numpy().tolist() == [1.0]


def test_printing() -> None:
    assert f"{gpunn.tensor(1.23456):.2f}" == "1.23"
    assert f"{gpunn.ones(1)}" == "tensor([1.])"
    assert repr(gpunn.ones(1, requires_grad=True).abs()) == "tensor([1.], grad_fn=<abs>)"
    assert (gpunn.ones(2, 3).nelement(), gpunn.ones(2, 3).ndimension()) == (6, 2)


# -- hooks ----------------------------------------------------------------------------------------


def test_hook_of_a_leaf_sees_the_whole_gradient_once() -> None:
    x, seen = leaf([1.0, 2.0]), []
    handle = x.register_hook(lambda g: seen.append(g.tolist()))
    (x * 2.0 + x * 3.0).sum().backward()
    assert seen == [[5.0, 5.0]]
    assert x.grad.tolist() == [5.0, 5.0]
    handle.remove()
    x.sum().backward()
    assert (len(seen), x.grad.tolist()) == (1, [6.0, 6.0])


def test_hook_replaces_the_gradient() -> None:
    x = leaf([1.0, 2.0])
    y = x * 3.0
    with y.register_hook(lambda g: g * 10.0), x.register_hook(lambda g: g + 1.0):
        (y * 1.0 + y).sum().backward(retain_graph=True)
        assert x.grad.tolist() == [61.0, 61.0]
    y.sum().backward()
    assert x.grad.tolist() == [64.0, 64.0]


def test_what_a_hook_keeps_does_not_change_later() -> None:
    x, kept = leaf([1.0]), list[gpunn.Tensor]()
    x.register_hook(kept.append)
    for _ in range(2):
        (x * 2.0).sum().backward()
    assert [g.tolist() for g in kept] == [[2.0], [2.0]]
    assert x.grad.tolist() == [4.0]


def test_a_hook_may_write_to_its_gradient() -> None:
    x = leaf(1.0)
    x.register_hook(lambda g: g.mul_(5.0) and None)
    for total in (5.0, 10.0):  # the 1 that backward starts from is not written to
        (x + 1.0).backward()
        assert x.grad.item() == total


def test_hook_misuse() -> None:
    with pytest.raises(UsageError, match="does not require a gradient"):
        gpunn.ones(2).register_hook(print)
    x = leaf([1.0, 2.0])
    x.register_hook(lambda g: gpunn.ones(3))
    with pytest.raises(GraphError, match=r"must return None or a Tensor of shape \(2,\)"):
        x.sum().backward()


def test_retain_grad() -> None:
    x = leaf([1.0, 2.0])
    y = x * 3.0
    y.retain_grad()
    y.retain_grad()
    z = (y * y).sum()
    z.backward(retain_graph=True)
    assert y.grad.tolist() == [6.0, 12.0]
    z.backward()
    assert y.grad.tolist() == [12.0, 24.0]
    assert y.grad_fn is not None
    assert x.grad_fn is None
    gc.disable()
    try:
        seen = weakref.ref(y)
        del y, z
        assert seen() is None
    finally:
        gc.enable()


# -- making tensors -------------------------------------------------------------------------------


def test_filled() -> None:
    x = gpunn.full((2, 3), 1.5, requires_grad=True)
    assert (x.dtype, gpunn.full((2,), 3).dtype, gpunn.full((1,), True).dtype) == (np.float32, np.int64, np.bool_)
    assert x.requires_grad
    like = (gpunn.zeros_like(x), gpunn.ones_like(x), gpunn.full_like(x, 7), gpunn.rand_like(x), gpunn.randn_like(x))
    assert all(t.shape == (2, 3) and t.dtype == np.float32 and not t.requires_grad for t in like)
    assert [t.sum().item() for t in like[:3]] == [0, 6, 42]
    assert gpunn.ones_like(x, dtype=np.int64).dtype == np.int64
    assert gpunn.empty(2, 3, 4, 5).shape == gpunn.empty_like(gpunn.ones(2, 3, 4, 5)).shape == (2, 3, 4, 5)
    assert gpunn.empty((2, 2), dtype=np.float64).new_zeros(3).dtype == np.float64
    made = (x.new_ones(2), x.new_full((2,), 1), x.new_tensor([1, 1]), x.new_empty(2).fill_(1))
    assert all(t.tolist() == [1.0, 1.0] for t in made)


def test_counted() -> None:
    assert gpunn.eye(2, 3).tolist() == [[1, 0, 0], [0, 1, 0]]
    np.testing.assert_allclose(gpunn.linspace(0, 1, 5).numpy(), [0, 0.25, 0.5, 0.75, 1])
    assert gpunn.scalar_tensor(3).shape == ()
    assert gpunn.is_tensor(gpunn.ones(1))
    assert not gpunn.is_tensor(np.ones(1))
    values = np.ones(3, np.float32)
    shared = gpunn.as_tensor(values)
    values[0] = 5
    assert shared.tolist() == [5, 1, 1]
    assert gpunn.as_tensor(shared) is shared
    assert gpunn.as_tensor([1, 2], dtype=np.float64).dtype == np.float64


def test_drawn() -> None:
    numbers = gpunn.randint(3, 7, (1000,))
    assert set(numbers.tolist()) == {3, 4, 5, 6}
    assert gpunn.randint(2, (3, 4)).max().item() <= 1
    assert sorted(gpunn.randperm(50).tolist()) == list(range(50))
    gpunn.manual_seed(4)
    first = gpunn.randperm(50).tolist()
    gpunn.manual_seed(4)
    assert gpunn.randperm(50).tolist() == first
    with pytest.raises(UsageError, match="expected low < high"):
        gpunn.randint(3, 3, (1,))
