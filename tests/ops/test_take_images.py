"""Batches of images taken from a dataset, against np.pad, slices and NumPy's own Philox."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from gpunn._device import device
from gpunn.errors import RangeError
from gpunn.ops.take_images import Changes, take_images
from tests.devices import EVERYWHERE, call

KEY = (2**64 - 7, 12345678901234567)
INDICES = [4, 2, 2, 0, 6, 2, 6, 4, 1, 1, 5, 3]  # repeated, and in no order
SHAPE = (7, 6, 5, 3)  # of the dataset


def dataset(dtype: Any = np.uint8, shape: tuple[int, ...] = SHAPE) -> dict[str, Any]:
    """Images, labels that need 64 bits, mean and std."""
    rng = np.random.Generator(np.random.PCG64(1))
    floats = dtype == np.float32
    return {
        "images": rng.standard_normal(shape).astype(np.float32) if floats else rng.integers(0, 256, shape, np.uint8),
        "labels": rng.integers(-(2**62), 2**62, shape[0]),
        "mean": None if floats else rng.random(shape[3]).astype(np.float32),
        "std": None if floats else rng.uniform(0.2, 0.4, shape[3]).astype(np.float32),
    }


def taken(where: str, data: dict[str, Any], indices: list[int], changes: Changes, epoch: int = 0) -> Any:
    words = np.array([*KEY, epoch], np.uint64)
    return call(take_images, where, **data, indices=np.array(indices, np.int32), words=words, changes=changes)


def drawn(image: int, epoch: int) -> list[int]:
    """The eight words of 32 bits of one image, low halves first."""
    counter = np.array([image, epoch, 0, 0], np.uint64)
    raw = np.random.Philox(counter=counter, key=np.array(KEY, np.uint64)).random_raw(4)
    return [int(half) for word in raw.tolist() for half in (word & 0xFFFFFFFF, word >> 32)]


def one_image(data: dict[str, Any], image: int, changes: Changes, epoch: int) -> np.ndarray:
    """Standardise, pad, cut out, mirror, then lose a square: one step after the other."""
    x = data["images"][image]
    if x.dtype == np.uint8:
        x = (x.astype(np.float32) / np.float32(255) - data["mean"]) / data["std"]
    width = [(changes.padding, changes.padding)] * 2 + [(0, 0)]
    padded = np.pad(x, width, "reflect") if changes.reflect else np.pad(x, width, constant_values=changes.fill)
    rows, columns = changes.size or x.shape[:2]
    words = drawn(image, epoch)
    top, left = (words[i] * (padded.shape[i] - (rows, columns)[i] + 1) // 2**32 for i in range(2))
    y = padded[top : top + rows, left : left + columns].copy()
    flips = words[2] / 2**32 < changes.flip_across
    if changes.alternate:
        flips = (drawn(image, 2**64 - 1)[2] / 2**32 < changes.flip_across) ^ bool(epoch % 2)
    if flips:
        y = y[:, ::-1]
    if words[3] / 2**32 < changes.flip_down:
        y = y[::-1]
    y = y.copy()
    above, before = (words[4 + i] * (rows, columns)[i] // 2**32 - changes.cutout // 2 for i in range(2))
    y[max(above, 0) : above + changes.cutout, max(before, 0) : before + changes.cutout] = changes.fill
    return y


CHANGES = {
    "nothing": Changes(),
    "constant padding": Changes((6, 5), 3, fill=0.25),
    "reflection": Changes((6, 5), 4, True),
    "a smaller crop": Changes((3, 2)),
    "a larger crop": Changes((9, 11), 3, fill=-1.0),
    "across": Changes(flip_across=0.5),
    "down": Changes(flip_down=0.5),
    "across in turns": Changes(flip_across=0.5, alternate=True),
    "an even square": Changes(cutout=2, fill=0.5),
    "an odd square": Changes(cutout=3),
    "everything": Changes((5, 7), 2, True, 0.5, 0.3, False, 3, 2.0),
}


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_images_are_padded_cut_mirrored_and_erased(where: str, dtype: Any, changes: Changes) -> None:
    data = dataset(dtype)
    for epoch in (0, 1, 2**40 + 1):
        y, truths = taken(where, data, INDICES, changes, epoch)
        expected = np.stack([one_image(data, image, changes, epoch) for image in INDICES])
        np.testing.assert_array_equal(y, expected, strict=True)  # the same roundings in the same order
        np.testing.assert_array_equal(truths, data["labels"][INDICES], strict=True)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_images_of_several_blocks(where: str) -> None:
    """3213 numbers an image: a block writes 1024."""
    data, changes = dataset(shape=(3, 19, 23, 7)), Changes((17, 27), 4, False, 0.5, 0.5, False, 9, 0.5)
    y, _ = taken(where, data, [2, 0, 1, 2], changes)
    np.testing.assert_array_equal(y, np.stack([one_image(data, image, changes, 0) for image in (2, 0, 1, 2)]))


@pytest.mark.parametrize("where", EVERYWHERE)
def test_bytes_by_hand(where: str) -> None:
    data = {
        "images": np.array([[0, 51], [102, 255]], np.uint8).reshape(1, 2, 2, 1),
        "labels": np.array([9]),
        "mean": np.array([0.2], np.float32),
        "std": np.array([0.4], np.float32),
    }
    both = functools.partial(taken, where, data, [0, 0])
    # 51 / 255 = 0.2; a rounding of numbers near 1, divided by 0.4.
    np.testing.assert_allclose(both(Changes())[0].reshape(2, 4), [[-0.5, 0, 0.5, 2]] * 2, rtol=0, atol=5e-7)
    across = both(Changes(flip_across=1.0))[0].reshape(2, 4)
    np.testing.assert_allclose(across, [[0, -0.5, 2, 0.5]] * 2, rtol=0, atol=5e-7)
    down = both(Changes(flip_down=1.0))[0].reshape(2, 4)
    np.testing.assert_allclose(down, [[0.5, 2, -0.5, 0]] * 2, rtol=0, atol=5e-7)
    gone, truths = both(Changes(cutout=4, fill=7.0))  # wherever its middle is, the square covers all four pixels
    assert gone.ravel().tolist() == [7.0] * 8
    assert truths.tolist() == [9, 9]


@pytest.mark.parametrize("where", EVERYWHERE)
def test_an_image_mirrored_in_turns_is_the_other_way_round_in_the_next_epoch(where: str) -> None:
    data, changes = dataset(), Changes(flip_across=0.5, alternate=True)
    straight = taken(where, data, list(range(7)), Changes())[0]
    first, second, third = (taken(where, data, list(range(7)), changes, epoch)[0] for epoch in range(3))
    mirrored = [not np.array_equal(a, b) for a, b in zip(first, straight, strict=True)]
    assert 0 < sum(mirrored) < 7
    np.testing.assert_array_equal(second, first[:, :, ::-1])
    np.testing.assert_array_equal(third, first)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("bad", [7, -1, 2**31 - 1, -(2**31)])
def test_an_index_out_of_range_is_refused(where: str, bad: int) -> None:
    data = dataset()

    def take_and_look() -> None:  # kernels report it where the host looks
        taken(where, data, [0, 6, bad, 1], Changes())
        device(where).check()

    with pytest.raises(RangeError, match=rf"^take_images: index {bad} at position 2 is out of range"):
        take_and_look()
    y, _ = taken(where, data, [6], Changes())  # the device lives on
    np.testing.assert_array_equal(y[0], one_image(data, 6, Changes(), 0))


@pytest.mark.parametrize("where", EVERYWHERE)
def test_an_empty_batch(where: str) -> None:
    y, truths = taken(where, dataset(), [], Changes((4, 9), 2))
    assert (y.shape, y.dtype, truths.shape, truths.dtype) == ((0, 4, 9, 3), np.float32, (0,), np.int64)
