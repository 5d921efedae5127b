"""Matrix products and convolutions: everything made of tiles of C, panels of its depth, and slices of a reduction."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._window import Window
from gpunn.primitive import REGISTRY
from tests.edges.draw import BATCH, FEW, Draw, around, row

_TILED = around(32, 64, 128)  # rows or columns of a tile
_DEPTH = (*around(4, 8, 16), 127, 255, 256, 257)  # a vector, a panel; from twice 128 on it is cut into slices
_WORK = 300_000  # multiply-adds of an example


def _matrix(d: Draw, rows: int, columns: int, turned: bool) -> np.ndarray:
    return d.numbers(columns, rows) if turned else d.numbers(rows, columns)


@row("gemm")
def gemm(d: Draw) -> dict[str, Any]:
    m, n, k = d.sizes((0, *_TILED), _TILED, _DEPTH, most=_WORK)
    form = d.pick("nt", "nn", "tn")
    made = {"a": _matrix(d, m, k, form[0] == "t"), "b": _matrix(d, k, n, form[1] == "t"), "form": form}
    linear = {"bias": d.optional(n), "relu": d.pick(True, False)} if form == "nt" else {}
    return made | linear


@row("matmul_batched")
def matmul_batched(d: Draw) -> dict[str, Any]:
    count, m, n, k = d.sizes(BATCH, _TILED, _TILED, (*around(4, 16), 33), most=_WORK)
    form, (one_a, one_b) = d.pick("nt", "nn", "tn"), d.pick((False, False), (True, False), (False, True))
    a = np.stack([_matrix(d, m, k, form[0] == "t") for _ in range(1 if one_a else count)] or [d.numbers(m, k)])
    b = np.stack([_matrix(d, k, n, form[1] == "t") for _ in range(1 if one_b else count)] or [d.numbers(k, n)])
    if count == 0:
        a, b = _matrix(d, m, k, form[0] == "t")[None][:0], _matrix(d, k, n, form[1] == "t")[None][:0]
    return {"a": a, "b": b, "form": form}


@row("linear_backward")
def linear_backward(d: Draw) -> dict[str, Any]:
    n, m, k = d.sizes((0, *_DEPTH), _TILED, _TILED, most=_WORK // 2)
    made = {"dy": d.numbers(n, m), "y": d.relu(n, m), "x": d.numbers(n, k), "weight": d.numbers(m, k)}
    return {**made, **_wanted(d, n, k)}


def _wanted(d: Draw, *x: int) -> dict[str, Any]:
    """Which gradients, and perhaps what is added to that of x, which is of this shape."""
    needs = d.flags(3)
    return {"needs": needs, "more": d.optional(*x) if needs[0] else None}


@row("attention_forward", "attention_backward")
def attention(d: Draw) -> dict[str, Any]:
    """Around a block's rows, the rows and features of a step, and the features of a specialisation."""
    lengths = around(8, 32, 64)[1:]  # a query that sees one key alone has no gradient but rounding errors
    items, L, S = d.sizes((1, 2, 3), lengths, lengths, most=8000)
    features = (*(n for n in around(4, 32, 64) if n < 128), 128)
    E, V = d.sizes(features, features, most=3000)
    made = {"q": d.numbers(items, L, E), "k": d.numbers(items, S, E), "v": d.numbers(items, S, V)}
    causal = d.pick(True, False)
    mask = None if causal or d.pick(True, False) else d.numbers(d.pick(1, items), L, S)
    inputs = {**made, "mask": mask, "scale": E**-0.5, "causal": causal}
    if d.primitive.name == "attention_forward":
        return inputs
    y, lse = REGISTRY["attention_forward"].plain(np, **inputs)
    return {"dy": d.numbers(items, L, V), **inputs, "y": y, "lse": lse, "needs": d.flags(3)}


# -- convolutions ---------------------------------------------------------------------------------


def _convolution(d: Draw) -> dict[str, Any]:
    """Of any of the four kinds of kernels, about a tile of outputs and filters large."""
    kind = d.pick("tiled", "first", "depthwise", "narrow", "groups")
    groups, depth, per_group = {
        "tiled": lambda: (1, d.pick(5, 7, 8, 9, 16, 17), d.pick(1, 31, 32, 33, 64, 65, 128, 129)),
        "first": lambda: (1, d.pick(1, 2, 3, 4), d.pick(*around(4, 8, 32))),
        "depthwise": lambda: (d.pick(*around(4, 8, 32)[1:]), 1, d.pick(1, 1, 2)),
        "narrow": lambda: (d.pick(2, 3), d.pick(2, 3, 4, 5, 8), d.pick(1, 2, 7, 8)),
        "groups": lambda: (2, d.pick(9, 12, 16), d.pick(3, 32, 33)),
    }[kind]()
    # Outputs of a tile: 64 pixels, 8 x 32 of a first layer, 4 columns of a depthwise thread.
    n, height, width = d.sizes(BATCH, around(4, 8), around(4, 8, 32), most=300)
    window = d.window(height, width)
    k = groups * per_group
    if n * window.P * window.Q * k * window.R * window.S * depth > _WORK:
        window = Window(height, width, 1, 1, window.stride, (0, 0), (1, 1))
    x, weight = d.numbers(n, height, width, groups * depth), d.numbers(k, window.R, window.S, depth)
    return {"x": x, "weight": weight, "window": window, "groups": groups}


@row("conv2d_forward")
def conv2d_forward(d: Draw) -> dict[str, Any]:
    made = _convolution(d)
    return {**made, "bias": d.optional(len(made["weight"])), "relu": d.pick(True, False)}


@row("conv2d_backward")
def conv2d_backward(d: Draw) -> dict[str, Any]:
    made = _convolution(d)
    shape = (len(made["x"]), made["window"].P, made["window"].Q, len(made["weight"]))
    return {**made, "dy": d.numbers(*shape), "y": d.relu(*shape), **_wanted(d, *made["x"].shape)}


@row("locally_connected2d_forward", "locally_connected2d_backward")
def locally_connected2d(d: Draw) -> dict[str, Any]:
    n, c, k = d.sizes((0, *around(8)), FEW, around(4), most=60)
    height, width = d.sizes(around(4), around(4), most=40)
    window = d.window(height, width, kernels=(1, 2, 3))
    filters = (window.P, window.Q, k, c, window.R, window.S)
    made: dict[str, Any] = {"x": d.numbers(n, height, width, c), "weight": d.numbers(*filters), "window": window}
    if d.primitive.name == "locally_connected2d_forward":
        return {**made, "bias": d.optional(k, window.P, window.Q)}
    return {**made, "dy": d.numbers(n, window.P, window.Q, k), "needs": d.flags(3)}
