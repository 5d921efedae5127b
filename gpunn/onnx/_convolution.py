"""Convolutions, locally connected layers and pooling in ONNX.

Padding is always written as numbers. Where rounding up adds a window, or windows differ in how many elements they
average, runtimes are not of one mind, so the border and the divisors are written out as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn._shared.pooling import image_window, output_sizes, sequence_window
from gpunn._window import Window, pair, segments, sides, single
from gpunn.onnx._graph import Graph, Length, Size
from gpunn.onnx._table import Arguments, activated, lowers, reshaped
from gpunn.ops.adaptive_avg_pool1d import adaptive_avg_pool1d
from gpunn.ops.adaptive_avg_pool2d import adaptive_avg_pool2d
from gpunn.ops.adaptive_max_pool2d import adaptive_max_pool2d
from gpunn.ops.avg_pool1d import avg_pool1d
from gpunn.ops.avg_pool2d import avg_pool2d
from gpunn.ops.conv1d import conv1d
from gpunn.ops.conv2d import conv2d
from gpunn.ops.conv2d_max_pool2d import conv2d_max_pool2d
from gpunn.ops.locally_connected1d import locally_connected1d
from gpunn.ops.locally_connected2d import locally_connected2d
from gpunn.ops.max_pool1d import max_pool1d
from gpunn.ops.max_pool2d import max_pool2d

# -- convolutions ---------------------------------------------------------------------------------


def _geometry(a: Arguments, kernel: Sequence[int]) -> dict[str, Any]:
    """ONNX's attributes of a window; pads are all beginnings, then all ends."""
    stride, dilation = (
        pair(v, "conv", name, 1) if len(kernel) == 2 else (single(v, "conv", name, 1),)
        for v, name in ((a.stride, "stride"), (a.dilation, "dilation"))
    )
    both = sides(a.padding, "conv", kernel, stride, dilation)
    pads = [before for before, _ in both] + [after for _, after in both]
    return {"kernel_shape": list(kernel), "strides": list(stride), "dilations": list(dilation), "pads": pads}


def needs_batch(g: Graph, a: Arguments) -> None:
    """Refuse one item without a batch axis, which ONNX's ops want; the present op's name ends in 1d, 2d or 3d."""
    if a.x.ndim != int(g.op[-2]) + 2:
        raise g.refuse("one item without a batch axis has no form in ONNX: give it one, x.unsqueeze(0).")


def _convolved(g: Graph, a: Arguments) -> str:
    needs_batch(g, a)
    kernel = g.fixed(a.weight.shape[2:], "the kernel's size")
    inputs = [v.name for v in (a.x, a.weight, a.bias) if v is not None]
    return activated(g, g.node("Conv", inputs, group=int(a.groups), **_geometry(a, kernel)), a.activation)


@lowers(conv2d, conv1d)
def _conv(g: Graph, a: Arguments) -> str:
    return _convolved(g, a)


@lowers(conv2d_max_pool2d)
def _conv_and_pool(g: Graph, a: Arguments) -> str:
    y = _convolved(g, a)
    geometry = _geometry(a, a.weight.shape[2:])
    kernel, stride, pads = geometry["kernel_shape"], geometry["strides"], geometry["pads"]
    image = []
    for axis, n in enumerate(a.x.shape[2:]):
        if isinstance(n, Size):
            raise g.refuse("an image's size is dynamic: expected a fixed one where a pooling runs in a convolution.")
        extent = geometry["dilations"][axis] * (kernel[axis] - 1) + 1
        image.append((n + pads[axis] + pads[axis + 2] - extent) // stride[axis] + 1)
    window = a.pool.window(*image)
    y = _max_pooled(g, y, window, 2, image)
    return reshaped(g, y, None, a.shape) if a.flatten else y


@lowers(locally_connected2d)
def _local2d(g: Graph, a: Arguments) -> str:
    P, Q, _, _, R, S = g.fixed(a.weight.shape, "the weights' shape")
    geometry = _geometry(a, (R, S))
    x = _bordered(g, a.x.name, a.x.dtype, geometry["pads"], 0)
    (sh, sw), (dh, dw) = geometry["strides"], geometry["dilations"]
    taps = []
    for r in range(R):
        for s in range(S):
            ends = (r * dh + (P - 1) * sh + 1, s * dw + (Q - 1) * sw + 1)
            bounds = g.numbers(r * dh, s * dw), g.numbers(*ends), g.numbers(2, 3), g.numbers(sh, sw)
            taps.append(g.node("Unsqueeze", [g.node("Slice", [x, *bounds]), g.numbers(2)]))
    unrolled = g.node("Concat", taps, axis=2)  # (N, C, R S, P, Q)
    P, Q, K, C, R, S = a.weight.shape
    weight = g.node("Reshape", [a.weight.name, g.numbers(P, Q, K, C, R * S)])
    y = g.node("Einsum", [unrolled, weight], equation="nctpq,pqkct->nkpq")
    return y if a.bias is None else g.node("Add", [y, a.bias.name])


@lowers(locally_connected1d)
def _local1d(g: Graph, a: Arguments) -> str:
    Q, _, _, S = g.fixed(a.weight.shape, "the weights' shape")
    geometry = _geometry(a, (S,))
    x = _bordered(g, a.x.name, a.x.dtype, geometry["pads"], 0)
    (stride,), (dilation,) = geometry["strides"], geometry["dilations"]
    taps = []
    for s in range(S):
        bounds = (s * dilation, s * dilation + (Q - 1) * stride + 1, 2, stride)
        part = g.node("Slice", [x, *(g.numbers(n) for n in bounds)])
        taps.append(g.node("Unsqueeze", [part, g.numbers(2)]))
    y = g.node("Einsum", [g.node("Concat", taps, axis=2), a.weight.name], equation="nctq,qkct->nkq")
    return y if a.bias is None else g.node("Add", [y, a.bias.name])


def _bordered(g: Graph, x: str, dtype: np.dtype, pads: Sequence[int], value: float) -> str:
    """x with ``value`` around its last axes."""
    if not any(pads):
        return x
    half = len(pads) // 2
    axes = g.numbers(*range(2, 2 + half))
    return g.node("Pad", [x, g.numbers(*pads), g.constant(np.asarray(value, dtype)), axes])


# -- pooling --------------------------------------------------------------------------------------


def _window(a: Arguments, size: Sequence[int], dilation: Any) -> Window:
    given = (a.kernel_size, a.stride, a.padding, dilation, a.ceil_mode, False)
    if len(size) == 1:
        return sequence_window("pool", size[0], *given)
    return image_window("pool", tuple(size), *given)


def window_axes(window: Window, count: int) -> tuple[list[int], list[int], list[int], list[int], list[int]]:
    """Kernel, stride, dilation, and pads before and after, as ``count`` axes have them; after as far as windows go."""
    kernel, outputs, size = [window.R, window.S][:count], [window.P, window.Q][:count], [window.H, window.W][:count]
    stride, dilation, before = window.stride[:count], window.dilation[:count], window.padding[:count]
    after = [
        max((p - 1) * s + d * (k - 1) + 1 - n - b, 0)
        for p, s, d, k, n, b in zip(outputs, stride, dilation, kernel, size, before, strict=True)
    ]
    return kernel, list(stride), list(dilation), list(before), after


def _max_pooled(g: Graph, x: str, window: Window, count: int, size: Sequence[Length]) -> str:
    kernel, stride, dilation, before, after = window_axes(window, count)
    attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": stride, "dilations": dilation}
    if any(isinstance(n, Size) for n in size):  # the runtime has to find out how many windows there are
        ends = list(window.after[:count])
        return g.node("MaxPool", [x], pads=before + ends, ceil_mode=int(window.ceil_mode), **attributes)
    return g.node("MaxPool", [x], pads=before + after, **attributes)


def _measured(size: Sequence[Length]) -> list[int]:
    """Some size, where it is dynamic: as long as the first trace's."""
    return [n.lengths[0] if isinstance(n, Size) else n for n in size]


@lowers(max_pool2d, max_pool1d)
def _max_pool(g: Graph, a: Arguments) -> tuple[str | None, ...]:
    needs_batch(g, a)
    size = a.x.shape[2:]
    y = _max_pooled(g, a.x.name, _window(a, _measured(size), a.dilation), len(size), size)
    y = activated(g, y, getattr(a, "activation", None))
    if getattr(a, "flatten", False):
        y = reshaped(g, y, None, a.shape)
    return (y, None) if len(a.results) > 1 else (y,)


@lowers(avg_pool2d, avg_pool1d)
def _avg_pool(g: Graph, a: Arguments) -> str:
    needs_batch(g, a)
    size, count = a.x.shape[2:], a.x.ndim - 2
    divisor = getattr(a, "divisor_override", None)
    window = _window(a, _measured(size), 1)
    kernel, stride, _, before, after = window_axes(window, count)
    full = math.prod(kernel)
    if any(isinstance(n, Size) for n in size):
        if a.ceil_mode or (divisor is not None):
            raise g.refuse("an image's size is dynamic: expected a fixed one with ceil_mode or divisor_override.")
        pads = before + list(window.after[:count])
        include = int(bool(a.count_include_pad))
        return g.node(
            "AveragePool", [a.x.name], kernel_shape=kernel, strides=stride, pads=pads, count_include_pad=include
        )
    counts = window_counts(window, count, bool(a.count_include_pad))
    factors = full / (np.full_like(counts, divisor) if divisor is not None else counts)
    x = _bordered(g, a.x.name, a.x.dtype, before + after, 0)
    y = g.node("AveragePool", [x], kernel_shape=kernel, strides=stride)
    if (factors == 1).all():
        return y
    return g.node("Mul", [y, g.constant(factors.astype(a.x.dtype))])


def window_counts(window: Window, count: int, padding_too: bool) -> np.ndarray:
    """How many elements each window averages, (P, Q) or (P,)."""
    found = np.ones((), np.float64)
    kernel, stride, _, before, _ = window_axes(window, count)
    for axis in range(count):
        n, outputs = (window.H, window.W)[axis], (window.P, window.Q)[axis]
        first = np.arange(outputs) * stride[axis] - before[axis]
        last = first + kernel[axis]
        if padding_too:
            lengths = np.minimum(last, n + window.after[axis]) - first
        else:
            lengths = np.minimum(last, n) - np.maximum(first, 0)
        found = found[..., None] * lengths
    return found


# -- adaptive pooling -----------------------------------------------------------------------------


@lowers(adaptive_avg_pool2d, adaptive_avg_pool1d)
def _adaptive_avg(g: Graph, a: Arguments) -> str:
    needs_batch(g, a)
    goal = _goal(g, a)
    if all(p == 1 for p in goal):
        return g.node("GlobalAveragePool", [a.x.name])
    size = g.fixed(a.x.shape[2:], "an image's size")
    if all(n % p == 0 for n, p in zip(size, goal, strict=True)):
        kernel = [n // p for n, p in zip(size, goal, strict=True)]
        return g.node("AveragePool", [a.x.name], kernel_shape=kernel, strides=kernel)
    # The mean over segments along an axis is a product with a matrix.
    y = a.x.name
    if len(size) == 2:
        y = g.node("MatMul", [g.constant(_means(size[0], goal[0]), a.x.dtype), y])
    return g.node("MatMul", [y, g.constant(_means(size[-1], goal[-1]).T, a.x.dtype)])


def _goal(g: Graph, a: Arguments) -> tuple[int, ...]:
    size = a.x.shape[2:]
    given = a.output_size if isinstance(a.output_size, tuple | list) else (a.output_size,) * len(size)
    if any(n is None for n in given):
        g.fixed(size, "an image's size")
    return output_sizes("pool", a.output_size, _measured(size))


def _means(n: int, outputs: int) -> np.ndarray:
    """(outputs, n): the weights of each output's mean."""
    made = np.zeros((outputs, n))
    for row, (start, stop) in enumerate(segments(n, outputs)):
        made[row, start:stop] = 1 / (stop - start)
    return made


@lowers(adaptive_max_pool2d)
def _adaptive_max(g: Graph, a: Arguments) -> tuple[str | None, ...]:
    needs_batch(g, a)
    goal = _goal(g, a)
    none = (None,) if len(a.results) > 1 else ()
    if goal == (1, 1):
        return g.node("GlobalMaxPool", [a.x.name]), *none
    size = g.fixed(a.x.shape[2:], "an image's size")
    if all(n % p == 0 for n, p in zip(size, goal, strict=True)):
        kernel = [n // p for n, p in zip(size, goal, strict=True)]
        return g.node("MaxPool", [a.x.name], kernel_shape=kernel, strides=kernel), *none
    y = a.x.name
    for axis, (n, p) in enumerate(zip(size, goal, strict=True), 2):
        parts = []
        for start, stop in segments(n, p):
            part = g.node("Slice", [y, g.numbers(start), g.numbers(stop), g.numbers(axis)])
            parts.append(g.node("ReduceMax", [part, g.numbers(axis)], keepdims=1))
        y = g.node("Concat", parts, axis=axis)
    return y, *none
