"""Functions of one or two elements that are composed, and what counts elements, against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn as typed
from gpunn.errors import DTypeError, ShapeError, UsageError
from tests.devices import EVERYWHERE
from tests.ops.composed import Case, matches_torch, rows

gpunn: Any = typed

CASES = rows(
    *((name, lambda lib, x, n=name: getattr(lib, n)(x), ((3, 5),)) for name in ("sinh", "cosh", "tan")),
    *((name, lambda lib, x, n=name: getattr(x.abs(), n)(), ((2, 3, 4, 5),)) for name in ("log2", "log10")),
    ("clamp_min", lambda lib, x: lib.clamp_min(x, 0.25), ((3, 5),)),
    ("clamp_max", lambda lib, x: x.clamp_max(0.25), ((3, 5),)),
    ("fmod", lambda lib, x: lib.fmod(x, 0.3), ((3, 5),)),
    ("fmod", lambda lib, x, y: x.fmod(y.detach()), ((3, 5), (5,))),
    ("cross", lambda lib, x, y: lib.cross(x, y, dim=1), ((2, 3, 5), (2, 3, 5))),
    ("cross", lambda lib, x, y: x.cross(y, -1), ((4, 3), (1, 3))),
    ("count_nonzero", lambda lib, x: lib.count_nonzero(x > 0, 1), ((3, 5),)),
)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("case", CASES)
def test_matches_torch(where: str, case: Case) -> None:
    matches_torch(case, where)


def test_small_numbers_and_integers() -> None:
    torch = pytest.importorskip("torch")
    small = np.array([1e-12, -1e-300, 0.0])
    np.testing.assert_allclose(gpunn.tensor(small).sinh().numpy(), torch.tensor(small).sinh().numpy(), rtol=1e-15)
    for library in (gpunn, torch):
        assert library.fmod(library.tensor([-7, 7]), 3).tolist() == [-1, 1]
        assert library.tensor([0, 2, 5]).count_nonzero().item() == 2


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("dim", [None, 0, 1])
def test_unique_matches_torch(where: str, dim: int | None) -> None:
    torch = pytest.importorskip("torch")
    x = np.array([[3, 1, 1], [3, 1, 1], [0, 1, 1]])
    theirs = torch.unique(torch.tensor(x), return_inverse=True, return_counts=True, dim=dim)
    mine = gpunn.unique(gpunn.tensor(x, device=where), return_inverse=True, return_counts=True, dim=dim)
    assert [m.tolist() for m in mine] == [t.tolist() for t in theirs]
    assert gpunn.tensor(x, device=where).unique(dim=dim).tolist() == theirs[0].tolist()
    nan = [float("nan"), 1.0, float("nan")]
    assert gpunn.unique(gpunn.tensor(nan)).shape == tuple(torch.unique(torch.tensor(nan)).shape)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_bincount_matches_torch(where: str) -> None:
    torch = pytest.importorskip("torch")
    for numbers, weights, least in (([3, 0, 3], None, 0), ([1], None, 4), ([2, 2], [0.5, 0.25], 0)):
        found = []
        for library, options in ((gpunn, {"device": where}), (torch, {})):
            given = None if weights is None else library.tensor(weights, **options)
            counts = library.bincount(library.tensor(numbers, **options), given, least)
            found.append((counts.tolist(), str(counts.dtype).rpartition(".")[2]))
        assert found[0] == found[1]


def test_refusals() -> None:
    for error, text, call in (
        (DTypeError, "sinh: expected a floating dtype", lambda: gpunn.sinh(gpunn.tensor([1]))),
        (UsageError, "fmod: the divisor gets no", lambda: gpunn.fmod(gpunn.ones(1), gpunn.ones(1, requires_grad=True))),
        (ShapeError, "cross: expected an axis of length 3", lambda: gpunn.cross(gpunn.ones(2), gpunn.ones(2))),
        (UsageError, "bincount: expected numbers of at least 0", lambda: gpunn.bincount(gpunn.tensor([-1]))),
        (ShapeError, "bincount: expected numbers", lambda: gpunn.bincount(gpunn.tensor([[1]]))),
        (DTypeError, "bincount: expected integers", lambda: gpunn.bincount(gpunn.ones(2))),
    ):
        with pytest.raises(error, match=text):
            call()
