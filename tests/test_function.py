"""gpunn.Function: operations with a gradient of the user's own."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.errors import DTypeError, GraphError, ShapeError, UsageError


def leaf(values: object) -> gpunn.Tensor:
    return gpunn.tensor(np.array(values, np.float64), requires_grad=True)


class Scaled(gpunn.Function):
    """x * factor, noting what it was asked for."""

    asked: tuple = ()

    @staticmethod
    def forward(ctx, x, factor, other=None):
        assert not gpunn.is_grad_enabled()
        ctx.factor = factor
        Scaled.asked = ctx.needs_input_grad
        return x * factor

    @staticmethod
    def backward(ctx, dy):
        assert not gpunn.is_grad_enabled()
        return dy * ctx.factor, None, None


class Polar(gpunn.Function):
    """Two outputs that share what was saved."""

    calls = 0

    @staticmethod
    def forward(ctx, r, angle):
        x, y = r * angle.cos(), r * angle.sin()
        ctx.save_for_backward(r, angle, x, y)
        return x, y

    @staticmethod
    def backward(ctx, dx, dy):
        Polar.calls += 1
        r, _, x, y = ctx.saved_tensors
        return (dx * x + dy * y) / r, dy * x - dx * y


class Sorted(gpunn.Function):
    """Values and their places; only the first is differentiable."""

    @staticmethod
    def forward(ctx, x):
        order = np.argsort(x.numpy())
        ctx.order = order
        places = gpunn.tensor(order)
        ctx.mark_non_differentiable(places)
        return gpunn.tensor(x.numpy()[order]), places

    @staticmethod
    def backward(ctx, dvalues, dplaces):
        assert dplaces.dtype == np.int64
        assert not dplaces.any()
        dx = np.empty_like(dvalues.numpy())
        dx[ctx.order] = dvalues.numpy()
        return gpunn.tensor(dx)


def test_arguments_that_are_no_tensors() -> None:
    x = leaf([1.0, 2.0])
    y = Scaled.apply(x, 3.0, "anything")
    assert Scaled.asked == (True, False, False)
    y.sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    assert Scaled.apply(x.detach(), 2.0).tolist() == [2.0, 4.0]
    assert Scaled.asked == (False, False)
    with gpunn.no_grad():
        assert Scaled.apply(x, 2.0).grad_fn is None
    assert "Scaled" in repr(y.grad_fn)


def test_several_outputs() -> None:
    rng = np.random.Generator(np.random.Philox(1))
    r, angle = leaf(1 + rng.random((2, 3, 1, 2))), leaf(rng.random((2, 3, 1, 2)))
    assert gradcheck(lambda a, b: Polar.apply(a, b)[0] * 2.0 + Polar.apply(a, b)[1], (r, angle))

    def both(a: gpunn.Tensor, b: gpunn.Tensor) -> gpunn.Tensor:
        x, y = Polar.apply(a, b)
        return x * y + x * x

    assert gradcheck(both, (r, angle))
    Polar.calls = 0
    both(r, angle).sum().backward()
    assert Polar.calls == 1


def test_an_output_that_nobody_used_counts_as_zero() -> None:
    r, angle = leaf(2.0), leaf(0.0)
    x, _ = Polar.apply(r, angle)
    x.backward()
    assert (r.grad.item(), angle.grad.item()) == (1.0, 0.0)


def test_none_instead_of_zeros() -> None:
    class Two(gpunn.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x * 1.0, x * 2.0

        @staticmethod
        def backward(ctx, first, second):
            assert first is None
            return second * 2.0

    x = leaf(1.0)
    Two.apply(x)[1].backward()
    assert x.grad.item() == 2.0


def test_outputs_without_gradient() -> None:
    x = leaf([3.0, 1.0, 2.0])
    values, places = Sorted.apply(x)
    assert values.requires_grad
    assert not places.requires_grad
    assert places.tolist() == [1, 2, 0]
    (values * gpunn.tensor(np.array([1.0, 10.0, 100.0]))).sum().backward()
    assert x.grad.tolist() == [100.0, 1.0, 10.0]


def test_gradient_of_an_argument_that_needs_none_is_dropped() -> None:
    r, angle = gpunn.tensor(np.array(2.0)), leaf(0.0)
    _, y = Polar.apply(r, angle)
    y.backward()
    assert r.grad is None
    assert angle.grad.item() == 2.0


def test_an_argument_returned_unchanged() -> None:
    class Reversed(gpunn.Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, dy):
            return -dy

    x = leaf([1.0])
    y = Reversed.apply(x)
    assert y is not x
    assert x.is_leaf
    (y * 2.0).sum().backward()
    assert x.grad.tolist() == [-2.0]


def test_setup_context_of_its_own() -> None:
    class Cube(gpunn.Function):
        @staticmethod
        def forward(x):
            return x**3

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(inputs[0])

        @staticmethod
        def backward(ctx, dy):
            (x,) = ctx.saved_tensors
            return dy * 3.0 * x * x

    assert gradcheck(Cube.apply, leaf([0.5, 2.0]))


def test_saved_tensors_are_watched() -> None:
    r, angle = leaf([2.0]), leaf([0.5])
    x, _ = Polar.apply(r, angle)
    angle.data.fill_(1.0)
    with pytest.raises(GraphError, match="changed in place"):
        x.backward()


def test_second_backward_and_retain_graph() -> None:
    r, angle = leaf([2.0]), leaf([0.0])
    x, _ = Polar.apply(r, angle)
    x.backward(retain_graph=True)
    x.backward()
    assert r.grad.tolist() == [2.0]
    with pytest.raises(GraphError, match="retain_graph=True"):
        x.backward()


def test_freed_without_the_garbage_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        r, angle = leaf(np.ones(4)), leaf(np.ones(4))
        x, y = Polar.apply(r, angle)
        seen = [weakref.ref(t) for t in (x, y)]
        saved = [weakref.ref(a) for a in (x.array, y.array)]
        total = (x * 2.0 + y).sum()
        del x, y
        total.backward()
        assert all(ref() is None for ref in (*seen, *saved)), "a Function's node holds what backward has finished with"
        dropped = Polar.apply(r, angle)
        arrays = [weakref.ref(t.array) for t in dropped]
        del dropped
        assert all(ref() is None for ref in arrays), "a Function that was never walked is held by a cycle"
    finally:
        gc.enable()


def _returning(answer: object) -> type[gpunn.Function]:
    class Wrong(gpunn.Function):
        @staticmethod
        def forward(ctx, x, y):
            return x + y

        @staticmethod
        def backward(ctx, dy):
            return answer

    return Wrong


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (gpunn.ones(2), GraphError, r"Wrong: expected backward to return 2 gradient\(s\).*got 1"),
        ((gpunn.ones(2),) * 3, GraphError, "got 3"),
        (
            (gpunn.ones(3), None),
            ShapeError,
            r"Wrong: backward: gradient 0: expected the argument's shape \(2,\); got \(3,\)",
        ),
        ((None, gpunn.ones(2, dtype=np.float64)), DTypeError, "gradient 1: expected the argument's dtype float32"),
        ((None, 1.0), GraphError, "gradient 1: expected a Tensor or None; got float"),
    ],
)
def test_wrong_answers(answer: object, error: type, message: str) -> None:
    x, y = gpunn.ones(2, requires_grad=True), gpunn.ones(2, requires_grad=True)
    with pytest.raises(error, match=message):
        _returning(answer).apply(x, y).sum().backward()


def test_misuse() -> None:
    class Nothing(gpunn.Function):
        @staticmethod
        def forward(ctx, x):
            return None

    class Saves(gpunn.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(3.0)

    class Writes(gpunn.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)

    with pytest.raises(UsageError, match="Nothing: forward must return tensors"):
        Nothing.apply(leaf(1.0))
    with pytest.raises(UsageError, match="save_for_backward: expected tensors; got float"):
        Saves.apply(leaf(1.0))
    with pytest.raises(UsageError, match="mark_dirty"):
        Writes.apply(leaf(1.0))
    with pytest.raises(UsageError, match=r"call Scaled\.apply"):
        Scaled()
    with pytest.raises(NotImplementedError, match="forward"):
        gpunn.Function.apply(leaf(1.0))


def test_gradients_it_is_given_are_not_its_own() -> None:
    class Grasping(gpunn.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1.0

        @staticmethod
        def backward(ctx, dy):
            return dy.mul_(2.0)

    with pytest.raises(GraphError, match="Grasping: backward changed a gradient it was given"):
        Grasping.apply(leaf([1.0, 2.0])).backward(gpunn.ones(2, dtype=np.float64))


def test_named_by_its_layer() -> None:
    class Layer(gpunn.nn.Module):
        def forward(self, x):
            return _returning(gpunn.ones(2)).apply(x, x)

    model = gpunn.nn.Sequential(Layer())
    with pytest.raises(GraphError, match=r"0 \(Layer\): expected backward to return 2"):
        model(gpunn.ones(2, requires_grad=True)).sum().backward()
