"""dot, mv, outer, addmm and their kin against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn as typed
from gpunn.errors import DTypeError, ShapeError
from tests.devices import EVERYWHERE
from tests.ops.composed import Case, matches_torch, rows

gpunn: Any = typed

CASES = rows(
    ("dot", lambda lib, a, b: lib.dot(a, b), ((5,), (5,))),
    ("dot", lambda lib, a, b: a.dot(b), ((0,), (0,))),
    ("mv", lambda lib, a, b: lib.mv(a, b), ((3, 5), (5,))),
    ("mv", lambda lib, a, b: a.mv(b), ((3, 0), (0,))),
    ("outer", lambda lib, a, b: lib.outer(a, b), ((3,), (5,))),
    ("ger", lambda lib, a, b: a.ger(b), ((1,), (0,))),
    ("addmm", lambda lib, x, a, b: lib.addmm(x, a, b), ((3, 2), (3, 5), (5, 2))),
    ("addmm", lambda lib, x, a, b: x.addmm(a, b, beta=0.5, alpha=-2), ((2,), (3, 5), (5, 2))),
    ("addmm", lambda lib, x, a, b: lib.addmm(x, a, b, alpha=3), ((3, 1), (3, 0), (0, 2))),
    ("addmv", lambda lib, x, a, b: lib.addmv(x, a, b, beta=2, alpha=3), ((), (3, 5), (5,))),
    ("baddbmm", lambda lib, x, a, b: lib.baddbmm(x, a, b, beta=0.25), ((3, 1), (4, 3, 5), (4, 5, 2))),
    ("baddbmm", lambda lib, x, a, b: x.baddbmm(a, b), ((4, 3, 2), (4, 3, 5), (4, 5, 2))),
)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("case", CASES)
def test_matches_torch(where: str, case: Case) -> None:
    matches_torch(case, where)


def test_integers_and_a_beta_of_0() -> None:
    whole = gpunn.tensor([1, 2, 3]).dot(gpunn.tensor([4, 5, 6]))
    assert (whole.item(), whole.dtype) == (32, gpunn.int64)
    x = gpunn.full((2, 2), float("nan"), requires_grad=True)
    assert x.addmm(gpunn.eye(2), gpunn.eye(2), beta=0, alpha=2).tolist() == [[2.0, 0.0], [0.0, 2.0]]


def test_refusals() -> None:
    one, two = gpunn.ones(3), gpunn.ones(3, 3)
    for text, call in (
        ("dot: expected two vectors of one length", lambda: gpunn.dot(one, gpunn.ones(4))),
        ("dot: expected two vectors", lambda: two.dot(two)),
        ("mv: expected a matrix", lambda: gpunn.mv(two, two)),
        ("outer: expected two vectors", lambda: gpunn.outer(one, two)),
        ("addmm: expected x to broadcast", lambda: gpunn.addmm(gpunn.ones(2), two, two)),
        ("addmv: expected x to broadcast", lambda: gpunn.addmv(two, two, one)),
    ):
        with pytest.raises(ShapeError, match=text):
            call()
    with pytest.raises(DTypeError, match="dot: expected one dtype"):
        gpunn.dot(one, gpunn.tensor(np.ones(3)))
