"""Labelled images kept as bytes, and the arithmetic that standardises them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpunn._layout import logical, physical
from gpunn.data.dataset import Dataset, Indices
from gpunn.errors import DataError, UsageError

_TILE = 1 << 18  # numbers


class Standardiser:
    """y = (pixel / 255 - mean) / std, in float32 and in this order.

    This is what torchvision's ``ToTensor`` and ``Normalize`` compute, bit for bit.

    Parameters
    ----------
    name : str
        Of the dataset, for errors.
    mean, std : float or sequence of C floats
        Of pixels divided by 255.
    shape : tuple of int
        (C, H, W) of an image.

    Raises
    ------
    UsageError
        If there is neither one number nor one for every channel, or a deviation is not positive.
    """

    def __init__(
        self,
        name: str,
        mean: float | Sequence[float],
        std: float | Sequence[float],
        shape: tuple[int, int, int],
    ) -> None:
        self.shape = shape
        C, H, W = shape
        tiled = []
        for word, given in (("mean", mean), ("std", std)):
            values = np.atleast_1d(np.asarray(given, np.float32))
            if values.shape not in ((1,), (C,)):
                raise UsageError(f"{name}: expected {word} to be one number or {C}, one per channel; got {given!r}.")
            # Repeated to a whole image: broadcasting C numbers along the last axis would run loops of length C. Of
            # large images a row is enough, and more would take eight times the memory of the image.
            pixels = H * W if H * W * C <= _TILE else W
            tiled.append(np.tile(np.broadcast_to(values, C), pixels))
        self._mean, self._std = tiled
        if not (np.isfinite(self._mean).all() and np.isfinite(self._std).all() and (self._std > 0).all()):
            raise UsageError(f"{name}: expected a finite mean and a positive std; got mean {mean!r}, std {std!r}.")

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Convert bytes (n, H, W, C) or (n, H*W*C) to a new (n, C, H, W) float32 array, channels last in memory.

        It takes three passes of vector instructions. A table of the 256 values, looked up by ``np.take``, took
        twice as long at MNIST's and CIFAR-10's sizes (batch 128), and tables of pairs were no faster.
        """
        C, H, W = self.shape
        x = np.divide(pixels.reshape(-1, len(self._mean) or 1), np.float32(255), dtype=np.float32)
        x -= self._mean
        x /= self._std
        batch: np.ndarray = logical(x.reshape(-1, H, W, C))
        return batch


class ImageDataset(Dataset):
    """Labelled images kept as bytes, standardised when a batch is taken: see :class:`Standardiser`.

    Keeping bytes makes the copy out of the dataset four times smaller than the batch it becomes.

    Parameters
    ----------
    images : numpy.ndarray
        (N, H, W) or (N, C, H, W) uint8. Kept channels last in memory; an array that is not is copied.
    labels : numpy.ndarray
        (N,), any integer dtype.
    mean, std : float or sequence of C floats
        Of the training images divided by 255.
    source : str
        Where they were read from, for errors.

    Attributes
    ----------
    images : numpy.ndarray
        The bytes, in the axes given.
    labels : numpy.ndarray
        (N,) int64.
    classes : tuple of str
        Names of the labels 0, 1, ...; set by the subclass.
    input_shape : tuple of int
        (C, H, W) of one item; set by the subclass.

    Raises
    ------
    DataError
        If there are no images, counts of images and labels differ, the images are not bytes of
        the expected shape, or a label is not the index of a class.
    """

    classes: tuple[str, ...] = ()
    input_shape: tuple[int, int, int]

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        mean: float | Sequence[float],
        std: float | Sequence[float],
        source: str = "",
    ) -> None:
        name = f"{type(self).__name__} ({source})" if source else type(self).__name__
        C, H, W = self.input_shape
        item_shapes = [(C, H, W), (H, W)] if C == 1 else [(C, H, W)]
        if images.dtype != np.uint8 or images.shape[1:] not in item_shapes:
            raise DataError(
                f"{name}: expected images of {H}x{W} bytes, uint8 {('N', *item_shapes[-1])}; "
                f"got {images.dtype} {images.shape}."
            )
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise DataError(f"{name}: expected one integer label per image; got {labels.dtype} {labels.shape}.")
        if len(images) != len(labels):
            raise DataError(
                f"{name}: expected as many labels as images; got {len(images)} images and "
                f"{len(labels)} labels. The two do not belong together."
            )
        if len(images) == 0:
            raise DataError(f"{name}: expected at least one image; there is none.")
        outside = np.flatnonzero((labels < 0) | (labels >= len(self.classes)))
        if len(outside):
            raise DataError(
                f"{name}: expected labels 0 to {len(self.classes) - 1}; "
                f"got {labels[outside[0]]} at position {outside[0]}."
            )
        self.images: np.ndarray = logical(physical(images))
        self.labels = labels.astype(np.int64)
        self.mean, self.std = mean, std
        self._standardise = Standardiser(name, mean, std, self.input_shape)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        """Image (C, H, W) float32, standardised, and its label."""
        return self.standardise(self.images[index][None])[0], int(self.labels[index])

    def batch(self, indices: Indices) -> tuple[np.ndarray, np.ndarray]:
        """Images (n, C, H, W) float32, standardised, and labels (n,) int64."""
        indices = np.asarray(indices, dtype=None if len(indices) else np.intp)
        rows = physical(self.images).reshape(len(self.images), -1)
        return self._standardise(rows[indices]), self.labels[indices]

    def standardise(self, images: np.ndarray) -> np.ndarray:
        """Convert uint8 images (n, H, W) or (n, C, H, W) to a network's input: (n, C, H, W) float32."""
        return self._standardise(physical(images.reshape(-1, *self.input_shape)))
