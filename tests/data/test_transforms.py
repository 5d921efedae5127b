"""Transforms: what they may do to an image, that seeds repeat, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn.data import transforms
from gpunn.errors import DTypeError, ShapeError, UsageError

_ALL = [
    transforms.RandomCrop(8, padding=2),
    transforms.RandomHorizontalFlip(),
    transforms.RandomVerticalFlip(0.3),
    transforms.Cutout(4),
    transforms.ColorJitter(0.3, 0.3, 0.3, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.3)),
    transforms.Normalize((0.1, 0.2, 0.3), 2.0),
]


def _images(n: int = 6, dtype: Any = np.float32) -> np.ndarray:
    return np.random.Generator(np.random.Philox(1)).standard_normal((n, 3, 8, 8)).astype(dtype)


@pytest.mark.parametrize("transform", _ALL, ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [0, 1, 6])
def test_shape_dtype_seed_and_input_untouched(transform: Any, dtype: Any, n: int) -> None:
    x = gpunn.tensor(_images(n, dtype))
    before = x.numpy().copy()
    y = transform(x, gpunn.Generator(3))
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    np.testing.assert_array_equal(x.numpy(), before)
    np.testing.assert_array_equal(y.numpy(), transform(x, gpunn.Generator(3)).numpy())


@pytest.mark.parametrize("transform", _ALL, ids=repr)
def test_the_same_images_on_every_device(kernels: str, transform: Any) -> None:
    cpu, there = (transform(gpunn.tensor(_images(), device=where), gpunn.Generator(5)) for where in ("cpu", kernels))
    assert there.device is gpunn.device(kernels)
    if "ColorJitter" not in repr(transform):  # the others only move numbers
        np.testing.assert_array_equal(cpu.numpy(), there.numpy())
    # An image's mean is added up in another order: a few roundings of numbers of order one.
    np.testing.assert_allclose(cpu.numpy(), there.numpy(), rtol=0, atol=5e-6)


def test_crop_gives_every_position_and_zeros_outside() -> None:
    x = np.arange(1, 5, dtype=np.float32).reshape(1, 1, 2, 2)
    padded = np.pad(x[0, 0], 1)
    windows = {padded[i : i + 2, j : j + 2].tobytes() for i in range(3) for j in range(3)}
    y = transforms.RandomCrop(2, padding=1)(gpunn.tensor(np.repeat(x, 300, 0)), gpunn.Generator(0)).numpy()
    assert {np.ascontiguousarray(image[0]).tobytes() for image in y} == windows


def test_flip_mirrors_about_the_given_share() -> None:
    x = gpunn.tensor(np.repeat(_images(1), 1000, 0))
    for transform, axis in ((transforms.RandomHorizontalFlip(0.25), -1), (transforms.RandomVerticalFlip(0.25), -2)):
        y, original = transform(x, gpunn.Generator(1)).numpy(), x.numpy()
        mirrored = [np.array_equal(a, np.flip(b, axis)) for a, b in zip(y, original, strict=True)]
        same = [np.array_equal(a, b) for a, b in zip(y, original, strict=True)]
        assert all(m != s for m, s in zip(mirrored, same, strict=True))
        # Four standard deviations of a binomial count.
        assert abs(sum(mirrored) - 250) < 4 * np.sqrt(1000 * 0.25 * 0.75)
    for p, turned in ((0.0, False), (1.0, True)):
        y = transforms.RandomHorizontalFlip(p)(x, gpunn.Generator(1)).numpy()
        np.testing.assert_array_equal(y, x.numpy()[..., ::-1] if turned else x.numpy())


def test_cutout_erases_one_square() -> None:
    y = transforms.Cutout(3)(gpunn.ones(400, 2, 9, 9), gpunn.Generator(2)).numpy()
    np.testing.assert_array_equal(y[:, 0], y[:, 1])
    erased = 1 - y[:, 0]
    rows, columns = erased.max(2), erased.max(1)
    np.testing.assert_array_equal(erased, rows[:, :, None] * columns[:, None, :])
    assert set(np.unique(rows.sum(1))) == {2, 3}  # cut by one at most: the centre is inside
    assert (erased.sum(0) > 0).all()


def test_jitter_of_nothing_changes_nothing() -> None:
    x = gpunn.rand(4, 3, 5, 5)
    y = transforms.ColorJitter()(x, gpunn.Generator(0))
    np.testing.assert_allclose(y.numpy(), x.numpy(), atol=1e-6)  # a few roundings


def test_jitter_changes_each_image_by_its_own_factor() -> None:
    x = gpunn.ones(500, 3, 2, 2) * 0.5
    y = transforms.ColorJitter(brightness=0.4)(x, gpunn.Generator(0)).numpy()[:, 0, 0, 0] / 0.5
    assert (y >= 0.6).all()
    assert (y <= 1.4).all()
    assert y.std() == pytest.approx(0.8 / np.sqrt(12), rel=0.1)  # of a uniform distribution


def test_loader_applies_them_and_repeats() -> None:
    data = gpunn.data.TensorDataset(_images(20), np.arange(20))

    def epoch(workers: int) -> list[np.ndarray]:
        change = transforms.Compose(_ALL)
        loader = gpunn.data.DataLoader(
            data, 6, shuffle=True, generator=gpunn.Generator(9), num_workers=workers, transform=change
        )
        return [x.numpy() for x, _ in loader]

    for got, expected in zip(epoch(2), epoch(0), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: transforms.RandomCrop(0), UsageError, "size: expected a whole number of at least 1; got 0"),
        (lambda: transforms.RandomCrop(4, padding=-1), UsageError, "padding: expected a whole number of at least 0"),
        (lambda: transforms.RandomHorizontalFlip(1.5), UsageError, "p: expected a number from 0 to 1; got 1.5"),
        (lambda: transforms.Cutout(0), UsageError, "size: expected a whole number of at least 1; got 0"),
        (lambda: transforms.ColorJitter(brightness=-1), UsageError, "brightness: expected a finite number"),
        (lambda: transforms.Normalize(0.0, 0.0), UsageError, "std: expected a finite number above 0"),
        (lambda: transforms.Compose([transforms.RandomHorizontalFlip]), UsageError, "expected instances"),
        (lambda: transforms.RandomCrop(9)(gpunn.ones(1, 1, 8, 8), gpunn.Generator(0)), ShapeError, "cannot cut 9x9"),
        (lambda: transforms.Cutout(1)(gpunn.ones(2, 2), gpunn.Generator(0)), ShapeError, r"\(N, C, H, W\)"),
        (
            lambda: transforms.Cutout(1)(gpunn.zeros(1, 1, 2, 2, dtype=np.int64), gpunn.Generator(0)),
            DTypeError,
            "got int64",
        ),
        (
            lambda: transforms.ColorJitter(0.1)(gpunn.ones(1, 2, 2, 2), gpunn.Generator(0)),
            ShapeError,
            "1 or 3 channels",
        ),
        (lambda: transforms.Normalize((1.0, 2.0), 1.0)(gpunn.ones(1, 3, 2, 2)), UsageError, "one number or 3"),
    ],
)
def test_refuses(make: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        make()
