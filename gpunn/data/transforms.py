"""Random changes of training images, a batch at a time, on the device the batch is on.

A transform is called with a batch (N, C, H, W) and a :class:`gpunn.Generator` and returns a batch; give it
to a :class:`~gpunn.data.DataLoader` as ``transform=``. Random numbers are drawn on the host, separately for
each image, so a seed gives the same images on every device and for any number of workers.

Batches of the datasets here are already standardised: 0 is the mean of the training images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gpunn._calls import explains_all
from gpunn._shared.numbers import real_number, whole_number
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, ShapeError, UsageError
from gpunn.ops.augment import erase, jitter, resample
from gpunn.random import Generator

__all__ = [
    "ColorJitter",
    "Compose",
    "Cutout",
    "Normalize",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomVerticalFlip",
    "Transform",
]


class Transform:
    """Base class: define ``__call__(images, generator)``.

    Parameters of the call: ``images``, a Tensor (N, C, H, W), float32 or float64, and ``generator``, the source of
    all randomness. It returns a Tensor, off the tape, and does not write to ``images``.
    """

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Change ``images``; every subclass defines it."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(images, generator)")

    def _check(self, images: Tensor) -> tuple[int, int, int, int]:
        name = type(self).__name__
        if images.ndim != 4:
            raise ShapeError(f"{name}: expected images (N, C, H, W); got shape {images.shape}.")
        if images.dtype.kind != "f":
            raise DTypeError(f"{name}: expected floating images; got {images.dtype}. Convert with .float().")
        n, c, h, w = images.shape
        return n, c, h, w

    def _upload(self, images: Tensor, *values: np.ndarray) -> list[Any]:
        return [images.device.array(v) for v in values]


class Compose(Transform):
    """Several transforms, one after the other.

    Parameters
    ----------
    transforms : iterable of callable
        Each called with (images, generator).

    Examples
    --------
    >>> import gpunn
    >>> from gpunn.data import transforms
    >>> change = transforms.Compose([transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()])
    >>> change(gpunn.rand(8, 3, 32, 32), gpunn.Generator(0)).shape
    (8, 3, 32, 32)
    """

    def __init__(self, transforms: Iterable[Any]) -> None:
        self.transforms = list(transforms)
        for transform in self.transforms:
            if not callable(transform) or isinstance(transform, type):
                raise UsageError(f"Compose: expected instances of transforms; got {transform!r}.")

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Apply the transforms in order."""
        for transform in self.transforms:
            images = transform(images, generator)
        return images

    def __repr__(self) -> str:
        return f"Compose({', '.join(map(repr, self.transforms))})"


class RandomCrop(Transform):
    """A part of each image at a random position: pad, then crop to ``size``.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the result.
    padding : int
        Rows and columns of ``fill`` put around the images first.
    fill : float
        In standardised images 0 is the training images' mean.
    padding_mode : "constant" or "reflect"
        Whether ``fill`` is in them, or the image mirrored at its edge, whose own row is not repeated.

    Raises
    ------
    ShapeError
        If the padded images are smaller than ``size``, or reflected ones not larger than ``padding``.

    References
    ----------
    He, Zhang, Ren, Sun 2015, arXiv:1512.03385, section 4.2 (pad 4, crop 32); lecture topic T6.
    """

    def __init__(
        self, size: int | tuple[int, int], padding: int = 0, fill: float = 0.0, padding_mode: str = "constant"
    ) -> None:
        given = tuple(size) if isinstance(size, tuple | list) else (size, size)
        if len(given) != 2:
            raise UsageError(f"RandomCrop: size: expected one length or (height, width); got {size!r}.")
        height, width = (whole_number("RandomCrop", "size", n, 1) for n in given)
        self.size = height, width
        self.padding = whole_number("RandomCrop", "padding", padding, 0)
        self.fill = real_number("RandomCrop", "fill", fill)
        if padding_mode not in ("constant", "reflect"):
            raise UsageError(f"RandomCrop: padding_mode: expected 'constant' or 'reflect'; got {padding_mode!r}.")
        self.padding_mode = padding_mode

    def check(self, height: int, width: int) -> list[int]:
        """In how many rows and columns, less one, a part of images of this size may begin; ShapeError if in none."""
        lengths = height, width
        spare = [length + 2 * self.padding - cut for length, cut in zip(lengths, self.size, strict=True)]
        if min(spare) < 0:
            raise ShapeError(
                f"RandomCrop: cannot cut {self.size[0]}x{self.size[1]} out of {height}x{width} with padding "
                f"{self.padding}."
            )
        if self.padding_mode == "reflect" and self.padding >= min(lengths):
            raise ShapeError(
                f"RandomCrop: {height}x{width} cannot be reflected in {self.padding} rows and columns; it needs more."
            )
        return spare

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Crop each image at its own position."""
        n, _, h, w = self._check(images)
        starts = [_integers(generator, room + 1, n) - self.padding for room in self.check(h, w)]
        index = [s[:, None] + np.arange(cut) for s, cut in zip(starts, self.size, strict=True)]
        if self.padding_mode == "reflect":
            index = [length - 1 - np.abs(length - 1 - np.abs(i)) for length, i in zip((h, w), index, strict=True)]
        y = resample(images.device, images._physical, *self._upload(images, *index), self.fill)
        return Tensor._of_physical(y, images.device)

    def __repr__(self) -> str:
        mode = "" if self.padding_mode == "constant" else f", padding_mode={self.padding_mode!r}"
        return f"RandomCrop({self.size}, padding={self.padding}{mode})"


class _RandomFlip(Transform):
    """Mirror some of the images along one axis."""

    axis = 0

    def __init__(self, p: float = 0.5) -> None:
        self.p = real_number(type(self).__name__, "p", p, 0, 1)

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Mirror some of the images."""
        n, _, *lengths = self._check(images)
        mirrored = generator.uniform(0.0, 1.0, (n,), np.float64) < self.p
        index = [np.broadcast_to(np.arange(length), (n, length)) for length in lengths]
        straight = index[self.axis]
        index[self.axis] = np.where(mirrored[:, None], straight[:, ::-1], straight)
        uploaded = self._upload(images, *(np.ascontiguousarray(i) for i in index))
        return Tensor._of_physical(resample(images.device, images._physical, *uploaded, 0.0), images.device)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p})"


class RandomHorizontalFlip(_RandomFlip):
    """Mirror images left to right.

    Parameters
    ----------
    p : float
        Probability for each image.
    alternate : bool
        Draw once for each image, and mirror it or not in turns, one epoch after the other: then two epochs show both.
        That needs a :class:`~gpunn.data.DeviceLoader`, which knows which image it is.

    References
    ----------
    Krizhevsky, Sutskever, Hinton 2012, "ImageNet classification"; Jordan 2024, arXiv:2404.00498, section 3.6; lecture
    topic T6.
    """

    axis = 1

    def __init__(self, p: float = 0.5, *, alternate: bool = False) -> None:
        super().__init__(p)
        self.alternate = bool(alternate)

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Mirror some of the images."""
        if self.alternate:
            raise UsageError(
                "RandomHorizontalFlip: alternate needs a loader that knows which image it is: DeviceLoader."
            )
        return super().__call__(images, generator)

    def __repr__(self) -> str:
        return f"RandomHorizontalFlip(p={self.p}, alternate=True)" if self.alternate else super().__repr__()


class RandomVerticalFlip(_RandomFlip):
    """Mirror images upside down.

    Parameters
    ----------
    p : float
        Probability for each image.

    References
    ----------
    Lecture topic T6.
    """

    axis = 0


class Cutout(Transform):
    """Set a square of each image to ``fill``; its centre is anywhere, so edges may clip it.

    Parameters
    ----------
    size : int
        Side of the square.
    fill : float
        In standardised images 0 is the training images' mean.

    References
    ----------
    DeVries, Taylor 2017, arXiv:1708.04552; lecture topic T6.
    """

    def __init__(self, size: int, fill: float = 0.0) -> None:
        self.size, self.fill = whole_number("Cutout", "size", size, 1), real_number("Cutout", "fill", fill)

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Erase a square of each image, at its own position."""
        n, _, h, w = self._check(images)
        corners = [_integers(generator, length, n) - self.size // 2 for length in (h, w)]
        top, left = self._upload(images, *corners)
        y = erase(images.device, images._physical, top, left, self.size, self.size, self.fill)
        return Tensor._of_physical(y, images.device)

    def __repr__(self) -> str:
        return f"Cutout({self.size})"


class ColorJitter(Transform):
    """Change brightness, then contrast, then saturation of each image by random factors.

    Factors are uniform on [1 - x, 1 + x], or between the two numbers given; results are clipped to [0, 1].
    Formulas and weights of grey (ITU-R BT.601) are torchvision's; the order is fixed. Grey images have no saturation.

    Parameters
    ----------
    brightness, contrast, saturation : float or (float, float)
        0 changes nothing.
    mean, std : float or sequence of C floats
        Those the images were standardised with: pixel = x * std + mean. The defaults are for unstandardised pixels.

    References
    ----------
    Krizhevsky, Sutskever, Hinton 2012 (changing the colours of training images); lecture topic T6.
    """

    def __init__(
        self,
        brightness: float | tuple[float, float] = 0.0,
        contrast: float | tuple[float, float] = 0.0,
        saturation: float | tuple[float, float] = 0.0,
        *,
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
    ) -> None:
        given = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
        self.ranges = {name: _factor_range(name, value) for name, value in given.items()}
        _check_moments("ColorJitter", mean, std)
        self.mean, self.std = mean, std

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Change the colours of each image by its own factors."""
        n, c, _, _ = self._check(images)
        if c not in (1, 3):
            raise ShapeError(f"ColorJitter: expected images of 1 or 3 channels; got {images.shape}.")
        factors = [generator.uniform(low, high, (n,), np.float64) for low, high in self.ranges.values()]
        statistics = [_per_channel("ColorJitter", value, c) for value in (self.mean, self.std)]
        uploaded = self._upload(images, *(np.asarray(v, images.dtype) for v in (*factors, *statistics)))
        return Tensor._of_physical(jitter(images.device, images._physical, *uploaded), images.device)

    def __repr__(self) -> str:
        return f"ColorJitter({', '.join(f'{name}={value}' for name, value in self.ranges.items())})"


class Normalize(Transform):
    """(x - mean) / std for each channel.

    Parameters
    ----------
    mean, std : float or sequence of C floats
        Of the training images. ``nn.Standardize`` computes them, and keeps them with the model.

    References
    ----------
    Lecture topic T0.

    Examples
    --------
    >>> import gpunn
    >>> from gpunn.data import transforms
    >>> transforms.Normalize(2.0, 4.0)(gpunn.ones(1, 1, 1, 1) * 10).item()
    2.0
    """

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        _check_moments("Normalize", mean, std)
        self.mean, self.std = mean, std

    def __call__(self, images: Tensor, generator: Generator | None = None) -> Tensor:
        """Standardise ``images``; nothing here is random, so the generator is not used."""
        _, c, _, _ = self._check(images)
        shape = (1, c, 1, 1)
        mean, std = (
            Tensor(
                images.device.array(_per_channel("Normalize", v, c).astype(images.dtype)).reshape(shape), images.device
            )
            for v in (self.mean, self.std)
        )
        return (images.detach() - mean) / std

    def __repr__(self) -> str:
        return f"Normalize(mean={self.mean}, std={self.std})"


def _integers(generator: Generator, below: int, n: int) -> np.ndarray:
    """n integers, 0 <= i < below, from 53 random bits, so none is favoured by more than below / 2^53."""
    return (generator.uniform(0.0, 1.0, (n,), np.float64) * below).astype(np.int64)


def _factor_range(name: str, value: float | tuple[float, float]) -> tuple[float, float]:
    if isinstance(value, tuple | list) and len(value) == 2:
        low, high = (real_number("ColorJitter", name, v, 0) for v in value)
    else:
        width = real_number("ColorJitter", name, value, 0)
        low, high = max(0.0, 1 - width), 1 + width
    if not low <= high:
        raise UsageError(f"ColorJitter: {name}: expected a range, lower end first; got {value!r}.")
    return low, high


def _check_moments(name: str, mean: Any, std: Any) -> None:
    """Raise UsageError unless each mean is a finite number, and each std one above 0."""
    for key, value, least in (("mean", mean, -math.inf), ("std", std, 0.0)):
        values = np.ravel(np.asarray(value, object))
        if not values.size:
            raise UsageError(f"{name}: {key}: expected one number, or one per channel; got {value!r}.")
        for v in values:
            real_number(name, key, v, least, above=key == "std")


def _per_channel(name: str, value: float | Sequence[float], channels: int) -> np.ndarray:
    values = np.atleast_1d(np.asarray(value, np.float64))
    if values.shape not in ((1,), (channels,)):
        raise UsageError(f"{name}: expected one number or {channels}, one per channel; got {value!r}.")
    return np.ascontiguousarray(np.broadcast_to(values, (channels,)))


explains_all(globals(), frozenset(("__init__", "__call__")))
