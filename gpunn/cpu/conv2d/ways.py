"""Convolution on the CPU: which way computes which convolution, and the bodies of the primitives.

There is one table of ways for each thing to compute. :func:`choose` takes its first way that fits (computes
such a convolution at all) and pays (is faster there than those below it). The shape alone decides, and partial
sums are added in a fixed order: the bits do not depend on the number of threads. Each task works on a few images,
or rows of one, whose copies stay in the core's own cache.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from gpunn._window import Window
from gpunn._winograd import is_winograd_enabled
from gpunn.cpu import memory, threads
from gpunn.cpu.conv2d import depthwise, direct, taps, winograd_rows, winograd_tiles
from gpunn.cpu.conv2d.tasks import Images, Output, Problem, sizes
from gpunn.cpu.max_pool2d_tiled import is_tiled


class Way(NamedTuple):
    """One way to compute an output or a gradient of a convolution.

    Attributes
    ----------
    name : str
    fits : callable
        Whether it can compute such a convolution at all.
    pays : callable
        Whether it is faster there than the ways below it in the table.
    """

    name: str
    fits: Callable[[Problem], bool]
    pays: Callable[[Problem], bool]


def _any(problem: Problem) -> bool:
    return True


def _stride_of_one(problem: Problem) -> bool:
    return problem.window.stride == (1, 1)


def _taps_pay_for_data(problem: Problem) -> bool:
    """Whether they do, and Winograd's algorithm does not pay for the turned filters."""
    if not taps.pays(problem) or problem.window.stride != (1, 1):
        return taps.pays(problem)
    k, r, s, c = problem.shape
    return choose("forward", problem._replace(window=backwards(problem.window)[1], shape=(c, r, s, k))) == "taps"


WAYS = {
    "forward": (
        Way("depthwise", depthwise.fits, _any),
        Way("winograd_tiles", winograd_tiles.fits, winograd_tiles.pays),
        Way("winograd_rows", winograd_rows.fits, winograd_rows.pays),
        Way("taps", taps.fits, taps.pays),
        Way("product", direct.is_product, _any),
        Way("unrolled", _any, direct.has_large_filters),
        Way("lowered", direct.has_lowered_rows, _any),
        Way("unrolled", _any, _any),
    ),
    # The gradient of the image. Turned: a convolution of dy with filters rotated by 180 degrees, chosen as "forward".
    "data": (
        Way("taps", taps.fits, _taps_pay_for_data),
        Way("turned", _stride_of_one, _any),
        Way("depthwise", depthwise.fits, _any),
        Way("spread", _any, _any),
    ),
    # The gradient of the filters.
    "weight": (
        Way("depthwise", depthwise.fits, _any),
        Way("winograd_tiles_together", winograd_tiles.fits, winograd_tiles.pays_together),
        Way("winograd_tiles", winograd_tiles.fits, winograd_tiles.pays_for_gradient),
        Way("winograd_rows", winograd_rows.fits, winograd_rows.pays_for_gradient),
        Way("taps", taps.fits, taps.pays),
        Way("unrolled_together", _any, direct.has_huge_filters),
        Way("product", direct.is_product, _any),
        Way("unrolled", _any, direct.has_large_filters),
        Way("lowered", direct.has_lowered_rows, _any),
        Way("unrolled", _any, _any),
    ),
}
_forced: str | None = None


def choose(what: str, problem: Problem) -> str:
    """The name of the way that computes ``what`` ("forward", "data" or "weight") of a convolution."""
    return _choose(what, problem, is_winograd_enabled(), _forced)


@functools.lru_cache(maxsize=1024)
def _choose(what: str, problem: Problem, winograd: bool, forced: str | None) -> str:
    ways = [way for way in WAYS[what] if way.fits(problem) and (winograd or not way.name.startswith("winograd"))]
    return next((way.name for way in ways if way.name == forced), None) or next(
        way.name for way in ways if way.pays(problem)
    )


@contextlib.contextmanager
def forced(name: str) -> Iterator[None]:
    """Use this way wherever it fits, whether it pays or not, in the whole process: for tests and measurements."""
    global _forced
    outer, _forced = _forced, name
    try:
        yield
    finally:
        _forced = outer


def choose_unpooled(problem: Problem, pool: Window, needs: tuple[bool, bool, bool]) -> str | None:
    """The way from a pooling's gradient straight to its convolution's, or None: by the gradient between the two.

    It is the way of the filters' gradient, where that can take the pooled gradient in its own order.
    """
    if not (problem.n and needs[1] and problem.groups == 1 and is_tiled(pool)):
        return None
    way = choose("weight", problem)
    if way == "lowered":
        return None if needs[0] else way
    return way if way == "winograd_rows" and _has_whole_strips(problem, pool, needs[0]) else None


def _has_whole_strips(problem: Problem, pool: Window, data: bool) -> bool:
    """Whether strips hold whole pooling windows, and tasks whole images; and dx, if wanted, is computed by strips."""
    k, r, s, c = problem.shape
    if winograd_rows.STRIP % pool.S or pool.H * pool.W * k * problem.dtype.itemsize > sizes().whole_image:
        return False
    if not data:
        return True
    part, back = backwards(problem.window)
    everything = part == (slice(0, pool.H), slice(0, pool.W))
    return everything and choose("forward", problem._replace(window=back, shape=(c, r, s, k))) == "winograd_rows"


# -- forward --------------------------------------------------------------------------------------


def forward(
    x: np.ndarray, weight: np.ndarray, window: Window, groups: int, bias: np.ndarray | None, relu: bool
) -> np.ndarray:
    """The fast body of ``conv2d_forward``."""
    y = memory.empty((len(x), window.P, window.Q, len(weight)), x.dtype)
    write(Output(y), x, weight, window, groups, bias, relu)
    return y


def write(
    output: Output,
    x: np.ndarray,
    weight: np.ndarray,
    window: Window,
    groups: int,
    bias: np.ndarray | None,
    relu: bool,
) -> None:
    """output = act(x correlated with weight + bias)."""
    way = choose("forward", Problem(len(x), window, weight.shape, groups, x.dtype))
    if way == "depthwise":
        depthwise.forward(output, x, weight, window, bias, relu)
    elif way == "winograd_tiles":
        winograd_tiles.forward(output, x, weight, window, bias, relu)
    elif way == "winograd_rows":
        threads.run_all(winograd_rows.forward(output, Images(x), weight, window, bias, relu))
    elif way == "taps":
        taps.forward(output, x, weight, window, bias, relu)
    else:
        direct.correlate(output, x, weight, window, groups, bias, relu, way)


# -- backward -------------------------------------------------------------------------------------


def backward(
    dz: np.ndarray, x: np.ndarray, weight: np.ndarray, window: Window, groups: int, needs: tuple[bool, bool]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The fast body of ``conv2d_backward``: the gradients of x and weight."""
    problem = Problem(len(x), window, weight.shape, groups, x.dtype)
    dx = _data_gradient(dz, x, weight, problem) if needs[0] else None
    return dx, _weight_gradient(dz, x, weight, problem) if needs[1] else None


def _weight_gradient(dz: np.ndarray, x: np.ndarray, weight: np.ndarray, problem: Problem) -> np.ndarray:
    way, window = choose("weight", problem), problem.window
    if way == "depthwise":
        return depthwise.weight_gradient(dz, x, weight.shape, window)
    if way == "taps":
        return taps.weight_gradient(dz, x, weight.shape, window)
    if way in ("winograd_tiles", "winograd_tiles_together"):
        return winograd_tiles.weight_gradient(dz, x, window, together=way == "winograd_tiles_together")
    if way == "winograd_rows":
        work = winograd_rows.weight_gradient(winograd_rows.Gradient(dz), Images(x), weight.shape, window)
        dweight: np.ndarray = threads.run_all(work)[0]
        return dweight
    return direct.weight_gradient(dz, x, weight, window, problem.groups, way)


def _data_gradient(dz: np.ndarray, x: np.ndarray, weight: np.ndarray, problem: Problem) -> np.ndarray:
    way, window, groups = choose("data", problem), problem.window, problem.groups
    if way == "depthwise":
        return depthwise.data_gradient(dz, x.shape, weight, window)
    if way == "taps":
        return taps.data_gradient(dz, x.shape, weight, window)
    if way == "spread":
        return direct.spread(dz, x.shape, weight, groups, window)
    (rows, columns), back = backwards(window)
    return forward(dz[:, rows, columns], turned(weight, groups), back, groups, None, False)


@functools.lru_cache(maxsize=1024)
def backwards(window: Window) -> tuple[tuple[slice, slice], Window]:
    """The rows and columns of dz, and the window, whose convolution with turned filters is dx; for stride 1."""
    reach = window.dilation[0] * (window.R - 1), window.dilation[1] * (window.S - 1)
    before, after = (tuple(e - p for e, p in zip(reach, pads, strict=True)) for pads in (window.padding, window.after))
    # Negative: padded beyond the filter's reach; those outputs read only zeros.
    rows, columns = (
        slice(max(0, -b), length - max(0, -a)) for b, a, length in zip(before, after, (window.P, window.Q), strict=True)
    )
    pads, ends = ((max(0, both[0]), max(0, both[1])) for both in (before, after))
    size = rows.stop - rows.start, columns.stop - columns.start
    return (rows, columns), Window(*size, window.R, window.S, (1, 1), pads, window.dilation, False, ends)


def turned(weight: np.ndarray, groups: int) -> np.ndarray:
    """Filters (K, R, S, C / groups) rotated by 180 degrees, as (C, R, S, K / groups)."""
    k, r, s, c = weight.shape
    swapped = weight.reshape(groups, k // groups, r, s, c)[:, :, ::-1, ::-1].transpose(0, 4, 2, 3, 1)
    return swapped[0] if groups == 1 else swapped.reshape(groups * c, r, s, k // groups)
