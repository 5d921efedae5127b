"""PyTorch's and NumPy's names of arguments, and results written into ``out``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn as typed
from gpunn.errors import DeviceError, DTypeError, ShapeError, UsageError
from tests.devices import EVERYWHERE

gpunn: Any = typed  # its signatures have our names only
F = gpunn.nn.functional
X = np.array([[1.5, -2.5, 4.0], [0.5, 8.0, -1.0]], np.float32)


def test_functions_take_both_names() -> None:
    x = gpunn.tensor(X)
    for given in ({"x": x, "dim": 1}, {"input": x, "axis": 1}, {"a": x, "dim": 1}, {"x1": x, "axis": 1}):
        np.testing.assert_array_equal(gpunn.sum(**given).numpy(), X.sum(1))
    np.testing.assert_array_equal(gpunn.sum(x, axis=(0, 1), keepdims=True).numpy(), X.sum(keepdims=True))
    np.testing.assert_array_equal(gpunn.add(input=x, other=x).numpy(), gpunn.add(a=x, b=x).numpy())
    np.testing.assert_array_equal(gpunn.mm(input=x, mat2=x.T).numpy(), (x @ x.T).numpy())
    np.testing.assert_array_equal(gpunn.max(input=x, other=x * 2).numpy(), np.maximum(X, 2 * X))
    np.testing.assert_array_equal(gpunn.cat(tensors=[x, x], axis=1).numpy(), np.concatenate([X, X], 1))
    np.testing.assert_array_equal(gpunn.where(condition=x > 0, input=x, other=0).numpy(), np.maximum(X, 0))
    np.testing.assert_array_equal(F.relu(input=x).numpy(), np.maximum(X, 0))


def test_methods_take_both_names() -> None:
    x = gpunn.tensor(X)
    np.testing.assert_array_equal(x.sum(axis=1, keepdims=True).numpy(), X.sum(1, keepdims=True))
    np.testing.assert_array_equal(x.mul(value=2).numpy(), X * 2)
    assert x.permute(dims=(1, 0)).shape == x.view(size=(3, 2)).shape == x.reshape(shape=(3, 2)).shape == (3, 2)
    assert x.repeat(repeats=(2, 1)).shape == x[None].expand(size=(2, 2, 3)).flatten(0, 1).shape == (4, 3)
    assert x.double(memory_format="any").dtype == np.float64
    assert gpunn.zeros(2).copy_(src=gpunn.ones(2)).tolist() == [1, 1]


def test_arrays_may_be_given_by_those_names_too() -> None:
    np.testing.assert_array_equal(gpunn.sum(input=X, axis=0).numpy(), X.sum(0))


def test_what_nobody_knows_is_pythons_own_error() -> None:
    x = gpunn.tensor(X)
    for call in (lambda: gpunn.sum(x, axes=1), lambda: x.sum(axes=1), lambda: gpunn.exp(x, dtype=1)):
        with pytest.raises(TypeError, match="unexpected keyword argument"):
            call()


def test_one_argument_by_two_names() -> None:
    x = gpunn.tensor(X)
    with pytest.raises(UsageError, match="sum: axis: this is another name of dim, which is given too"):
        gpunn.sum(x, dim=1, axis=1)
    with pytest.raises(TypeError, match="multiple values"):
        x.sum(1, axis=1)


def test_refused_values_say_why() -> None:
    x, index = gpunn.tensor(X), gpunn.tensor([[0, 0, 0]])
    assert gpunn.gather(x, 0, index, sparse_grad=False).shape == (1, 3)
    with pytest.raises(UsageError, match="gather: sparse_grad=True is not supported: gradients are dense"):
        gpunn.gather(x, 0, index, sparse_grad=True)
    with pytest.raises(UsageError, match=r"out_dtype=dtype.'float64'. is not supported.* Convert the operands"):
        gpunn.mm(x, x.T, out_dtype=gpunn.float64)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_out_is_written_and_returned(where: str) -> None:
    x = gpunn.tensor(X, device=where)
    total = gpunn.zeros(3, device=where)
    assert gpunn.sum(x, 0, out=total) is total
    np.testing.assert_array_equal(total.numpy(), X.sum(0))
    wide = gpunn.zeros(2, 3, dtype=gpunn.float64, device=where)
    np.testing.assert_array_equal(gpunn.add(x, 1, out=wide).numpy(), (X + 1).astype(np.float64))
    images = gpunn.zeros(2, 3, 2, 1, device=where)
    gpunn.stack([x, x], 2, out=images.reshape(2, 3, 2))  # a copy or a view: either way it is written
    gpunn.cat([x[:, :, None, None]] * 2, 2, out=images)
    np.testing.assert_array_equal(images.numpy()[:, :, 0, 0], X)
    gpunn.exp(x, out=x)
    np.testing.assert_allclose(x.numpy(), np.exp(X), rtol=1e-6)  # NumPy's exp and CUDA's
    one = gpunn.zeros((), device=where)
    assert gpunn.mean(gpunn.tensor(X, device=where), out=one).item() == pytest.approx(X.mean(), rel=1e-6)


def test_out_of_several() -> None:
    x = gpunn.tensor(X)
    values, indices = gpunn.zeros(3), gpunn.zeros(3, dtype=gpunn.int64)
    found = gpunn.max(x, 0, out=(values, indices))
    assert found.values is values
    assert found.indices is indices
    assert (values.tolist(), indices.tolist()) == (X.max(0).tolist(), X.argmax(0).tolist())
    with pytest.raises(UsageError, match="max: out: expected 2 tensors; got Tensor"):
        gpunn.max(x, 0, out=values)
    with pytest.raises(DTypeError, match="sum: out: expected one Tensor; got 2"):
        gpunn.sum(x, 0, out=(values, indices))


def test_out_that_does_not_fit() -> None:
    x = gpunn.tensor(X)
    for out, error, message in (
        (gpunn.zeros(2), ShapeError, r"sum: out: expected .* shape, \(3,\); got \(2,\). It is not resized"),
        (gpunn.zeros(0), ShapeError, "It is not resized"),
        (gpunn.zeros(3, dtype=gpunn.int64), DTypeError, "a result of float32 does not go into a tensor of int64"),
        (gpunn.zeros(3, device="emulator"), DeviceError, "emulator"),
        (np.zeros(3, np.float32), DTypeError, "sum: out: expected a Tensor; got ndarray"),
        (gpunn.zeros(3, requires_grad=True), UsageError, "sum: out: expected a tensor off the tape"),
    ):
        with pytest.raises(error, match=message):
            gpunn.sum(x, 0, out=out)
    leaf, out = gpunn.tensor(X, requires_grad=True), gpunn.zeros(3)
    with pytest.raises(UsageError, match="the result requires a gradient, which writing it would lose"):
        gpunn.sum(leaf, 0, out=out)
    with gpunn.no_grad():
        assert gpunn.sum(leaf, 0, out=out) is out


def test_a_captured_step_writes_out_again(kernels: str) -> None:
    out = gpunn.zeros(3, device=kernels)

    def step(x: Any) -> Any:
        return gpunn.sum(x, 0, out=out) + 0

    captured = gpunn.capture(step)
    for factor in (1, 2, 3):
        captured(gpunn.tensor(X * factor, device=kernels))
        np.testing.assert_array_equal(out.numpy(), (X * factor).sum(0))


def quotients() -> list[Any]:
    rng = np.random.Generator(np.random.Philox(3))
    a, b = rng.uniform(-9, 9, (2, 5, 7)).astype(np.float32)
    whole = rng.integers(-9, 9, (5, 7)), rng.integers(1, 5, (5, 7)) * rng.choice([-1, 1], (5, 7))
    return [(a, b), whole, (a, whole[1]), (whole[0], 2.5), (a, 2), (whole[0], 2), (whole[0], -3)]


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("mode", ["floor", "trunc"])
@pytest.mark.parametrize(("a", "b"), quotients())
def test_rounded_quotients(a: Any, b: Any, mode: str, where: str) -> None:
    both = [gpunn.tensor(v, device=where) if isinstance(v, np.ndarray) else v for v in (a, b)]
    mine = gpunn.div(*both, rounding_mode=mode).numpy()
    x: Any
    floating = any(np.asarray(v).dtype.kind == "f" for v in (a, b))
    x, y = (np.asarray(v, np.float32 if floating else np.int64) for v in (a, b))
    expected = np.floor_divide(x, y) if mode == "floor" else np.trunc(x / y).astype(x.dtype)
    assert mine.dtype == expected.dtype
    np.testing.assert_array_equal(mine, expected)


def test_rounded_quotients_have_a_gradient_of_0(kernels: str) -> None:
    for mode in ("floor", "trunc"):
        a = gpunn.tensor([[1.0, np.inf], [np.nan, 3.0]], device=kernels, requires_grad=True)
        b = gpunn.tensor([2.0, 0.0], device=kernels, requires_grad=True)
        a.div(b[None], rounding_mode=mode).backward(gpunn.ones(2, 2, device=kernels))
        assert a.grad.tolist() == [[0, 0], [0, 0]]
        assert b.grad.tolist() == [0, 0]
    with pytest.raises(UsageError, match="div: rounding_mode: expected None, 'trunc' or 'floor'; got 'up'"):
        gpunn.div(gpunn.ones(2), 2, rounding_mode="up")


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("decimals", [0, 1, 3, -1])
def test_round_to_decimals(decimals: int, where: str) -> None:
    x = np.random.Generator(np.random.Philox(4)).uniform(-99, 99, (5, 7)).astype(np.float32)
    mine = gpunn.tensor(x, device=where, requires_grad=True)
    y = mine.round(decimals=decimals)
    np.testing.assert_allclose(y.detach().numpy(), np.round(x, decimals), rtol=1e-6)  # * and /
    y.sum().backward()
    assert not mine.grad.numpy().any()
    with pytest.raises(DTypeError, match="round: decimals: expected a floating dtype; got int64"):
        gpunn.ones(2, dtype=gpunn.int64).round(decimals=1)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_dtype_converts_first(where: str) -> None:
    whole = gpunn.tensor([[1, 2], [3, 4]], device=where)
    for made, expected in (
        (
            gpunn.softmax(whole, 1, dtype=gpunn.float64),
            np.exp([[1, 2], [3, 4]]) / np.exp([[1, 2], [3, 4]]).sum(1)[:, None],
        ),
        (
            whole.log_softmax(1, gpunn.float64).exp(),
            np.exp([[1, 2], [3, 4]]) / np.exp([[1, 2], [3, 4]]).sum(1)[:, None],
        ),
        (whole.prod(1, dtype=gpunn.float64), np.array([2.0, 12.0])),
        (whole.norm(dtype=gpunn.float64), np.sqrt(30.0)),
        (whole.mean(0, dtype=gpunn.float64), np.array([2.0, 3.0])),
    ):
        assert made.dtype == np.float64
        np.testing.assert_allclose(made.numpy(), expected, rtol=1e-12)  # a few roundings
    leaf = gpunn.ones(2, device=where, requires_grad=True)
    leaf.softmax(0, dtype=gpunn.float64)[0].backward()
    assert leaf.grad.dtype == np.float32
