"""What the pooling ops share: checks of arguments, which inputs a window's taps are, blocks of images, launches.

Sequences (N, C, L) are pooled as images of L rows, one column and one channel: the same bytes, so
every body and kernel for images serves them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpunn import threads
from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, ShapeError, UsageError, where
from gpunn.launcher import DIVISOR, KernelSource, c_type, ceil_div, divisor, vector_width
from gpunn.ops._blocks import quiet
from gpunn.ops.geometry import Pair, Window, pair, remembered, single

Taps = tuple[tuple[slice, slice], ...]  # (outputs, the inputs they read), one for each element of the window
OutputSize = int | None | Sequence[int | None]
CLOSED = 255  # the offset, of a max pooling with a ReLU, that is no element's: nothing goes back there
Block = tuple[slice, slice]  # images, and rows of each
Segments = tuple[tuple[int, int], ...]  # (start, stop) of each output's inputs along an axis


# -- checks ---------------------------------------------------------------------------------------


def check_images(op: str, x: Tensor, ndim: int = 4) -> None:
    """Raise unless x is a floating batch of images (``ndim`` 4) or sequences (3)."""
    expected = "(N, C, H, W)" if ndim == 4 else "(N, C, L)"
    if x.ndim != ndim:
        raise ShapeError(f"{where(op)}: expected x of shape {expected}; got {x.shape}.")
    if 0 in x.shape[1:]:
        raise ShapeError(f"{where(op)}: expected x of shape {expected} with no axis of 0 but N; got {x.shape}.")
    if x.dtype.kind != "f":
        raise DTypeError(f"{where(op)}: expected a floating dtype; got {x.dtype}. Convert with .float().")


@remembered
def image_window(
    op: str,
    size: Sequence[int],
    kernel: Pair,
    stride: Pair | None,
    padding: Pair,
    dilation: Pair,
    ceil_mode: bool,
    strict: bool,
    names: tuple[str, str] = ("height", "width"),
) -> Window:
    """How the window slides over an image of ``size`` (H, W), whose axes have these ``names``, all checked."""
    window = pair(kernel, op, "kernel_size", 1)
    steps = window if stride is None else pair(stride, op, "stride", 1)
    pads, spread = pair(padding, op, "padding", 0), pair(dilation, op, "dilation", 1)
    if any(2 * p > k for p, k in zip(pads, window, strict=True)):
        raise UsageError(f"{where(op)}: padding {pads} is more than half the kernel {window}: windows would be empty.")
    made = Window(size[0], size[1], *window, steps, pads, spread, ceil_mode)
    made.check(op, names)
    if strict:
        made.refuse_unused(op)
    return made


def sequence_window(
    op: str,
    length: int,
    kernel: Pair,
    stride: Pair | None,
    padding: Pair,
    dilation: Pair,
    ceil_mode: bool,
    strict: bool,
) -> Window:
    """The same for a sequence, as an image of ``length`` rows and one column."""
    size = single(kernel, op, "kernel_size", 1)
    step = size if stride is None else single(stride, op, "stride", 1)
    pads, spread = (single(padding, op, "padding", 0), 0), (single(dilation, op, "dilation", 1), 1)
    names = "length", "width"
    return image_window(op, (length, 1), (size, 1), (step, 1), pads, spread, ceil_mode, strict, names)


def output_sizes(op: str, output_size: OutputSize, size: Sequence[int]) -> tuple[int, ...]:
    """An adaptive pooling's output lengths, one for each of ``size``; None keeps the input's."""
    axes = len(size)
    given: tuple[Any, ...] = (output_size,) * axes
    if isinstance(output_size, Sequence):
        given = tuple(output_size)
    if len(given) != axes or any(n is not None and (not isinstance(n, int) or n < 1) for n in given):
        many = "a positive integer or None" + (", or two of them" if axes == 2 else "")
        raise UsageError(f"{where(op)}: output_size: expected {many}; got {output_size!r}.")
    return tuple(old if new is None else new for new, old in zip(given, size, strict=True))


def rows_of(x: Tensor) -> Any:
    """Sequences (N, C, L) as physical images (N C, L, 1, 1), the same memory."""
    n, c, length = x.shape
    return x._physical.reshape(n * c, length, 1, 1)


# -- blocks ---------------------------------------------------------------------------------------


def blocks(images: int, rows: int, nbytes: int, most: int, least: int) -> list[Block]:
    """Runs of images, or of one image's rows where an image is too much, of arrays of ``nbytes``.

    Each has about ``most`` bytes; fewer than ``least`` are not worth a second thread and stay together.
    """
    if not images:
        return []
    each = nbytes // images
    if nbytes < least:
        return [(slice(0, images), slice(0, rows))]
    if each <= most:
        # An even number: two threads then have the same work.
        return [(part, slice(0, rows)) for part in threads.spans(images, 2 * ceil_div(nbytes, 2 * most))]
    cuts = threads.spans(rows, 2 * ceil_div(each, 2 * most))
    return [(slice(n, n + 1), part) for n in range(images) for part in cuts]


# -- taps -----------------------------------------------------------------------------------------


def taps(window: Window, axis: int) -> Taps:
    """For each element of the window along an axis (0: rows), the outputs it lies in the image for, and where."""
    if axis == 0:
        n, outputs, k = window.H, window.P, window.R
    else:
        n, outputs, k = window.W, window.Q, window.S
    return _axis_taps(n, outputs, k, window.stride[axis], window.padding[axis], window.dilation[axis])


@functools.lru_cache(maxsize=1024)
def _axis_taps(n: int, outputs: int, k: int, stride: int, pad: int, dilation: int) -> Taps:
    made = []
    for number in range(k):
        shift = number * dilation - pad  # output p reads input p * stride + shift
        first = max(0, ceil_div(-shift, stride))
        last = min(outputs - 1, (n - 1 - shift) // stride)
        if last < first:
            made.append((slice(0, 0), slice(0, 0)))
        else:
            made.append(
                (slice(first, last + 1), slice(first * stride + shift, last * stride + shift + 1, stride)),
            )
    return tuple(made)


@functools.lru_cache(maxsize=1024)
def segments(n: int, outputs: int) -> Segments:
    """Which inputs of n each output of an adaptive pooling sees: floor(p n / outputs) to ceil((p + 1) n / outputs)."""
    return tuple((p * n // outputs, ceil_div((p + 1) * n, outputs)) for p in range(outputs))


def image_blocks(x: np.ndarray) -> list[slice]:
    """Runs of images of at most 1 MB, to stay in cache while worked on; an even number, for two threads."""
    return threads.spans(len(x), 1 if x.nbytes <= 1 << 18 else 2 * ceil_div(x.nbytes, 1 << 21))


# -- averages of small and of whole images --------------------------------------------------------

_SMALL = 64  # pixels up to which an image's averages are a product with a matrix of its pixels' shares
_RUN = 256  # rows that a product adds up one after the other
_LONG = 4096  # numbers in the rows of a large image


@functools.lru_cache(maxsize=256)
def shares(rows: tuple[tuple[int, int], ...], columns: tuple[tuple[int, int], ...], height: int, width: int) -> Any:
    """(P Q, H W) of ones where a pixel lies in a window, given the rows and columns that windows see."""
    vertical, horizontal = np.zeros((len(rows), height)), np.zeros((len(columns), width))
    for matrix, parts in ((vertical, rows), (horizontal, columns)):
        for line, (start, stop) in zip(matrix, parts, strict=True):
            line[start:stop] = 1
    return np.kron(vertical, horizontal)


def is_small(pixels: int, outputs: int) -> bool:
    """Whether :func:`average_small` is the faster way; products of one row with one column do not go to BLAS."""
    return 1 < pixels <= _SMALL and outputs > 1


def average_small(matrix: np.ndarray, x: np.ndarray, y: np.ndarray) -> bool:
    """y[n] = matrix x[n] over pixels; False if anything is infinite or NaN, which it spreads over the image."""
    n, c = len(x), x.shape[3]
    matrix = matrix.astype(x.dtype)
    source, target = (a.reshape(n, a.shape[1] * a.shape[2], c) for a in (x, y))

    def task(part: slice) -> None:
        if c == 1:
            np.matmul(source[part, :, 0], matrix.T, out=target[part, :, 0])
        else:
            np.matmul(matrix, source[part], out=target[part])

    with quiet():
        threads.run(task, threads.spans(n, max(1, max(x.nbytes, y.nbytes) >> 18)))
        return bool(np.isfinite(y).all())


def sum_images(x: np.ndarray, y: np.ndarray) -> None:
    """y (N, 1, 1, C) = the sums over each image of x (N, H, W, C)."""
    n, h, w, c = x.shape
    flat = x.reshape(n, h * w, c)

    def task(part: slice) -> None:
        if c == 1:
            flat[part, :, 0].sum(axis=1, out=y[part, 0, 0, 0])  # pairwise
            return
        if h * w <= _RUN:
            np.matmul(ones, flat[part], out=y[part, 0])
            return
        # Of a large image BLAS sums long rows twice as fast as short ones: it is seen as fewer and longer ones.
        for image, total in zip(flat[part], y[part, 0, 0], strict=True):
            sums = np.matmul(ones[0, : whole // fold], image[:whole].reshape(whole // fold, fold * c))
            np.add(sums.reshape(fold, c).sum(axis=0), image[whole:].sum(axis=0), out=total)

    ones = np.ones((1, h * w), x.dtype)
    fold = max(1, min(h * w, _LONG // c))
    whole = h * w // fold * fold
    with quiet():
        # BLAS multiplies short rows by a matrix in one thread at a time.
        threads.run(task, image_blocks(x) if c == 1 or h * w > _RUN else [slice(0, n)])


def fill_images(share: np.ndarray, dx: np.ndarray) -> None:
    """Every pixel of dx (N, H, W, C) = ``share`` (N, 1, 1, C)."""
    n, h, w, c = dx.shape
    target, source = dx.reshape(n, h * w, c), share.reshape(n, 1, c)

    def task(part: slice) -> None:
        target[part] = source[part]

    threads.run(task, image_blocks(dx))


# -- launches (kernels/windows.cuh) ---------------------------------------------------------------

SPREAD = np.dtype([(f, DIVISOR) for f in ("by_channels", "by_width", "by_height")])  # struct Spread
_ADAPTIVE = np.dtype(
    [(f, np.int32) for f in ("H", "W", "C", "P", "Q", "wide")]
    + [("over", SPREAD)]
    + [(f, DIVISOR) for f in ("by_H", "by_W", "by_P", "by_Q")]
)
_BLOCK = 256  # threads of a block, at most: BLOCK in windows.cuh
_LARGE = 32  # elements from which on a window is shared by the threads of a block
_ENOUGH = 1 << 18  # threads that fill the largest GPUs: then each can have an output of its own
# A struct for threads or blocks spread over (N, height, width, channels), given (channels, width, height).
Geometry = Callable[[tuple[int, int, int]], np.ndarray]


def spread(over: tuple[int, int, int]) -> tuple[tuple[int, int, int], ...]:
    """The fields of ``struct Spread`` for (channels, width, height)."""
    return tuple(divisor(max(1, n)) for n in over)


def launch_windows(
    source: KernelSource, kernel: str, device: Device, outputs: tuple[Any, ...], x: Any, geometry: Geometry, most: int
) -> None:
    """Launch a forward kernel; where windows have up to ``most`` elements, many, its form ``..._large``."""
    n, height, width, channels = outputs[0].shape
    vec = vector_width(channels, *outputs, x)
    vectors = channels // vec
    macros: dict[str, Any] = {"REAL": c_type(x.dtype, kernel), "VEC": vec}
    threads = outputs[0].size // vec
    if most < _LARGE or threads >= _ENOUGH:
        args = (*outputs, x, geometry((vectors, width, height)), threads)
        source.launch(device, kernel, (ceil_div(threads, _BLOCK), 1, 1), _BLOCK, args, **macros)
        return
    tiles = ceil_div(vectors, 32)  # 32 threads side by side read whole lines of memory
    across = ceil_div(vectors, tiles)
    block = (across, min(_BLOCK // across, most), 1)
    args = (*outputs, x, geometry((tiles, width, height)))
    source.launch(device, f"{kernel}_large", (n * height * width * tiles, 1, 1), block, args, **macros)


def launch_backward(
    source: KernelSource, kernel: str, device: Device, dx: Any, inputs: tuple[Any, ...], geometry: Geometry
) -> None:
    """Launch a backward kernel: one thread per vector of channels of dx."""
    _, height, width, channels = dx.shape
    vec = vector_width(channels, dx, *inputs)
    threads = dx.size // vec
    args = (dx, *inputs, geometry((channels // vec, width, height)), threads)
    grid = (ceil_div(threads, _BLOCK), 1, 1)
    source.launch(device, kernel, grid, _BLOCK, args, REAL=c_type(dx.dtype, kernel), VEC=vec)


@functools.lru_cache(maxsize=256)
def adaptive_windows(size: tuple[int, int, int], outputs: tuple[int, int], over: tuple[int, int, int]) -> np.ndarray:
    """``struct AdaptiveWindows`` for images of ``size`` (H, W, C)."""
    h, w, c = size
    p, q = outputs
    wide = max(h * p, w * q) >= 2**31
    return np.array([(h, w, c, p, q, wide, spread(over), *(divisor(n) for n in (h, w, p, q)))], _ADAPTIVE)
