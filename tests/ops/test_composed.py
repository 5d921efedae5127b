"""Functions composed of ops, against PyTorch: grids, diagonals, interpolation, repeats."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn as typed
from gpunn.errors import DTypeError, RangeError, ShapeError, UsageError
from gpunn.primitive import count_bodies
from tests.devices import EVERYWHERE
from tests.ops.composed import Case, matches_torch, rows

gpunn: Any = typed
F = gpunn.nn.functional

CASES = rows(
    *(("meshgrid-xy", lambda lib, *x, i=i: lib.meshgrid(*x, indexing="xy")[i], ((3,), (4,), (2,))) for i in range(3)),
    *(("meshgrid-ij", lambda lib, *x, i=i: lib.meshgrid(list(x), indexing="ij")[i], ((3,), (1,))) for i in range(2)),
    ("meshgrid", lambda lib, *x: lib.meshgrid(*x, indexing="ij")[0], ((), (0,))),
    ("logsumexp", lambda lib, x: lib.logsumexp(x, 1), ((3, 5),)),
    ("logsumexp", lambda lib, x: x.logsumexp((0, -1), keepdim=True), ((2, 3, 4, 5),)),
    ("logsumexp", lambda lib, x: lib.logsumexp(x, 0), ((),)),
    ("logsumexp", lambda lib, x: lib.logsumexp(x, 1), ((3, 0),)),
    ("diagonal", lambda lib, x: lib.diagonal(x), ((3, 5),)),
    ("diagonal", lambda lib, x: x.diagonal(1, -1, 1), ((2, 3, 4, 5),)),
    ("diagonal", lambda lib, x: x.diagonal(-2, 0, 1), ((5, 3),)),
    ("diagonal", lambda lib, x: x.diagonal(7), ((5, 3),)),
    *(("diag", lambda lib, x, k=k: lib.diag(x, k), (shape,)) for k in (0, 2, -1) for shape in ((4,), (3, 5), (1,))),
    ("diag", lambda lib, x: lib.diag(x), ((0,),)),
    ("trace", lambda lib, x: lib.trace(x), ((3, 4),)),
    ("lerp", lambda lib, a, b: lib.lerp(a, b, 0.25), ((3, 4), (4,))),
    ("lerp", lambda lib, a, b: a.lerp(b, 0.75), ((3, 1), (4,))),
    ("lerp", lambda lib, a, b, w: lib.lerp(a, b, w), ((3, 4), (3, 4), (3, 1))),
    ("roll", lambda lib, x: lib.roll(x, 1), ((3, 4),)),
    ("roll", lambda lib, x: x.roll((2, -7), (0, -1)), ((3, 5, 4),)),
    ("roll", lambda lib, x: x.roll(2, 0), ((0, 4),)),
    ("roll", lambda lib, x: x.roll((1, 1), (0, 0)), ((5,),)),
    ("repeat_interleave", lambda lib, x: lib.repeat_interleave(x, 3), ((2, 3),)),
    ("repeat_interleave", lambda lib, x: x.repeat_interleave(2, -2), ((2, 3, 4, 5),)),
    ("repeat_interleave", lambda lib, x: x.repeat_interleave(0, 0), ((2, 3),)),
    (
        "repeat_interleave-tensor",
        lambda lib, x: x.repeat_interleave(lib.tensor([2, 0, 1], device=x.device), dim=1, output_size=3),
        ((2, 3),),
    ),
)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("case", CASES)
def test_matches_torch(where: str, case: Case) -> None:
    matches_torch(case, where)


_ODD = np.array([np.nan, np.inf, -np.inf, 0.5, -2.0, 0.0])


@pytest.mark.parametrize("where", EVERYWHERE)
def test_what_is_not_finite(where: str) -> None:
    parity = pytest.importorskip("tests.parity")
    torch = parity.torch
    for options in ({}, {"nan": 3.0, "posinf": 1.0, "neginf": -1.0}):
        parity.compare(
            lambda x, o=options: gpunn.nan_to_num(x, **o), lambda x, o=options: torch.nan_to_num(x, **o),
            {"x": _ODD}, where, 0,
        )  # fmt: skip
    infinite = np.array([[-np.inf, -np.inf], [np.inf, 1.0], [-np.inf, 2.0]])
    parity.compare(lambda x: x.logsumexp(1), lambda x: x.logsumexp(1), {"x": infinite[1:]}, where, 1e-15)
    nothing = gpunn.tensor(infinite[:1], device=where, requires_grad=True)
    assert nothing.logsumexp(1).tolist() == [-np.inf]
    nothing.logsumexp(1).sum().backward()
    assert nothing.grad.tolist() == [[0.0, 0.0]]  # PyTorch's too
    asked: list[dict[str, Any]] = [{}, {"equal_nan": True}, {"rtol": 0.0, "atol": 0.0}, {"rtol": 0.5}]
    for options in asked:
        for other in (_ODD, _ODD[::-1].copy(), _ODD * 1.3):
            mine, theirs = (
                library.isclose(given_to(_ODD), given_to(other), **options).tolist()
                for library, given_to in ((gpunn, lambda v: gpunn.tensor(v, device=where)), (torch, torch.tensor))
            )
            assert mine == theirs, (options, other)


def test_isclose_of_integers() -> None:
    torch = pytest.importorskip("torch")
    a, b = [1, 100, 5], [1, 101, 9]
    for options in ({"rtol": 0.01}, {"atol": 4.0}, {"rtol": 0.0, "atol": 0.0}):
        assert (
            gpunn.isclose(gpunn.tensor(a), gpunn.tensor(b), **options).tolist()
            == torch.isclose(torch.tensor(a), torch.tensor(b), **options).tolist()
        )


@pytest.mark.parametrize("where", EVERYWHERE)
@given(st.data())
@settings(max_examples=15, deadline=None)
def test_one_hot_matches_torch(where: str, data: st.DataObject) -> None:
    torch = pytest.importorskip("torch")
    shape = data.draw(st.sampled_from([(), (1,), (5,), (2, 3), (2, 3, 4), (2, 1, 3, 2)]))
    indices = np.random.Generator(np.random.Philox(data.draw(st.integers(0, 99)))).integers(0, 6, shape)
    classes = data.draw(st.sampled_from([-1, 6, 9]))
    mine = F.one_hot(input=gpunn.tensor(np.asarray(indices), device=where), num_classes=classes)
    theirs = torch.nn.functional.one_hot(torch.tensor(indices), classes)
    assert mine.dtype == gpunn.int64
    assert mine.shape == tuple(theirs.shape)
    assert mine.tolist() == theirs.tolist()


@pytest.mark.parametrize("where", EVERYWHERE)
def test_one_hot_refuses_what_is_no_class(where: str) -> None:
    for wrong in (3, -1):
        with pytest.raises(RangeError, match="one_hot: "):
            F.one_hot(gpunn.tensor([0, wrong], device=where), 3).tolist()
    with pytest.raises(DTypeError, match="one_hot: expected class indices"):
        F.one_hot(gpunn.ones(2, device=where), 3)


def test_a_diagonal_is_a_view() -> None:
    x = gpunn.zeros(3, 3)
    x.diagonal().fill_(1)
    x.diagonal(1).mul_(0).add_(2)
    assert x.tolist() == [[1.0, 2.0, 0.0], [0.0, 1.0, 2.0], [0.0, 0.0, 1.0]]


def test_indices_repeated() -> None:
    assert gpunn.repeat_interleave(gpunn.tensor([2, 0, 1])).tolist() == [0, 0, 2]


def test_refusals() -> None:
    x = gpunn.ones(2, 3)
    for error, text, call in (
        (ShapeError, "meshgrid: expected lines", lambda: gpunn.meshgrid(x)),
        (ShapeError, "meshgrid: expected at least one", lambda: gpunn.meshgrid()),
        (DTypeError, "meshgrid: expected one dtype", lambda: gpunn.meshgrid(x[0], gpunn.tensor([1]))),
        (UsageError, "meshgrid: indexing", lambda: gpunn.meshgrid(x[0], indexing="ab")),
        (ShapeError, "diagonal: expected at least two axes", lambda: x[0].diagonal()),
        (UsageError, "diagonal: dim1 and dim2", lambda: x.diagonal(0, 1, -1)),
        (ShapeError, "diag: expected a vector or a matrix", lambda: gpunn.diag(gpunn.ones(1, 1, 1))),
        (ShapeError, "trace: expected a matrix", lambda: gpunn.trace(x[0])),
        (DTypeError, "lerp: expected one floating dtype", lambda: gpunn.lerp(x, x.double(), 0.5)),
        (UsageError, "roll: dims: expected an axis for each", lambda: x.roll((1, 2))),
        (UsageError, "roll: expected as many shifts as dims", lambda: x.roll((1, 2), 0)),
        (UsageError, "repeat_interleave: repeats", lambda: x.repeat_interleave(-1)),
        (ShapeError, "repeat_interleave: repeats: expected one number", lambda: x.repeat_interleave(x[0].long(), 0)),
        (UsageError, "repeat_interleave: output_size", lambda: x.repeat_interleave(2, output_size=5)),
        (DTypeError, "isclose: expected one dtype", lambda: gpunn.isclose(x, x.double())),
        (UsageError, "isclose: rtol", lambda: gpunn.isclose(x, x, rtol=-1)),
        (UsageError, "one_hot: num_classes", lambda: F.one_hot(gpunn.tensor([0]), 0)),
    ):
        with pytest.raises(error, match=text):
            call()


def _loss(x: Any, labels: Any) -> Any:
    pairs = gpunn.einsum("bij,bkj->bik", x, x) + gpunn.einsum("bii->bi", x[:, :, :3]).sum()
    rows_ = x.reshape(-1, 4)
    y = rows_.addmm(rows_, gpunn.outer(rows_[0], rows_[1])).logsumexp(1).sum() + pairs.diagonal(0, 1, 2).sum()
    a, b = gpunn.meshgrid(rows_[0], rows_[1], indexing="xy")
    y = y + (a.roll(1, 0) * b).lerp(a, 0.25).nan_to_num().trace()
    hot = F.one_hot(labels, 4)
    return y + (hot * rows_[: len(labels)]).sum() + gpunn.diag(rows_[0]).repeat_interleave(2, 0).square().sum()


def test_captured_equals_eager(kernels: str) -> None:
    weights = np.random.Generator(np.random.Philox(9)).standard_normal((3, 4)).astype(np.float32)
    leaf = gpunn.tensor(weights, device=kernels, requires_grad=True)

    def step(x: Any, labels: Any) -> Any:
        leaf.grad = None
        loss = _loss(x * leaf, labels)
        loss.backward()
        return loss

    captured = gpunn.capture(step)
    for seed in range(4):
        rng = np.random.Generator(np.random.Philox(seed))
        x = gpunn.tensor(rng.standard_normal((2, 3, 4)).astype(np.float32), device=kernels)
        labels = gpunn.tensor(rng.integers(0, 4, 5), device=kernels)
        with count_bodies() as counts:
            expected = step(x, labels).item(), leaf.grad.tolist()
        assert {body for _, body in counts} == {"kernel"}, [name for name, body in counts if body != "kernel"]
        assert (captured(x, labels).item(), leaf.grad.tolist()) == expected
    assert captured.graphs == 1
