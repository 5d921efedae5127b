"""Digits: 1,797 real handwritten digits that come with scikit-learn, so that a demo needs no download."""

from __future__ import annotations

import numpy as np

from gpunn.data.images import ImageDataset
from gpunn.errors import DataError

_TEST_ITEMS = 360  # 20.03 % of 1,797
_SPLIT_KEY = 1797


class Digits(ImageDataset):
    """scikit-learn's bundled handwritten digits, enlarged from 8x8 to 28x28 so that MNIST's networks fit.

    The source images are 8x8 with values 0 to 16: counts of ink pixels in 4x4 blocks of a scan.
    They are enlarged bilinearly (pixel centres aligned, edges repeated: PyTorch's
    ``interpolate(mode="bilinear", align_corners=False)``) in exact integer arithmetic and
    rounded to bytes, so they are the same on every machine. Everything else is as in
    :class:`~gpunn.data.MNIST`: :meth:`Dataset.batch` returns (n, 1, 28, 28) float32, standardised by the
    training part, and (n,) int64.

    The split is fixed: item i is ranked by the i-th output of Philox 4x64-10 with key 1797 and
    counter 0; the 360 lowest are the test part, the other 1,437 the training part, both in
    their original order. It is not stratified, and the same writers occur in both parts, so
    accuracies on it are higher than on unseen writers.

    Parameters
    ----------
    train : bool
        The training part, else the test part.

    Attributes
    ----------
    images : numpy.ndarray
        (N, 28, 28) uint8, 0 is paper and 255 is ink.
    labels : numpy.ndarray
        (N,) int64, 0 to 9.
    mean, std : float
        Of the training part's pixels divided by 255, whichever part this is.
    classes : tuple of str
    input_shape : tuple of int

    Raises
    ------
    DataError
        If scikit-learn is not installed, or its digits are not the expected ones.

    References
    ----------
    Alpaydin, Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository, doi:10.24432/C50P49 (the 1,797 test images), CC BY 4.0.
    """

    classes = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    input_shape = (1, 28, 28)

    def __init__(self, train: bool = True) -> None:
        small, labels = _load_small()
        images = _enlarge(small, 28)
        # Raw Philox output, not Generator.permutation: NumPy guarantees only the former never to change.
        rank = np.argsort(np.random.Philox(key=_SPLIT_KEY).random_raw(len(images)), kind="stable")
        is_test = np.zeros(len(images), bool)
        is_test[rank[:_TEST_ITEMS]] = True
        mean, std = _mean_and_std(images[~is_test])
        part = ~is_test if train else is_test
        super().__init__(images[part], labels[part], mean, std)
        self.train = train


def _load_small() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's arrays: images (1797, 8, 8) int64 with values 0 to 16, labels (1797,)."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError(
            f"Digits: expected scikit-learn, which the images come with; importing it failed ({error}). "
            "Install it with pip install 'gpunn[demo]'."
        ) from error
    bunch = load_digits()
    images, labels = np.asarray(bunch.images), np.asarray(bunch.target)
    small = images.astype(np.int64)
    if images.shape != (1797, 8, 8) or not np.array_equal(small, images) or small.min() < 0 or small.max() > 16:
        raise DataError(
            "Digits: expected 1797 images of 8x8 whole numbers from 0 to 16 from scikit-learn's load_digits; "
            f"got {images.shape} from {images.min()} to {images.max()}. Reinstall scikit-learn."
        )
    return small, labels


def _interpolation_matrix(n_in: int, n_out: int) -> np.ndarray:
    """Weights (n_out, n_in) int64 of bilinear enlargement along one axis, in units of 1 / (2 n_out).

    Output pixel i has its centre at (i + 1/2) n_in / n_out - 1/2 = ((2 i + 1) n_in - n_out) / (2 n_out)
    in input pixels, which is a whole number of these units: no rounding anywhere.
    """
    unit = 2 * n_out
    rows = np.arange(n_out)
    left, fraction = np.divmod((2 * rows + 1) * n_in - n_out, unit)
    matrix = np.zeros((n_out, n_in), np.int64)
    # Beyond the edge both neighbours are the edge pixel, whose weights then add up.
    np.add.at(matrix, (rows, left.clip(0, n_in - 1)), unit - fraction)
    np.add.at(matrix, (rows, (left + 1).clip(0, n_in - 1)), fraction)
    return matrix


def _enlarge(small: np.ndarray, size: int) -> np.ndarray:
    """Images (N, h, w) of whole numbers 0 to 16 as (N, size, size) uint8, 16 becoming 255."""
    vertical = _interpolation_matrix(small.shape[1], size)
    horizontal = _interpolation_matrix(small.shape[2], size)
    scaled = vertical @ small @ horizontal.T
    one = 16 * (2 * size) ** 2  # what 16 became in these units
    rounded: np.ndarray = (2 * 255 * scaled + one) // (2 * one)  # half up
    return rounded.astype(np.uint8)


def _mean_and_std(images: np.ndarray) -> tuple[float, float]:
    """Mean and deviation of pixel / 255, from exact integer sums, so that no summation order can change a bit."""
    pixels = images.astype(np.int64)
    n, total, squares = pixels.size, int(pixels.sum()), int((pixels * pixels).sum())
    # Python's integer division is correctly rounded.
    return total / (255 * n), ((n * squares - total * total) / (255 * n) ** 2) ** 0.5
