"""What integers and bools cannot do: divide by 0, have negative powers, be subtracted; and logic of any dtype."""

from __future__ import annotations

import operator

import numpy as np
import pytest

import gpunn
from gpunn.errors import DTypeError, GpunnError, UsageError, ZeroDivisorError
from tests.devices import EVERYWHERE

each_where = pytest.mark.parametrize("where", EVERYWHERE)
each_division = pytest.mark.parametrize("name", ["floordiv", "mod"])
KERNEL_INTEGERS = ("uint8", "int32", "int64")


def of(values, dtype, where):
    return gpunn.tensor(values, dtype=dtype, device=where)


# -- division by 0 --------------------------------------------------------------------------------


@each_where
@each_division
def test_an_integer_tensor_divided_by_the_number_0(where, name) -> None:
    f = getattr(operator, name)
    for dtype in KERNEL_INTEGERS:
        x = of([1, 0, 5], dtype, where)
        for zero in (0, False, np.int64(0), np.uint8(0)):
            with pytest.raises(ZeroDivisorError, match="an integer cannot be divided by 0"):
                f(x, zero)
        assert f(x, 2).dtype == np.dtype(dtype)
    with pytest.raises(ZeroDivisionError):  # Python's own class says so too
        f(of([1], "int64", where), 0)


@each_where
@each_division
def test_a_divisor_tensor_with_a_0_in_it(where, name) -> None:
    f = getattr(operator, name)
    for dtype in KERNEL_INTEGERS:
        divisor = of([[3, 2], [0, 1]], dtype, where)
        for dividend in (of([[1, 2], [3, 4]], dtype, where), of(7, dtype, where), 7, of([7, 8], dtype, where)):
            with pytest.raises(ZeroDivisorError, match="divided by 0, which stands at position 2 of the divisor"):
                f(dividend, divisor).tolist()
            # The device is usable afterwards.
            assert f(dividend, divisor + of(4, dtype, where)).numpy().min() >= 0


@each_where
@each_division
def test_whatever_dtype_makes_the_quotient_an_integer(where, name) -> None:
    f = getattr(operator, name)
    for dividend, divisor in (("int64", "bool"), ("bool", "int64"), ("uint8", "int32"), ("int32", "uint8")):
        with pytest.raises(ZeroDivisorError, match="divided by 0"):
            f(of([1, 1], dividend, where), of([1, 0], divisor, where)).tolist()


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "uint64"])
@each_division
def test_integers_that_kernels_do_not_know(name, dtype) -> None:
    with pytest.raises(ZeroDivisorError, match="position 1"):
        getattr(operator, name)(gpunn.tensor([1, 2], dtype=dtype), gpunn.tensor([1, 0], dtype=dtype))


@each_where
@each_division
def test_floats_divided_by_0_are_not_refused(where, name) -> None:
    f = getattr(operator, name)
    for x, zero in ((of([1.0], "float32", where), 0), (of([1], "int64", where), 0.0)):
        assert not np.isfinite(f(x, zero).numpy()).any()
    assert not np.isfinite(f(of([1], "int64", where), of([0.0], "float32", where)).numpy()).any()
    assert (of([1, -1, 0], "int64", where) / 0).numpy()[:2].tolist() == [np.inf, -np.inf]


@each_where
@each_division
def test_where_there_is_nothing_there_is_no_0_to_divide_by(where, name) -> None:
    f = getattr(operator, name)
    nothing = gpunn.zeros(0, dtype="int64", device=where)
    assert f(nothing, 0).shape == (0,)
    assert f(nothing, of([0], "int64", where)).shape == (0,)
    assert f(of([0], "int64", where), nothing).shape == (0,)
    where_synchronised = of([1], "int64", where).tolist()  # reports what a kernel found, if it did
    assert where_synchronised == [1]


@each_division
def test_the_message_names_the_layer(kernels, name) -> None:
    class Divide(gpunn.nn.Module):
        def forward(self, x):
            return getattr(operator, name)(x, x)

    model = gpunn.nn.Sequential(Divide())
    for device in ("cpu", kernels):
        with pytest.raises(ZeroDivisorError, match=r"^0 \(Divide\): an integer"):
            model(of([1, 0], "int64", device)).tolist()


@each_where
def test_number_on_the_left(where) -> None:
    x = of([2, -3], "int64", where)
    assert (7 // x).tolist() == [3, -3]
    assert (7 % x).tolist() == [1, -2]
    assert (7.5 // x).tolist() == [3.0, -3.0]


# -- powers ---------------------------------------------------------------------------------------


@each_where
def test_negative_powers_of_integers(where) -> None:
    for dtype in (*KERNEL_INTEGERS, "bool"):
        x = of([1, 1], dtype, where)
        for exponent in (-1, np.int64(-2), np.int8(-1)):
            with pytest.raises(UsageError, match="integers have no negative powers"):
                x**exponent
    for dtype in ("int32", "int64"):
        exponent = of([[0, 1], [-1, 2]], dtype, where)
        for base in (of([2, 3], dtype, where), 2, of([True, False], "bool", where), of([[2], [3]], "uint8", where)):
            with pytest.raises(UsageError, match="the exponent at position 2 is negative"):
                (base**exponent).tolist()
            assert (base ** exponent.abs()).shape == (2, 2)
    assert (of([2, 4], "int64", where) ** -1.0).tolist() == [0.5, 0.25]
    assert (of([2.0, 4.0], "float32", where) ** -1).tolist() == [0.5, 0.25]
    assert (of([2.0, 4.0], "float32", where) ** np.int64(-1)).tolist() == [0.5, 0.25]
    assert (of([2.0, 4.0], "float32", where) ** of([-1, -2], "int64", where)).tolist() == [0.5, 0.0625]


def test_negative_powers_of_small_integers() -> None:
    with pytest.raises(UsageError, match="position 0 is negative"):
        gpunn.tensor([2], dtype="int8") ** gpunn.tensor([-1], dtype="int16")


def test_an_exponent_tensor_is_not_waited_for(kernels) -> None:
    """The check of a tensor's exponents and divisors is part of a captured step, as everything else."""
    x, n = of([2, 3], "int64", kernels), of([2, 0], "int64", kernels)

    def step(x, n):
        return (x**n).float(), (x // (n + 1)).float()

    captured = gpunn.capture(step)
    for _ in range(3):
        powers, quotients = captured(x, n)
        assert powers.tolist() == [4.0, 1.0]
        assert quotients.tolist() == [0.0, 3.0]


# -- bools ----------------------------------------------------------------------------------------


@each_where
def test_bools_have_no_difference_and_no_opposite_number(where) -> None:
    b = of([True, False], "bool", where)
    with pytest.raises(DTypeError, match=r"neg: the - of a bool is not defined. The opposite is ~x"):
        _ = -b
    with pytest.raises(DTypeError, match="neg"):
        b.neg()
    for other in (b, True, 1, 1.5, of([1, 2], "int64", where), of([1.0], "float32", where), of(True, "bool", where)):
        for left, right in ((b, other), (other, b)):
            with pytest.raises(DTypeError, match=r"sub: the - of a bool is not defined.*logical_xor.*logical_not"):
                left - right
    with pytest.raises(DTypeError, match="sub"):
        gpunn.sub(b, b, alpha=2)
    with pytest.raises(GpunnError):
        b -= b
    for dtype in ("int64", "float32"):
        x = of([1, 2], dtype, where)
        for other in (True, np.bool_(False), b, of(True, "bool", where), np.array([True, False])):
            for change in (lambda: x - other, lambda: x.sub_(other), lambda: other - x):  # noqa: B023
                with pytest.raises(DTypeError, match="the - of a bool is not defined"):
                    change()
        assert x.tolist() == [1, 2]
    for f in (operator.floordiv, operator.mod, operator.pow):
        with pytest.raises(DTypeError, match="expected numbers; got bools"):
            f(b, b)


@each_where
def test_negated_integers(where) -> None:
    for dtype in KERNEL_INTEGERS:
        values = np.array([0, 1, 7], dtype)
        assert (-of(values, dtype, where)).numpy().tobytes() == (-values).tobytes(), dtype
    assert (-gpunn.tensor([-128, 5], dtype="int8")).tolist() == [-128, -5]


@each_where
def test_alpha_has_the_operands_category(where) -> None:
    i, b = of([1, 2], "int64", where), of([True, False], "bool", where)
    assert gpunn.add(i, i, alpha=3).tolist() == [4, 8]
    assert gpunn.add(i, 5, alpha=2).tolist() == [11, 12]
    assert gpunn.sub(i, i, alpha=np.int64(2)).tolist() == [-1, -2]
    assert gpunn.add(i, of([1.0, 1.0], "float32", where), alpha=0.5).tolist() == [1.5, 2.5]
    for call in (
        lambda: gpunn.add(i, i, alpha=1.5),
        lambda: gpunn.sub(i, 1, alpha=0.5),
        lambda: gpunn.add(b, b, alpha=2.0),
        lambda: gpunn.add(i, i, alpha=None),
    ):
        with pytest.raises(DTypeError, match="alpha: expected a number of the operands' dtype"):
            call()


# -- logic ----------------------------------------------------------------------------------------

MIXED: dict[str, list] = {
    "bool": [True, False, True, False],
    "uint8": [0, 1, 2, 255],
    "int32": [0, 1, -2, 7],
    "int64": [0, 2**40, -1, 0],
    "float32": [0.0, -0.0, 0.25, float("nan")],
    "float64": [1e-300, 0.0, float("inf"), -1.0],
}


@each_where
@pytest.mark.parametrize("dtype", MIXED)
def test_logical_not_is_of_the_value_in_all_spellings(where, dtype) -> None:
    x = of(MIXED[dtype], dtype, where)
    expected = [not v for v in MIXED[dtype]]
    for got in (gpunn.logical_not(x), x.logical_not()):
        assert got.dtype == bool
        assert got.tolist() == expected


@each_where
@pytest.mark.parametrize("dtype", MIXED)
def test_the_tilde_is_bitwise(where, dtype) -> None:
    x = of(MIXED[dtype], dtype, where)
    for f in (operator.invert, gpunn.bitwise_not, lambda x: x.bitwise_not()):
        if "float" in dtype:
            with pytest.raises(DTypeError, match=f"expected bools or integers; got {dtype}"):
                f(x)
        else:
            assert f(x).numpy().tobytes() == np.invert(np.array(MIXED[dtype], dtype)).tobytes()


@each_where
@pytest.mark.parametrize("name", ["and", "or", "xor"])
def test_logical_and_bitwise_functions(where, name) -> None:
    truth = {"and": lambda a, b: bool(a) and bool(b), "or": lambda a, b: bool(a) or bool(b)}
    truth["xor"] = lambda a, b: bool(a) != bool(b)
    logical, bitwise = getattr(gpunn, f"logical_{name}"), getattr(gpunn, f"bitwise_{name}")
    for first, a in MIXED.items():
        x = of(a, first, where)
        for second, b in MIXED.items():
            y = of(b, second, where)
            expected = [truth[name](u, v) for u, v in zip(a, b, strict=True)]
            for got in (logical(x, y), getattr(x, f"logical_{name}")(y)):
                assert got.dtype == bool
                assert got.tolist() == expected, (first, second)
            if "float" in first + second:
                with pytest.raises(DTypeError, match=f"use gpunn.logical_{name}"):
                    bitwise(x, y)
            else:
                assert bitwise(x, y).tolist() == getattr(operator, f"{name}_" if name != "xor" else name)(x, y).tolist()
        for number in (0, 2, 0.0, 0.5, True, np.int64(0), float("nan")):
            assert logical(x, number).tolist() == [truth[name](u, number) for u in a], (first, number)
    assert logical(of([[0], [2]], "int64", where), of([0.0, 0.5], "float32", where)).shape == (2, 2)
