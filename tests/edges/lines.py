"""Along lines and over axes: reductions, softmax, normalisation, and the losses made of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn.primitive import REGISTRY
from tests.edges.draw import BATCH, FEW, Draw, around, row

_ROWS = around(4, 8, 32)  # rows of a block, and more
# Along the last axis: a vector; what a warp holds (8 numbers a thread, or 4 vectors); a block of 512; 1024 columns.
_COLUMNS = around(4, 32, 256, 512, 1024)
_LONG = (*_COLUMNS, 4095, 4096, 4097, 8193, 12_288)  # what a block holds, what shared memory does
_COUNTS = around(4, 32, 256)


def _lines(d: Draw) -> tuple[tuple[int, ...], int]:
    """A shape and an axis: rows, columns, or lines within a block of three axes."""
    kind = d.pick("rows", "columns", "inner")
    if kind == "rows":
        return tuple(d.sizes((0, *_ROWS), _LONG)), 1
    if kind == "columns":
        return tuple(d.sizes(_LONG, around(4, 32))), 0
    return tuple(d.sizes(BATCH, _COUNTS, around(4, 32))), 1


def _reduced(d: Draw) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A shape without a 0, and axes to reduce over."""
    shape = tuple(d.sizes(FEW, _COUNTS, _LONG))
    return shape, d.pick((0,), (1,), (2,), (0, 1), (1, 2), (0, 2), (0, 1, 2))


def _kept(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(1 if a in axes else n for a, n in enumerate(shape))


# -- softmax --------------------------------------------------------------------------------------


@row("softmax_forward", "log_softmax_forward")
def softmax(d: Draw) -> dict[str, Any]:
    shape, axis = _lines(d)
    return {"x": 4 * d.numbers(*shape), "axis": axis}


@row("softmax_backward", "log_softmax_backward")
def softmax_backward(d: Draw) -> dict[str, Any]:
    shape, axis = _lines(d)
    forward = REGISTRY[d.primitive.name.replace("backward", "forward")]
    return {"dy": d.numbers(*shape), "y": forward.plain(np, 4 * d.numbers(*shape), axis), "axis": axis}


# -- reductions -----------------------------------------------------------------------------------


@row("sum_axes")
def sum_axes(d: Draw) -> dict[str, Any]:
    shape, axes = _reduced(d)
    return {"x": d.numbers(*shape), "axes": axes, "keepdims": d.pick(True, False), "factor": d.pick(1.0, 0.3)}


@row("all_axes")
def all_axes(d: Draw) -> dict[str, Any]:
    shape, axes = _reduced(d)
    name = d.pick("all", "any")
    x = np.full(shape, name == "all")
    x.flat[d.rng.integers(0, x.size)] ^= True  # a single element decides
    return {"name": name, "x": x, "axes": axes, "keepdims": d.pick(True, False)}


@row("norm_axes", "norm_backward")
def norm(d: Draw) -> dict[str, Any]:
    shape, axes = _reduced(d)
    x, p = d.numbers(*shape), d.pick(0.0, 1.0, 2.0, 3.0, math.inf, -math.inf)
    if d.primitive.name == "norm_axes":
        return {"x": x, "axes": axes, "p": p}
    y = REGISTRY["norm_axes"].plain(np, x, axes, p)
    return {"dy": d.positive(*_kept(shape, axes)), "x": x, "y": y, "axes": axes, "p": p}


@row("variance_axes")
def variance(d: Draw) -> dict[str, Any]:
    shape, axes = _reduced(d)
    return {"x": d.numbers(*shape), "axes": axes, "divisor": 3.0, "root": d.pick(True, False)}


@row("variance_backward")
def variance_backward(d: Draw) -> dict[str, Any]:
    shape, axes = _reduced(d)
    kept = _kept(shape, axes)
    return {"dy": d.numbers(*kept), "x": d.numbers(*shape), "mean": d.numbers(*kept)} | {
        "std": d.optional(*kept),
        "divisor": 3.0,
    }


@row("extremum_over", "share_backward")
def extremum_over(d: Draw) -> dict[str, Any]:
    shape, axes = _reduced(d)
    x = d.numbers(*shape)
    if d.primitive.name == "extremum_over":
        return {"x": x, "axes": axes, "largest": d.pick(True, False)}
    y = x.max(axes, keepdims=True)
    return {"dy": d.numbers(*y.shape), "x": x, "y": y, "axes": axes, "finds_nan": d.pick(True, False)}


@row("spread")
def spread(d: Draw) -> dict[str, Any]:
    shape, axes = _reduced(d)
    return {"dy": d.numbers(*_kept(shape, axes)), "shape": shape, "factor": d.pick(1.0, 0.3)}


@row("prod_axis", "prod_backward")
def prod(d: Draw) -> dict[str, Any]:
    shape, axis = tuple(d.sizes(FEW, around(4, 8), around(4, 32))), d.pick(0, 1, 2)
    x = d.positive(*shape)
    return {"x": x, "axis": axis} | ({"dy": d.numbers(*_kept(shape, (axis,)))} if "back" in d.primitive.name else {})


@row("extremum_axis")
def extremum_axis(d: Draw) -> dict[str, Any]:
    shape, axis = _lines(d)
    return {"x": d.rng.integers(0, 50, shape).astype(np.float32), "axis": axis, "largest": d.pick(True, False)}


@row("place_along")
def place_along(d: Draw) -> dict[str, Any]:
    outer, length, inner = d.sizes((0, 1, 2, 3), around(4, 32), around(4, 256))
    return {"dy": d.numbers(outer, 1, inner), "index": d.indices(length, outer, 1, inner)} | {
        "axis": 1,
        "length": length,
    }


# -- normalisation --------------------------------------------------------------------------------


@row("layer_norm_forward", "layer_norm_backward")
def layer_norm(d: Draw) -> dict[str, Any]:
    rows, columns = d.sizes((0, *_ROWS), (*_COLUMNS, 127, 128, 129, 2047, 2048, 2049, 8192, 8196))
    # A row of one element has variance 0, and of two may come near: their roundings must not be enlarged by rstd.
    made = {"x": d.numbers(rows, columns), "weight": d.optional(columns), "bias": d.optional(columns), "eps": 0.1}
    if d.primitive.name == "layer_norm_forward":
        return made
    _, mean, rstd = REGISTRY["layer_norm_forward"].plain(np, **made)
    dy = d.numbers(rows, columns)
    return {"dy": dy, "x": made["x"], "mean": mean, "rstd": rstd, "weight": made["weight"], "needs": d.flags(3)}


@row("group_norm_forward", "group_norm_backward")
def group_norm(d: Draw) -> dict[str, Any]:
    # Items of a block; channels of a tile (32 threads, or as many vectors); positions of a chunk, before or behind.
    groups, channels = d.sizes(around(4, 32), (*around(4, 32), 257), most=1000)
    n, positions = d.sizes(
        (0, *around(4, 32, 64)), (*around(8, 64, 256), 2049, 8193), most=40_000 // (groups * channels)
    )
    shape = (n, positions, groups, channels, 1) if d.pick(True, False) else (n, 1, groups, channels, positions)
    parameters = (d.optional(groups, channels) for _ in range(2))
    # A group of one number has variance 0, and of two may come near: their roundings must not be enlarged by rstd.
    made = {"x": d.numbers(*shape), **dict(zip(("weight", "bias"), parameters, strict=True)), "eps": 0.1}
    if d.primitive.name == "group_norm_forward":
        return made
    _, mean, rstd = REGISTRY["group_norm_forward"].plain(np, **made)
    dy = d.numbers(*shape)
    return {"dy": dy, "x": made["x"], "mean": mean, "rstd": rstd, "weight": made["weight"], "needs": d.flags(3)}


def _images(d: Draw) -> np.ndarray:
    # Rows of a chunk are 8 a thread, of up to 256 threads.
    rows, channels = d.sizes((0, *around(8, 64, 256), 2047, 2049), around(4, 32, 128))
    return d.numbers(rows, channels)


@row("batch_norm_statistics")
def batch_norm_statistics(d: Draw) -> dict[str, Any]:
    x = _images(d)
    running = {"running_mean": d.numbers(x.shape[1]), "running_var": d.positive(x.shape[1]), "batches": np.array(3)}
    return {"x": x, **running, "momentum": d.pick(None, 0.1)}


@row("batch_norm_normalise")
def batch_norm_normalise(d: Draw) -> dict[str, Any]:
    x = _images(d)
    c = x.shape[1]
    made = {"x": x, "mean": -d.positive(c), "var": d.positive(c), "weight": d.optional(c), "bias": d.optional(c)}
    return {**made, "residual": d.optional(*x.shape), "eps": 1e-3, "relu": d.pick(True, False)}


@row("batch_norm_backward")
def batch_norm_backward(d: Draw) -> dict[str, Any]:
    x = _images(d)
    c = x.shape[1]
    made = {"dy": d.numbers(*x.shape), "x": x, "y": d.relu(*x.shape), "mean": -d.positive(c), "var": d.positive(c)}
    made |= {"weight": d.optional(c), "bias": d.optional(c)}
    return {**made, "eps": 1e-3, "training": d.pick(True, False), "added": True, "needs": d.flags(4)}


@row("sync_batch_norm_pack")
def sync_batch_norm_pack(d: Draw) -> dict[str, Any]:
    (c,) = d.sizes(around(32, 128))
    return {"mean": d.numbers(c), "var": d.positive(c), "rows": d.pick(0, 1, 7, 2**24 - 1)}


@row("sync_batch_norm_combine")
def sync_batch_norm_combine(d: Draw) -> dict[str, Any]:
    c, ranks = d.sizes(around(32, 128), (1, 2, 3, 8, 33))
    rows = d.rng.integers(0, d.pick(1, 2, 9), (ranks, 1)).astype(np.float32)
    parts = np.concatenate([d.numbers(ranks, c), d.positive(ranks, c), rows], axis=1)
    running = {"running_mean": d.numbers(c), "running_var": d.positive(c), "batches": np.array(3)}
    return {"parts": parts, **running, "momentum": d.pick(None, 0.1)}


@row("sync_batch_norm_backward")
def sync_batch_norm_backward(d: Draw) -> dict[str, Any]:
    x = _images(d)
    c = x.shape[1]
    made = {"dy": d.numbers(*x.shape), "x": x, "y": d.relu(*x.shape), "mean": -d.positive(c), "var": d.positive(c)}
    count = np.array([len(x) + d.pick(0, 3)], np.float32)
    sums = max(len(x), 1) * d.positive(2, c)
    return {**made, "weight": d.optional(c), "sums": sums, "count": count, "eps": 1e-3, "needs": d.flags(2)}


@row("bias_backward")
def bias_backward(d: Draw) -> dict[str, Any]:
    rows, columns = d.sizes((0, *around(8, 32, 1024)), around(4, 32, 128))
    return {"dy": d.numbers(rows, columns), "y": d.relu(rows, columns), "wants_bias": d.pick(True, False)}


@row("prelu_forward", "prelu_backward")
def prelu(d: Draw) -> dict[str, Any]:
    shape = d.sizes((0, *around(8, 64)), around(4, 32), (1, 1, *around(4, 32)))
    made = {"x": d.numbers(*shape), "weight": d.numbers(shape[1])}
    backward = d.primitive.name == "prelu_backward"
    return {"dy": d.numbers(*shape), **made, "needs": d.flags(2)} if backward else made


@row("maxout_forward")
def maxout(d: Draw) -> dict[str, Any]:
    return {"x": d.numbers(*d.sizes((0, *around(32, 256)), (1, 2, 3, 5, 255, 256), around(4, 32)))}


@row("maxout_backward")
def maxout_backward(d: Draw) -> dict[str, Any]:
    outer, k, inner = d.sizes((0, *around(32, 256)), (1, 2, 3, 5, 255, 256), around(4, 32))
    return {"dy": d.numbers(outer, inner), "winner": d.indices(k, outer, inner).astype(np.uint8), "k": k}


@row("lstm_gates_forward", "lstm_gates_backward")
def lstm_gates(d: Draw) -> dict[str, Any]:
    n, width = d.sizes((0, *around(4, 64, 256)), around(4, 32))
    if d.primitive.name == "lstm_gates_forward":
        return {"given": d.numbers(n, 4 * width), "hidden": d.numbers(n, 4 * width), "c": d.numbers(n, width)}
    made = {"dh": d.numbers(n, width), "dc_next": d.numbers(n, width)}
    made |= d.pick({}, {"dh": None}, {"dc_next": None})
    return {**made, "gates": d.numbers(n, 4 * width), "c": d.numbers(n, width), "c_next": d.numbers(n, width)}


@row("gru_gates_forward", "gru_gates_backward")
def gru_gates(d: Draw) -> dict[str, Any]:
    n, width = d.sizes((0, *around(4, 64, 256)), around(4, 32))
    made = {"hidden": d.numbers(n, 3 * width), "h": d.numbers(n, width)}
    if d.primitive.name == "gru_gates_forward":
        return {"given": d.numbers(n, 3 * width), **made}
    return {"dy": d.numbers(n, width), "gates": d.numbers(n, 3 * width), **made}


# -- losses of classes ----------------------------------------------------------------------------


def _classes(d: Draw, rows: tuple[int, ...], classes: tuple[int, ...]) -> dict[str, Any]:
    n, c = d.sizes(rows, classes)
    target = d.indices(c, n).astype(d.pick(np.int64, np.int32))
    target[1::3] = -100
    return {"logits": 4 * d.numbers(n, c), "target": target, "weight": d.optional(c), "ignore_index": -100}


@row("cross_entropy_forward")
def cross_entropy_forward(d: Draw) -> dict[str, Any]:
    # Of one class a gradient is nothing but roundings. Beyond 2896 rows the mean's factor stays apart.
    many = d.pick(True, False)
    made = _classes(d, (32, 33, 255, 2049, 2896, 2897), (2, 3)) if many else _classes(d, (0, *_ROWS), _LONG[1:])
    return {
        **made,
        "smoothing": d.pick(0.0, 0.2),
        "reduction": d.pick("none", "sum", "mean"),
        "with_gradient": d.pick(True, False),
    }


@row("cross_entropy_backward")
def cross_entropy_backward(d: Draw) -> dict[str, Any]:
    n, c = d.sizes((0, *_ROWS), around(4, 32, 256))
    dy = np.asarray(d.pick(d.numbers(n), d.positive()))
    return {"dlogits": d.numbers(n, c), "dy": dy, "factor": d.pick(None, np.asarray(d.positive()))}


@row("cross_entropy_of_probabilities")
def cross_entropy_of_probabilities(d: Draw) -> dict[str, Any]:
    n, c = d.sizes((0, *_ROWS), _LONG[1:])
    made = {"logits": 4 * d.numbers(n, c), "target": d.positive(n, c) / c, "weight": d.optional(c)}
    divisor = d.pick(None, float(max(n, 1)))
    return {**made, "smoothing": d.pick(0.0, 0.2), "divisor": divisor, "needs": d.flags(2)}


@row("nll_loss_forward", "nll_loss_backward")
def nll_loss(d: Draw) -> dict[str, Any]:
    made = _classes(d, (0, *around(32, 256, 1024)), (*FEW, 4, 33))
    x = np.abs(made.pop("logits")) + np.float32(0.1)
    how = {"of_probabilities": d.pick(True, False)}
    if d.primitive.name == "nll_loss_forward":
        return {"x": x, **made, **how, "reduction": d.pick("mean", "sum", "none")}
    dy, factor = (d.numbers(len(x)), None) if d.pick(True, False) else (np.asarray(d.positive()), d.positive())
    return {"dy": dy, "x": x, **made, **how, "factor": None if factor is None else np.asarray(factor)}


@row("update_metrics")
def update_metrics(d: Draw) -> dict[str, Any]:
    rows, columns = d.sizes((0, *around(16, 256, 512)), around(4, 32))
    logits = d.numbers(rows, columns)
    labels = logits.argmax(axis=1) * d.rng.integers(0, 2, rows)
    return {"totals": np.array([1.5, 2, 3, 4]), "loss": np.asarray(d.positive()), "logits": logits, "labels": labels}
