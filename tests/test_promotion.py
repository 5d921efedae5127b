"""Dtypes of results where operands of several meet, against PyTorch's own table."""

from __future__ import annotations

import itertools
import operator
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn._promotion import can_cast, common_dtype, promoted
from gpunn.errors import DTypeError
from tests.devices import EVERYWHERE

F = gpunn.nn.functional
NAMES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64")
KERNEL_NAMES = ("bool", "uint8", "int32", "int64", "float32", "float64")  # that kernels calculate with
NUMBERS = (True, 3, 1.5, np.float64(2.5), np.float32(2.5), np.int8(2), np.int64(2))
each_where = pytest.mark.parametrize("where", EVERYWHERE)


def torch_of(parity: Any, value: Any) -> Any:
    return parity.torch.tensor(value) if isinstance(value, np.ndarray) else value


def values(name: str, shape: tuple[int, ...], start: int = 1) -> np.ndarray:
    """Small numbers, none of them 0 and no two neighbours equal."""
    count = int(np.prod(shape))
    return (np.arange(count) % 3 + start).reshape(shape).astype(name)


def operands(names: tuple[str, ...]) -> list[Any]:
    return [values(name, shape) for name in names for shape in ((), (3,))]


# -- the table itself -----------------------------------------------------------------------------


def test_the_table_of_all_pairs_is_torchs() -> None:
    torch = pytest.importorskip("tests.parity").torch
    for a, b in itertools.product(NAMES, repeat=2):
        theirs = getattr(torch, a), getattr(torch, b)
        assert f"torch.{promoted(np.dtype(a), np.dtype(b))}" == str(torch.promote_types(*theirs)), (a, b)
        assert can_cast(np.dtype(a), np.dtype(b)) == torch.can_cast(*theirs), (a, b)
        for first, second in itertools.product(((), (2,)), repeat=2):
            mine = [gpunn.zeros(*first, dtype=a), gpunn.zeros(*second, dtype=b)]
            others = [torch.zeros(first, dtype=theirs[0]), torch.zeros(second, dtype=theirs[1])]
            assert f"torch.{common_dtype(mine)}" == str(torch.result_type(*others)), (a, b, first, second)
            for category, number in enumerate((True, 1, 1.5)):
                got = common_dtype(mine[:1], [category])
                assert f"torch.{got}" == str(torch.result_type(others[0], number)), (a, first, number)


def test_integers_that_no_dtype_holds() -> None:
    with pytest.raises(DTypeError, match="add: int64 and uint64 have no common integer dtype; convert"):
        gpunn.ones(2, dtype="int64") + gpunn.ones(2, dtype="uint64")
    assert promoted(np.dtype("uint16"), np.dtype("uint64")) == np.uint64
    assert promoted(np.dtype("uint64"), np.dtype("float32")) == np.float32


# -- what uses it ---------------------------------------------------------------------------------

OPERATORS = {
    **{name: getattr(operator, name) for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow")},
    **{name: getattr(operator, name) for name in ("eq", "ne", "lt", "le", "gt", "ge", "and_", "or_", "xor")},
}


@each_where
@pytest.mark.parametrize("name", OPERATORS)
def test_operators(where, name) -> None:
    parity = pytest.importorskip("tests.parity")
    f = OPERATORS[name]
    given = operands(NAMES if where == "cpu" else KERNEL_NAMES)
    compared = 0
    for a, b in [*itertools.product(given, repeat=2), *itertools.product(given, NUMBERS)]:
        wide = np.asarray(b).dtype.name if isinstance(b, np.ndarray) else ""
        if where != "cpu" and {a.dtype.name, wide} == {"uint8", "int8"}:
            continue
        for left, right in ((a, b), (b, a)):
            if isinstance(left, np.generic) and not isinstance(left, float):
                continue  # PyTorch lets NumPy have it, which asks for the tensor's elements
            try:
                expected = f(torch_of(parity, left), torch_of(parity, right))
            except (RuntimeError, TypeError):  # what PyTorch refuses, such as bool - bool, is no matter of dtypes
                continue
            if (isinstance(left, bool) or isinstance(right, bool)) and name == "pow" and "bool" in str(expected.dtype):
                continue  # bool ** True, which is the bool itself
            sides = [gpunn.tensor(v, device=where) if isinstance(v, np.ndarray) else v for v in (left, right)]
            got = f(*sides)
            what = (left, right, getattr(left, "dtype", ""), getattr(right, "dtype", ""))
            assert f"torch.{got.dtype}" == str(expected.dtype), what
            # pow of the C library and of NumPy differ in the last bit.
            np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-6, err_msg=str(what))
            compared += 1
    assert compared > 100


def test_numbers_are_not_lost_on_the_way() -> None:
    """A value that float32 does not hold: it must not have been there in between."""
    fine = 1 + 2.0**-40
    a, b = gpunn.tensor([1.0], dtype="float32"), gpunn.tensor([fine], dtype="float64")
    assert (a * b).tolist() == [fine]
    assert (b - a).tolist() == [2.0**-40]
    assert gpunn.where(gpunn.tensor([False]), a, b).tolist() == [fine]
    assert gpunn.cat([a, b]).tolist() == [1.0, fine]
    assert (a < b).item() is True
    assert (a < gpunn.tensor(fine, dtype="float64")).item() is False  # without axes, it becomes a float32
    big = 2**53 + 1
    assert (gpunn.tensor([big]) + gpunn.tensor([0], dtype="int32")).tolist() == [big]
    assert (gpunn.tensor([200], dtype="uint8") + gpunn.tensor([-100], dtype="int8")).tolist() == [100]


@each_where
def test_functions_of_two_tensors(where) -> None:
    parity = pytest.importorskip("tests.parity")
    given = operands(NAMES if where == "cpu" else KERNEL_NAMES)
    mask = np.array([True, False, True])
    functions = {
        "maximum": lambda m, mask, a, b: m.maximum(a, b),
        "minimum": lambda m, mask, a, b: m.minimum(a, b),
        "where": lambda m, mask, a, b: m.where(mask, a, b),
        "clamp low": lambda m, mask, a, b: m.clamp(a, min=b),
        "clamp high": lambda m, mask, a, b: m.clamp(a, max=b),
        "cat": lambda m, mask, a, b: m.cat([a, b, a]),
        "stack": lambda m, mask, a, b: m.stack([a, b]),
        "logical_and": lambda m, mask, a, b: m.logical_and(a, b),
        "logical_or": lambda m, mask, a, b: m.logical_or(a, b),
        "logical_xor": lambda m, mask, a, b: m.logical_xor(a, b),
    }
    for name, f in functions.items():
        compared = 0
        for a, b in itertools.product(given, repeat=2):
            try:
                expected = f(parity.torch, parity.torch.tensor(mask), parity.torch.tensor(a), parity.torch.tensor(b))
            except RuntimeError:  # shapes that do not stack, bools that have no bounds
                continue
            sides = [gpunn.tensor(v, device=where) for v in (mask, a, b)]
            got = f(gpunn, *sides)
            assert f"torch.{got.dtype}" == str(expected.dtype), (name, a.dtype, b.dtype, a.shape, b.shape)
            np.testing.assert_array_equal(got.numpy(), expected.numpy(), err_msg=name)
            compared += 1
        assert compared >= 18, name


@each_where
def test_bounds_and_choices_that_are_numbers(where) -> None:
    parity = pytest.importorskip("tests.parity")
    given = operands(NAMES if where == "cpu" else KERNEL_NAMES)
    mask = np.array([True, False, True])
    for a, b in itertools.product(given, (True, 2, 1.5, 0, np.float64(1.5), np.int64(2), float("nan"))):
        mine, other = gpunn.tensor(a, device=where), parity.torch.tensor(a)
        for bounds in ({"min": b}, {"max": b}, {"min": 0, "max": b}):
            try:
                expected = parity.torch.clamp(other, **bounds)
            except RuntimeError:
                continue
            got = gpunn.clamp(mine, **bounds)
            assert f"torch.{got.dtype}" == str(expected.dtype), (a.dtype, bounds)
            np.testing.assert_array_equal(got.numpy(), expected.numpy())
        here, there = gpunn.tensor(mask, device=where), parity.torch.tensor(mask)
        for got, expected in (
            (gpunn.where(here, mine, b), parity.torch.where(there, other, b)),
            (gpunn.where(here, b, mine), parity.torch.where(there, b, other)),
        ):
            assert f"torch.{got.dtype}" == str(expected.dtype), (a.dtype, b)
            np.testing.assert_array_equal(got.numpy(), expected.numpy())
    for a, b in itertools.product((True, 2, 1.5), repeat=2):
        expected = parity.torch.where(parity.torch.tensor(mask), a, b)
        assert f"torch.{gpunn.where(gpunn.tensor(mask), a, b).dtype}" == str(expected.dtype)


def test_clamp_between_tensors_of_three_dtypes() -> None:
    torch = pytest.importorskip("tests.parity").torch
    for names in itertools.product(("uint8", "int64", "float32", "float64"), repeat=3):
        for shapes in itertools.product(((), (3,)), repeat=3):
            arrays = [values(n, s, start) for n, s, start in zip(names, shapes, (0, 1, 2), strict=True)]
            expected = torch.clamp(*map(torch.tensor, arrays))
            got = gpunn.clamp(*map(gpunn.tensor, arrays))
            assert f"torch.{got.dtype}" == str(expected.dtype), (names, shapes)
            np.testing.assert_array_equal(got.numpy(), expected.numpy())


# -- gradients ------------------------------------------------------------------------------------

DIFFERENTIABLE = {
    "add": lambda m, a, b: a + b,
    "add alpha": lambda m, a, b: m.add(a, b, alpha=0.5),
    "sub": lambda m, a, b: a - b,
    "mul": lambda m, a, b: a * b,
    "div": lambda m, a, b: a / b,
    "pow": lambda m, a, b: a**b,
    "maximum": lambda m, a, b: m.maximum(a, b),
    "minimum": lambda m, a, b: m.minimum(a, b),
    "clamp": lambda m, a, b: m.clamp(a, min=b),
    "where": lambda m, a, b: m.where(a > 1.5, a, b),
}


@each_where
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients_have_each_leafs_own_dtype(where, name) -> None:
    parity = pytest.importorskip("tests.parity")
    f, torch = DIFFERENTIABLE[name], parity.torch
    floats = ("float32", "float64")
    for kinds in itertools.product(floats, floats):
        for shapes in itertools.product(((), (3,), (2, 1)), repeat=2):
            first = values(kinds[0], shapes[0])
            second = values(kinds[1], shapes[1]) + np.dtype(kinds[1]).type(0.25)  # no ties
            # Of two float32 and a float64 each rounds once: a few units in float32's last place.
            parity.compare(
                lambda a, b: f(gpunn if isinstance(a, gpunn.Tensor) else torch, a, b),
                lambda a, b: f(torch, a, b),
                {"a": first, "b": np.asarray(second)},
                where,
                1e-6,
            )


@each_where
def test_gradients_beside_integers(where) -> None:
    parity = pytest.importorskip("tests.parity")
    for name, other in itertools.product(("add", "mul", "div", "maximum"), ("int64", "uint8", "bool")):
        f = DIFFERENTIABLE[name]
        arrays = {"a": values("float32", (3,)) + np.float32(0.25), "b": values(other, (2, 1))}
        parity.compare(lambda a, b, f=f: f(gpunn, a, b), lambda a, b, f=f: f(parity.torch, a, b), arrays, where, 1e-6)


@each_where
@pytest.mark.parametrize("join", ["cat", "stack"])
def test_gradients_of_joined_dtypes(where, join) -> None:
    parity = pytest.importorskip("tests.parity")
    arrays = {"a": values("float32", (3,)), "b": values("float64", (3,)), "c": values("int32", (3,))}
    parity.compare(
        lambda **of: getattr(gpunn, join)(list(of.values())),
        lambda **of: getattr(parity.torch, join)(list(of.values())),
        arrays,
        where,
        0.0,
    )


def test_cat_counts_the_dtype_of_what_it_leaves_out() -> None:
    assert gpunn.cat([gpunn.ones(2), gpunn.zeros(0, dtype="float64")]).dtype == np.float64


# -- losses ---------------------------------------------------------------------------------------


@each_where
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_losses_of_differences(where, name, reduction) -> None:
    parity = pytest.importorskip("tests.parity")
    mine, theirs = getattr(F, name), getattr(parity.torch.nn.functional, name)
    for kinds in (("float32", "float64"), ("float64", "float32"), ("float32", "int64"), ("float64", "uint8")):
        a, b = values(kinds[0], (2, 3)), values(kinds[1], (2, 3), 2)
        parity.compare(
            lambda a, b: mine(a, b, reduction=reduction),
            lambda a, b: theirs(a, b, reduction=reduction),
            {"a": a, "b": b},
            where,
            1e-6,  # each of few float32 operations rounds once
            # PyTorch's own backward pass of this one fails where two dtypes meet.
            no_gradient=("a", "b") if name == "huber_loss" else (),
        )


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"])
def test_losses_of_two_integers_are_refused(name) -> None:
    with pytest.raises(DTypeError, match=f"{name}: input: expected a floating dtype; got int64"):
        getattr(F, name)(gpunn.tensor([1, 2]), gpunn.tensor([1, 3]))


def test_losses_and_layers_that_refuse_two_dtypes_as_pytorch_does() -> None:
    x, w = gpunn.ones(2, 3), gpunn.ones(3, 3, dtype="float64")
    for f in (
        lambda: F.linear(x, w),
        lambda: x @ w,
        lambda: F.conv2d(gpunn.ones(1, 1, 3, 3), gpunn.ones(1, 1, 2, 2, dtype="float64")),
        lambda: F.binary_cross_entropy(x * 0.5, gpunn.ones(2, 3, dtype="float64")),
        lambda: gpunn.nn.BatchNorm1d(3)(gpunn.ones(2, 3, dtype="float64")),
    ):
        with pytest.raises(DTypeError, match=r"float64|float32"):
            f()


# -- in place -------------------------------------------------------------------------------------


@each_where
def test_a_result_that_the_tensor_cannot_hold_is_refused(where) -> None:
    x = gpunn.tensor([1, 2], device=where)
    for change in (
        lambda: x.add_(1.5),
        lambda: x.mul_(gpunn.ones(2, device=where)),
        lambda: x.div_(2),
        lambda: operator.iadd(x, 0.5),
        lambda: operator.itruediv(x, x),
        lambda: gpunn.tensor([True], device=where).add_(1),
    ):
        with pytest.raises((gpunn.errors.UsageError, DTypeError), match=r"float32|int64"):
            change()
    assert x.tolist() == [1, 2]


@pytest.mark.parametrize("name", ["add", "mul", "eq"])
def test_two_things_of_which_none_is_a_tensor(name) -> None:
    f = {"add": gpunn.add, "mul": gpunn.mul, "eq": gpunn.maximum}[name]
    with pytest.raises(DTypeError, match="expected a tensor; got int and float"):
        f(1, 2.0)


@pytest.mark.parametrize("name", ["add_", "sub_", "mul_", "div_"])
def test_in_place_the_tensors_dtype_stays_or_is_refused_as_by_pytorch(name) -> None:
    torch = pytest.importorskip("tests.parity").torch
    for first, second in itertools.product(NAMES, NAMES):
        for other in (values(second, ()), values(second, (3,)), *NUMBERS[:3]):
            a = values(first, (3,), 3)
            mine, theirs = gpunn.tensor(a), torch.tensor(a)
            try:
                expected = getattr(theirs, name)(torch_of(pytest.importorskip("tests.parity"), other))
            except RuntimeError:
                with pytest.raises((gpunn.errors.UsageError, DTypeError)):
                    getattr(mine, name)(gpunn.tensor(other) if isinstance(other, np.ndarray) else other)
                assert mine.numpy().tobytes() == a.tobytes()
                continue
            got = getattr(mine, name)(gpunn.tensor(other) if isinstance(other, np.ndarray) else other)
            assert got is mine
            assert got.dtype == np.dtype(first)
            np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-6, err_msg=f"{first} {name} {other!r}")
