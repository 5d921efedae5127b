"""Joining, splitting, turning, placing, order, running values, distances, counting: PyTorch's results and gradients."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import gpunn as typed
from gpunn.errors import ArgumentError, DTypeError, RangeError, ShapeError, UsageError
from tests.devices import EVERYWHERE
from tests.ops.composed import Case, matches_torch, rows

gpunn: Any = typed


def _row(name: str, *shapes: tuple[int, ...], part: Any = None, **options: Any) -> Any:
    """One result of several is chosen by ``part``."""

    def call(lib: Any, *x: Any) -> Any:
        result = getattr(lib, name)(*x, **options)
        return result if part is None else result[part]

    return name, call, shapes


def _method(name: str, shape: tuple[int, ...], *args: Any, part: Any = None, **options: Any) -> Any:
    def call(lib: Any, x: Any) -> Any:
        result = getattr(x, name)(*args, **options)
        return result if part is None else result[part]

    return name, call, (shape,)


def _list(name: str, *shapes: tuple[int, ...], part: Any = None) -> Any:
    def call(lib: Any, *x: Any) -> Any:
        result = getattr(lib, name)(list(x))
        return result if part is None else result[part]

    return name, call, shapes


def _index(lib: Any, x: Any, *places: int) -> Any:
    return lib.tensor(places, device=x.device)


JOINING = rows(
    *(_list(n, (3,), (2,)) for n in ("hstack",)),
    *(_list(n, (4,), (4,)) for n in ("vstack", "row_stack", "dstack", "column_stack", "hstack")),
    *(_list(n, (2, 3), (2, 3)) for n in ("vstack", "dstack", "column_stack", "hstack")),
    *(_list(n, (2, 3, 4, 5), (2, 3, 4, 5)) for n in ("vstack", "dstack", "column_stack", "hstack")),
    *(_list(n, (), ()) for n in ("vstack", "dstack", "column_stack", "hstack")),
    _list("vstack", (3,), (2, 3)),
    *(_row(f"atleast_{n}d", shape) for n in (1, 2, 3) for shape in ((), (2,), (2, 3), (2, 3, 4, 5))),
    _list("atleast_2d", (3,), (), part=0),
    _row("block_diag", (2, 3), (), (4,), (1, 0)),
    _row("cartesian_prod", (2,), (3,), (1,)),
    _row("cartesian_prod", (3,)),
    *(_row("combinations", (4,), r=r, with_replacement=w) for r in (0, 1, 2, 3) for w in (True, False)),
    _row("kron", (2, 3), (4, 2)),
    _row("kron", (3,), (2, 2, 2)),
    _row("kron", (), (2, 2)),
    *(_row("tensor_split", (7, 2), sections=3, part=i) for i in range(3)),
    *(_method("tensor_split", (2, 5), (1, -1, 9), dim=1, part=i) for i in range(4)),
    _method("tensor_split", (5,), (3, 1), part=1),
    *(_method("hsplit", s, n, part=1) for s in ((4,), (2, 4), (2, 4, 3)) for n in (2, [1, 3])),
    _method("vsplit", (4, 3), 2, part=1),
    _method("dsplit", (2, 3, 4), [1], part=1),
)
TURNING = rows(
    _row("fliplr", (3, 4)),
    _row("flipud", (3,)),
    *(_method("rot90", (2, 3, 4), k, (2, 0)) for k in range(-1, 5)),
    _row("rot90", (3, 2)),
    *(_row("diag_embed", (2, 3), offset=k) for k in (0, 2, -1)),
    _row("diag_embed", (2, 3), offset=1, dim1=0, dim2=2),
    _method("diagflat", (2, 2), -1),
    *(
        # PyTorch's own gradient of it fails, so it is asked for the values.
        ("vander", lambda lib, x, n=n, i=i: lib.vander(x.detach(), N=n, increasing=i), ((3,),))
        for n in (None, 0, 5)
        for i in (True, False)
    ),
)
PLACING = rows(
    ("take", lambda lib, x: x.take(_index(lib, x, 5, 0, -1, 5)), ((2, 3),)),
    ("tile", lambda lib, x: lib.tile(x, (2, 3)), ((2, 2),)),
    ("tile", lambda lib, x: x.tile((2,)), ((2, 2),)),
    ("tile", lambda lib, x: x.tile((2, 1, 2)), ((2,),)),
    ("masked_scatter", lambda lib, x, y: x.masked_scatter(x > 0, y), ((3, 4), (3, 5))),
    ("masked_scatter", lambda lib, x, y: x.masked_scatter((x > 0)[0], y), ((3, 4), (3, 5))),
    ("masked_scatter", lambda lib, x, y: x.masked_scatter(x > 9, y.detach()), ((3, 4), (1,))),
    ("index_fill", lambda lib, x: x.index_fill(1, _index(lib, x, 0, -1), 2.5), ((2, 3, 4, 5),)),
    ("index_copy", lambda lib, x, y: x.index_copy(1, _index(lib, x, 2, 0), y), ((3, 4), (3, 2))),
    ("index_copy", lambda lib, x, y: lib.index_copy(x, 0, _index(lib, x, 0), y), ((3, 4), (1, 4))),
)
STATISTICS = rows(
    *(_row("aminmax", (3, 4), dim=1, keepdim=k, part=i) for k in (True, False) for i in (0, 1)),
    _row("aminmax", (3, 4), part=1),
    *(_row(n, (3, 4), dim=(0, 1), keepdim=True, part=i) for n in ("std_mean", "var_mean") for i in (0, 1)),
    *(_row(n, (3, 4), dim=1, correction=0, part=i) for n in ("std_mean", "var_mean") for i in (0, 1)),
    ("var_mean", lambda lib, x: lib.var_mean(x, False)[0], ((3, 4),)),
    *(_row("kthvalue", (3, 5), k=k, dim=d, keepdim=d > 0, part=0) for k in (1, 3) for d in (0, 1)),
    _method("kthvalue", (), 1, part=0),
    *(_row("median", shape, dim=0, keepdim=k, part=0) for shape in ((4, 3), (5,), ()) for k in (True, False)),
    _method("median", (4, 3)),
    _method("mode", (4, 3), 0, True, part=0),
    *(_row("quantile", (4, 3), q=q, dim=d, keepdim=k) for q in (0.3, 1.0) for d in (None, 1) for k in (True, False)),
    *(_method("quantile", (5,), 0.37, interpolation=i) for i in ("lower", "higher", "midpoint", "nearest")),
    ("quantile", lambda lib, x: x.quantile(lib.tensor([0.1, 0.5], dtype=x.dtype, device=x.device), 0), ((4, 3),)),
    ("quantile", lambda lib, x: x.quantile(lib.tensor([0.9], dtype=x.dtype, device=x.device)), ((4, 3),)),
)
RUNNING = rows(
    *(_row(n, (3, 7), dim=d) for n in ("cumprod",) for d in (0, 1)),
    _method("cumprod", (), 0),
    *(_row(n, (3, 7), dim=d, part=0) for n in ("cummax", "cummin") for d in (0, -1)),
    _method("cummax", (), 0, part=0),
    *(_row("diff", (3, 6), n=n, dim=d) for n in (0, 1, 2, 7) for d in (0, 1)),
    ("diff", lambda lib, x, y: x.diff(prepend=y, append=y), ((3, 6), (3, 1))),
    *(_row(n, (3, 4), dx=0.5, dim=0) for n in ("trapezoid", "trapz")),
    _row("trapezoid", (3, 4), (4,)),
    _row("trapz", (3, 4), (3, 4), dim=0),
)
PRODUCTS = rows(
    *(_row("cdist", (2, 5, 3), (4, 3), p=p) for p in (1.0, 2.0, 3.0, float("inf"))),
    _row("cdist", (30, 3), (27, 3)),
    _row("tensordot", (2, 3, 4), (3, 4, 5)),
    _row("tensordot", (2, 3), (4,), dims=0),
    _row("tensordot", (2, 3, 4), (4, 2, 5), dims=([0, -1], [1, 0])),
    _row("inner", (2, 3, 4), (5, 4)),
    _row("inner", (), (5, 4)),
    _row("vdot", (4,), (4,)),
    _row("chain_matmul", (2, 3), (3, 4), (4, 1)),
    _row("addr", (3,), (2,), (3,), beta=2, alpha=0.5),
    ("addr", lambda lib, x, a, b: lib.addr(x.detach(), a, b, beta=0), ((2, 3), (2,), (3,))),
    _row("addbmm", (2, 4), (3, 2, 5), (3, 5, 4), beta=0.5, alpha=2),
    *(_method("matrix_power", (2, 3, 3), n) for n in (1, 2, 5)),
)


@pytest.mark.filterwarnings("ignore")  # of PyTorch's chain_matmul, which it calls old
@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("case", [*JOINING, *TURNING, *PLACING, *STATISTICS, *RUNNING, *PRODUCTS])
def test_matches_torch(where: str, case: Case) -> None:
    matches_torch(case, where)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("kthvalue", lambda lib, x: lib.kthvalue(x, 2, 0)),
        ("median", lambda lib, x: lib.median(x, 0)),
        ("cummax", lambda lib, x: lib.cummax(x, 0)),
        ("cummin", lambda lib, x: lib.cummin(x, 0)),
        ("cumprod", lambda lib, x: (lib.cumprod(x, 0), x)),
        ("diff", lambda lib, x: (lib.diff(x, dim=0), x)),
        ("rot90", lambda lib, x: (lib.rot90(x), x)),
    ],
)
def test_equal_elements_integers_and_nan(where: str, name: str, call: Any) -> None:
    torch = pytest.importorskip("torch")
    whole = np.array([[3, 1], [1, 1], [3, 0], [1, 2]])
    odd = np.array([[1.0, np.nan], [np.nan, np.nan], [0.0, 2.0]])
    for given in (whole, whole.astype(np.uint8), odd[1:].copy(), odd):
        mine, theirs = call(gpunn, gpunn.tensor(given, device=where)), call(torch, torch.tensor(given))
        np.testing.assert_array_equal(mine[0].numpy(), theirs[0].numpy())
        assert str(mine[0].dtype) == str(theirs[0].dtype).removeprefix("torch.")
        if name.startswith("cum") and name != "cumprod":
            assert mine[1].tolist() == theirs[1].tolist()


def test_indices_point_at_the_values() -> None:
    x = gpunn.tensor([[3.0, 1.0, 3.0], [2.0, 2.0, 5.0]])
    for found, dim in ((x.kthvalue(2, 1), 1), (x.median(0), 0), (x.mode(1), 1), (x.cummin(1), 1)):
        indices = found.indices if found.indices.ndim == 2 else found.indices.unsqueeze(dim)
        values = found.values if found.values.ndim == 2 else found.values.unsqueeze(dim)
        assert x.gather(dim, indices).tolist() == values.tolist()
    assert x.mode(1).values.tolist() == [3.0, 2.0]
    assert x.mode(1).indices.tolist() == [2, 1]


def test_sums_without_nan() -> None:
    torch = pytest.importorskip("torch")
    numbers = np.array([[1.0, np.nan], [3.0, 4.0], [np.nan, np.nan]])
    for name in ("nansum", "nanmean"):
        for options in ({}, {"dim": 1}, {"dim": (0,), "keepdim": True}):
            found = []
            for library in (gpunn, torch):
                x = library.tensor(numbers, requires_grad=True)
                y = getattr(library, name)(x, **options)
                y[y == y].sum().backward()
                found.append((y.detach().numpy(), x.grad.numpy()))
            for mine, theirs in zip(*found, strict=True):
                np.testing.assert_allclose(mine, np.nan_to_num(theirs) if mine is found[0][1] else theirs, rtol=1e-15)
    nan = gpunn.tensor([1.0, float("nan")])
    for value in (nan.median(), nan.quantile(0.0)):
        assert np.isnan(value.item())


@pytest.mark.parametrize("where", EVERYWHERE)
def test_histc_matches_torch(where: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.Generator(np.random.Philox(1))
    many = rng.standard_normal((2, 3, 4))
    for given in ((), (5,), (4, -1.0, 2.0), (3, 0, 0)):
        for numbers in (many, np.ones(3), np.zeros(0)):
            x = numbers.astype(np.float32)
            mine = gpunn.histc(gpunn.tensor(x, device=where), *given)
            assert mine.tolist() == torch.histc(torch.tensor(x), *given).tolist(), given


@pytest.mark.parametrize("name", ["tril_indices", "triu_indices"])
def test_triangles_match_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    for given in ((3, 4), (4, 3, 1), (2, 5, -1), (3, 3, 7), (0, 2)):
        assert getattr(gpunn, name)(*given).tolist() == getattr(torch, name)(*given).tolist()
    assert getattr(gpunn, name)(2, 2, dtype=gpunn.int32).dtype == gpunn.int32


def test_empty_results() -> None:
    x = gpunn.ones(2, 3)
    assert gpunn.ones(2, 0).diag_embed(2).tolist() == np.zeros((2, 2, 2)).tolist()
    assert gpunn.combinations(x[0], 5).shape == (0, 5)
    assert gpunn.ones(2, 3, 3).matrix_power(0).tolist() == [np.eye(3).tolist()] * 2
    leaf = gpunn.tensor([2.0, 3.0], requires_grad=True)
    gpunn.vander(leaf, 3).sum().backward()
    assert leaf.grad.tolist() == [5.0, 7.0]  # 2 x + 1


def test_pairs_of_rows() -> None:
    parity = pytest.importorskip("tests.parity")
    x = np.random.Generator(np.random.Philox(1)).standard_normal((5, 3))
    for p in (1.0, 2.0, float("inf")):
        parity.compare(
            lambda x, p=p: gpunn.nn.functional.pdist(x, p),
            lambda x, p=p: parity.torch.nn.functional.pdist(x, p),
            {"x": x}, "cpu", 1e-14, least_scale=1,
        )  # fmt: skip


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("cumprod_", lambda lib, y: (1,)),
        ("index_fill_", lambda lib, y: (1, _index(lib, y, 0), 3.0)),
        ("index_copy_", lambda lib, y: (0, _index(lib, y, 2, 0), y[:2])),
        ("masked_scatter_", lambda lib, y: (y > 0, y * 2)),
        ("addr_", lambda lib, y: (y[0], y[1])),
        ("addbmm_", lambda lib, y: (y.reshape(1, 3, 3), y.reshape(1, 3, 3))),
    ],
)
def test_in_place_forms_match_torch(where: str, name: str, given: Any) -> None:
    parity = pytest.importorskip("tests.parity")
    rng = np.random.Generator(np.random.Philox(2))
    start, numbers = rng.uniform(0.3, 0.7, (3, 3)), rng.uniform(-0.7, 0.7, (3, 3))

    def change(library: Any, to: Any) -> Any:
        leaf = to(start).requires_grad_()
        x = leaf * 1
        assert getattr(x, name)(*given(library, to(numbers))) is x
        (x * x).sum().backward()
        return x.detach().numpy(), leaf.grad.numpy()

    mine = change(gpunn, functools.partial(gpunn.tensor, device=where))
    for m, t in zip(mine, change(parity.torch, parity.torch.tensor), strict=True):
        parity.close(name, m, t, 1e-14, 1)  # a handful of roundings of numbers of order one


def test_refusals() -> None:
    x, square = gpunn.ones(2, 3), gpunn.ones(3, 3)
    for error, text, call in (
        (ArgumentError, "hstack: tensors: expected Tensors; got int", lambda: gpunn.hstack([x, 1])),
        (ArgumentError, "block_diag: tensors: expected at least one", lambda: gpunn.block_diag()),
        (ShapeError, "block_diag: expected tensors with at most two", lambda: gpunn.block_diag(gpunn.ones(1, 1, 1))),
        (ShapeError, "cartesian_prod: expected vectors", lambda: gpunn.cartesian_prod(x)),
        (ShapeError, "combinations: expected a vector", lambda: gpunn.combinations(x)),
        (ShapeError, "tensor_split: expected a tensor with axes", lambda: gpunn.tensor_split(gpunn.tensor(1.0), 1)),
        (UsageError, "tensor_split: indices_or_sections", lambda: gpunn.tensor_split(x, 0)),
        (UsageError, "hsplit: expected a divisor of the length 3", lambda: gpunn.hsplit(x, 2)),
        (ShapeError, "vsplit: expected a tensor with at least 2 axes", lambda: gpunn.vsplit(x[0], 1)),
        (ShapeError, "fliplr: expected at least two axes", lambda: x[0].fliplr()),
        (ShapeError, "flipud: expected at least one axis", lambda: gpunn.tensor(1.0).flipud()),
        (UsageError, "rot90: dims: expected two different axes", lambda: x.rot90(1, (0, -2))),
        (UsageError, "diag_embed: dim1 and dim2", lambda: x.diag_embed(0, 1, -2)),
        (ShapeError, "diag_embed: expected at least one axis", lambda: gpunn.tensor(1.0).diag_embed()),
        (ShapeError, "vander: expected a vector", lambda: gpunn.vander(x)),
        (UsageError, "masked_scatter: source: expected at least 6", lambda: x.masked_scatter(x > 0, x[0])),
        (UsageError, "masked_scatter: expected a bool mask", lambda: x.masked_scatter(x, x)),
        (RangeError, "index_fill: index 3 is out of range", lambda: x.index_fill(1, gpunn.tensor([3]), 1)),
        (ShapeError, "index_fill: index: expected integers", lambda: x.index_fill(1, x, 1)),
        (
            RangeError,
            "index_copy: index -1 is out of range",
            lambda: x.index_copy(0, gpunn.tensor([-1]), x[:1]),
        ),
        (ShapeError, "index_copy: source: expected shape", lambda: x.index_copy(0, gpunn.tensor([0]), x)),
        (UsageError, "kthvalue: k: expected at most 3", lambda: x.kthvalue(4)),
        (ShapeError, "median: expected elements along axis 0", lambda: gpunn.ones(0).median()),
        (UsageError, "quantile: q: expected a number from 0 to 1", lambda: x.quantile(1.5)),
        (UsageError, "quantile: interpolation", lambda: x.quantile(0.5, interpolation="odd")),
        (DTypeError, "quantile: expected a floating dtype", lambda: x.long().quantile(0.5)),
        (ShapeError, "diff: expected at least one axis", lambda: gpunn.tensor(1.0).diff()),
        (ShapeError, "trapezoid: expected values along an axis", lambda: gpunn.trapezoid(gpunn.ones(2, 0))),
        (ShapeError, "cdist: expected x1", lambda: gpunn.cdist(x, gpunn.ones(2, 2))),
        (UsageError, "cdist: compute_mode", lambda: gpunn.cdist(x, x, compute_mode="fast")),
        (UsageError, "cdist: p: expected", lambda: gpunn.cdist(x, x, -1)),
        (ShapeError, "pdist: expected a matrix", lambda: gpunn.nn.functional.pdist(x[0])),
        (ShapeError, "tensordot: dims: expected axes of equal lengths", lambda: gpunn.tensordot(x, x, 1)),
        (ShapeError, "tensordot: dims: expected at most 2", lambda: gpunn.tensordot(x, x, 3)),
        (ShapeError, "matrix_power: expected square", lambda: x.matrix_power(2)),
        (UsageError, "matrix_power: n: expected", lambda: square.matrix_power(-1)),
        (UsageError, "histc: expected finite ends", lambda: gpunn.histc(x, 3, 2, 1)),
        (DTypeError, "histc: expected a floating dtype", lambda: gpunn.histc(x.long())),
    ):
        with pytest.raises(error, match=text):
            call()
