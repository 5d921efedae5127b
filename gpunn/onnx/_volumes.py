"""Transposed convolutions, and what works on volumes, in ONNX."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn._shared.pooling import output_sizes
from gpunn._window import Window, pair, sides, single, triple
from gpunn.composed.conv3d import conv3d, conv_transpose3d
from gpunn.composed.pool3d import adaptive_avg_pool3d, adaptive_max_pool3d, avg_pool3d, max_pool3d, volume_windows
from gpunn.onnx._convolution import needs_batch, window_axes, window_counts
from gpunn.onnx._graph import Graph
from gpunn.onnx._table import Arguments, lowers
from gpunn.ops.adaptive_max_pool1d import adaptive_max_pool1d
from gpunn.ops.conv_transpose2d import conv_transpose1d, conv_transpose2d


def _numbers(value: Any, axes: int, name: str, least: int) -> list[int]:
    """An option of a window as one number for each axis."""
    if axes == 1:
        return [single(value, "conv", name, least)]
    return list((pair if axes == 2 else triple)(value, "conv", name, least))


@lowers(conv_transpose1d, conv_transpose2d, conv_transpose3d)
def _conv_transpose(g: Graph, a: Arguments) -> str:
    kernel = g.fixed(a.weight.shape[2:], "the kernel's size")
    axes = len(kernel)
    needs_batch(g, a)
    cut, more = (_numbers(v, axes, "padding", 0) for v in (a.padding, a.output_padding))
    # Runtimes want no more output padding than padding, and less than the stride; what is beyond is padded here.
    inside = [min(m, p) for m, p in zip(more, cut, strict=True)]
    attributes: dict[str, Any] = {
        "kernel_shape": list(kernel),
        "strides": _numbers(a.stride, axes, "stride", 1),
        "dilations": _numbers(a.dilation, axes, "dilation", 1),
        "pads": cut + [p - m for p, m in zip(cut, inside, strict=True)],
        "group": int(a.groups),
    }
    rest = [m - i for m, i in zip(more, inside, strict=True)]
    inputs = [a.x.name, a.weight.name]
    if not any(rest):
        return g.node("ConvTranspose", [*inputs, *([a.bias.name] if a.bias is not None else [])], **attributes)
    y = g.node("ConvTranspose", inputs, **attributes)
    pads = g.numbers(*(0,) * axes, *rest), g.constant(np.zeros((), a.x.dtype)), g.numbers(*range(2, 2 + axes))
    y = g.node("Pad", [y, *pads])
    if a.bias is None:
        return y
    return g.node("Add", [y, g.node("Reshape", [a.bias.name, g.numbers(-1, *(1,) * axes)])])


@lowers(conv3d)
def _conv3d(g: Graph, a: Arguments) -> str:
    kernel = g.fixed(a.weight.shape[2:], "the kernel's size")
    needs_batch(g, a)
    stride, dilation = _numbers(a.stride, 3, "stride", 1), _numbers(a.dilation, 3, "dilation", 1)
    both = sides(a.padding, "conv", kernel, stride, dilation)
    inputs = [v.name for v in (a.x, a.weight, a.bias) if v is not None]
    return g.node(
        "Conv",
        inputs,
        group=int(a.groups),
        kernel_shape=list(kernel),
        strides=stride,
        dilations=dilation,
        pads=[before for before, _ in both] + [after for _, after in both],
    )


# -- pooling --------------------------------------------------------------------------------------


def _windows(g: Graph, a: Arguments, dilation: Any) -> tuple[Window, Window]:
    needs_batch(g, a)
    size = g.fixed(a.x.shape[2:], "a volume's size")
    return volume_windows("pool", tuple(size), a.kernel_size, a.stride, a.padding, dilation, a.ceil_mode)


def _three(deep: Window, flat: Window) -> list[list[int]]:
    """Kernel, stride, dilation, and pads before and after along the three axes."""
    both = zip(window_axes(deep, 1), window_axes(flat, 2), strict=True)
    return [[*one, *two] for one, two in both]


@lowers(max_pool3d)
def _max_pool3d(g: Graph, a: Arguments) -> tuple[str | None, ...]:
    kernel, stride, dilation, before, after = _three(*_windows(g, a, a.dilation))
    y = g.node("MaxPool", [a.x.name], kernel_shape=kernel, strides=stride, dilations=dilation, pads=before + after)
    return (y, None) if len(a.results) > 1 else (y,)


@lowers(avg_pool3d)
def _avg_pool3d(g: Graph, a: Arguments) -> str:
    deep, flat = _windows(g, a, 1)
    kernel, stride, _, before, after = _three(deep, flat)
    include = bool(a.count_include_pad)
    counts = window_counts(deep, 1, include)[:, None, None] * window_counts(flat, 2, include)
    divisor = a.divisor_override
    factors = math.prod(kernel) / (np.full_like(counts, divisor) if divisor is not None else counts)
    x = a.x.name
    if any(before + after):
        border = g.numbers(*before, *after), g.constant(np.zeros((), a.x.dtype)), g.numbers(2, 3, 4)
        x = g.node("Pad", [x, *border])
    y = g.node("AveragePool", [x], kernel_shape=kernel, strides=stride)
    return y if (factors == 1).all() else g.node("Mul", [y, g.constant(factors.astype(a.x.dtype))])


@lowers(adaptive_avg_pool3d)
def _adaptive_avg(g: Graph, a: Arguments) -> str:
    return _adaptive(g, a, "AveragePool", "GlobalAveragePool")


@lowers(adaptive_max_pool1d, adaptive_max_pool3d)
def _adaptive_max(g: Graph, a: Arguments) -> tuple[str | None, ...]:
    y = _adaptive(g, a, "MaxPool", "GlobalMaxPool")
    return (y, None) if len(a.results) > 1 else (y,)


def _adaptive(g: Graph, a: Arguments, pooling: str, whole: str) -> str:
    needs_batch(g, a)
    size: Sequence[int] = g.fixed(a.x.shape[2:], "the input's size")
    goal = output_sizes("pool", a.output_size, size)
    if all(p == 1 for p in goal):
        return g.node(whole, [a.x.name])
    kernel = [n // p for n, p in zip(size, goal, strict=True)]
    if any(k * p != n for k, p, n in zip(kernel, goal, size, strict=True)):
        raise g.refuse(
            f"windows of unequal size have no form in ONNX: expected outputs {goal} that divide the input's {size}."
        )
    return g.node(pooling, [a.x.name], kernel_shape=kernel, strides=kernel)
