"""Arithmetic that is made of other ops, inverse functions and other names of functions, against PyTorch."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import gpunn as typed
from gpunn.errors import DTypeError, ShapeError, UsageError
from tests.devices import EVERYWHERE
from tests.ops.composed import Case, matches_torch, rows

gpunn: Any = typed


def _row(name: str, *shapes: tuple[int, ...], **options: Any) -> tuple[str, Any, tuple[tuple[int, ...], ...]]:
    return name, lambda lib, *x: getattr(lib, name)(*x, **options), shapes


def _of_constants(name: str, *shapes: tuple[int, ...]) -> tuple[str, Any, tuple[tuple[int, ...], ...]]:
    """Without gradients, and with numbers in place of bools."""
    return name, lambda lib, *x: getattr(lib, name)(*(each.detach() for each in x)).double(), shapes


WIDE, LINE = (3, 1, 4), (2, 4)
CASES = rows(
    *(
        _row(n, (3, 5))
        for n in ["asinh", "atan", "exp2", "trunc", "fix", "frac", "deg2rad", "rad2deg", "sinc", "absolute", "negative"]
    ),
    *(_row(n, (2, 3, 4, 5)) for n in ("arctan", "arcsinh", "erf")),
    *(
        _row(n, WIDE, LINE)
        for n in ["atan2", "arctan2", "hypot", "logaddexp", "logaddexp2", "multiply", "subtract", "divide"]
    ),
    *(
        _of_constants(n, WIDE, LINE)
        for n in ["eq", "ne", "lt", "le", "gt", "ge", "greater", "greater_equal", "less", "less_equal"]
    ),
    *(_of_constants(n, (3, 4), (3, 4)) for n in ("not_equal", "heaviside")),
    *(_of_constants(n, (3, 4)) for n in ("sgn", "signbit")),
    *(_row(n, WIDE, LINE) for n in ("dist", "true_divide", "rsub")),
    ("copysign", lambda lib, x, y: lib.copysign(x, y.detach()), (WIDE, LINE)),
    ("copysign", lambda lib, x: x.copysign(-0.0), ((3, 4),)),
    _row("addcmul", (3, 4), WIDE, (4,), value=0.5),
    _row("addcmul", (4,), (4,), (4,)),
    _row("addcdiv", (3, 4), (1,), (3, 1), value=-2),
    _row("rsub", (3, 4), (4,), alpha=3),
    _row("dist", (3, 4), (4,), p=1),
    _row("moveaxis", (2, 3, 4), source=0, destination=-1),
    _row("swapaxes", (2, 3, 4), axis0=0, axis1=2),
    _row("swapdims", (2, 3, 4), dim0=0, dim1=1),
    ("float_power", lambda lib, x: x.abs().float_power(1.5), ((3, 5),)),
    ("float_power", lambda lib, x: lib.float_power(2, x), ((3, 5),)),
    ("xlogy", lambda lib, x, y: lib.xlogy(x, y.abs()), (WIDE, LINE)),
    ("xlogy", lambda lib, x: lib.xlogy(lib.tensor([0.0, 2.0], device=x.device, dtype=x.dtype), x.abs()), ((3, 2),)),
    ("xlogy", lambda lib, x: lib.xlogy(x, 3.0), ((3, 2),)),
)
# Some need numbers from 0 to 1, or from 1 on.
INSIDE = rows(*(_row(n, (3, 5)) for n in ["asin", "acos", "atanh", "logit", "erfinv", "arcsin", "arccos", "arctanh"]))
INSIDE += rows(_row("logit", (3, 5), eps=0.3))
BEYOND = rows(*(_row(n, (3, 5)) for n in ("acosh", "arccosh")))


def inside(x: np.ndarray) -> np.ndarray:
    return 0.9 * np.tanh(x) if x.min() < 0 else x


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("case", CASES)
def test_matches_torch(where: str, case: Case) -> None:
    matches_torch(case, where)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("case", INSIDE)
def test_matches_torch_between_limits(where: str, case: Case) -> None:
    if case.name == "logit":
        matches_torch(case, where, lambda x: np.abs(inside(x)))
    else:
        matches_torch(case, where, inside)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("case", BEYOND)
def test_matches_torch_from_one_on(where: str, case: Case) -> None:
    matches_torch(case, where, lambda x: 1.1 + np.abs(x))


ODD = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 1e200, 2.0]
ONE = [
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "erfinv",
    "exp2",
    "trunc",
    "frac",
    "sgn",
    "sinc",
    "signbit",
    "logit",
    "deg2rad",
]
TWO = ["atan2", "hypot", "logaddexp", "logaddexp2", "copysign", "xlogy", "heaviside"]


@pytest.mark.parametrize("name", [*ONE, *TWO])
def test_what_is_not_finite(name: str) -> None:
    parity = pytest.importorskip("tests.parity")
    line = np.array(ODD)
    given = [line] if name in ONE else [x.reshape(-1).copy() for x in np.meshgrid(line, line)]
    mine, theirs = (
        getattr(library, name)(*(library.tensor(x) for x in given)).numpy() for library in (gpunn, parity.torch)
    )
    # Roundings of numbers up to 1e200: relative, element by element.
    np.testing.assert_allclose(mine, theirs, rtol=1e-14, atol=1e-16)  # and of the logarithm of 1
    nothing = (mine == 0) & (theirs == 0)
    np.testing.assert_array_equal(np.signbit(mine[nothing]), np.signbit(theirs[nothing]))


def test_gradients_where_formulas_have_none() -> None:
    torch = pytest.importorskip("torch")
    for name, a, b in (("atan2", 0.0, 0.0), ("logaddexp", np.inf, 1.0), ("hypot", 3.0, 0.0), ("sinc", 0.0, None)):
        grads = []
        for library in (gpunn, torch):
            leaves = [library.tensor([v], requires_grad=True) for v in (a, b) if v is not None]
            getattr(library, name)(*leaves).sum().backward()
            grads.append([leaf.grad.tolist() for leaf in leaves])
        assert grads[0] == grads[1], name
    both = gpunn.zeros(1, requires_grad=True)
    gpunn.hypot(both, both).backward()
    assert both.grad.tolist() == [0.0]  # PyTorch's is NaN


IN_PLACE: list[tuple[str, Any]] = [
    ("addcmul_", lambda y: ((y, y), {"value": 0.5})),
    ("addcdiv_", lambda y: ((y, y), {"value": 0.5})),
    ("lerp_", lambda y: ((y, 0.25), {})),
    ("lerp_", lambda y: ((), {"end": y, "weight": 0.75})),
    ("addmm_", lambda y: ((y, y), {"beta": 0.5})),
    ("addmv_", lambda y: ((y[:, 0],), {})),
    ("clamp_min_", lambda y: ((0.25,), {})),
    ("clamp_max_", lambda y: ((), {"max": 0.25})),
    ("cumsum_", lambda y: ((1,), {})),
    ("hypot_", lambda y: ((y,), {})),
    ("copysign_", lambda y: ((y,), {})),
    ("fmod_", lambda y: ((0.3,), {})),
    ("nan_to_num_", lambda y: ((), {"nan": 1.0})),
    ("float_power_", lambda y: ((2,), {})),
    ("logit_", lambda y: ((0.1,), {})),
    *(
        (f"{n}_", lambda y: ((y,), {}))
        for n in ["eq", "ge", "gt", "le", "lt", "ne", "greater", "less", "not_equal", "atan2"]
    ),
    *(
        (f"{n}_", lambda y: ((), {}))
        for n in ["atan", "sinh", "cosh", "tan", "exp2", "trunc", "frac", "sgn", "erfinv", "deg2rad"]
    ),
]


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize(("name", "given"), IN_PLACE)
def test_in_place_forms_match_torch(where: str, name: str, given: Any) -> None:
    """Off the tape, and on it: the values, the gradients, and that the same tensor comes back."""
    parity = pytest.importorskip("tests.parity")
    start = np.random.Generator(np.random.Philox(2)).uniform(0.3, 0.7, (3, 3))
    numbers = np.random.Generator(np.random.Philox(3)).uniform(-0.7, 0.7, (3, 3))

    def change(library: Any, to: Any, on_tape: bool) -> Any:
        leaf = to(start)
        if on_tape:
            leaf.requires_grad_()
        x = leaf * 1
        if name == "addmv_":
            args: Any = ((to(numbers), to(numbers)[0]), {})
            x = x[0]
        else:
            args = given(to(numbers))
        if name == "float_power_" and library is gpunn:
            x = x.double()
        assert getattr(x, name)(*args[0], **args[1]) is x
        if on_tape:
            (x * x).sum().backward()
            return x.detach(), leaf.grad
        return x, None

    asked = name in ("eq_", "ge_", "gt_", "le_", "lt_", "ne_", "greater_", "less_", "not_equal_", "sgn_")
    for on_tape in (False,) if asked else (False, True):
        mine = change(gpunn, functools.partial(gpunn.tensor, device=where), on_tape)
        theirs = change(parity.torch, parity.torch.tensor, on_tape)
        for what, m, t in zip(("value", "gradient"), mine, theirs, strict=True):
            assert (m is None) == (t is None)
            if m is not None:
                # A handful of roundings of numbers of order one.
                parity.close(f"{name}: {what}", m.numpy(), t.numpy(), 1e-14, 1)


def test_shapes_meet() -> None:
    torch = pytest.importorskip("torch")
    assert gpunn.broadcast_shapes((3, 1), (2,), 1) == torch.broadcast_shapes((3, 1), (2,), 1)
    a, b = gpunn.ones(3, 1, requires_grad=True), gpunn.ones(2)
    for wide in (gpunn.broadcast_tensors(a, b), gpunn.broadcast_tensors([a, b])):
        assert [t.shape for t in wide] == [(3, 2), (3, 2)]
    gpunn.broadcast_tensors(a, b)[0].sum().backward()
    assert a.grad.tolist() == [[2.0]] * 3


def test_refusals() -> None:
    x, whole = gpunn.ones(2), gpunn.tensor([1, 2])
    for error, text, call in (
        (DTypeError, "addcdiv: expected a floating tensor1", lambda: gpunn.addcdiv(x, whole, whole)),
        (DTypeError, "atan2: expected floating dtypes; got int64", lambda: gpunn.atan2(x, whole)),
        (DTypeError, "asin: expected a floating dtype; got int64", lambda: gpunn.asin(whole)),
        (DTypeError, "erfinv: expected a floating dtype", lambda: whole.erfinv()),
        (DTypeError, "hypot: expected a floating dtype", lambda: gpunn.hypot(x, whole)),
        (DTypeError, "trunc: expected numbers; got bool", lambda: (x > 0).trunc()),
        (DTypeError, "heaviside: expected one dtype", lambda: gpunn.heaviside(x, whole)),
        (DTypeError, "asin_: the result|asin: expected a floating", lambda: whole.asin_()),
        (UsageError, "logit: eps: expected a number from 0 to 1", lambda: gpunn.logit(x, 2)),
        (UsageError, "rsub: other: expected a Tensor or a number", lambda: gpunn.rsub(x, "a")),
        (ShapeError, "addcmul_: the result, of shape", lambda: x.addcmul_(gpunn.ones(3, 2), x)),
        (ShapeError, "broadcast_tensors: the shapes", lambda: gpunn.broadcast_tensors(x, gpunn.ones(3))),
        (UsageError, "broadcast_shapes: shapes: expected a whole number", lambda: gpunn.broadcast_shapes((-1,))),
    ):
        with pytest.raises(error, match=text):
            call()
