"""Adaptive average pooling: windows chosen so that the output has a given size; of size 1, the global mean.

Output p of P averages rows floor(p H / P) to ceil((p + 1) H / P): windows differ by one in length and
overlap where P does not divide H.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn import threads
from gpunn._tensor import Tensor
from gpunn.ops._pooling import OutputSize, check_images, image_blocks, output_sizes, segments
from gpunn.primitive import primitive
from gpunn.tape import record

_SCRATCH = "adaptive_avg_pool2d"


def _counts(xp: Any, height: int, width: int, size: tuple[int, int], dtype: Any) -> Any:
    """How many elements each window has, (P, Q, 1)."""
    rows, columns = (
        xp.asarray([stop - start for start, stop in segments(n, outputs)], dtype)
        for n, outputs in zip((height, width), size, strict=True)
    )
    return rows[:, None, None] * columns[:, None]


# -- forward --------------------------------------------------------------------------------------


def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    cases: tuple[tuple[Any, ...], ...] = (
        ((2, 7, 7, 4), (1, 1), np.float32),
        ((3, 8, 6, 3), (4, 2), np.float32),
        ((2, 7, 5, 3), (3, 4), np.float32),
        ((1, 3, 2, 5), (5, 2), np.float32),
        ((1, 1, 1, 1), (1, 1), np.float32),
        ((0, 4, 4, 2), (2, 2), np.float32),
        ((6, 9, 1, 1), (4, 1), np.float32),
        ((2, 5, 6, 8), (2, 4), np.float64),
    )
    return [{"x": (rng.standard_normal(s) + 1).astype(dtype), "size": size} for s, size, dtype in cases]


@primitive(examples=_examples, returns=("y",))
def adaptive_avg_pool2d_forward(xp: Any, x: Any, size: tuple[int, int]) -> Any:
    """y[n,p,q,c] = the mean of x over rows p and columns q; x (N, H, W, C), y (N, P, Q, C)."""
    n, h, w, c = x.shape
    y, tall = xp.empty((n, *size, c), x.dtype), xp.empty((n, size[0], w, c), x.dtype)
    _average(x, _counts(xp, h, w, size, x.dtype), tall, y)
    return y


def _average(x: Any, counts: Any, tall: Any, y: Any) -> None:
    """Write y; ``tall`` (N, P, W, C) is room for the sums over rows."""
    for p, (start, stop) in enumerate(segments(x.shape[1], y.shape[1])):
        x[:, start:stop].sum(axis=1, out=tall[:, p])
    for q, (start, stop) in enumerate(segments(x.shape[2], y.shape[2])):
        tall[:, :, start:stop].sum(axis=2, out=y[:, :, q])
    y /= counts


@adaptive_avg_pool2d_forward.numpy
def _(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    n, h, w, c = x.shape
    y, counts = np.empty((n, *size, c), x.dtype), _counts(np, h, w, size, x.dtype)

    def task(part: slice) -> None:
        block = x[part]
        tall = threads.scratch.array(_SCRATCH, (len(block), size[0], w, c), x.dtype)
        _average(block, counts, tall, y[part])

    threads.run(task, image_blocks(x))
    return y


# -- backward -------------------------------------------------------------------------------------


def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = []
    for example in _examples(rng):
        (n, h, w, c), size = example["x"].shape, example["size"]
        dy = rng.standard_normal((n, *size, c)).astype(example["x"].dtype)
        made.append({"dy": dy, "height": h, "width": w})
    return made


@primitive(examples=_backward_examples, returns=("dx",))
def adaptive_avg_pool2d_backward(xp: Any, dy: Any, height: int, width: int) -> Any:
    """dx (N, H, W, C): each element of a window gets an equal share of its dy."""
    n, p, q, c = dy.shape
    dx, tall = xp.empty((n, height, width, c), dy.dtype), xp.empty((n, p, width, c), dy.dtype)
    _share(dy / _counts(xp, height, width, (p, q), dy.dtype), tall, dx)
    return dx


def _share(share: Any, tall: Any, dx: Any) -> None:
    """Write dx from each output's ``share``; ``tall`` (N, P, W, C) is room for what rows are given."""
    tall[...] = 0
    for q, (start, stop) in enumerate(segments(tall.shape[2], share.shape[2])):
        tall[:, :, start:stop] += share[:, :, q : q + 1]
    rows = segments(dx.shape[1], tall.shape[1])
    apart = dx.shape[1] % len(rows) == 0
    if not apart:
        dx[...] = 0
    for p, (start, stop) in enumerate(rows):
        if apart:  # nothing to add to, and nothing left over
            dx[:, start:stop] = tall[:, p : p + 1]
        else:
            dx[:, start:stop] += tall[:, p : p + 1]


@adaptive_avg_pool2d_backward.numpy
def _(dy: np.ndarray, height: int, width: int) -> np.ndarray:
    n, p, q, c = dy.shape
    dx, counts = np.empty((n, height, width, c), dy.dtype), _counts(np, height, width, (p, q), dy.dtype)

    def task(part: slice) -> None:
        block = dx[part]
        _share(dy[part] / counts, threads.scratch.array(_SCRATCH, (len(block), p, width, c), dy.dtype), block)

    threads.run(task, image_blocks(dx))
    return dx


# -- public op ------------------------------------------------------------------------------------


def adaptive_avg_pool2d(x: Tensor, output_size: OutputSize) -> Tensor:
    """The mean of each of P x Q windows that cover the image; of one window, the global mean.

    Parameters
    ----------
    x : Tensor, (N, C, H, W)
        float32 or float64.
    output_size : int, None, or two of them
        P and Q, or one number for both; None keeps the input's size. They may be larger than it.

    Returns
    -------
    Tensor, (N, C, P, Q)
        Output p averages rows floor(p H / P) to ceil((p + 1) H / P), columns likewise.

    Raises
    ------
    ShapeError
        If x is not 4-d.
    UsageError, DTypeError
        If the size makes no sense, or x is not floating.

    Examples
    --------
    >>> import gpunn
    >>> x = gpunn.arange(6.0).reshape(1, 1, 2, 3)
    >>> adaptive_avg_pool2d(x, 1).item()
    2.5
    >>> adaptive_avg_pool2d(x, (1, None)).tolist()
    [[[[1.5, 2.5, 3.5]]]]

    References
    ----------
    Lecture topic L15; global average pooling: Lin, Chen, Yan 2013, arXiv:1312.4400.
    """
    op = "adaptive_avg_pool2d"
    check_images(op, x)
    p, q = output_sizes(op, output_size, x.shape[2:])
    return average_adaptively(op, x, x._physical, (p, q))


def average_adaptively(op: str, x: Tensor, images: Any, size: tuple[int, int]) -> Tensor:
    """The pooling of x, seen as physical ``images`` (M, H, W, C), recorded."""
    device, shape = x.device, x._physical.shape
    y = adaptive_avg_pool2d_forward(device, images, size)
    (height, width), pooled = images.shape[1:3], y.shape

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (adaptive_avg_pool2d_backward(device, dy.reshape(pooled), height, width).reshape(shape),)

    # A sequence (N, C, L) came as N C images; its outputs are (N, C, P).
    y = y if x.ndim == 4 else y.reshape(*shape[:2], size[0])
    return record(op, y, device, (x,), backward)
