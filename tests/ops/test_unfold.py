"""Windows along one axis: PyTorch's values and gradients, integers, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

import gpunn as typed
from gpunn.errors import GpunnError, RangeError, UsageError
from tests.devices import EVERYWHERE
from tests.ops.composed import Case, matches_torch, rows

gpunn: Any = typed

CASES = rows(
    ("apart", lambda lib, x: x.unfold(0, 2, 3), ((8,),)),
    ("overlapping", lambda lib, x: x.unfold(-1, 3, 1), ((2, 5),)),
    ("inner", lambda lib, x: x.unfold(1, 2, 2), ((2, 5, 3),)),
    ("image", lambda lib, x: x.unfold(2, 2, 1).unfold(3, 3, 2), ((2, 3, 4, 7),)),
    ("channels", lambda lib, x: x.unfold(1, 2, 1), ((2, 3, 4, 5),)),
    ("whole", lambda lib, x: x.unfold(0, 4, 9), ((4, 2),)),
    ("nothing", lambda lib, x: x.unfold(0, 0, 2), ((3,),)),
    ("number", lambda lib, x: x.unfold(0, 1, 1), ((),)),
)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("case", CASES)
def test_matches_torch(where: str, case: Case) -> None:
    matches_torch(case, where)


def test_writes_go_through_where_it_is_a_view() -> None:
    x = gpunn.zeros(5)
    x.unfold(0, 2, 2)[1] = 1
    assert x.tolist() == [0, 0, 1, 1, 0]


def test_integers_are_moved_too() -> None:
    assert gpunn.arange(5).unfold(0, 2, 3).tolist() == [[0, 1], [3, 4]]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ((0, 6, 1), RangeError, "size: expected at most 5, the length of axis 0; got 6"),
        ((1, 1, 1), UsageError, "dim: expected axes of shape"),
        ((0, -1, 1), UsageError, "size: expected a whole number of at least 0"),
        ((0, 1, 0), UsageError, "step: expected a whole number of at least 1"),
    ],
)
def test_refuses(given: tuple[int, int, int], error: type[GpunnError], message: str) -> None:
    with pytest.raises(error, match=f"^unfold: {message}"):
        gpunn.ones(5).unfold(*given)
