"""Makers of tensors: dtypes, shapes and keywords as PyTorch's, what comes out of ranges, and what is refused."""

from __future__ import annotations

import collections
import enum
import math
from typing import Any

import numpy as np
import pytest

import gpunn as typed
from gpunn.errors import DeviceError, DTypeError, GpunnError, ShapeError, UsageError
from tests.devices import EVERYWHERE

gpunn: Any = typed  # its signatures have our names only
each_where = pytest.mark.parametrize("where", EVERYWHERE)
BY_SHAPE = ("zeros", "ones", "empty", "rand", "randn")
LIKE = ("zeros_like", "ones_like", "empty_like", "rand_like", "randn_like")
NAN, INF = float("nan"), float("inf")


def same(got: Any, expected: Any) -> None:
    """Of gpunn and of PyTorch: dtype, shape, every bit."""
    assert f"torch.{got.dtype}" == str(expected.dtype)
    assert got.shape == tuple(expected.shape)
    assert got.numpy().tobytes() == expected.detach().numpy().tobytes(), (got, expected)
    assert got.requires_grad == expected.requires_grad


# -- dtypes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BY_SHAPE)
def test_dtype_none_is_float32(name) -> None:
    make = getattr(gpunn, name)
    assert make(2, dtype=None).dtype == make(2).dtype == np.float32
    assert gpunn.eye(2, dtype=None).dtype == gpunn.linspace(0, 1, 2, dtype=None).dtype == np.float32
    assert gpunn.scalar_tensor(2, dtype=None).dtype == np.float32
    assert gpunn.randint(3, (2,), dtype=None).dtype == gpunn.randperm(3, dtype=None).dtype == np.int64
    assert gpunn.full((2,), 1.5, dtype=None).dtype == np.float32
    like = gpunn.ones(2, dtype="float64")
    assert gpunn.zeros_like(like, dtype=None).dtype == like.new_zeros(2, dtype=None).dtype == np.float64


def test_every_way_to_name_a_dtype() -> None:
    torch = pytest.importorskip("tests.parity").torch
    for dtype, expected in (
        (gpunn.float32, np.float32),
        (gpunn.long, np.int64),
        (float, np.float64),
        (int, np.int64),
        (bool, np.bool_),
        ("float64", np.float64),
        ("uint8", np.uint8),
        ("f4", np.float32),
        (np.float32, np.float32),
        (np.dtype("int16"), np.int16),
        (np.dtype(">f8"), np.float64),
        (torch.float64, np.float64),
        (torch.bool, np.bool_),
    ):
        for made in (
            gpunn.zeros(2, dtype=dtype),
            gpunn.tensor([1, 0], dtype=dtype),
            gpunn.tensor(np.ones(2), dtype=dtype),
            gpunn.ones(2).to(dtype=dtype),
            gpunn.full((2,), 1, dtype=dtype),
        ):
            assert made.dtype == np.dtype(expected), dtype
            assert made.dtype.isnative
    for dtype in (float, int, bool):  # PyTorch's meaning of Python's types
        assert f"torch.{gpunn.zeros(1, dtype=dtype).dtype}" == str(torch.zeros(1, dtype=dtype).dtype)


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        ("flaot32", "dtype: expected one such as gpunn.float32 or 'int64'; got 'flaot32'; did you mean 'float32'"),
        ("torch.floaty", "dtype: expected one such as"),
        (7, "got 7"),
        (object(), "dtype: expected one such as"),
        ("float128", "is not supported|dtype: expected one such as"),  # not every machine has it
        (np.complex64, "complex64 is not supported"),
        (object, "an array of objects is not supported"),
        ("U4", "is not supported"),
        ([("a", "f4")], "a structured dtype is not supported"),
        ("M8[s]", "is not supported"),
    ],
)
def test_unknown_dtypes_are_refused_by_all(dtype, message) -> None:
    for op, make in {
        "zeros": lambda: gpunn.zeros(2, dtype=dtype),
        "full": lambda: gpunn.full((2,), 1, dtype=dtype),
        "arange": lambda: gpunn.arange(3, dtype=dtype),
        "linspace": lambda: gpunn.linspace(0, 1, 3, dtype=dtype),
        "eye": lambda: gpunn.eye(3, dtype=dtype),
        "randn": lambda: gpunn.randn(3, dtype=dtype),
        "randint": lambda: gpunn.randint(3, (2,), dtype=dtype),
        "randperm": lambda: gpunn.randperm(3, dtype=dtype),
        "tensor": lambda: gpunn.tensor([1.0], dtype=dtype),
        "as_tensor": lambda: gpunn.as_tensor([1.0], dtype=dtype),
        "asarray": lambda: gpunn.asarray(np.ones(2), dtype=dtype),
        "zeros_like": lambda: gpunn.zeros_like(gpunn.ones(2), dtype=dtype),
        "new_ones": lambda: gpunn.ones(2).new_ones(2, dtype=dtype),
    }.items():
        with pytest.raises(DTypeError, match=f"^{op}: .*{message}"):
            make()


# -- shapes ---------------------------------------------------------------------------------------


@each_where
@pytest.mark.parametrize("name", BY_SHAPE)
def test_shapes_of_every_kind(where, name) -> None:
    make = getattr(gpunn, name)
    for shape in (
        (2, 3),
        ((2, 3),),
        ([2, 3],),
        (np.array([2, 3]),),
        (gpunn.tensor([2, 3]),),
        (gpunn.ones(2, 3).shape,),
        (gpunn.ones(2, 3).size(),),
        ((n for n in (2, 3)),),
        (range(2, 4),),
        (np.int64(2), np.uint8(3)),
        (gpunn.tensor(2), 3),
        ([gpunn.tensor(2), np.int8(3)],),
    ):
        assert make(*shape, device=where).shape == (2, 3), shape
    assert make(size=(2, 3), device=where).shape == (2, 3)
    assert make((), device=where).shape == make([], device=where).shape == ()
    assert make(0, device=where).shape == (0,)
    assert make(2, 0, 3, device=where).shape == (2, 0, 3)


@pytest.mark.parametrize("shape", [-1, 2.5, 2.0, "a", "12", b"12", None, True, {}, {2: 3}, object(), 1j, NAN])
def test_what_is_no_shape(shape) -> None:
    for name in BY_SHAPE:
        for given in ((shape,), (2, shape), ((shape,),), ([3, shape],)):
            with pytest.raises(UsageError, match=f"^{name}: shape: expected whole numbers of at least 0; got"):
                getattr(gpunn, name)(*given)
    for op, make in {
        "full": lambda: gpunn.full((2, shape), 1.0),
        "randint": lambda: gpunn.randint(3, (2, shape)),
        "new_zeros": lambda: gpunn.ones(2).new_zeros(shape),
        "new_full": lambda: gpunn.ones(2).new_full((shape,), 1),
        "new_empty": lambda: gpunn.ones(2).new_empty((shape, 2)),
    }.items():
        with pytest.raises(UsageError, match=f"^{op}: shape: expected whole numbers of at least 0"):
            make()


def test_shapes_that_no_array_has() -> None:
    for shape in ((2**62, 2**62), (2**70,), (0, 2**62), (1,) * 33, (2**40, 2**30)):
        for make in (gpunn.zeros, gpunn.empty, gpunn.randn):
            with pytest.raises(UsageError, match=r"shape: \(.*\) is more than any array holds"):
                make(*shape)
    with pytest.raises(UsageError, match="eye: shape:"):
        gpunn.eye(2**35, 2**35)


# -- numbers --------------------------------------------------------------------------------------


@each_where
def test_full_takes_pytorchs_dtypes_and_numbers(where) -> None:
    parity = pytest.importorskip("tests.parity")
    for number in (True, 3, 1.5, np.float64(1.5), np.float32(1.5), np.int8(1), np.array(2.5), -0.0, INF, NAN):
        for dtype in (None, "float32", "float64", "int64", "uint8", "bool"):
            if isinstance(number, float) and not math.isfinite(number) and dtype in ("int64", "uint8"):
                continue
            theirs = None if dtype is None else getattr(parity.torch, dtype)
            plain = number.item() if isinstance(number, np.ndarray) else number
            same(gpunn.full((2, 3), number, dtype=dtype, device=where), parity.torch.full((2, 3), plain, dtype=theirs))
    assert gpunn.full((2,), gpunn.tensor(2.5, dtype="float64")).dtype == np.float32  # a number, as in PyTorch
    assert gpunn.full((2,), gpunn.tensor(2)).dtype == np.int64


@pytest.mark.parametrize(
    ("number", "dtype"),
    [
        *((300, "uint8"), (-1, "uint8"), (256, "uint8"), (2**63, None), (-(2**63) - 1, None), (2**40, "int32")),
        *((128, "int8"), (NAN, "int64"), (INF, "int32"), (-INF, "uint8"), (1e30, "int64"), (255.9e3, "uint8")),
        *((10**400, "float64"), (10**39, "float32"), (float(2**63), "int64"), (1e300, None)),
    ],
)
def test_numbers_that_do_not_fit(number, dtype) -> None:
    x = gpunn.zeros(2, dtype="float32" if dtype is None and isinstance(number, float) else dtype or "int64")
    for op, make in {
        "full": lambda: gpunn.full((2,), number, dtype=dtype),
        "full_like": lambda: gpunn.full_like(x, number),
        "new_full": lambda: x.new_full((2,), number),
        "scalar_tensor": lambda: gpunn.scalar_tensor(number, dtype=x.dtype),
    }.items():
        with pytest.raises(DTypeError, match=f"^{op}: .*: .* does not fit into {x.dtype}. Pass another dtype"):
            make()
    if x.dtype.kind != "f":
        with pytest.raises(DTypeError, match=f"^tensor: .*does not fit into {x.dtype}"):
            gpunn.tensor([0, number], dtype=x.dtype)


def test_the_ends_of_each_integer_dtype_fit() -> None:
    for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"):
        least, most = int(np.iinfo(name).min), int(np.iinfo(name).max)
        for number in (least, most):
            assert gpunn.full((2,), number, dtype=name).tolist() == [number] * 2
            assert gpunn.tensor([number, 0], dtype=name).tolist() == [number, 0]
            assert gpunn.arange(number, number + 1, dtype=name).tolist() == [number]
            assert gpunn.linspace(number, number, 2, dtype=name).tolist() == [number] * 2
            assert gpunn.randint(number, number + 1, (2,), dtype=name).tolist() == [number] * 2
        for beyond in (least - 1, most + 1):
            for make in (
                lambda n=beyond: gpunn.full((2,), n, dtype=name),  # noqa: B023
                lambda n=beyond: gpunn.tensor([n], dtype=name),  # noqa: B023
                lambda n=beyond: gpunn.arange(n, n + 1, dtype=name),  # noqa: B023
                lambda n=beyond: gpunn.linspace(0, n, 2, dtype=name),  # noqa: B023
                lambda n=beyond: gpunn.randint(n, n + 1, (2,), dtype=name),  # noqa: B023
            ):
                with pytest.raises(DTypeError, match=f"does not fit into {name}"):
                    make()


@pytest.mark.parametrize("number", ["a", None, 1j, [1], np.ones(2), {}, object()])
def test_what_is_no_number(number) -> None:
    for op, make in {
        "full": lambda: gpunn.full((2,), number),
        "full_like": lambda: gpunn.full_like(gpunn.ones(2), number),
        "scalar_tensor": lambda: gpunn.scalar_tensor(number),
        "arange": lambda: gpunn.arange(0, number if number is not None else "a"),
        "linspace": lambda: gpunn.linspace(0, number, 3),
    }.items():
        with pytest.raises(DTypeError, match=f"^{op}: .*: expected a real number; got"):
            make()


# -- counted --------------------------------------------------------------------------------------

INTEGERS: list[tuple[float, ...]] = [(3,), (0,), (2, 7), (-3, 3), (0, 10, 3), (5, 0, -2), (0, -3, -1)]
INTEGERS += [(2**53, 2**53 + 4), (2**62, 2**62 + 3)]
INTEGERS += [(-(2**63), -(2**63) + 3), (2**63 - 3, 2**63 - 1), (True,), (0, 3, True), (3, 3), (3, 3, -1)]
FRACTIONS = [(3.0,), (1000, 1001, 0.001), (0, 1, 0.1), (0.5, 5.7), (1, 0, -0.1), (0, 1e30, 1e29), (-1.0, 1.0, 0.3)]
FRACTIONS += [(0, 2**24 + 3, 2.0**20), (1e-3, 1e-2, 1e-3), (0, 5, 1.5), (100000.0, 100001.0, 0.0625), (2.0, 2.0)]


@pytest.mark.parametrize("bounds", INTEGERS + FRACTIONS)
def test_arange_is_pytorchs(bounds) -> None:
    parity = pytest.importorskip("tests.parity")
    torch = parity.torch
    for name in (None, "float32", "float64"):
        got = gpunn.arange(*bounds, dtype=name)
        expected = torch.arange(*bounds, dtype=None if name is None else getattr(torch, name))
        if got.dtype.kind == "i":
            same(got, expected)
        else:  # PyTorch rounds once where it begins a vector, and once more for each number in it
            tolerance = 2.0**-23 if got.dtype == np.float32 else 2.0**-52
            parity.close("arange", got.numpy(), expected.numpy(), tolerance)
    if bounds in INTEGERS and max(map(abs, bounds)) < 100:
        for name in ("int32", "int8", "int16"):
            same(gpunn.arange(*bounds, dtype=name), torch.arange(*bounds, dtype=getattr(torch, name)))


def test_arange_does_not_lose_its_step() -> None:
    """Added up in float32, 1000 steps of 0.001 would end 1e-3 beside; each is rounded once from float64."""
    got = gpunn.arange(1000, 1001, 0.001).numpy()
    exact = 1000 + np.arange(1000) * 0.001
    assert got.tobytes() == exact.astype(np.float32).tobytes()
    ends = -(2**63), 2**63 - 1
    assert gpunn.arange(*ends, 2**62).tolist() == [-(2**63), -(2**62), 0, 2**62]
    assert gpunn.arange(2**63 - 1, -(2**63), -(2**63)).tolist() == [2**63 - 1, -1]


@each_where
def test_arange_takes_numpys_numbers_and_tensors(where) -> None:
    for n in (np.int64(3), np.int8(3), np.uint32(3), gpunn.tensor(3), np.array(3)):
        made = gpunn.arange(n, device=where)
        assert made.dtype == np.int64
        assert made.tolist() == [0, 1, 2]
        assert gpunn.arange(np.int64(1), n, np.int32(1), device=where).dtype == np.int64
    for n in (np.float64(3), np.float32(3), gpunn.tensor(3.0)):
        assert gpunn.arange(n, device=where).dtype == np.float32
    assert gpunn.arange(end=3).tolist() == gpunn.arange(start=0, end=3, step=1).tolist() == [0, 1, 2]
    assert gpunn.arange(5.0, dtype="int32").tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("bounds", "dtype", "error", "message"),
    [
        ((0, 3, 0), None, UsageError, "step: expected another number than 0; got 0"),
        ((0, 3, -0.0), None, UsageError, "step: expected another number than 0"),
        ((3, 0), None, UsageError, "a step of 1 does not lead from 3 to 0"),
        ((0, 3, -1), None, UsageError, "a step of -1 does not lead from 0 to 3"),
        ((-3,), None, UsageError, "does not lead from 0 to -3"),
        ((0, NAN), None, UsageError, "expected finite numbers; got start 0.0, end nan"),
        ((INF,), None, UsageError, "expected finite numbers"),
        ((0, 1, NAN), None, UsageError, "expected finite numbers"),
        ((0, 2**63), None, UsageError, "numbers are more than any array holds"),
        ((0, 1e30), None, UsageError, "more than any array holds"),
        ((0.0, 1.0, 5e-324), None, UsageError, "more than any array holds"),
        ((250, 260), "uint8", DTypeError, "the last number: 259 does not fit into uint8"),
        ((-2, 3), "uint8", DTypeError, "start: -2 does not fit into uint8"),
        ((2**40, 2**40 + 3), "int32", DTypeError, "does not fit into int32"),
        ((2**63, 2**63 + 2), None, DTypeError, "does not fit into int64"),
        ((0, 5, 0.5), "int64", UsageError, "step: expected a whole number for dtype int64; got 0.5"),
        ((0.5, 5), "int64", UsageError, "start: expected a whole number"),
        ((0, 2.5), "int32", UsageError, "end: expected a whole number"),
        ((0, 3), "bool", DTypeError, "expected a dtype of numbers; got bool"),
        ((), None, DTypeError, "end: expected a real number; got NoneType"),
    ],
)
def test_arange_refuses(bounds, dtype, error, message) -> None:
    with pytest.raises(error, match=f"^arange: .*{message}"):
        gpunn.arange(*bounds, dtype=dtype)


@pytest.mark.parametrize("ends", [(0, 1), (-3, 3), (0, 10), (10, 0), (5, 5), (-7.5, 1e4), (0.1, 0.3), (1e-30, 1e30)])
@pytest.mark.parametrize("steps", [0, 1, 2, 3, 4, 5, 11, 100])
def test_linspace_is_pytorchs(ends, steps) -> None:
    parity = pytest.importorskip("tests.parity")
    torch = parity.torch
    # PyTorch has the step in float32: 100 of them are off by a few units in the last place of the largest number.
    for name, tolerance in (("float32", 1e-6), ("float64", 1e-15)):
        got, expected = (
            gpunn.linspace(*ends, steps, dtype=name),
            torch.linspace(*ends, steps, dtype=getattr(torch, name)),
        )
        parity.close("linspace", got.numpy(), expected.numpy(), tolerance)
        if steps > 1:
            assert [got[0].item(), got[-1].item()] == [expected[0].item(), expected[-1].item()]
    if all(isinstance(v, int) for v in ends):
        for name in ("int64", "int32", "int8"):
            same(gpunn.linspace(*ends, steps, dtype=name), torch.linspace(*ends, steps, dtype=getattr(torch, name)))


def test_linspace_of_large_integers_has_its_ends() -> None:
    assert gpunn.linspace(0, 2**53 + 1, 3, dtype="int64").tolist() == [0, 2**52, 2**53 + 1]
    assert gpunn.linspace(-(2**63), 2**63 - 1, 2, dtype="int64").tolist() == [-(2**63), 2**63 - 1]
    assert gpunn.linspace(0, 2**64 - 1, 3, dtype="uint64").tolist()[-1] == 2**64 - 1
    assert gpunn.linspace(0, np.int64(4), np.int32(3)).tolist() == [0, 2, 4]
    assert np.isnan(gpunn.linspace(0, INF, 3).numpy()).all()  # as PyTorch


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 1, -1), UsageError, "steps: expected a whole number of at least 0; got -1"),
        ((0, 1, 2.0), UsageError, "steps: expected a whole number of at least 0; got 2.0"),
        ((0, 1, None), UsageError, "steps:"),
        ((0, 1, True), UsageError, "steps:"),
        ((0, 300, 4, "uint8"), DTypeError, "end: 300 does not fit into uint8"),
        ((-5, 5, 4, "uint8"), DTypeError, "start: -5 does not fit"),
        ((0.9, 10, 4, "int64"), UsageError, "start: expected a whole number for dtype int64; got 0.9"),
        ((0, 1, 3, "bool"), DTypeError, "expected a dtype of numbers"),
        ((0, 1e300, 3), DTypeError, "does not fit into float32"),
    ],
)
def test_linspace_refuses(arguments, error, message) -> None:
    with pytest.raises(error, match=f"^linspace: .*{message}"):
        gpunn.linspace(*arguments)


@pytest.mark.parametrize("size", [-1, 2.0, "a", True, None])
def test_eye_and_randperm_refuse_what_is_no_count(size) -> None:
    for make, name in ((gpunn.eye, "n"), (gpunn.randperm, "n"), (lambda m: gpunn.eye(2, m), "m")):
        if size is None and name == "m":
            continue
        with pytest.raises(UsageError, match=f"{name}: expected a whole number of at least 0; got {size!r}"):
            make(size)


# -- drawn ----------------------------------------------------------------------------------------


def test_randint_has_the_numbers_it_had() -> None:
    """The stream of a seed, pinned: what floor(u * span) made of it."""
    gpunn.manual_seed(7)
    u = gpunn.Generator(7).uniform(0, 1, (6,), np.float64)
    assert gpunn.randint(10, (6,)).tolist() == np.floor(u * 10).tolist()
    assert (
        gpunn.randint(-5, 2**31, (4,), generator=gpunn.Generator(7)).tolist()
        == (np.floor(u[:4] * (2**31 + 5)) - 5).tolist()
    )


@pytest.mark.parametrize(
    ("low", "high"), [(0, 2**63), (-(2**63), 2**63), (0, 3 * 2**51), (-(2**60), 2**61), (5, 2**54)]
)
def test_randint_of_wide_spans_is_random_in_every_digit(low, high) -> None:
    gpunn.manual_seed(1)
    count = 3000
    drawn = gpunn.randint(low, high, (count,)).numpy()
    assert low <= int(drawn.min())
    assert int(drawn.max()) < high
    assert len(np.unique(drawn)) > count - 5
    for modulus in (2, 3, 5, 8):
        found = np.bincount(drawn % modulus, minlength=modulus) / count
        # Five standard deviations of a share.
        assert np.abs(found - 1 / modulus).max() < 5 * math.sqrt(1 / modulus / count), (modulus, found)
    assert abs((drawn < (low + high) // 2).mean() - 0.5) < 5 * 0.5 / math.sqrt(count)


def test_randint_of_all_unsigned_numbers() -> None:
    drawn = gpunn.randint(0, 2**64, (2000,), dtype="uint64").numpy()
    assert abs((drawn > 2**63).mean() - 0.5) < 5 * 0.5 / math.sqrt(2000)
    assert drawn.dtype == np.uint64


def test_randint_takes_pytorchs_arguments() -> None:
    for made in (
        gpunn.randint(3, (2, 5)),
        gpunn.randint(0, 3, (2, 5)),
        gpunn.randint(high=3, size=(2, 5)),
        gpunn.randint(3, size=(2, 5)),
        gpunn.randint(low=0, high=3, size=[2, 5]),
        gpunn.randint(np.int64(3), (np.int64(2), np.int8(5))),
        gpunn.randint(gpunn.tensor(3), gpunn.ones(2, 5).shape),
        gpunn.randint_like(gpunn.zeros(2, 5, dtype="int64"), 3),
        gpunn.randint_like(gpunn.zeros(2, 5, dtype="int64"), 0, 3),
    ):
        assert made.shape == (2, 5)
        assert made.dtype == np.int64
        assert set(made.reshape(-1).tolist()) <= {0, 1, 2}
    for name in ("bool", "uint8", "int32", "float32", "float64"):
        assert set(gpunn.randint(0, 2, (50,), dtype=name).tolist()) == {0, 1}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, (2,)), UsageError, "expected low < high; got 0 and 0"),
        ((3, 1, (2,)), UsageError, "expected low < high; got 3 and 1"),
        ((3, 3, (0,)), UsageError, "expected low < high"),
        ((2.5, (2,)), UsageError, "high: expected a whole number; got 2.5"),
        ((0, 2.0, (2,)), UsageError, "high: expected a whole number; got 2.0"),
        ((True, (2,)), UsageError, "high: expected a whole number; got True"),
        (("a", (2,)), UsageError, "high: expected a whole number; got 'a'"),
        ((0, 300, (2,), "uint8"), DTypeError, "299 does not fit into uint8"),
        ((-1, 3, (2,), "uint8"), DTypeError, "-1 does not fit into uint8"),
        ((0, 3, (2,), "bool"), DTypeError, "2 does not fit into bool"),
        ((0, 2**64, (2,)), DTypeError, "does not fit into int64"),
        ((0, 2**26, (2,), "float32"), DTypeError, "does not fit into float32"),
        ((3,), UsageError, "expected low, high and size, or high and size"),
        ((0, 3, (-1,)), UsageError, "shape: expected whole numbers of at least 0"),
    ],
)
def test_randint_refuses(arguments, error, message) -> None:
    with pytest.raises(error, match=f"^randint: .*{message}"):
        gpunn.randint(*arguments)


def test_randperm_fits_its_dtype() -> None:
    assert sorted(gpunn.randperm(256, dtype="uint8").tolist()) == list(range(256))
    assert gpunn.randperm(np.int64(3), dtype="float32").dtype == np.float32
    assert gpunn.randperm(0).shape == (0,)
    for n, dtype in ((257, "uint8"), (129, "int8"), (2**25, "float32")):
        with pytest.raises(DTypeError, match=f"randperm: {n - 1} does not fit into {dtype}"):
            gpunn.randperm(n, dtype=dtype)
    with pytest.raises(DTypeError, match="expected a dtype of numbers"):
        gpunn.randperm(2, dtype="bool")


def test_rand_never_reaches_its_end() -> None:
    """A float64 within half a float32's last place below 1 would be rounded to 1."""

    class AlmostOne:
        def random(self, shape):
            return np.full(shape, 1 - 2.0**-53)

    generator: Any = gpunn.Generator(0)
    generator._host = AlmostOne()
    for dtype in ("float32", "float64"):
        assert gpunn.rand(3, dtype=dtype, generator=generator).numpy().max() < 1
        assert gpunn.empty(3, dtype=dtype).uniform_(1, 2, generator=generator).numpy().max() < 2
        assert gpunn.empty(3, dtype=dtype).uniform_(-3, -1, generator=generator).numpy().max() < -1


@pytest.mark.parametrize("name", ["rand", "randn", "rand_like", "randn_like"])
def test_uniform_and_gaussian_integers_are_refused(name) -> None:
    given = gpunn.ones(2) if name.endswith("like") else 2
    for dtype in ("int64", "bool", "uint8"):
        with pytest.raises(DTypeError, match=f"{name}: expected a floating dtype; got {dtype}"):
            getattr(gpunn, name)(given, dtype=dtype)


@pytest.mark.parametrize("generator", [5, "a", np.random.default_rng(0), 0, False])
def test_what_is_no_generator(generator) -> None:
    for op, make in {
        "rand": lambda: gpunn.rand(2, generator=generator),
        "randn_like": lambda: gpunn.randn_like(gpunn.ones(2), generator=generator),
        "randint": lambda: gpunn.randint(3, (2,), generator=generator),
        "randperm": lambda: gpunn.randperm(3, generator=generator),
    }.items():
        with pytest.raises(UsageError, match=f"^{op}: generator: expected a gpunn.Generator or None; got"):
            make()


# -- keywords -------------------------------------------------------------------------------------

FACTORIES: dict[str, Any] = {
    **{name: lambda name=name, **k: getattr(gpunn, name)(3, **k) for name in BY_SHAPE},
    **{name: lambda name=name, **k: getattr(gpunn, name)(gpunn.ones(3), **k) for name in LIKE},
    "full": lambda **k: gpunn.full((3,), 1.5, **k),
    "full_like": lambda **k: gpunn.full_like(gpunn.ones(3), 1.5, **k),
    "eye": lambda **k: gpunn.eye(3, **k),
    "arange": lambda **k: gpunn.arange(3.0, **k),
    "linspace": lambda **k: gpunn.linspace(0, 1, 3, **k),
    "scalar_tensor": lambda **k: gpunn.scalar_tensor(1.5, **k),
    "tensor": lambda **k: gpunn.tensor([1.0, 2.0, 3.0], **k),
    "asarray": lambda **k: gpunn.asarray([1.0, 2.0, 3.0], **k),
    "randint": lambda **k: gpunn.randint(0, 9, (3,), **{"dtype": "float32", **k}),
    "randint_like": lambda **k: gpunn.randint_like(gpunn.ones(3), 9, **k),
    "randperm": lambda **k: gpunn.randperm(3, **{"dtype": "float32", **k}),
    "new_zeros": lambda **k: gpunn.ones(2).new_zeros(3, **k),
    "new_ones": lambda **k: gpunn.ones(2).new_ones(3, **k),
    "new_full": lambda **k: gpunn.ones(2).new_full((3,), 1.5, **k),
    "new_empty": lambda **k: gpunn.ones(2).new_empty(3, **k),
    "new_tensor": lambda **k: gpunn.ones(2).new_tensor([1.0, 2.0, 3.0], **k),
}
each_factory = pytest.mark.parametrize("name", FACTORIES)
HAVE_OUT = (*BY_SHAPE, "full", "eye", "arange", "linspace", "randint", "randperm")


@each_factory
def test_keywords_of_all_factories(name, kernels) -> None:
    make = FACTORIES[name]
    assert make(requires_grad=True).requires_grad
    assert make(requires_grad=np.bool_(True)).requires_grad
    assert not make(requires_grad=False).requires_grad
    assert not make(requires_grad=None).requires_grad
    assert make(device=kernels).device == gpunn.device(kernels)
    assert make(device=gpunn.device(kernels), dtype="float64").dtype == np.float64
    assert make(device=None).device.name == "cpu"
    if name != "asarray":
        for unimportant in ({"pin_memory": False}, {"pin_memory": True}, {"names": None}):
            assert make(**unimportant).dtype == np.float32
        with pytest.raises(UsageError, match=f"{name}: names=.* is not supported: axes have no names"):
            make(names=("a",))
    if name not in ("asarray", "tensor", "new_tensor"):  # nor have PyTorch's
        assert make(layout=None).dtype == np.float32
        with pytest.raises(UsageError, match=f"{name}: layout='sparse' is not supported: tensors are dense"):
            make(layout="sparse")
    with pytest.raises(DTypeError, match="only floating dtypes can require a gradient; got int64"):
        make(
            dtype="int64", requires_grad=True
        ) if "rand" not in name or "int" in name or "perm" in name else gpunn.ones(2, dtype="int64", requires_grad=True)
    for wrong in (1, "a", 0.0):
        with pytest.raises(UsageError, match=f"{name}: requires_grad: expected True or False; got {wrong!r}"):
            make(requires_grad=wrong)
    with pytest.raises(DeviceError, match="unknown device"):
        make(device="gpu")
    with pytest.raises(TypeError, match="unexpected keyword"):
        make(colour="red")


def test_pytorchs_own_layout_is_known() -> None:
    torch = pytest.importorskip("tests.parity").torch
    assert gpunn.zeros(2, layout=torch.strided).shape == (2,)
    assert gpunn.zeros_like(gpunn.ones(2), memory_format=torch.preserve_format).shape == (2,)
    assert gpunn.empty(2, memory_format=torch.contiguous_format).shape == (2,)
    with pytest.raises(UsageError, match=r"zeros: layout=.*sparse_coo is not supported"):
        gpunn.zeros(2, layout=torch.sparse_coo)


@each_where
@pytest.mark.parametrize("name", HAVE_OUT)
def test_out_is_written_and_decides(name, where) -> None:
    make, shape = FACTORIES[name], (3, 3) if name == "eye" else (3,)
    out = gpunn.full(shape, -7, dtype="float64", device=where)
    given: dict[str, Any] = {"dtype": None} if name in ("randint", "randperm") else {}
    gpunn.manual_seed(3)
    made = make(out=out, **given)
    assert made is out
    assert (out.dtype, out.device.type) == (np.float64, gpunn.device(where).type)
    if name != "empty":
        gpunn.manual_seed(3)
        assert made.tolist() == make(dtype="float64").tolist()
    with pytest.raises(ShapeError, match=f"{name}: out: expected a tensor of the result's shape"):
        make(out=gpunn.ones(7), **given)
    with pytest.raises(DTypeError, match=f"{name}: dtype: float64 was asked for, but out has float32"):
        make(out=gpunn.ones(shape), dtype="float64")
    with pytest.raises(DTypeError, match=f"{name}: out: expected a Tensor; got list"):
        make(out=[1, 2, 3], **given)
    with pytest.raises(UsageError, match="requires_grad: out is made already"):
        make(out=out, requires_grad=True, **given)


def test_out_on_another_device_is_refused(kernels) -> None:
    with pytest.raises(DeviceError, match="different devices"):
        gpunn.zeros(2, out=gpunn.ones(2), device=kernels)


@pytest.mark.parametrize("name", [*LIKE, "full_like", "randint_like"])
def test_what_another_tensor_is_like(name) -> None:
    more = (2,) if name in ("full_like", "randint_like") else ()
    make, x = getattr(gpunn, name), gpunn.ones(2, 3, dtype="float64")
    assert make(input=x, **({"fill_value": 2} if name == "full_like" else {"high": 2} if more else {})).shape == (2, 3)
    made = make(x, *more)
    assert (made.dtype, made.shape, made.requires_grad) == (np.float64, (2, 3), False)
    assert make(x, *more, memory_format="any", dtype="float32").dtype == np.float32
    assert make(np.ones((2, 3), np.float32), *more).dtype == np.float32
    for wrong in ([1.0], 2, None, "a"):
        with pytest.raises(DTypeError, match=f"{name}: expected a Tensor; got"):
            make(wrong, *more)


# -- from data ------------------------------------------------------------------------------------


class Colour(enum.IntEnum):
    RED = 2


DATA = [1, 2.5, True, [], [[]], [[], []], [1, 2.5], [True, 2], [True, 2.5], [[1, 2], [3, 4]], (1, (2,))[:1], range(3)]
DATA += [[[1.5], [2]], [[True], [False]], np.float64(1), np.int8(1), [np.float64(1)], [np.float32(1), 2], [np.int8(1)]]
DATA += [[np.int8(1), 2], [np.bool_(True)], [1.5, np.float64(2)]]
DATA += [bytearray(b"ab"), [range(2), (3, 4)], [2**62, -(2**63)], [1e300], [NAN, INF], [Colour.RED, 3], [2**62, 1.5]]
DATA += [[[np.float32(1), 1], [True, 2]]]


@pytest.mark.parametrize("data", DATA, ids=str)
def test_numbers_and_lists_are_read_as_by_pytorch(data) -> None:
    torch = pytest.importorskip("tests.parity").torch
    same(gpunn.tensor(data), torch.tensor(data))
    for name in ("float32", "float64", "int64", "bool", "int32"):
        try:
            expected = torch.tensor(data, dtype=getattr(torch, name))
        except TypeError:  # NumPy's floats among integers
            continue
        except RuntimeError:
            with pytest.raises(GpunnError, match="does not fit into"):
                gpunn.tensor(data, dtype=name)
        else:
            same(gpunn.tensor(data, dtype=name), expected)
    same(gpunn.tensor(data=data), torch.tensor(data=data))


def test_tensors_of_one_element_in_lists() -> None:
    torch = pytest.importorskip("tests.parity").torch
    for values in ([1, 2.5], [1.5, 2.5], [True, 2]):
        same(gpunn.tensor([gpunn.tensor(v) for v in values]), torch.tensor([torch.tensor(v) for v in values]))
    same(gpunn.tensor([[gpunn.tensor([1.5])], [2]]), torch.tensor([[torch.tensor([1.5])], [2]]))
    with pytest.raises(DTypeError, match=r"tensor: a Tensor of shape \(2,\) among the numbers. Join.*gpunn.stack"):
        gpunn.tensor([gpunn.ones(2), gpunn.ones(2)])


def test_sequences_of_other_kinds() -> None:
    assert gpunn.tensor([np.array([1.0, 2])]).dtype == np.float64
    assert gpunn.tensor([np.array([1, 2]), [3, 4]]).tolist() == [[1, 2], [3, 4]]
    assert gpunn.tensor([np.array(1.5), 2]).tolist() == [1.5, 2]
    assert gpunn.tensor(collections.deque([1, 2])).tolist() == [1, 2]
    assert gpunn.tensor(collections.UserList([[1.5], [2]])).tolist() == [[1.5], [2.0]]
    point = collections.namedtuple("point", "x y")
    assert gpunn.tensor([point(1, 2), point(3, 4)]).tolist() == [[1, 2], [3, 4]]

    class Series:
        def __array__(self, dtype=None, copy=None):
            return np.array([1.0, 2.0])

    assert gpunn.tensor(Series()).dtype == np.float64
    assert gpunn.tensor([Series(), Series()]).shape == (2, 2)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ([[1, 2], [3]], ShapeError, "the rows are not of one length: 1 and 2. Fill up"),
        ([[[1], [2]], [[3], [4, 5]]], ShapeError, "the rows are not of one length: 1 and 2"),
        ([[], [1]], ShapeError, "the rows are not of one length: 0 and 1"),
        ([1, [2]], ShapeError, "numbers and lists stand side by side"),
        ([np.ones(2), np.ones(3)], ShapeError, "the rows are not of one length: 2 and 3"),
        ([[1.0], [1.0, 2.0]], ShapeError, "not of one length"),
        (None, DTypeError, "from NoneType. Is a value missing, or a return"),
        ([None], DTypeError, "from NoneType"),
        ([1.0, None], DTypeError, "from NoneType"),
        ({}, DTypeError, r"from dict. Pass its values: list\(d.values\(\)\)"),
        ([{}], DTypeError, "from dict"),
        ("abc", DTypeError, r"from the text 'abc'. Convert texts with float\(\)"),
        ("1", DTypeError, "from the text '1'"),
        (["1.5"], DTypeError, "from the text '1.5'"),
        ([1, "a"], DTypeError, "from the text 'a'"),
        (b"a", DTypeError, "from the text b'a'"),
        (object(), DTypeError, "from object"),
        (object, DTypeError, "from type"),
        ({1, 2}, DTypeError, r"from set. Pass a list of it: list\(data\)"),
        ((n for n in range(3)), DTypeError, "from generator. Pass a list of it"),
        (1j, DTypeError, "the complex number 1j. Pass .real and .imag"),
        ([1, 1j], DTypeError, "the complex number 1j"),
        ([np.complex64(1)], DTypeError, "complex64 is not supported"),
        ([np.array(["a"])], DTypeError, "is not supported"),
        ([np.datetime64("2020")], DTypeError, "is not supported"),
        (lambda: 1, DTypeError, "from function"),
        ([[[None]]], DTypeError, "from NoneType"),
    ],
)
@pytest.mark.parametrize("dtype", [None, "float32", "int64", "bool"])
def test_what_holds_no_numbers(data, error, message, dtype) -> None:
    if hasattr(data, "gi_frame"):
        data = (n for n in range(3))
    with pytest.raises(error, match=f"^tensor: .*{message}"):
        gpunn.tensor(data, dtype=dtype)


def test_makers_from_data_name_themselves() -> None:
    for op in ("as_tensor", "asarray"):
        with pytest.raises(DTypeError, match=f"^{op}: cannot make an array of numbers from NoneType"):
            getattr(gpunn, op)(None)
        with pytest.raises(ShapeError, match=f"^{op}: the rows"):
            getattr(gpunn, op)([[1], [1, 2]])
    with pytest.raises(DTypeError, match=r"^new_tensor: cannot make"):
        gpunn.ones(2).new_tensor("a")


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        *(([2**63], None), ([2**64], None), ([-(2**63) - 1], None), ([2**63, -1], None), ([2**63, 1], None)),
        *(([1, 2**70], "uint64"), ([-1], "uint64"), ([2**63 - 1, 2**63], "int64"), ([300.5], "uint8")),
        *(([float(2**63)], "int64"), ([-1.0], "uint8"), ([[1, 2], [3, 999]], "int8"), ([True, 300], "uint8")),
        ([1, NAN], "int8"),
    ],
)
def test_numbers_in_lists_that_do_not_fit(data, dtype) -> None:
    with pytest.raises(DTypeError, match=f"tensor: .* does not fit into {dtype or 'int64'}"):
        gpunn.tensor(data, dtype=dtype)


def test_numbers_in_lists_that_just_fit() -> None:
    assert gpunn.tensor([2**63], dtype="uint64").tolist() == [2**63]
    assert gpunn.tensor([2**64 - 1, 0], dtype="uint64").tolist() == [2**64 - 1, 0]
    assert gpunn.tensor([-0.9, 255.9], dtype="uint8").tolist() == [0, 255]
    assert gpunn.tensor([-128.9, 127.9], dtype="int8").tolist() == [-128, 127]
    assert gpunn.tensor([-float(2**63)], dtype="int64").tolist() == [-(2**63)]
    assert gpunn.tensor([2**70], dtype="float64").tolist() == [2.0**70]
    with pytest.raises(DTypeError, match="more than 308 digits"):
        gpunn.tensor([10**400], dtype="float64")


def test_a_list_in_itself() -> None:
    deep: list = []
    deep.append(deep)
    with pytest.raises(ShapeError, match="lists in lists go deeper than an array's 32 axes"):
        gpunn.tensor(deep)
