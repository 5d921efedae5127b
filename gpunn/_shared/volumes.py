"""Volumes (N, C, D, H, W) as images, for the ops that there are for images.

A volume lies in memory as its axes are named, an image channels last. Both changes here are one copy.
"""

from __future__ import annotations

import math
from typing import Any

from gpunn._layout import address_of
from gpunn._tensor import Tensor
from gpunn.ops.accumulate import copy
from gpunn.ops.permute import in_shape, reordered
from gpunn.tape import record


def to_images(op: str, x: Tensor, taps: int = 1) -> Tensor:
    """Each slice of a volume as an image, ``taps`` neighbouring ones as one image with as many more channels.

    Parameters
    ----------
    op : str
        Its name on the tape.
    x : Tensor, (N, C, D taps, H, W)
    taps : int

    Returns
    -------
    Tensor, (N D, C taps, H, W)
        Channel c taps + t is channel c of the t-th of the slices.
    """
    n, c, depth, height, width = x.shape
    split = (n, c, depth // taps, taps, height, width)
    return _moved(op, x, split, (0, 2, 4, 5, 1, 3), (n * (depth // taps), height, width, c * taps))


def to_volumes(op: str, x: Tensor, n: int, depth: int, taps: int = 1) -> Tensor:
    """The inverse of :func:`to_images`: a tensor that is no view of x.

    Parameters
    ----------
    op : str
        Its name on the tape.
    x : Tensor, (N D, C taps, H, W)
    n, depth : int
        N and D.
    taps : int

    Returns
    -------
    Tensor, (N, C, D taps, H, W)
    """
    _, channels, height, width = x.shape
    c = channels // taps
    split = (n, depth, height, width, c, taps)
    return _moved(op, x, split, (0, 4, 1, 5, 2, 3), (n, c, depth * taps, height, width))


def _moved(op: str, x: Tensor, split: tuple[int, ...], order: tuple[int, ...], made: tuple[int, ...]) -> Tensor:
    """x's memory, with its axes of the lengths ``split`` in another order, as a physical array of shape ``made``."""
    device, old = x.device, x._physical.shape
    turned, back = tuple(split[a] for a in order), tuple(order.index(a) for a in range(len(order)))
    y = reordered(device, x._physical.reshape(split), order).reshape(made)
    if address_of(y) == address_of(x._physical):  # with one channel nothing moves, but nobody knows that this is x
        y = copy(device, y)

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (reordered(device, dy.reshape(turned), back).reshape(old),)

    return record(op, y, device, (x,), backward, passes_on=True)


def as_rows(x: Tensor) -> Tensor:
    """A volume (N, C, D, H, W) as images (N C, 1, D, H W): the same memory."""
    n, c, depth, height, width = x.shape
    return x.reshape(n * c, 1, depth, height * width)


def as_planes(x: Tensor) -> Tensor:
    """A volume (N, C, D, H, W) as images (N C D, 1, H, W): the same memory."""
    return x.reshape(math.prod(x.shape[:3]), 1, *x.shape[3:])


def handed_over(op: str, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """x in another shape as a tensor that is no view: for an x that nobody else sees, backward's closures neither."""
    device, old = x.device, x.shape

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (in_shape(device, dy, old),)

    return record(op, in_shape(device, x._physical, shape), device, (x,), backward, passes_on=True)
