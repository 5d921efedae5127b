"""DataLoader with PyTorch's arguments and meaning."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gpunn._creation_shared import as_tensor
from gpunn._shared.numbers import real_number, whole_number
from gpunn.data import dataset as fields
from gpunn.data.images import ImageDataset
from gpunn.differences import refuse
from gpunn.errors import UsageError
from gpunn.random import Generator, default_generator, generator_of
from gpunn.utils.data._workers import END, Fetcher, Workers
from gpunn.utils.data.collate import default_collate, default_convert
from gpunn.utils.data.dataset import IterableDataset, TensorDataset, items_of, rows
from gpunn.utils.data.sampler import BatchSampler, RandomSampler, SequentialSampler


class DataLoader:
    """Iterate over a dataset in batches; each iteration over the loader is one epoch.

    Parameters
    ----------
    dataset : dataset
        By number (``__getitem__``, and ``__len__`` unless a sampler is given), or an :class:`IterableDataset`.
    batch_size : int or None
        Items in a batch; the last one may be smaller. None: items as they are, which ``default_convert`` makes tensors.
    shuffle : bool, optional
        Draw a new order for every epoch, by :class:`RandomSampler`.
    sampler : iterable of int, optional
        Gives the order instead of ``shuffle``.
    batch_sampler : iterable of lists of int, optional
        Gives whole batches, instead of ``batch_size``, ``shuffle``, ``sampler`` and ``drop_last``.
    num_workers : int
        Threads that make batches in the background; 0 makes each on request. They share the dataset. They pay where
        making items waits or releases Python's lock, as reading and decoding files does.
    collate_fn : callable, optional
        Makes a batch of a list of items. Default: :func:`default_collate`.
    pin_memory : bool
        Accepted, without effect: copies to a GPU are synchronous.
    drop_last : bool
        Leave out a last batch smaller than ``batch_size``.
    timeout : float
        Seconds to wait for a batch of the workers; 0 for ever.
    worker_init_fn : callable, optional
        Called with its number by each worker, as it begins.
    multiprocessing_context : None
        Workers are threads.
    generator : Generator, optional
        Where orders are drawn from. Default: the default generator decides.
    prefetch_factor : int, optional
        How many batches each worker may be ahead: 2 if there are workers.
    persistent_workers : bool
        Keep the workers from one epoch to the next.
    pin_memory_device : str
        Accepted as ``pin_memory`` is, without effect.
    in_order : bool
        Batches come in order in any case.

    Yields
    ------
    batch
        What ``collate_fn`` makes: of pairs a list of two tensors, of dicts a dict. On the CPU.

    Raises
    ------
    UsageError
        If arguments exclude each other, or a number is out of range.
    DataError
        If no batch comes within ``timeout``.

    Examples
    --------
    >>> import gpunn
    >>> from gpunn.utils.data import DataLoader, TensorDataset
    >>> x, y = gpunn.arange(3.0), gpunn.tensor([1, 0, 1])
    >>> list(DataLoader(TensorDataset(x, y), batch_size=2))
    [[tensor([0., 1.]), tensor([1, 0])], [tensor([2.]), tensor([1])]]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
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
    ) -> None:
        refuse("DataLoader", multiprocessing_context=multiprocessing_context)
        self.num_workers = whole_number("DataLoader", "num_workers", num_workers, 0)
        self.timeout = real_number("DataLoader", "timeout", timeout, 0)
        if not self.num_workers and (prefetch_factor is not None or persistent_workers):
            raise UsageError(
                "DataLoader: prefetch_factor and persistent_workers go with num_workers of at least 1; got 0. "
                "Leave them out, or give num_workers."
            )
        for name, function in (("collate_fn", collate_fn), ("worker_init_fn", worker_init_fn)):
            if function is not None and not callable(function):
                raise UsageError(f"DataLoader: expected {name} to be callable; got {type(function).__name__}.")
        self._is_stream = isinstance(dataset, IterableDataset)
        _check_together(self._is_stream, batch_size, shuffle, sampler, batch_sampler, drop_last)
        if not self._is_stream and (isinstance(dataset, type) or not hasattr(dataset, "__getitem__")):
            raise UsageError(
                f"DataLoader: expected a dataset with __getitem__ or an IterableDataset; got {type(dataset).__name__}. "
                "Derive it from gpunn.utils.data.Dataset, or put the items in a list."
            )
        self.generator = None if generator is None else generator_of("DataLoader", generator)
        if sampler is None and not self._is_stream:
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        self.batch_size = None if batch_sampler is not None else batch_size
        if self.batch_size is not None:
            self.batch_size = whole_number("DataLoader", "batch_size", self.batch_size, 1)
            # A stream has no indices; what it gives in a batch is counted.
            batch_sampler = None if self._is_stream else BatchSampler(sampler, self.batch_size, drop_last)
        self.dataset = dataset
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.drop_last = drop_last
        self.pin_memory, self.pin_memory_device, self.in_order = pin_memory, pin_memory_device, in_order
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.persistent_workers = persistent_workers
        self.prefetch_factor = prefetch_factor
        if self.num_workers:
            self.prefetch_factor = whole_number(
                "DataLoader", "prefetch_factor", 2 if prefetch_factor is None else prefetch_factor, 1
            )
        whole_batches = self.batch_size is not None or batch_sampler is not None
        self.collate_fn: Callable[[Any], Any] = collate_fn or (default_collate if whole_batches else default_convert)
        self._whole_batches = whole_batches
        self._workers: Workers | None = None

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        if not self._is_stream:
            return len(self.batch_sampler if self._whole_batches else self.sampler)
        items: int = len(self.dataset)
        if self.batch_size is None:
            return items
        return items // self.batch_size if self.drop_last else -(-items // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        keys: Iterable[Any] = self.batch_sampler if self._whole_batches else self.sampler
        if self._is_stream:
            keys = itertools.repeat(None)
        if self.num_workers:
            return self._in_workers(keys)
        return itertools.takewhile(lambda batch: batch is not END, map(self._fetcher(self.dataset), keys))

    def _in_workers(self, keys: Iterable[Any]) -> Iterator[Any]:
        source = (self.generator or default_generator()).spawn("DataLoader")
        workers = self._workers
        if workers is None:
            seed = int(source.integers(1 << 62, ()))
            workers = Workers(self.dataset, self._is_stream, self.num_workers, seed, self.worker_init_fn)
        self._workers = workers if self.persistent_workers else None
        epoch = workers.run(keys, self._fetcher, self.prefetch_factor or 2, self.timeout, source)
        try:
            yield from epoch
        finally:
            epoch.close()  # type: ignore[attr-defined]  # it is a generator
            if not self.persistent_workers:
                workers.close()

    def _fetcher(self, dataset: Any) -> Fetcher:
        """What makes a batch, or an item, of what the sampler gives."""
        collate = self.collate_fn
        if self._is_stream:
            return self._of_stream(iter(dataset))
        if not self._whole_batches:
            return lambda index: collate(dataset[index])
        if collate is default_collate and type(dataset) is TensorDataset:
            return lambda indices: rows(dataset, indices)
        # Datasets whose own batches are what default_collate would make of their items.
        if collate is default_collate and isinstance(dataset, ImageDataset | fields.TensorDataset):
            return lambda indices: [as_tensor(field) for field in dataset.batch(indices)]
        return lambda indices: collate(items_of(dataset, indices))

    def _of_stream(self, items: Iterator[Any]) -> Fetcher:
        if self.batch_size is None:
            return lambda key: next((self.collate_fn(item) for item in items), END)

        def fetch(key: Any) -> Any:
            batch = list(itertools.islice(items, self.batch_size))
            if not batch or (self.drop_last and len(batch) < (self.batch_size or 0)):
                return END
            return self.collate_fn(batch)

        return fetch


def _check_together(
    is_stream: bool, batch_size: Any, shuffle: Any, sampler: Any, batch_sampler: Any, drop_last: Any
) -> None:
    """Raise UsageError for arguments that exclude each other."""
    if is_stream and (shuffle or sampler is not None or batch_sampler is not None):
        raise UsageError(
            "DataLoader: an IterableDataset gives its items in its own order; "
            "leave out shuffle, sampler and batch_sampler."
        )
    if sampler is not None and shuffle:
        raise UsageError("DataLoader: sampler gives the order itself; leave out shuffle.")
    if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
        raise UsageError(
            "DataLoader: batch_sampler gives whole batches; leave out batch_size, shuffle, sampler and drop_last."
        )
    if batch_size is None and drop_last:
        raise UsageError("DataLoader: batch_size=None makes no batches, so there is none to drop; leave out drop_last.")
