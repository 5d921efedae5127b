"""einsum against PyTorch: equations of every kind, values and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn as typed
from gpunn.errors import ArgumentError, ShapeError, UsageError
from tests.devices import EVERYWHERE

gpunn: Any = typed

# Products and sums of a few dozen numbers of order one in float64, in another order than PyTorch's.
TOLERANCE = 1e-12
CASES = [
    ("ij,jk->ik", (3, 4), (4, 5)),
    ("ij,jk", (3, 4), (4, 5)),
    ("ba,ca", (3, 4), (2, 4)),
    ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
    ("bhid,bhjd->bhij", (2, 3, 4, 5), (2, 3, 6, 5)),
    ("bhij,bhjd->bihd", (2, 3, 4, 5), (2, 3, 5, 2)),
    ("nchw,kc->nkhw", (2, 3, 4, 5), (6, 3)),
    ("i,j->ij", (3,), (4,)),
    ("i,i->", (3,), (3,)),
    ("i,i->i", (3,), (3,)),
    ("ij,ij->", (3, 4), (3, 4)),
    ("ij->ji", (3, 4)),
    ("ji", (3, 4)),
    ("ij->", (3, 4)),
    ("ij->j", (3, 4)),
    ("ii->i", (4, 4)),
    ("ii", (4, 4)),
    ("bii->ib", (2, 3, 3)),
    ("iji,j->i", (3, 4, 3), (4,)),
    ("iii->i", (3, 3, 3)),
    ("...ij,...jk->...ik", (2, 1, 3, 4), (5, 4, 2)),
    ("...i,i", (2, 3, 4), (4,)),
    ("i...->...", (2, 3, 4)),
    ("...i->i", (2, 3, 4)),
    ("bi...,ij->bj...", (2, 3, 4, 5), (3, 6)),
    ("ij,jk->ik", (3, 1), (4, 5)),
    ("ij,ij->ij", (3, 1), (1, 4)),
    ("bn,anm,bm->ba", (2, 5), (3, 5, 4), (2, 4)),
    ("ij,jk,kl,lm->im", (2, 3), (3, 4), (4, 2), (2, 3)),
    ("ik,jk,k->", (2, 3), (4, 3), (3,)),
    ("bA,ab->Aa", (2, 3), (4, 2)),
    ("Bb,aA", (2, 3), (4, 2)),
    (" i j , j k -> i k ", (3, 4), (4, 5)),
    ("ij,jk->ik", (3, 0), (0, 2)),
    ("ij,jk->ik", (0, 3), (3, 2)),
    (",i->i", (), (3,)),
    ("->", ()),
]


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}{case[1:]}".replace(" ", ""))
def test_matches_torch(where: str, case: tuple[Any, ...]) -> None:
    parity = pytest.importorskip("tests.parity")
    equation, *shapes = case
    rng = np.random.Generator(np.random.Philox(1))
    given_arrays = {f"x{i}": rng.standard_normal(shape) for i, shape in enumerate(shapes)}
    parity.compare(
        lambda **x: gpunn.einsum(equation, *x.values()), lambda **x: parity.torch.einsum(equation, *x.values()),
        given_arrays, where, TOLERANCE, least_scale=1,
    )  # fmt: skip


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_equation_matches_torch(data: st.DataObject) -> None:
    parity = pytest.importorskip("tests.parity")
    lengths = dict(zip("abcdZ", (2, 3, 1, 4, 2), strict=True))
    parts = data.draw(st.lists(st.text("abcdZ", max_size=4), min_size=1, max_size=3))
    named = sorted({*"".join(parts)})
    result = data.draw(st.permutations(named))[: data.draw(st.integers(0, len(named)))]
    arrow = data.draw(st.sampled_from(["", f"->{''.join(result)}"]))
    rng = np.random.Generator(np.random.Philox(data.draw(st.integers(0, 99))))
    arrays = {f"x{i}": rng.standard_normal([lengths[a] for a in part]) for i, part in enumerate(parts)}
    equation = ",".join(parts) + arrow
    parity.compare(
        lambda **x: gpunn.einsum(equation, *x.values()), lambda **x: parity.torch.einsum(equation, *x.values()),
        arrays, "cpu", TOLERANCE, least_scale=1,
    )  # fmt: skip


def test_lists_of_numbers_and_integers() -> None:
    torch = pytest.importorskip("torch")
    a, b = np.arange(6).reshape(2, 3), np.arange(12).reshape(3, 4)
    for library in (gpunn, torch):
        x, y = library.tensor(a), library.tensor(b)
        found = library.einsum(x, [0, 1], y, [1, 2], [2, 0])
        assert found.tolist() == (a @ b).T.tolist()
        assert found.dtype == library.int64
        assert library.einsum("ij,jk->ik", [x, y]).tolist() == (a @ b).tolist()
        assert library.einsum(x, [..., 1], [...]).tolist() == a.sum(1).tolist()


def test_refusals() -> None:
    x, y = gpunn.ones(2, 3), gpunn.ones(4, 5)
    for error, text, call in (
        (ShapeError, "axis 'j' has lengths 3 and 4", lambda: gpunn.einsum("ij,jk", x, y)),
        (ShapeError, "'ijk' names 3 axes; the operand has shape", lambda: gpunn.einsum("ijk", x)),
        (ShapeError, "'i' names 1 axes; the operand has shape", lambda: gpunn.einsum("i", x)),
        (UsageError, "names 2 operands; got 1", lambda: gpunn.einsum("ij,jk", x)),
        (UsageError, "axis 'k' is in the result and in no operand", lambda: gpunn.einsum("ij->k", x)),
        (UsageError, "axis 'i' occurs twice in the result", lambda: gpunn.einsum("ij->ii", x)),
        (UsageError, "expected letters, commas", lambda: gpunn.einsum("i1->i", x)),
        (UsageError, "equation: expected a str", lambda: gpunn.einsum(3, x)),
        (UsageError, "numbers from 0 to 51", lambda: gpunn.einsum(x, [0, 77])),
        (ArgumentError, "operands: expected Tensors; got a list", lambda: gpunn.einsum("ij,ij", x, [1.0])),
    ):
        with pytest.raises(error, match=text):
            call()
