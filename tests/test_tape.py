"""The tape: order, accumulation, freeing, misuse."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import gpunn
from gpunn import tape
from gpunn._gradcheck import gradcheck
from gpunn.errors import DTypeError, GraphError, ShapeError, UsageError
from gpunn.ops.relu import relu


def leaf(values: object, dtype: type = np.float64) -> gpunn.Tensor:
    return gpunn.tensor(np.array(values, dtype), requires_grad=True)


def test_lecture_graph() -> None:
    """COVERAGE G1: u = bc, v = a + u, J = 3v."""
    a, b, c = leaf(5.0), leaf(3.0), leaf(2.0)
    u = b * c
    j = (a + u) * 3.0
    j.backward()
    assert (a.grad.item(), b.grad.item(), c.grad.item()) == (3.0, 6.0, 9.0)


def test_backward_work_is_linear_in_the_layers() -> None:
    """COVERAGE G1: a diamond at every layer has 2^50 paths and still one backward call per op."""
    calls = []
    x = y = leaf(1.0)
    for _ in range(50):
        y = y + y
        original = y._node.backward
        y._node.backward = lambda dy, needs, f=original: calls.append(1) or f(dy, needs)
    assert x is not y
    y.backward()
    assert len(calls) == 50
    assert x.grad.item() == 2.0**50


def test_chain_of_5000_layers() -> None:
    x = leaf([1.0, -1.0])
    y = x
    for _ in range(5000):
        y = relu(y)
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 0.0]


def test_chain_of_5000_layers_can_be_dropped_without_backward() -> None:
    y = leaf([1.0])
    for _ in range(5000):
        y = relu(y)
    del y


def test_no_cycles_and_freed_as_it_goes() -> None:
    gc.disable()
    try:
        x = leaf(np.ones(10))
        y = relu(x)
        z = relu(y)
        seen = [weakref.ref(t) for t in (y, z)] + [weakref.ref(y.array.base if y.array.base is not None else y.array)]
        total = z.sum()
        del y, z
        total.backward()
        assert all(r() is None for r in seen), "something on the tape holds what backward has finished with"
    finally:
        gc.enable()


def test_gradients_do_not_alias() -> None:
    """Addition hands the same dy to both inputs; each must own what it keeps."""
    a, b = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    (a + b).sum().backward()
    a.grad.array[:] = 7
    assert b.grad.tolist() == [1.0, 1.0]
    x = leaf(np.ones((2, 3)))
    y = x.reshape(6)
    dy = gpunn.tensor(np.ones(6))
    y.backward(dy)
    x.grad.array[:] = 5
    assert dy.tolist() == [1.0] * 6


def test_accumulates_over_backwards_in_place() -> None:
    x = leaf([1.0, 2.0])
    (x * 3.0).sum().backward()
    first = x.grad.array
    (x * 4.0).sum().backward()
    assert x.grad.tolist() == [7.0, 7.0]
    assert x.grad.array is first or x.grad.array.base is first


def test_third_gradient_does_not_write_into_a_borrowed_one() -> None:
    a, x = leaf([1.0]), leaf([2.0])
    y = relu(x)
    (a + y + y + y).sum().backward()
    assert (a.grad.tolist(), x.grad.tolist()) == ([1.0], [3.0])


def test_second_backward_says_why_it_fails() -> None:
    x = leaf(2.0)
    y = x * x
    y.backward()
    with pytest.raises(GraphError, match="retain_graph=True"):
        y.backward()


def test_retain_graph() -> None:
    x = leaf(2.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 8.0


def test_changing_a_saved_tensor_in_place_raises() -> None:
    x, w = leaf([2.0]), leaf([3.0])
    y = (x * w).sum()
    with gpunn.no_grad():
        w.fill_(5.0)
    with pytest.raises(GraphError, match="changed in place 1 time"):
        y.backward()


def test_changing_it_through_data_is_noticed_too() -> None:
    x, w = leaf([2.0]), leaf([3.0])
    y = (x * w).sum()
    w.data.zero_()
    with pytest.raises(GraphError, match="changed in place"):
        y.backward()


def test_no_grad_records_nothing_and_nests() -> None:
    x = leaf([1.0])
    with gpunn.no_grad():
        with gpunn.no_grad():
            pass
        y = x * 2.0
        assert not tape.is_grad_enabled()
    assert tape.is_grad_enabled()
    assert not y.requires_grad
    with pytest.raises(GraphError, match="does not require a gradient"):
        y.sum().backward()


def test_no_grad_ends_with_an_exception() -> None:
    @gpunn.no_grad()
    def fails() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert tape.is_grad_enabled()


def test_gradient_of_what_needs_none_is_not_computed() -> None:
    asked = []
    x, w = gpunn.tensor([1.0, 2.0]), gpunn.tensor([3.0, 4.0], requires_grad=True)
    y = x * w
    original = y._node.backward
    y._node.backward = lambda dy, needs: asked.append(needs) or original(dy, needs)
    y.sum().backward()
    assert asked == [(False, True)]
    assert x.grad is None


@pytest.mark.parametrize(
    ("gradient", "error", "message"),
    [
        (None, GraphError, "only a scalar has a default gradient"),
        (gpunn.zeros(3), ShapeError, r"expected a gradient of shape \(2,\)"),
        (gpunn.zeros(2, dtype=np.float64), DTypeError, "expected a gradient of dtype float32"),
    ],
)
def test_backward_refuses(gradient: object, error: type, message: str) -> None:
    y = gpunn.ones(2, requires_grad=True) * 2.0
    with pytest.raises(error, match=message):
        y.backward(gradient)


def test_numpy_scalars_on_the_left_reach_the_tape() -> None:
    x = gpunn.ones(2, requires_grad=True)
    y = np.float32(2) * x
    assert isinstance(y, gpunn.Tensor)
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    "shapes", [((2, 3), (3,)), ((2, 3, 4, 5), (3, 1, 1)), ((4, 1), (1, 5)), ((2, 3, 4, 5), (2, 3, 4, 5))]
)
@pytest.mark.parametrize("name", ["add", "sub", "mul", "div"])
def test_arithmetic_gradients(name: str, shapes: tuple) -> None:
    from gpunn.ops import arithmetic

    rng = np.random.Generator(np.random.Philox(2))
    a, b = (gpunn.tensor(1.0 + rng.random(s), requires_grad=True) for s in shapes)
    assert gradcheck(getattr(arithmetic, name), (a, b))


def test_reductions_and_views_gradients() -> None:
    rng = np.random.Generator(np.random.Philox(2))
    x = gpunn.tensor(rng.standard_normal((2, 3, 4, 2)), requires_grad=True)
    assert gradcheck(lambda t: t.sum((1, 3)) * t.sum((1, 3)), x)
    assert gradcheck(lambda t: t.mean(dim=2, keepdim=True) * t, x)
    assert gradcheck(lambda t: t.reshape(3, 16).T @ t.reshape(3, 16), x)
    assert gradcheck(lambda t: t.flatten(1).reshape(2, 4, 2, 3) * t.reshape(2, 4, 2, 3), x)


def test_reshape_works_in_logical_order() -> None:
    x = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    t = gpunn.tensor(x)
    assert t.array.transpose(0, 2, 3, 1).flags.c_contiguous
    np.testing.assert_array_equal(t.flatten(1).numpy(), x.reshape(2, -1))
    np.testing.assert_array_equal(t.reshape(5, 4, 3, 2).numpy(), x.reshape(5, 4, 3, 2))
    np.testing.assert_array_equal(t.sum((1, 3)).numpy(), x.sum((1, 3)))


def test_gradcheck_finds_a_wrong_gradient() -> None:
    x = leaf([1.0, 2.0])

    def wrong(t: gpunn.Tensor) -> gpunn.Tensor:
        return tape.record("wrong", t.array**2, t.device, (t,), lambda dy, needs: (dy * 2.1 * t.array,))

    with pytest.raises(GraphError, match=r"worst element: input 0 at \(1,\)"):
        gradcheck(wrong, x)


def test_in_place_change_on_the_tape_is_refused() -> None:
    x = leaf([1.0])
    with pytest.raises(UsageError, match="on the tape"):
        x.fill_(2.0)


def test_enable_grad_and_set_grad_enabled() -> None:
    with gpunn.no_grad(), gpunn.enable_grad():
        assert tape.is_grad_enabled()
    with gpunn.set_grad_enabled(False):
        assert not tape.is_grad_enabled()
        with gpunn.set_grad_enabled(True):
            assert tape.is_grad_enabled()
        assert not tape.is_grad_enabled()
    assert tape.is_grad_enabled()
    gpunn.set_grad_enabled(False)
    assert not gpunn.is_grad_enabled()
    gpunn.set_grad_enabled(True)
    assert gpunn.is_grad_enabled()

    @gpunn.set_grad_enabled(False)
    def mode(depth: int) -> bool:
        return mode(depth - 1) if depth else tape.is_grad_enabled()

    assert tape.is_grad_enabled()
    assert not mode(2)
    assert tape.is_grad_enabled()


def test_retain_graph_with_branches() -> None:
    x = leaf([1.0, 2.0])
    trunk = relu(x * 2.0)
    first, second = (trunk * trunk).sum(), (trunk * 3.0).sum()
    first.backward(retain_graph=True)
    assert x.grad.tolist() == [8.0, 16.0]
    second.backward()  # the trunk is still there, and is freed now
    assert x.grad.tolist() == [14.0, 22.0]
    with pytest.raises(GraphError, match="retain_graph=True"):
        first.backward()


def test_branches_without_retain_graph_say_what_is_missing() -> None:
    x = leaf([1.0])
    trunk = x * 2.0
    first, second = (trunk * trunk).sum(), (trunk * 3.0).sum()
    first.backward()
    with pytest.raises(GraphError, match="freed it"):
        second.backward()


def test_autograd_grad() -> None:
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    y = x * w
    z = (y * y).sum()
    dx, dy = gpunn.autograd.grad(z, (x, y), retain_graph=True)
    assert dx.tolist() == [18.0, 64.0]
    assert dy.tolist() == [6.0, 16.0]
    assert x.grad is None
    assert w.grad is None
    (both,) = gpunn.autograd.grad((z, y), x, grad_outputs=(None, gpunn.ones(2, dtype=np.float64)))
    assert both.tolist() == [21.0, 68.0]
    assert not y.grad_fn.hooks


def test_autograd_grad_gives_arrays_of_their_own() -> None:
    x = leaf(1.0)
    for _ in range(2):
        (gradient,) = gpunn.autograd.grad(x + 2.0, x)
        assert gradient.item() == 1.0
        gradient.zero_()


def test_autograd_grad_refuses() -> None:
    x, other = leaf(1.0), leaf(2.0)
    with pytest.raises(GraphError, match="do not depend on input 1"):
        gpunn.autograd.grad(x * x, (x, other))
    assert gpunn.autograd.grad(x * x, (x, other), allow_unused=True)[1] is None
    with pytest.raises(UsageError, match="gradients of gradients"):
        gpunn.autograd.grad(x * x, x, create_graph=True)
    with pytest.raises(UsageError, match="input 0 of shape"):
        gpunn.autograd.grad(x * x, gpunn.ones(1))
