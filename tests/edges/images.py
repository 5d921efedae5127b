"""Poolings: windows of every geometry over images whose channels and outputs are about a block's."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.primitive import REGISTRY
from tests.edges.draw import BATCH, Draw, around, row


def _image(d: Draw) -> np.ndarray:
    # Outputs of a block are 256, or one of 32 channels where windows are large.
    return d.numbers(*d.sizes(BATCH, around(4, 8), around(4, 8), around(4, 32, 128), most=4000))


@row("max_pool2d_forward", "max_pool2d_backward")
def max_pool2d(d: Draw) -> dict[str, Any]:
    x = _image(d)
    window, flat, relu = d.window(*x.shape[1:3]), d.pick(False, True), d.pick(False, False, True)
    if d.primitive.name == "max_pool2d_forward":
        return {"x": x, "window": window, "flat": flat, "relu": relu}
    y, offset = REGISTRY["max_pool2d_forward"].plain(np, x, window, flat, relu)
    return {"dy": d.numbers(*y.shape), "offset": offset, "window": window, "flat": flat}


@row("max_pool2d_indices")
def max_pool2d_indices(d: Draw) -> dict[str, Any]:
    x = _image(d)
    window = d.window(*x.shape[1:3])
    return {"offset": REGISTRY["max_pool2d_forward"].plain(np, x, window)[1], "window": window}


@row("conv2d_max_pool2d_forward", "conv2d_max_pool2d_backward")
def conv2d_max_pool2d(d: Draw) -> dict[str, Any]:
    # Two kernels, whose own rows are wider: here, that one takes what the other gives. Whole numbers, whose sums are
    # exact: roundings could let another element win.
    def whole(*shape: int) -> np.ndarray:
        return np.round(4 * d.numbers(*shape))

    x = whole(*d.sizes(BATCH, around(8, 16), around(8, 16), around(4, 16), most=4000))
    window = d.window(*x.shape[1:3])
    pool, flat = d.window(window.P, window.Q), d.pick(False, True)
    weight = whole(d.pick(4, 20, 33), window.R, window.S, x.shape[3])
    how = {"x": x, "weight": weight, "window": window, "groups": 1}
    bias, relu = whole(len(weight)) if d.pick(False, True) else None, d.pick(False, True)
    if d.primitive.name == "conv2d_max_pool2d_forward":
        return {**how, "bias": bias, "pool": pool, "flat": flat, "relu": relu}
    y, offset = REGISTRY["conv2d_max_pool2d_forward"].plain(np, *how.values(), bias, pool, flat, relu)
    needs = d.pick(True, False), d.pick(True, False), d.pick(True, False)
    return {"dy": d.numbers(*y.shape), "offset": offset, **how, "pool": pool, "flat": flat, "needs": needs}


@row("avg_pool2d_forward", "avg_pool2d_backward")
def avg_pool2d(d: Draw) -> dict[str, Any]:
    x = _image(d)
    window = d.window(*x.shape[1:3], kernels=(1, 2, 3, 5, 6), dilated=False)
    how = {"window": window, "count_include_pad": d.pick(True, False), "divisor": d.pick(0, 0, 3)}
    if d.primitive.name == "avg_pool2d_forward":
        return {"x": x, **how}
    return {"dy": d.numbers(len(x), window.P, window.Q, x.shape[3]), **how}


@row(
    *("adaptive_avg_pool2d_forward", "adaptive_avg_pool2d_backward"),
    *("adaptive_max_pool2d_forward", "adaptive_max_pool2d_backward"),
)
def adaptive(d: Draw) -> dict[str, Any]:
    x = _image(d)
    n, height, width, c = x.shape
    size = d.pick(1, 2, 3, 5, 8), d.pick(1, 2, 3, 5, 8)
    if d.primitive.name.endswith("forward"):
        return {"x": x, "size": size}
    dy = d.numbers(n, *size, c)
    if d.primitive.name == "adaptive_avg_pool2d_backward":
        return {"dy": dy, "height": height, "width": width}
    _, index = REGISTRY["adaptive_max_pool2d_forward"].plain(np, x, size)
    return {"dy": dy, "index": index, "height": height, "width": width}
