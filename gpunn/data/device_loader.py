"""DeviceLoader: a dataset that lies on the device whole, in batches that are picked and changed there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._device import device as get_device
from gpunn._layout import physical
from gpunn._shared.numbers import whole_number
from gpunn._tensor import Tensor
from gpunn.data._resident import changes_of, read, upload
from gpunn.data.dataset import check_dataset
from gpunn.data.loader import rows_of_part
from gpunn.errors import DataError, UsageError
from gpunn.ops.take_images import Changes, take_images
from gpunn.ops.write_scalars import StepScalars
from gpunn.random import Generator, default_generator


class DeviceLoader:
    """Iterate over images that are on the device already; each iteration over the loader is one epoch.

    The images are uploaded once, as bytes where the dataset keeps bytes. A batch is one launch, which picks the
    images, changes them at random and standardises them. A :class:`~gpunn.train.Trainer` makes that a part of its
    captured step. So no batch is copied from the host, and no step waits for it.

    Orders are those of a :class:`DataLoader` with the same generator. What is drawn for an image in an epoch depends on
    the generator, the epoch and the image alone. So a seed gives the same batches on every device, captured or not, for
    every ``batch_size`` and number of ranks.

    Parameters
    ----------
    dataset : Dataset
        Of images (C, H, W) of one size and integer labels. Those of ``gpunn.data`` that keep bytes (MNIST, CIFAR-10,
        Digits, and a :class:`Subset` of one) stay bytes; others take four bytes a number.
    batch_size : int
        Items in a batch; the last one may be smaller.
    shuffle : bool
        Whether to draw a new order for every epoch, which is uploaded when the epoch begins.
    drop_last : bool
        Drop a last batch smaller than ``batch_size``.
    transform : transform, optional
        Of ``gpunn.data.transforms``: ``RandomCrop``, ``RandomHorizontalFlip``, ``RandomVerticalFlip``, ``Cutout``, or a
        ``Compose`` of them, each at most once and ``Cutout`` last. Other changes need a :class:`DataLoader`.
    generator : Generator, optional
        Where orders are drawn from. Default: one of its own, spawned from the default generator.
    device : str or Device
        Where the images are kept; "auto" is a GPU if there is a working one, else the CPU.

    Attributes
    ----------
    generator, change_generator : Generator
        Where orders and changes are drawn from. Their states between two epochs determine all that follows.

    Yields
    ------
    (Tensor, Tensor)
        Images (n, C, H, W) float32, standardised if the dataset keeps bytes, and labels (n,) int64.

    Raises
    ------
    DataError
        If the dataset is empty, its labels are not class indices, or ``drop_last`` would leave no batch.
    ShapeError, DTypeError
        If images differ in size or are neither bytes nor float32.
    OutOfMemoryError
        If the images do not fit into the device's memory.
    UsageError
        If an argument is invalid, or the transform cannot be applied on the device.

    Notes
    -----
    In a captured step of one's own :meth:`take` makes the batch, and :meth:`indices` says which; see the example.

    Examples
    --------
    >>> import gpunn
    >>> from gpunn.data import DeviceLoader, Digits
    >>> loader = DeviceLoader(Digits(), batch_size=500, shuffle=True, device="cpu")
    >>> [len(labels) for images, labels in loader]
    [500, 500, 437]
    >>> step = gpunn.capture(lambda indices: loader.take(indices)[0].mean())
    >>> len([step(indices) for indices in loader.indices()])
    3
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        drop_last: bool = False,
        transform: Any = None,
        generator: Generator | None = None,
        device: str | Device = "auto",
    ) -> None:
        name = "DeviceLoader"
        self.batch_size = whole_number(name, "batch_size", batch_size, 1)
        if generator is not None and not isinstance(generator, Generator):
            raise UsageError(f"{name}: expected a gpunn.Generator; got {type(generator).__name__}.")
        self.dataset = check_dataset(name, dataset)
        self.shuffle, self.drop_last, self.transform = bool(shuffle), bool(drop_last), transform
        self.device = get_device(device)
        images, labels, mean, std = read(name, dataset)
        if drop_last and len(labels) < batch_size:
            raise DataError(
                f"{name}: drop_last leaves no batch: {len(labels)} items, batch_size {batch_size}. Reduce batch_size, "
                "or keep the last batch."
            )
        _, height, width, _ = images.shape
        self._changes: Changes = changes_of(name, transform, height, width)
        self._count = len(labels)
        self._images, self._labels, self._mean, self._std = upload(name, self.device, images, labels, mean, std)
        self._words = StepScalars(self.device, np.uint64, 3)
        self._in_order: Any = None
        self.generator = default_generator().spawn("DataLoader") if generator is None else generator
        self.change_generator = self.generator.spawn("changes")

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return self._count // self.batch_size if self.drop_last else -(-self._count // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.batches()

    def rows(self, number: int) -> int:
        """How many items batch ``number`` of an epoch has."""
        return min(self.batch_size, self._count - number * self.batch_size)

    def batches(self, start: int = 0, part: tuple[int, int] | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch from batch ``start`` on; arguments as of :meth:`indices`."""
        return map(self.take, self.indices(start, part))

    def indices(self, start: int = 0, part: tuple[int, int] | None = None) -> Iterator[Tensor]:
        """One epoch from batch ``start`` on, as the numbers of the images: (n,) int32, on the device.

        The order is drawn and uploaded when this is called. :meth:`take` makes the batches, before the next numbers are
        asked for.

        Parameters
        ----------
        start : int
        part : (int, int), optional
            A rank and the number of ranks: only this rank's rows of each batch, as of :meth:`DataLoader.batches`.

        Raises
        ------
        UsageError
            If ``start`` is not between 0 and ``len(self)``.
        """
        if not 0 <= start <= len(self):
            raise UsageError(
                f"DeviceLoader: expected start between 0 and {len(self)}, the number of batches; got {start}."
            )
        if self.shuffle:
            order = self.device.array(self.generator.permutation(self._count).astype(np.int32))
        else:
            if self._in_order is None:
                self._in_order = self.device.array(np.arange(self._count, dtype=np.int32))
            order = self._in_order
        epoch, _ = self.change_generator.next_call(self.device)
        words = (*self.change_generator.key, epoch)
        return self._take(order, words, range(start, len(self)), part)

    def _take(
        self, order: Any, words: tuple[int, ...], numbers: range, part: tuple[int, int] | None
    ) -> Iterator[Tensor]:
        for number in numbers:
            begin, rows = number * self.batch_size, self.rows(number)
            mine = slice(0, rows) if part is None else rows_of_part(rows, *part)
            self._words.write(*words)  # unless they are there: another iteration may have begun meanwhile
            yield Tensor._of_physical(order[begin + mine.start : begin + mine.stop], self.device)

    def take(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The batch of these images, changed as in the epoch that is running: one launch.

        Parameters
        ----------
        indices : Tensor, (n,) int32
            On the loader's device.

        Returns
        -------
        images : Tensor, (n, C, H, W) float32
        labels : Tensor, (n,) int64

        Raises
        ------
        UsageError
            If ``indices`` is something else.
        RangeError
            If there is no such image; where kernels run, at the next read from the device.
        """
        if (
            not isinstance(indices, Tensor)
            or indices.ndim != 1
            or indices.dtype != np.int32
            or indices.device is not self.device
        ):
            got = (
                f"{indices.dtype} of shape {indices.shape} on {indices.device}"
                if isinstance(indices, Tensor)
                else type(indices).__name__
            )
            raise UsageError(f"DeviceLoader.take: expected indices (n,) of int32 on {self.device}; got {got}.")
        images, labels = take_images(
            self.device,
            self._images,
            self._labels,
            physical(indices._physical),
            self._words.array,
            self._mean,
            self._std,
            self._changes,
        )
        return Tensor._of_physical(images, self.device), Tensor._of_physical(labels, self.device)
