"""DataLoader: a dataset in batches, shuffled or not, on a device."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._device import device as get_device
from gpunn._tensor import Tensor
from gpunn.data.dataset import stack_items
from gpunn.errors import DataError, UsageError
from gpunn.random import Generator, default_generator


class DataLoader:
    """Iterate over a dataset in batches; each iteration over the loader is one epoch.

    Batches are gathered on the host and uploaded whole. Order is drawn on the host as well, so it
    is the same on every device.

    Parameters
    ----------
    dataset : Dataset
        Or anything with ``__len__`` and ``__getitem__``, such as a list of pairs.
    batch_size : int
        Items in a batch; the last one may be smaller.
    shuffle : bool
        Draw a new order for every epoch, else 0, 1, 2, ...
    drop_last : bool
        Leave out a last batch smaller than ``batch_size``.
    generator : Generator, optional
        Where orders are drawn from. Default: one of its own, spawned from the default generator
        when the loader is built, so that ``gpunn.manual_seed`` before that decides the order.
    device : str or Device
        Where batches go.

    Attributes
    ----------
    generator : Generator
    epoch_state : dict
        The generator's state from before the latest epoch's order was drawn.

    Yields
    ------
    tuple of Tensor
        One (n, ...) tensor per field of the dataset's items, with its dtype: labels stay int64. A
        tuple also where items have one field only.

    Raises
    ------
    DataError
        If the dataset is empty, or ``drop_last`` would leave no batch; raised when the loader is
        built.
    UsageError
        If ``batch_size`` is not a whole number of at least 1, or the dataset has no length.
    DeviceError
        If this machine does not have the device.

    Notes
    -----
    **Resuming exactly.** ``iter(loader)`` draws from ``loader.generator`` once, right away, if
    ``shuffle`` is set, and never otherwise; nothing else draws from it. So the generator's state
    between two epochs decides every later order::

        state = loader.generator.get_state()        # between epochs: save this
        loader.generator.set_state(state)           # later, in another process

    Within an epoch, save the state the epoch began with and the number of batches taken::

        state, taken = loader.epoch_state, k        # after k batches
        loader.generator.set_state(state)           # later
        for batch in loader.batches(start=taken):   # the rest of that epoch
            ...

    Batches before ``start`` are not read. A generator shared with other code breaks neither
    recipe as long as its state is restored before the loader draws.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        drop_last: bool = False,
        generator: Generator | None = None,
        device: str | Device = "cpu",
    ) -> None:
        if not isinstance(batch_size, int | np.integer) or isinstance(batch_size, bool) or batch_size < 1:
            raise UsageError(f"DataLoader: expected batch_size to be a whole number of at least 1; got {batch_size!r}.")
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            raise UsageError(
                f"DataLoader: expected a dataset with __len__ and __getitem__; got {type(dataset).__name__}. "
                "Derive it from gpunn.data.Dataset, or put the items in a list."
            )
        n = len(dataset)
        if n == 0:
            raise DataError(
                f"DataLoader: expected at least one item; the dataset ({type(dataset).__name__}) is empty. "
                "Check what it was built from."
            )
        if drop_last and n < batch_size:
            raise DataError(
                f"DataLoader: drop_last leaves no batch: {n} items, batch_size {batch_size}. "
                "Reduce batch_size, or keep the last batch."
            )
        self.dataset = dataset
        self.batch_size = int(batch_size)
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.device = get_device(device)
        self.generator = default_generator().spawn("DataLoader") if generator is None else generator
        self.epoch_state = self.generator.get_state()
        self._batch = getattr(dataset, "batch", None) or functools.partial(stack_items, dataset)

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        n = len(self.dataset)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        return self.batches()

    def batches(self, start: int = 0) -> Iterator[tuple[Tensor, ...]]:
        """One epoch from batch ``start`` on, without reading those before it.

        The order is drawn when this is called, not when the first batch is asked for.

        Raises
        ------
        UsageError
            If ``start`` is not between 0 and ``len(self)``.
        """
        if not 0 <= start <= len(self):
            raise UsageError(
                f"DataLoader: expected start between 0 and {len(self)}, the number of batches; got {start}."
            )
        n = len(self.dataset)
        self.epoch_state = self.generator.get_state()
        order = self.generator.permutation(n) if self.shuffle else np.arange(n)
        return self._take(order, start, len(self))

    def _take(self, order: np.ndarray, start: int, stop: int) -> Iterator[tuple[Tensor, ...]]:
        for number in range(start, stop):
            indices = order[number * self.batch_size : (number + 1) * self.batch_size]
            # Tensor itself puts images into channels-last memory, on the device.
            fields = self._batch(indices)
            yield tuple(Tensor(self.device.array(field), self.device) for field in fields)
