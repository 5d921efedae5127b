"""DataLoader: a dataset in batches, shuffled or not, on a device."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._device import device as get_device
from gpunn._layout import logical, physical
from gpunn._tensor import Tensor, upload
from gpunn.data._prefetch import Prefetcher
from gpunn.data.dataset import check_dataset, stack_items
from gpunn.differences import refuse
from gpunn.errors import DataError, UsageError
from gpunn.random import Generator, default_generator
from gpunn.tape import no_grad


class DataLoader:
    """Iterate over a dataset in batches; each iteration over the loader is one epoch.

    Batches are gathered on the host, by threads if requested, and uploaded whole by the loop that
    consumes them. The order is drawn on the host as well. So order and values are the same on every
    device and for every ``num_workers``.

    Parameters
    ----------
    dataset : Dataset
        Or anything with ``__len__`` and ``__getitem__``, such as a list of pairs.
    batch_size : int
        Items in a batch; the last one may be smaller.
    shuffle : bool
        Whether to draw a new order for every epoch; otherwise it is 0, 1, 2, ...
    sampler : iterable of int with a length, optional
        Yields the indices of each epoch, in their order, instead of ``shuffle``.
    num_workers : int
        Threads that gather batches in the background; 0 gathers each on request. They pay where
        gathering waits or releases the GIL: files, images to decode, large copies. The dataset is
        then read from several threads at once, which all of gpunn's datasets support.
    collate_fn : callable, optional
        Makes a batch of a list of items, instead of the dataset's ``batch``. Arrays and tensors in
        its result, also inside tuples, lists and dicts, go to the device; the rest stays.
    pin_memory : bool
        Accepted for compatibility with PyTorch, without effect: the loader itself puts batches on the device.
    drop_last : bool
        Drop a last batch smaller than ``batch_size``.
    generator : Generator, optional
        Where orders are drawn from. Default: one of its own, spawned from the default generator
        when the loader is built, so that ``gpunn.manual_seed`` before that determines the order.
    prefetch_factor : int, optional
        How many batches each worker may be ahead, 2 if None: at most ``num_workers * prefetch_factor`` wait.
    persistent_workers, pin_memory_device
        Accepted as ``pin_memory`` is, without effect.
    batch_sampler, timeout, worker_init_fn, multiprocessing_context, in_order
        Only PyTorch's defaults: workers are threads, and batches come in order.
    transform : callable, optional
        ``transform(images, generator)``, called with the first field of each batch, a Tensor on the
        device, and that batch's own :class:`~gpunn.Generator`; its result replaces the field.
        No gradients are recorded in it. See "Random transforms" below.
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
        One (n, ...) tensor per field of the dataset's items, with its dtype: labels stay int64. It is
        a tuple even if items have only one field. With ``collate_fn``, whatever that returns.

    Raises
    ------
    DataError
        If the dataset or the sampler is empty, or ``drop_last`` would leave no batch; raised when
        the loader is built.
    UsageError
        If ``batch_size``, ``num_workers`` or ``prefetch_factor`` is not a valid whole number, the
        dataset has no length, or ``sampler`` and ``shuffle`` are both given.
    DeviceError
        If this machine does not have the device.

    Notes
    -----
    Whatever the dataset raises is raised unchanged by the loop at the batch it belongs to, with or
    without workers. However the loop ends, by exhaustion, ``break``, an exception or Ctrl-C, the
    workers finish their current batch and exit before the program continues.

    **Resuming exactly.** ``iter(loader)`` draws from ``loader.generator`` once, right away, if
    ``shuffle`` is set; it spawns one stream from it, right away, if there is a ``transform``; nothing
    else touches it. So the generator's state between two epochs determines all that follows::

        state = loader.generator.get_state()        # between epochs: save this
        loader.generator.set_state(state)           # later, in another process

    Within an epoch, save the state the epoch began with and the number of batches taken::

        state, taken = loader.epoch_state, k        # after k batches
        loader.generator.set_state(state)           # later
        for batch in loader.batches(start=taken):   # the rest of that epoch
            ...

    Batches before ``start`` are not read. A generator shared with other code breaks neither
    recipe as long as its state is restored before the loader draws. A ``sampler`` is iterated again;
    it must then yield the same indices.

    **Random transforms.** The generator that ``transform`` gets is spawned from the epoch's stream by
    the batch's number in the epoch. What is drawn from it depends on nothing else: not on the device,
    on threads, or on earlier batches, so a resumed epoch repeats it.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn.data import DataLoader, TensorDataset
    >>> loader = DataLoader(TensorDataset(np.arange(5)), batch_size=2)
    >>> [x.tolist() for (x,) in loader]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool | None = False,
        sampler: Any = None,
        batch_sampler: Any = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
        transform: Callable[[Tensor, Generator], Tensor] | None = None,
        device: str | Device = "cpu",
    ) -> None:
        self.batch_size = _whole("batch_size", batch_size, 1)
        self.num_workers = _whole("num_workers", num_workers, 0)
        self.prefetch_factor = 2 if prefetch_factor is None else _whole("prefetch_factor", prefetch_factor, 1)
        refuse(
            "DataLoader",
            batch_sampler=batch_sampler,
            timeout=timeout,
            worker_init_fn=worker_init_fn,
            multiprocessing_context=multiprocessing_context,
            in_order=in_order,
        )
        check_dataset("DataLoader", dataset)
        if sampler is not None and shuffle:
            raise UsageError("DataLoader: sampler gives the order itself; leave out shuffle.")
        if sampler is not None and not (hasattr(sampler, "__len__") and hasattr(sampler, "__iter__")):
            raise UsageError(
                f"DataLoader: expected a sampler with __len__ and __iter__; got {type(sampler).__name__}. "
                "A list of indices is one."
            )
        if generator is not None and not isinstance(generator, Generator):
            raise UsageError(f"DataLoader: expected a gpunn.Generator; got {type(generator).__name__}.")
        for name, function in (("collate_fn", collate_fn), ("transform", transform)):
            if function is not None and not callable(function):
                raise UsageError(f"DataLoader: expected {name} to be callable; got {type(function).__name__}.")
        self.dataset = dataset
        self.sampler = sampler
        self.shuffle = bool(shuffle)
        self.collate_fn = collate_fn
        self.pin_memory = pin_memory
        self.drop_last = drop_last
        self.transform = transform
        for what, counted in (("dataset", dataset), ("sampler", sampler)):
            if counted is not None and len(counted) == 0:
                raise DataError(
                    f"DataLoader: expected at least one item; the {what} ({type(counted).__name__}) is empty. "
                    "Check what it was built from."
                )
        if drop_last and self._items() < batch_size:
            raise DataError(
                f"DataLoader: drop_last leaves no batch: {self._items()} items, batch_size {batch_size}. "
                "Reduce batch_size, or keep the last batch."
            )
        self.device = get_device(device)
        self.generator = default_generator().spawn("DataLoader") if generator is None else generator
        self.epoch_state = self.generator.get_state()
        self._batch = getattr(dataset, "batch", None) or functools.partial(stack_items, dataset)

    def _items(self) -> int:
        return len(self.dataset if self.sampler is None else self.sampler)

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        n = self._items()
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        return self.batches()

    def rows(self, number: int) -> int:
        """How many items batch ``number`` of an epoch has."""
        return min(self.batch_size, self._items() - number * self.batch_size)

    def batches(self, start: int = 0, part: tuple[int, int] | None = None) -> Iterator[Any]:
        """One epoch from batch ``start`` on, without reading those before it.

        The order is drawn when this is called; the workers start when the first batch is requested.

        Parameters
        ----------
        start : int
        part : (int, int), optional
            A rank and the number of ranks: only this rank's rows of each batch are read, one after the other as
            evenly as possible. A rank for which none is left gets the first row. ``transform`` then draws for each part
            by itself.

        Raises
        ------
        UsageError
            If ``start`` is not between 0 and ``len(self)``, or the sampler yields more or fewer
            indices than its length.
        """
        if not 0 <= start <= len(self):
            raise UsageError(
                f"DataLoader: expected start between 0 and {len(self)}, the number of batches; got {start}."
            )
        self.epoch_state = self.generator.get_state()
        order = self._order()
        stream = None if self.transform is None else self.generator.spawn("transform")
        return self._take(order, stream, range(start, len(self)), part)

    def _order(self) -> np.ndarray:
        n = self._items()
        if self.sampler is None:
            return self.generator.permutation(n) if self.shuffle else np.arange(n)
        order = np.array([int(i) for i in self.sampler], np.int64)
        if len(order) != n:
            raise UsageError(
                f"DataLoader: the sampler ({type(self.sampler).__name__}) gave {len(order)} indices; its length is {n}."
            )
        return order

    def _take(
        self, order: np.ndarray, stream: Generator | None, numbers: range, part: tuple[int, int] | None
    ) -> Iterator[Any]:
        load = functools.partial(self._load, order, part)
        rank = f" rank {part[0]}" if part is not None and part[0] else ""
        if self.num_workers:
            ahead = self.num_workers * self.prefetch_factor
            loaded = iter(Prefetcher(load, numbers, self.num_workers, ahead))
        else:
            loaded = map(load, numbers)
        try:
            for number in numbers:
                # Not bound to a name here, which would keep its memory while the next one is made.
                yield self._finish(next(loaded), None if stream is None else stream.spawn(f"{number}{rank}"))
        finally:
            # Now, not when the garbage collector runs: the threads end here.
            getattr(loaded, "close", bool)()

    def _load(self, order: np.ndarray, part: tuple[int, int] | None, number: int) -> Any:
        """Batch ``number`` on the host; called by the workers, if there are any."""
        indices = order[number * self.batch_size : (number + 1) * self.batch_size]
        if part is not None:
            indices = indices[rows_of_part(len(indices), *part)]
        if self.collate_fn is not None:
            return self.collate_fn([self.dataset[i] for i in indices.tolist()])
        # Images become channels last here, so that only the copy is left to the loop.
        return tuple(logical(physical(f)) if isinstance(f, np.ndarray) else f for f in self._batch(indices))

    def _to_device(self, value: Any) -> Any:
        if isinstance(value, np.ndarray | self.device.xp.ndarray):
            return Tensor(upload(value, self.device), self.device)
        if isinstance(value, Tensor):
            return value.to(self.device)
        if isinstance(value, tuple | list):
            return _like(value, [self._to_device(v) for v in value])
        if isinstance(value, dict):
            return {key: self._to_device(v) for key, v in value.items()}
        return value

    def _finish(self, host: Any, generator: Generator | None) -> Any:
        """The batch on the device, transformed if there is a transform."""
        batch = self._to_device(host)
        if self.transform is None or generator is None:
            return batch
        several = isinstance(batch, tuple | list)
        fields = list(batch) if several else [batch]
        if not fields or not isinstance(fields[0], Tensor):
            raise UsageError(
                f"DataLoader: transform needs batches whose first field is a tensor; got {type(batch).__name__}."
            )
        with no_grad():
            fields[0] = self.transform(fields[0], generator)
        if not isinstance(fields[0], Tensor):
            raise UsageError(f"DataLoader: expected transform to return a Tensor; got {type(fields[0]).__name__}.")
        return _like(batch, fields) if several else fields[0]


def rows_of_part(rows: int, rank: int, ranks: int) -> slice:
    """Which of a batch's rows are this rank's; the first where there are fewer rows than ranks, and none is left."""
    if rank >= rows:
        return slice(0, 1)
    start = rank * (rows // ranks) + min(rank, rows % ranks)
    return slice(start, start + rows // ranks + (rank < rows % ranks))


def _like(sequence: Any, values: list[Any]) -> Any:
    """A list, tuple or named tuple like ``sequence``, of other values."""
    kind = type(sequence)
    return kind(*values) if hasattr(sequence, "_fields") else kind(values)


def _whole(name: str, value: Any, least: int) -> int:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise UsageError(f"DataLoader: expected {name} to be a whole number of at least {least}; got {value!r}.")
    return int(value)
