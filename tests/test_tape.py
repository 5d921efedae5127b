"""The tape: order, accumulation, freeing, misuse."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import tape
from gpunn._gradcheck import gradcheck
from gpunn.errors import DTypeError, GraphError, ShapeError, UsageError
from gpunn.nn import functional as F
from gpunn.ops.relu import relu
from tests.devices import EVERYWHERE


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


_BETWEEN = {
    "conv2d": lambda x, w: F.conv2d(x, w.reshape(3, 3, 1, 1)),
    "linear": lambda x, w: F.linear(x.reshape(12, 3), w),
    "batch_norm": lambda x, w: F.batch_norm(x, None, None, training=True),
}


@pytest.mark.parametrize("name", _BETWEEN)
def test_an_output_that_no_gradient_needs_is_freed(name: str) -> None:
    """Half of a DenseNet's memory was batch norm's outputs, which closures named and did not use."""
    gc.disable()
    try:
        between = _BETWEEN[name](leaf(np.arange(36.0).reshape(2, 3, 2, 3)), leaf(np.eye(3)))
        physical = between._physical
        seen = weakref.ref(physical if physical.base is None else physical.base)
        y = relu(between)
        del between, physical
        assert seen() is None
        y.sum().backward()
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
    import gpunn

    rng = np.random.Generator(np.random.Philox(2))
    a, b = (gpunn.tensor(1.0 + rng.random(s), requires_grad=True) for s in shapes)
    assert gradcheck(getattr(gpunn, name), (a, b))


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


def test_in_place_change_of_a_leaf_is_refused() -> None:
    x = leaf([1.0])
    with pytest.raises(UsageError, match="a leaf that requires a gradient"):
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


def _where_two_paths_meet(device: str, fused: bool, retain_graph: bool = False, hooked: bool = False) -> list:
    """Gradients of a net whose ops add to what came past them, or, with a node in between, leave it to the tape."""
    rng = np.random.Generator(np.random.Philox(6))
    x, filters, pointwise, matrix = (
        gpunn.tensor(rng.standard_normal(shape).astype(np.float32)).to(device).requires_grad_()
        for shape in ((2, 5, 6, 7), (6, 5, 3, 3), (6, 6, 1, 1), (9, 252))
    )

    def apart(t: gpunn.Tensor) -> gpunn.Tensor:
        """The op's input; by a node of its own if the sum is to be the tape's."""
        return t if fused else t.reshape(*t.shape)

    seen = []
    block = relu(x)
    with_conv = F.conv2d(apart(block), filters, padding=1)
    past = F.pad(block, (0, 0, 0, 0, 0, 1))  # its gradient is an array of its own
    y = with_conv * past
    z = y + F.conv2d(apart(y), pointwise)  # y's gradient is borrowed from z's
    flat = z.flatten(1)
    out = (F.linear(apart(flat), matrix) ** 2).sum() + (flat * flat).sum()
    if hooked:
        for t in (block, y, flat):
            t.register_hook(lambda gradient: seen.append(gradient.numpy().tobytes()))
    for last in [False, True] if retain_graph else [True]:
        out.backward(retain_graph=not last)
    return [t.grad.numpy().tobytes() for t in (x, filters, pointwise, matrix)] + seen


@pytest.mark.parametrize("how", [{}, {"retain_graph": True}, {"hooked": True}])
@pytest.mark.parametrize("device", EVERYWHERE)
def test_an_op_adds_to_the_gradient_that_came_by_another_path(device: str, how: dict) -> None:
    from gpunn.gpu.launcher import trace_launches

    launched = {}
    results = {}
    for fused in (False, True):
        with trace_launches() as launches:
            results[fused] = _where_two_paths_meet(device, fused, **how)
        launched[fused] = [launch.kernel for launch in launches]
    assert results[True] == results[False]
    if device != "cpu" and not how:
        apart, one = (sum(name in ("accumulate", "add_same_shape") for name in launched[f]) for f in (False, True))
        assert apart - one == 3


def test_what_waits_is_not_written_to_and_goes_to_the_first_input_alone() -> None:
    given, returned = [], []

    def adding(a: gpunn.Tensor, b: gpunn.Tensor) -> gpunn.Tensor:
        def backward(dy: np.ndarray, needs: tuple, waiting: np.ndarray | None) -> tuple:
            given.append(waiting)
            returned.append(2 * dy if waiting is None else waiting + 2 * dy)
            return returned[-1], 5 * dy

        return tape.record("adding", 2 * a.array + 5 * b.array, a.device, (a, b), backward, adds=True)

    x, other = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    y = relu(x)
    tripled = y * 3.0
    dy = gpunn.tensor(np.array([1.0, 10.0]))
    (y + adding(y, y) + tripled + other).backward(dy)  # y gets dy as it is, which `other` and the caller hold too
    assert given[0].tolist() == dy.tolist() == other.grad.tolist() == [1.0, 10.0]
    assert x.grad.tolist() == [11.0, 110.0]
    assert returned[0].tolist() == [11.0, 110.0]  # nobody else's: what comes later is added in place
    # A leaf's gradients are added up where they arrive; nothing waits.
    (adding(other, x) + other).backward(dy)
    assert given[1:] == [None]
    assert (other.grad.tolist(), x.grad.tolist()) == ([4.0, 40.0], [16.0, 160.0])


def test_an_op_that_adds_is_observed_and_freed_like_any() -> None:
    seen = []

    def observer(node: tape.Node, run) -> Any:
        seen.append(node.op)
        return run()

    x, w = leaf(np.ones((2, 3))), leaf(np.ones((4, 3)))
    y = relu(x)
    total = F.linear(y, w).sum() + y.sum()
    with tape.observe_backward(observer):
        total.backward()
    assert sorted(seen) == ["add", "linear", "relu", "sum", "sum"]
    assert x.grad.tolist() == [[5.0] * 3] * 2
    with pytest.raises(GraphError, match="retain_graph=True"):
        total.backward()


def test_freed_parts_that_add_say_what_is_missing() -> None:
    x, w = leaf(np.ones((2, 3))), leaf(np.ones((4, 3)))
    y = F.linear(relu(x), w)
    y.sum().backward()
    with pytest.raises(GraphError, match="linear: backward ran through this graph before"):
        (y * 2.0).sum().backward()
