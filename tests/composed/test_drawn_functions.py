"""More functions against PyTorch with drawn shapes, some of them empty: values and gradients."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn as typed
from tests.composed.test_drawn_parity import _numbers, _same
from tests.devices import EVERYWHERE
from tests.ops.arrays import axis, shapes

gpunn: Any = typed
_FEW = settings(max_examples=4, deadline=None)
_ODD = st.sampled_from((0, 1, 2, 3, 5))  # lengths


def _many(lib: Any, tensors: Any) -> Any:
    """Several results as one, so that one call compares them all."""
    return lib.cat([t.reshape(-1) for t in tensors])


# -- of any shape ---------------------------------------------------------------------------------

ONE: dict[str, Callable[..., Any]] = {
    **{n: lambda lib, x, n=n: getattr(lib, n)(x) for n in ("neg", "fix", "cos", "diagflat")},
    "sgn": lambda lib, x: lib.sgn(x.detach()),  # of an empty one PyTorch's gradient is no array
    **{n: lambda lib, x, n=n: getattr(lib, n)(x) for n in ("arcsin", "arccos", "arctan", "arcsinh", "arctanh")},
    **{n: lambda lib, x, n=n: getattr(lib, n)(x) for n in ("atleast_1d", "atleast_2d", "atleast_3d")},
    "arccosh": lambda lib, x: lib.arccosh(x + 3),
    "clamp_min": lambda lib, x: lib.clamp_min(x, 0.1),
    "clamp_max": lambda lib, x: x.clamp_max(0.1),
    "float_power": lambda lib, x: lib.float_power(x + 2, 1.5),
    "masked_scatter": lambda lib, x: x.masked_scatter(x > 0, x.reshape(-1).flip(0) * 2),
    "setitem by a mask": lambda lib, x: _set(x, x > 0.1, 2.0),
    "rsub": lambda lib, x: lib.rsub(x, 2.0, alpha=3),
}


def _set(x: Any, key: Any, value: Any) -> Any:
    y = x * 1
    y[key] = value
    return y


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("name", ONE)
@given(st.data())
@_FEW
def test_functions_of_one(where: str, name: str, data: st.DataObject) -> None:
    shape = data.draw(shapes(least=int(name == "setitem by a mask"), most=4, lengths=_ODD))
    _same(where, ONE[name], {"x": _numbers(data, shape, -0.9, 0.9)})


TWO: dict[str, Callable[..., Any]] = {
    "div": lambda lib, a, b: lib.div(a, b + 3),
    "true_divide": lambda lib, a, b: lib.true_divide(a, b + 3),
    "floor_divide": lambda lib, a, b: lib.floor_divide(a.detach(), b.detach() + 3),
    "rsub": lambda lib, a, b: lib.rsub(a, b, alpha=2),
    "dist": lambda lib, a, b: lib.dist(a, b),
    **{
        n: lambda lib, a, b, n=n: getattr(lib, n)(a, b).long()
        for n in ("greater", "greater_equal", "less_equal", "not_equal")
    },
    **{
        n: lambda lib, a, b, n=n: getattr(lib, n)(a > 0, b > 0).long()
        for n in ("logical_and", "logical_or", "logical_xor")
    },
    **{
        n: lambda lib, a, b, n=n: getattr(lib, n)((a * 9).long(), (b * 9).long())
        for n in ("bitwise_and", "bitwise_or", "bitwise_xor")
    },
}


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("name", TWO)
@given(st.data())
@_FEW
def test_functions_of_two_broadcast(where: str, name: str, data: st.DataObject) -> None:
    shape = data.draw(shapes(most=4, lengths=_ODD if name != "dist" else st.integers(1, 4)))
    other = tuple(data.draw(st.sampled_from((n, 1))) for n in shape)[data.draw(st.integers(0, len(shape))) :]
    _same(where, TWO[name], {"a": _numbers(data, shape), "b": _numbers(data, other)})


# -- axes that are turned, split and joined ---------------------------------------------------------

TURNED: dict[str, Callable[..., Any]] = {
    "fliplr": lambda lib, x, a, b: lib.fliplr(x),
    "flipud": lambda lib, x, a, b: lib.flipud(x),
    "rot90": lambda lib, x, a, b: lib.rot90(x, a - b, (a, b)),
    "moveaxis": lambda lib, x, a, b: lib.moveaxis(x, a, b),
    "swapaxes": lambda lib, x, a, b: lib.swapaxes(x, a, b),
    "swapdims": lambda lib, x, a, b: x.swapdims(a, b),
    "diag_embed": lambda lib, x, a, b: lib.diag_embed(x, a - b, a, b),
    "tensor_split": lambda lib, x, a, b: _many(lib, lib.tensor_split(x, 3, a)),
    "tensor_split at places": lambda lib, x, a, b: _many(lib, x.tensor_split((1, 3), a)),
    "hsplit": lambda lib, x, a, b: _many(lib, lib.hsplit(x, (1,))),
    "vsplit": lambda lib, x, a, b: _many(lib, lib.vsplit(x, (2,))),
    "var_mean": lambda lib, x, a, b: _many(lib, lib.var_mean(x, a, correction=0)),
    "std_mean": lambda lib, x, a, b: _many(lib, lib.std_mean(x, a, correction=0)),
    "aminmax": lambda lib, x, a, b: _many(lib, lib.aminmax(x, dim=a)),
    "trapezoid": lambda lib, x, a, b: lib.trapezoid(x, dx=0.5, dim=a),
    "cumsum": lambda lib, x, a, b: x.cumsum(a),
}


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("name", TURNED)
@given(st.data())
@_FEW
def test_turning_and_splitting(where: str, name: str, data: st.DataObject) -> None:
    reduces = name in ("var_mean", "std_mean", "aminmax", "trapezoid")
    shape = data.draw(shapes(least=2, most=4, lengths=st.integers(2, 4) if reduces else _ODD))
    a, b = data.draw(st.permutations(range(len(shape))))[:2]
    _same(where, lambda lib, x: TURNED[name](lib, x, a, b), {"x": _numbers(data, shape)})


JOINED: dict[str, Callable[..., Any]] = {
    "block_diag": lambda lib, a, b: lib.block_diag(a, b.reshape(-1), a * 2),
    "row_stack": lambda lib, a, b: lib.row_stack((a, a * 2)),
    "broadcast_tensors": lambda lib, a, b: _many(lib, lib.broadcast_tensors(a.unsqueeze(0), b.unsqueeze(1))),
    "cartesian_prod": lambda lib, a, b: lib.cartesian_prod(a.reshape(-1), b.reshape(-1)),
    "combinations": lambda lib, a, b: lib.combinations(a.reshape(-1), 2),
    "tensordot": lambda lib, a, b: lib.tensordot(a, b, ([1], [1])),
    "cdist": lambda lib, a, b: lib.cdist(a, b),
    "vdot": lambda lib, a, b: lib.vdot(a.reshape(-1), (a * 2).reshape(-1)),
    "ger": lambda lib, a, b: lib.ger(a[:, 0], b[:, 0]),
}


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("name", JOINED)
@given(st.data())
@_FEW
def test_joining_and_products_of_two(where: str, name: str, data: st.DataObject) -> None:
    n, m, width = (data.draw(st.integers(1, 4)) for _ in range(3))
    _same(where, JOINED[name], {"a": _numbers(data, (n, width)), "b": _numbers(data, (m, width), -1, 3)})


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("name", ["addmv", "addr", "addbmm", "baddbmm", "mv", "matrix_power"])
@given(st.data())
@_FEW
def test_products_added(where: str, name: str, data: st.DataObject) -> None:
    batch, n, k, m = (data.draw(st.integers(1, 4)) for _ in range(4))
    factors = {"beta": data.draw(st.sampled_from((0.5, 1))), "alpha": data.draw(st.sampled_from((-2, 1)))}
    of = {
        "addmv": ((n,), (n, k), (k,)),
        "addr": ((n, m), (n,), (m,)),
        "addbmm": ((n, m), (batch, n, k), (batch, k, m)),
        "baddbmm": ((batch, n, m), (batch, n, k), (batch, k, m)),
        "mv": ((n, k), (k,)),
        "matrix_power": ((batch, n, n),),
    }[name]
    more = factors if name.startswith(("add", "badd")) else {}
    arrays = {f"x{i}": _numbers(data, shape) for i, shape in enumerate(of)}
    power = (data.draw(st.integers(1, 4)),) if name == "matrix_power" else ()
    _same(where, lambda lib, *x: getattr(lib, name)(*x, *power, **more), arrays)


# -- places ---------------------------------------------------------------------------------------


def _places(data: st.DataObject, length: int, count: int) -> list[int]:
    """Different ones, as PyTorch leaves open which of several counts."""
    return list(data.draw(st.permutations(range(length))))[:count]


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("name", ["index_copy", "index_fill", "setitem", "scatter"])
@given(st.data())
@settings(max_examples=12, deadline=None)
def test_writing_at_places(where: str, name: str, data: st.DataObject) -> None:
    shape = data.draw(shapes(least=1, most=4, lengths=st.sampled_from((1, 2, 3, 5))))
    dim = axis(data.draw, len(shape))
    # Where nothing is scattered PyTorch's gradient of what was given is zeros, and here there is none.
    count = data.draw(st.integers(int(name == "scatter"), shape[dim]))
    places = _places(data, shape[dim], count)
    values = list(shape)
    values[dim] = count

    def call(lib: Any, x: Any, y: Any) -> Any:
        index = lib.tensor(places, dtype=lib.int64, device=x.device)
        if name == "index_fill":
            return x.index_fill(dim, index, 0.5) + y.sum()
        if name == "index_copy":
            return lib.index_copy(x, dim, index, y)
        if name == "scatter":
            return x.scatter(
                dim, index.reshape([-1 if n == dim % x.ndim else 1 for n in range(x.ndim)]).expand(values), y
            )
        return _set(x, (slice(None),) * (dim % x.ndim) + (index,), y)

    _same(where, call, {"x": _numbers(data, shape), "y": _numbers(data, tuple(values))})


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("name", ["bucketize", "searchsorted", "histc"])
@given(st.data())
@_FEW
def test_counting(where: str, name: str, data: st.DataObject) -> None:
    x = _numbers(data, data.draw(shapes(least=1, most=3, lengths=_ODD if name != "histc" else st.integers(1, 5))))
    edges, right = np.sort(_numbers(data, (data.draw(st.integers(1, 6)),))), data.draw(st.booleans())

    def call(lib: Any, x: Any, edges: Any) -> Any:
        if name == "histc":
            return lib.histc(x, 7, -1, 2)
        given = (x, edges) if name == "bucketize" else (edges, x)
        return getattr(lib, name)(*given, right=right)

    _same(where, call, {"x": x, "edges": edges}, no_gradient=("x", "edges"))


@pytest.mark.parametrize("where", EVERYWHERE)
@given(st.data())
@_FEW
def test_argwhere_and_vander(where: str, data: st.DataObject) -> None:
    x = np.round(_numbers(data, data.draw(shapes(least=1, most=3, lengths=_ODD))))
    _same(where, lambda lib, x: lib.argwhere(x), {"x": x}, no_gradient=("x",))
    n, increasing = data.draw(st.none() | st.integers(1, 6)), data.draw(st.booleans())
    line = _numbers(data, (data.draw(st.integers(1, 5)),))
    # Of PyTorch's own gradient of it autograd says that it was changed in place.
    _same(where, lambda lib, x: lib.vander(x.detach(), n, increasing), {"x": line}, no_gradient=("x",))


@pytest.mark.parametrize("where", EVERYWHERE)
@given(sizes=st.lists(st.integers(1, 5), min_size=3, max_size=6), data=st.data())
@_FEW
@pytest.mark.filterwarnings("ignore:torch.chain_matmul is deprecated")
def test_chain_matmul(where: str, sizes: list[int], data: st.DataObject) -> None:
    matrices = {f"m{i}": _numbers(data, (a, b)) for i, (a, b) in enumerate(itertools.pairwise(sizes))}
    _same(where, lambda lib, *matrices: lib.chain_matmul(*matrices), matrices)


@pytest.mark.parametrize("where", EVERYWHERE)
@given(shape=st.lists(st.integers(1, 4), min_size=3, max_size=3), dim=st.integers(-3, 2), data=st.data())
@_FEW
def test_cross(where: str, shape: list[int], dim: int, data: st.DataObject) -> None:
    shape[dim] = 3
    arrays = {name: _numbers(data, tuple(shape)) for name in "ab"}
    _same(where, lambda lib, a, b: lib.cross(a, b, dim=dim), arrays)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize(("name", "axis"), [("vsplit", 0), ("hsplit", 1), ("dsplit", 2)])
@given(st.data())
@_FEW
def test_split_along_an_axis(where: str, name: str, axis: int, data: st.DataObject) -> None:
    shape = [data.draw(st.integers(1, 4)) for _ in range(3)]
    parts = data.draw(st.integers(1, 3))
    shape[axis] *= parts
    cuts = data.draw(st.just(parts) | st.lists(st.integers(0, 7), max_size=3).map(sorted))

    def call(lib: Any, x: Any) -> Any:
        return _many(lib, [part * i for i, part in enumerate(getattr(lib, name)(x, cuts), 1)])

    _same(where, call, {"x": _numbers(data, tuple(shape))})


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("name", ["tril_indices", "triu_indices"])
@given(rows=st.integers(0, 6), columns=st.integers(0, 6), offset=st.integers(-7, 7))
@_FEW
def test_indices_of_triangles(where: str, name: str, rows: int, columns: int, offset: int) -> None:
    parity = pytest.importorskip("tests.parity")
    mine = getattr(gpunn, name)(rows, columns, offset, device=where)
    assert mine.tolist() == getattr(parity.torch, name)(rows, columns, offset).tolist()


# Where nothing or everything is dropped no numbers matter: what is drawn has tests of its own.
@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize(
    "name", ["dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"]
)
@given(st.data())
@_FEW
def test_dropout_of_nothing_and_of_all(where: str, name: str, data: st.DataObject) -> None:
    axes = {"dropout1d": 3, "dropout2d": 4, "dropout3d": 5}.get(name, 3)
    p, training = data.draw(st.sampled_from((0.0, 1.0))), data.draw(st.booleans())
    x = _numbers(data, tuple(data.draw(st.integers(1, 4)) for _ in range(axes)))
    _same(where, lambda lib, x: getattr(lib.nn.functional, name)(x, p, training) * x, {"x": x})


# -- nn.functional --------------------------------------------------------------------------------

REDUCED: dict[str, Callable[..., Any]] = {
    "cosine_embedding_loss": lambda F, a, b, sign, r: F.cosine_embedding_loss(a, b, sign, 0.3, reduction=r),
    "hinge_embedding_loss": lambda F, a, b, sign, r: F.hinge_embedding_loss(a[:, 0], sign, 0.5, reduction=r),
    "margin_ranking_loss": lambda F, a, b, sign, r: F.margin_ranking_loss(a[:, 0], b[:, 0], sign, 0.2, reduction=r),
    "triplet_margin_loss": lambda F, a, b, sign, r: F.triplet_margin_loss(a, b, a.flip(1) * 2, 0.7, reduction=r),
    "multi_margin_loss": lambda F, a, b, sign, r: F.multi_margin_loss(a, (sign > 0).long(), margin=0.7, reduction=r),
    "multilabel_soft_margin_loss": lambda F, a, b, sign, r: F.multilabel_soft_margin_loss(
        a, (b > 0).to(a.dtype), reduction=r
    ),
    "triplet_margin_with_distance_loss": lambda F, a, b, sign, r: F.triplet_margin_with_distance_loss(
        a, b, b * 2, margin=0.4, reduction=r
    ),
}


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("name", REDUCED)
@given(st.data())
@settings(max_examples=2, deadline=None)
def test_losses_of_embeddings(where: str, name: str, reduction: str, data: st.DataObject) -> None:
    n, width = data.draw(st.integers(1, 5)), data.draw(st.integers(2, 6))
    arrays = {"a": _numbers(data, (n, width)), "b": _numbers(data, (n, width), -1, 3)}
    arrays["sign"] = np.where(_numbers(data, (n,)) > 0, 1.0, -1.0)

    def call(lib: Any, a: Any, b: Any, sign: Any) -> Any:
        return REDUCED[name](lib.nn.functional, a, b, sign, reduction)

    _same(where, call, arrays, no_gradient=("sign",))


LAYERS: dict[str, tuple[int, Callable[..., Any]]] = {
    "instance_norm": (2, lambda F, x: F.instance_norm(x)),
    "rms_norm": (2, lambda F, x: F.rms_norm(x, tuple(x.shape[-1:]))),
    "pixel_shuffle": (2, lambda F, x: F.pixel_shuffle(x, 2)),
    "pixel_unshuffle": (2, lambda F, x: F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2)),
    "channel_shuffle": (2, lambda F, x: F.channel_shuffle(x, 2)),
    "cosine_similarity": (2, lambda F, x: F.cosine_similarity(x, x.flip(3), 1)),
    "pairwise_distance": (2, lambda F, x: F.pairwise_distance(x, x[:1] * 2)),
    "lp_pool1d": (1, lambda F, x: F.lp_pool1d(x, 2.0, 2)),
    "lp_pool3d": (3, lambda F, x: F.lp_pool3d(x, 2.0, 2)),
    "adaptive_max_pool1d": (1, lambda F, x: F.adaptive_max_pool1d(x, 2)),
    "max_unpool1d": (
        1,
        lambda F, x: F.max_unpool1d(*F.max_pool1d(x, 2, return_indices=True), 2, None, 0, tuple(x.shape)),
    ),
    "max_unpool2d": (
        2,
        lambda F, x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2, None, 0, tuple(x.shape)),
    ),
    "max_unpool3d": (
        3,
        lambda F, x: F.max_unpool3d(*F.max_pool3d(x, 2, return_indices=True), 2, None, 0, tuple(x.shape)),
    ),
    "pdist": (1, lambda F, x: F.pdist(x.flatten(1))),
}


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("name", LAYERS)
@given(st.data())
@settings(max_examples=4, deadline=None)
def test_layers(where: str, name: str, data: st.DataObject) -> None:
    axes, call = LAYERS[name]
    size = tuple(data.draw(st.integers(3, 6)) for _ in range(axes))
    x = _numbers(data, (data.draw(st.integers(1, 3)), 4 * data.draw(st.integers(1, 2)), *size), 0.2)
    _same(where, lambda lib, x: call(lib.nn.functional, x), {"x": x})


@pytest.mark.parametrize("where", EVERYWHERE)
@given(st.data())
@_FEW
@pytest.mark.filterwarnings("ignore:Since version 1.3.0")  # of PyTorch's affine_grid, about grids of one place
def test_resampling_by_a_grid(where: str, data: st.DataObject) -> None:
    n, c, h, w, p, q = (data.draw(st.integers(1, 4)) for _ in range(6))
    corners = data.draw(st.booleans())
    how = {"mode": data.draw(st.sampled_from(("bilinear", "nearest"))), "align_corners": corners}
    # Of the nearest neighbour's places PyTorch's gradient is zeros, and here there is none.
    without = {"no_gradient": ("theta",)} if how["mode"] == "nearest" else {}
    how["padding_mode"] = data.draw(st.sampled_from(("zeros", "border", "reflection")))

    def call(lib: Any, x: Any, theta: Any) -> Any:
        F = lib.nn.functional
        return F.grid_sample(x, F.affine_grid(theta, (n, c, p, q), align_corners=corners), **how)

    _same(where, call, {"x": _numbers(data, (n, c, h, w)), "theta": _numbers(data, (n, 2, 3), -1.3, 1.1)}, **without)
