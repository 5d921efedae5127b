"""R x 3 and R x 5 convolution on the CPU by Winograd's minimal filtering along the rows: F(4, 3) and F(4, 5).

For 5 taps, strips of 8 neighbouring columns yield 4 columns of outputs: 8 multiplications where a direct convolution
has 20. Along the columns the convolution stays direct, as the depth of the matrix products: in a transformed strip, R
rows of C channels are one run of R*C numbers (the *lowered rows* of ``direct.py``). So the products stay large
where there are few channels, and the transforms are products with an 8 x 8 matrix, which cost next to nothing. In both
directions 5 x 5 filters would need 64 x 64 transforms, more work than they save at such depths.

The price is rounding: relative to the largest output the error in float32 is up to 5e-6, where a direct convolution has
7e-7 (measured against float64). float64 always takes a direct way.

Source: Lavin and Gray 2015, arXiv:1509.09308, in one direction only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from gpunn._window import Window
from gpunn.cpu import threads
from gpunn.cpu.conv2d.tasks import Images, Output, Problem, Products, Task, sizes, sum_products, tasks, view
from gpunn.cpu.conv2d.winograd import flat, stack, transforms
from gpunn.cpu.elementwise import pixels, rectify

STRIP = 4  # columns of outputs that a strip yields
_POINTS = {3: (0.0, 1.0, -1.0, 0.5, -2.0), 5: (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)}  # by taps; and infinity
_LEAST_DEPTH, _LEAST_GRADIENT_DEPTH = 96, 48  # R*C: for less the products are too small
_LEAST_FILTERS = 16
_LEAST_STRIPS = 512  # of a batch, one output row each: fewer do not pay for transforming the filters
_LEAST_GRADIENT_STRIPS = {3: 512, 5: 64}  # ... of all rows together: the depth of the products for a gradient
_MOST_WASTE = 1.4  # columns of output computed for each that is wanted
_MOST_BYTES = 1 << 20  # of transformed filters: they stay in a core's cache

# Taps S: Bt (T, T), G (T, S) and At (4, T), for strips of T = S + 3 inputs.
_TRANSFORMS = {s: [m.astype(np.float32) for m in transforms(points, STRIP)] for s, points in _POINTS.items()}


def fits(problem: Problem) -> bool:
    """Whether it has 3 or 5 columns, in float32, stride 1, no dilation, one group."""
    window = problem.window
    plain = problem.shape[2] in _POINTS and problem.groups == 1 and window.stride == window.dilation == (1, 1)
    return plain and problem.dtype == np.float32


def pays(problem: Problem) -> bool:
    """Whether products are deep enough, and strips many enough to pay for transforming the filters."""
    k, r, _, c = problem.shape
    strips = problem.n * _strips(problem.window) * problem.window.P
    return strips >= _LEAST_STRIPS and r * c >= _LEAST_DEPTH and k >= _LEAST_FILTERS and _stays_small(problem)


def pays_for_gradient(problem: Problem) -> bool:
    """The same for the gradient of the filters."""
    k, r, s, c = problem.shape
    strips = problem.n * _strips(problem.window)
    enough = strips >= _LEAST_GRADIENT_STRIPS[s] and r * c >= _LEAST_GRADIENT_DEPTH
    return enough and k >= _LEAST_FILTERS and _stays_small(problem)


def _stays_small(problem: Problem) -> bool:
    """Whether transformed filters stay in a core's cache, and strips in the image."""
    (k, r, s, c), window = problem.shape, problem.window
    few = (s + STRIP - 1) * k * r * c * problem.dtype.itemsize <= _MOST_BYTES
    return few and _strips(window) * STRIP <= _MOST_WASTE * window.Q


def _strips(window: Window) -> int:
    return -(-window.Q // STRIP)


def forward(
    output: Output, x: Images, weight: np.ndarray, window: Window, bias: np.ndarray | None, relu: bool
) -> threads.Work[None]:
    """output = act(x correlated with weight + bias)."""
    k, r, _, c = weight.shape
    _, g, at = _TRANSFORMS[window.S]
    # Copied in memory order first: out of order it would be fetched one number at a time.
    taps = np.ascontiguousarray(weight.copy(order="K").transpose(2, 1, 3, 0)).reshape(window.S, -1)
    filters = (g @ taps).reshape(len(g), 1, r * c, k)

    def task(part: Task) -> None:
        images, rows = part
        windows, out = _transformed(x, images, window, rows), output.block(images, rows)
        products = threads.scratch.plan(_products, len(g), *out.shape, out.dtype)
        np.matmul(windows, filters, out=products.stacked)
        if bias is not None:
            np.add(products.one, bias, out=products.one)
        np.matmul(at, products.columns, out=products.outputs)
        if relu:
            rectify(products.outputs, 1)
        target, wide = pixels(out), products.whole.shape
        np.copyto(target[:, :, : wide[2] * STRIP].reshape(wide), products.whole)
        if products.rest.size:
            np.copyto(target[:, :, wide[2] * STRIP :], products.rest)
        output.done(images, out)

    row_bytes = len(g) * _strips(window) * (2 * c + k) * weight.itemsize
    yield task, tasks(len(x), window.P, row_bytes, whole=output.whole or x.whole)


class Gradient(Images):
    """The gradient of a convolution's outputs (N, P, Q, K)."""

    def strips(self, images: slice, points: int) -> GradientStrips:
        """Strips of four columns of some images, not yet transformed."""
        dz = self._x[images]
        strips = threads.scratch.plan(gradient_strips, points, *dz.shape, dz.dtype)
        source, wide = pixels(dz), strips.whole.shape
        np.copyto(strips.whole, source[:, :, : wide[2] * STRIP].reshape(wide))
        if strips.rest.size:
            np.copyto(strips.rest, source[:, :, None, wide[2] * STRIP :])
            np.copyto(strips.beyond, 0)
        return strips


def weight_gradient(dz: Gradient, x: Images, shape: tuple[int, ...], window: Window) -> threads.Work[np.ndarray]:
    """dweight (K, R, S, C)."""
    k, r, s, c = shape
    _, g, at = _TRANSFORMS[s]

    def products_of(part: Task) -> Iterator[Products]:
        images, rows = part
        windows = _transformed(x, images, window, rows)
        strips = dz.strips(images, len(g))
        np.matmul(at.T, strips.columns, out=strips.transformed)
        yield slice(None), strips.stacked, windows

    pairs = max(1, len(x) * _strips(window) // (2 * sizes().depth))  # an even number of parts is fair to two threads
    parts = [(images, slice(0, window.P)) for images in threads.spans(len(x), 2 * pairs)]
    summed = yield from sum_products(parts, products_of, (len(g), k, r * c), g.dtype, sizes().row_sums)
    total = summed.reshape(len(g), -1)
    return np.ascontiguousarray((g.T @ total).reshape(s, k, r, c).transpose(1, 2, 0, 3))


# -- the steps, and where in scratch memory their results are ------------------------------------


class _Strips(NamedTuple):
    """Strips of some images, transformed."""

    steps: tuple[int, ...]  # strides of the padded images' pixels viewed as strips
    gathered: np.ndarray  # those pixels made adjacent: (T, n, strips, rows)
    columns: np.ndarray  # their numbers, a strip in each column
    transformed: np.ndarray  # Bt times that
    windows: np.ndarray  # (T, P, n * strips, R * C), overlapping: R rows follow each other in memory


def _strips_of(shape: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype, r: int, s: int) -> _Strips:
    (n, count, width, c), (s0, s1, s2, _), t = shape, strides, s + STRIP - 1
    strips = (width - s + 1) // STRIP
    gathered = stack("copies", t, (n, strips, count, c), dtype)
    transformed = stack("strips", t, (n * strips, count, c), dtype)
    t0, t1, t2, t3 = transformed.strides
    windows = view(transformed, (t, count - r + 1, n * strips, r * c), (t0, t2, t1, t3))
    return _Strips((s2, s0, s2 * STRIP, s1), pixels(gathered), flat(gathered), flat(transformed), windows)


def _transformed(x: Images, images: slice, window: Window, rows: slice) -> np.ndarray:
    """Bt times the strips of some images, for these output rows, as overlapping matrices (T, P, n * strips, R * C)."""
    count = rows.stop - rows.start + window.R - 1
    width = _strips(window) * STRIP + window.S - 1
    padded = x.padded(images, rows.start - window.padding[0], -window.padding[1], count, width)
    plan = threads.scratch.plan(_strips_of, padded.shape, padded.strides, padded.dtype, window.R, window.S)
    np.copyto(plan.gathered, view(pixels(padded), plan.gathered.shape, plan.steps))
    np.matmul(_TRANSFORMS[window.S][0], plan.columns, out=plan.transformed)
    return plan.windows


class _Products(NamedTuple):
    """Products of transformed strips and filters, and the outputs they become."""

    stacked: np.ndarray  # (T, P, n * strips, K)
    one: np.ndarray  # those at point 1, in which every output counts once: what is added here is added to all of them
    columns: np.ndarray  # the products of a strip in each column
    outputs: np.ndarray  # At times that
    whole: np.ndarray  # pixels (n, P, strips, 4) of the strips inside the image
    rest: np.ndarray  # pixels (n, P, fewer than 4) of the last strip, if it reaches beyond the image


def _products(t: int, n: int, p: int, q: int, k: int, dtype: np.dtype) -> _Products:
    strips, whole = -(-q // STRIP), q // STRIP
    stacked = stack("products", t, (p, n * strips, k), dtype)
    outputs = stack("outputs", STRIP, (p, n, strips, k), dtype)
    turned = pixels(outputs).transpose(2, 1, 3, 0)
    places = turned[:, :, :whole], turned[:, :, whole:, : q - whole * STRIP].reshape(n, p, -1)
    return _Products(stacked, stacked[1], flat(stacked), flat(outputs), *places)


class GradientStrips(NamedTuple):
    """Strips of a gradient of outputs, to be transformed."""

    gathered: np.ndarray  # (4, P, n, strips, K)
    whole: np.ndarray  # pixels, as in _Products
    rest: np.ndarray
    beyond: np.ndarray  # the part of the last strip that is outside the image
    columns: np.ndarray  # a strip in each column
    transformed: np.ndarray  # A times that
    stacked: np.ndarray  # (T, P, K, n * strips)


def gradient_strips(t: int, n: int, p: int, q: int, k: int, dtype: np.dtype) -> GradientStrips:
    """Scratch for the strips of n images, to be filled."""
    strips, whole = -(-q // STRIP), q // STRIP
    gathered = stack("copies", STRIP, (p, n, strips, k), dtype)
    turned = pixels(gathered).transpose(2, 1, 3, 0)
    rest, beyond = turned[:, :, whole:, : q - whole * STRIP], gathered[q - whole * STRIP :, :, :, whole:]
    transformed = stack("gradients", t, (p, n * strips, k), dtype)
    stacked = transformed.transpose(0, 1, 3, 2)
    return GradientStrips(gathered, turned[:, :, :whole], rest, beyond, flat(gathered), flat(transformed), stacked)
