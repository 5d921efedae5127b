"""A batch of training images out of a dataset on the device: picked, changed at random, standardised, in one launch.

The kernel is in ``kernels/take_images.cu``. The random numbers are drawn where they are used. Those of an image depend
on the key, the epoch and the image's place in the dataset alone. So batches are the same on every device, in a captured
step, for any size of batch and any number of ranks. Nothing here is on the tape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.errors import RangeError, UsageError, here
from gpunn.gpu.launcher import DIVISOR, KernelSource, ceil_div, divisor
from gpunn.gpu.signatures import INT_MOST
from gpunn.primitive import primitive
from gpunn.random import philox_blocks

SOURCE = KernelSource("take_images.cu", REAL=("uint8", "float"))
_OP = "take_images"
_BLOCK, _EACH = 256, 4  # as in take_images.cu
_MOST_PARTS = 65535  # blocks along the second axis of a grid
_WHOLE = ("height", "width", "padding", "reflect", "down", "across", "cutout", "alternate")
_CHANGES = np.dtype(
    [(name, np.int32) for name in _WHOLE]
    + [("fill", np.float32), ("by_channels", DIVISOR), ("by_width", DIVISOR), ("size", np.int32)]
    + [("flip_across", np.uint64), ("flip_down", np.uint64)],
    align=True,
)
_FIRST = 2**64 - 1  # the epoch that images mirrored in every second one are drawn in


@dataclass(frozen=True)
class Changes:
    """What is changed in a batch at random; as it is, nothing.

    Attributes
    ----------
    size : (int, int), optional
        Height and width of what is cut out; None: of the images.
    padding : int
        Rows and columns around the images, out of which together with them it is cut.
    reflect : bool
        Whether the images' edge reflects them there; otherwise there is ``fill``.
    flip_across, flip_down : float
        How likely an image is mirrored left to right, and upside down.
    alternate : bool
        Whether images are mirrored left to right in every second epoch: ``flip_across`` is for the first one.
    cutout : int
        Side of a square that becomes ``fill``; 0 for none.
    fill : float
    """

    size: tuple[int, int] | None = None
    padding: int = 0
    reflect: bool = False
    flip_across: float = 0.0
    flip_down: float = 0.0
    alternate: bool = False
    cutout: int = 0
    fill: float = 0.0

    def of(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the result for images of this size."""
        return self.size or (height, width)


def _threshold(p: float) -> int:
    """The word below which an image is mirrored: 0 mirrors none, 2^32 all."""
    return round(p * 2**32)


@primitive(returns=("y", "truths"), tolerance=0)
def take_images(
    xp: Any, images: Any, labels: Any, indices: Any, words: Any, mean: Any, std: Any, changes: Changes
) -> tuple[Any, Any]:
    """y = images[indices], changed and, where they are bytes, standardised: (byte / 255 - mean) / std.

    images (N, H, W, C) uint8 or float32, labels (N,) int64, indices (n,) int32, words (3,) uint64: two of the key and
    the epoch, mean and std (C,) float32, or None of floats; y (n, P, Q, C) float32, truths = labels[indices].
    """
    count, height, width, _ = images.shape
    bad = (indices < 0) | (indices >= count)
    if bool(bad.any()):
        at = int(bad.argmax())
        raise RangeError(f"{here(_OP)}: index {int(indices[at])} at position {at} is out of range for {count} images.")
    rows, columns = changes.of(height, width)
    *key, epoch = (int(word) for word in words)
    blocks = np.asarray(indices if xp is np else indices.get(), np.uint64)
    random = philox_blocks((key[0], key[1]), epoch, blocks)

    def below(room: int, column: int) -> Any:
        return xp.asarray((random[:, column].astype(np.uint64) * np.uint64(room) >> np.uint64(32)).astype(np.int64))

    def mirrored(p: float, column: int, draws: np.ndarray) -> Any:
        return xp.asarray(draws[:, column].astype(np.uint64) < np.uint64(_threshold(p)))[:, None]

    if changes.alternate:
        first = philox_blocks((key[0], key[1]), _FIRST, blocks)
        flip_across = mirrored(changes.flip_across, 2, first) != (epoch % 2 == 1)
    else:
        flip_across = mirrored(changes.flip_across, 2, random)
    p, q = xp.arange(rows)[None, :], xp.arange(columns)[None, :]
    top, left = (
        below(length + 2 * changes.padding - cut + 1, column)[:, None] - changes.padding
        for column, (length, cut) in enumerate(((height, rows), (width, columns)))
    )
    h = xp.where(mirrored(changes.flip_down, 3, random), rows - 1 - p, p) + top
    w = xp.where(flip_across, columns - 1 - q, q) + left
    if changes.reflect:
        h, w = (xp.where(at < 0, -at, xp.where(at >= n, 2 * n - 2 - at, at)) for at, n in ((h, height), (w, width)))
    inside = ((h >= 0) & (h < height))[:, :, None] & ((w >= 0) & (w < width))[:, None, :]
    cut_top, cut_left = (below(n, c)[:, None] - changes.cutout // 2 for n, c in ((rows, 4), (columns, 5)))
    lost = ((p >= cut_top) & (p < cut_top + changes.cutout))[:, :, None]
    lost = lost & ((q >= cut_left) & (q < cut_left + changes.cutout))[:, None, :]
    y = images[indices[:, None, None], xp.clip(h, 0, height - 1)[:, :, None], xp.clip(w, 0, width - 1)[:, None, :]]
    if images.dtype == np.uint8:
        y = (y.astype(np.float32) / np.float32(255) - mean) / std
    y = xp.where((inside & ~lost)[..., None], y, np.float32(changes.fill))
    return xp.ascontiguousarray(y), labels[indices]


@take_images.kernel
def _(
    device: Device, images: Any, labels: Any, indices: Any, words: Any, mean: Any, std: Any, changes: Changes
) -> tuple[Any, Any]:
    count, height, width, channels = images.shape
    rows, columns = changes.of(height, width)
    n, size = len(indices), rows * columns * channels
    if max(size, count) > INT_MOST:
        raise UsageError(
            f"{here(_OP)}: expected less than 2^31 images, each of less numbers; got {images.shape}. Split the tensor."
        )
    y, truths = device.empty((n, rows, columns, channels), np.float32), device.empty((n,), np.int64)
    if n == 0:
        return y, truths
    rooms = (height + 2 * changes.padding - rows + 1, width + 2 * changes.padding - columns + 1)
    whole = (height, width, changes.padding, changes.reflect, *rooms, changes.cutout, changes.alternate)
    thresholds = _threshold(changes.flip_across), _threshold(changes.flip_down)
    g = np.array(
        [(*whole, changes.fill, divisor(max(channels, 1)), divisor(max(columns, 1)), size, *thresholds)], _CHANGES
    )
    args = (y, truths, images, labels, indices, words, mean, std, device.error_buffer, g)
    grid = (n, min(max(1, ceil_div(size, _BLOCK * _EACH)), _MOST_PARTS), 1)
    real = "uint8" if images.dtype == np.uint8 else "float"
    numbers = (count, rows, columns, device.place_id(here(_OP)))
    SOURCE.launch(device, "take_images", grid, _BLOCK, (*args, *numbers), REAL=real)
    return y, truths
