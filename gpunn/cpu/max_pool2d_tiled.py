"""The backward pass of max pooling with non-overlapping windows, the usual case, on the CPU.

Each input belongs to at most one window, so nothing is added up. For all elements of the windows together it is four
NumPy calls: which outputs each element won, that as a mask, the gradients under it, and a copy to the inputs, pixels
as single items. ``max_pool2d.py`` handles all other windows, one element at a time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gpunn._window import Window
from gpunn.cpu import threads
from gpunn.cpu.elementwise import pixels
from gpunn.cpu.masking import INTEGERS
from gpunn.cpu.pooling import Block, blocks

_BLOCK = (
    1 << 20
)  # bytes of inputs to work on at a time: with half as many it takes a fifth longer, with twice as many no less
_LEAST = 1 << 22  # bytes that are worth a second thread


def is_tiled(window: Window) -> bool:
    """Whether the windows are adjacent without overlap, and entirely inside the image."""
    side_by_side = window.stride == (window.R, window.S) and window.dilation == (1, 1)
    inside = window.P * window.R <= window.H and window.Q * window.S <= window.W
    return side_by_side and inside and window.padding == (0, 0)


class Places(NamedTuple):
    """Some elements of the windows, and where their gradients go: ``masking.keep_where`` for many at once."""

    codes: np.ndarray  # of the elements; the other axes, those of pooled images, have length 1
    won: np.ndarray
    numbers: np.ndarray  # the same memory, as 0 and 1
    mask: np.ndarray  # these, as wide as the gradient's numbers
    target: np.ndarray  # of the gradient's bits, viewed as integers

    def fill(self, bits: np.ndarray, offset: np.ndarray) -> None:
        """Fill each element's place with the gradient of the windows that it won, else 0."""
        np.equal(offset, self.codes, out=self.won)
        np.copyto(self.mask, self.numbers)
        np.multiply(bits, self.mask, out=self.target)


def codes_of(window: Window, code: Any) -> np.ndarray:
    """(R, S): the code of each element in an offset of dtype ``code``."""
    return np.arange(window.R * window.S, dtype=code).reshape(window.R, window.S)


def places(codes: np.ndarray, target: np.ndarray) -> Places:
    """Places for elements with ``codes``, whose axes are the first of ``target``, where their gradients go."""
    won = threads.scratch.array("won", target.shape, np.bool_)
    integer = INTEGERS[target.itemsize]
    mask = threads.scratch.array("mask", target.shape, integer)
    codes = np.ascontiguousarray(codes).reshape(codes.shape + (1,) * (target.ndim - codes.ndim))
    return Places(codes, won, won.view(np.int8), mask, target.view(integer))


class _Elements(NamedTuple):
    """All elements of the windows of some images."""

    places: Places  # (R, S, n, P, Q, C)
    pixels: np.ndarray


def _elements(n: int, p: int, c: int, window: Window, dtype: np.dtype, code: np.dtype) -> _Elements:
    array = threads.scratch.array("elements", (window.R, window.S, n, p, window.Q, c), dtype)
    return _Elements(places(codes_of(window, code), array), pixels(array))


def spread(bits: np.ndarray, offset: np.ndarray, window: Window, target: np.ndarray, dtype: np.dtype) -> None:
    """target = the gradients of all elements.

    Parameters
    ----------
    bits : numpy.ndarray (n, P, Q, C)
        Of the outputs' gradients of ``dtype``, viewed as integers.
    offset : numpy.ndarray (n, P, Q, C)
    target : numpy.ndarray (R, S, n, P, Q)
        Pixels, as from :func:`tiles`.
    """
    n, p, _, c = bits.shape
    plan = threads.scratch.plan(_elements, n, p, c, window, dtype, offset.dtype)
    plan.places.fill(bits, offset)
    np.copyto(target, plan.pixels)


def tiles(images: np.ndarray, window: Window, p: int) -> np.ndarray:
    """The pixels (R, S, n, p, Q) of the first ``p`` rows of windows in ``images``; a view."""
    q = window.Q
    found = pixels(images)[:, : p * window.R, : q * window.S]
    return found.reshape(len(images), p, window.R, q, window.S).transpose(2, 4, 0, 1, 3)


def backward(dy: np.ndarray, offset: np.ndarray, window: Window, dx: np.ndarray) -> None:
    """Fill dx (N, H, W, C) from dy and offset (N, P, Q, C); dy of any strides."""
    n, p, q, _ = offset.shape
    reached = tiles(dx, window, p)
    rest = dx[:, p * window.R :], dx[:, : p * window.R, q * window.S :]
    integer = INTEGERS[dy.itemsize]

    def task(block: Block) -> None:
        given = dy[block]
        if not given.flags.c_contiguous:
            room = threads.scratch.array("dy", given.shape, dy.dtype)
            room[...] = given
            given = room
        spread(given.view(integer), offset[block], window, reached[:, :, block[0], block[1]], dy.dtype)

    for zeros in rest:
        zeros[...] = 0
    threads.run(task, blocks(n, p, dx.nbytes, _BLOCK, _LEAST))
