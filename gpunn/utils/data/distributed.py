"""DistributedSampler: each rank's part of a data set."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpunn._shared.numbers import whole_number
from gpunn.distributed._state import needed
from gpunn.errors import UsageError
from gpunn.random import Generator
from gpunn.utils.data.sampler import Sampler


class DistributedSampler(Sampler[int]):
    """The indices of one rank: every ``num_replicas``-th of an order that all ranks share.

    Call :meth:`set_epoch` before each epoch, or every epoch has the same order.

    Parameters
    ----------
    dataset : dataset with a length
    num_replicas : int, optional
        How many ranks. Default: those of the group of processes.
    rank : int, optional
        Which of them. Default: this process's.
    shuffle : bool
        Whether the order is random, drawn from ``seed`` and the epoch.
    seed : int
        The same on every rank.
    drop_last : bool
        Leave out what does not divide evenly; otherwise the first indices come again, so that all ranks have as many.

    Raises
    ------
    UsageError
        If rank or number of ranks are neither given nor known, or do not fit.
    """

    def __init__(
        self,
        dataset: Any,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if not hasattr(dataset, "__len__"):
            raise UsageError(
                f"DistributedSampler: dataset: expected something with a length; got {type(dataset).__name__}."
            )
        op = "DistributedSampler"
        self.num_replicas = (
            needed(op).size if num_replicas is None else whole_number(op, "num_replicas", num_replicas, 1)
        )
        self.rank = needed(op).rank if rank is None else whole_number(op, "rank", rank, 0)
        if self.rank >= self.num_replicas:
            raise UsageError(f"{op}: rank: expected 0 to {self.num_replicas - 1}, of {self.num_replicas}; got {rank}.")
        self.dataset, self.shuffle, self.drop_last = dataset, shuffle, drop_last
        self.seed, self.epoch = whole_number(op, "seed", seed, 0), 0

    @property
    def num_samples(self) -> int:
        """How many indices each rank has."""
        n = len(self.dataset)
        return n // self.num_replicas if self.drop_last else math.ceil(n / self.num_replicas)

    @property
    def total_size(self) -> int:
        """How many indices all ranks have together."""
        return self.num_samples * self.num_replicas

    def __iter__(self) -> Iterator[int]:
        n = len(self.dataset)
        order = Generator(self.seed + self.epoch).permutation(n) if self.shuffle else np.arange(n)
        # np.resize begins anew where the order ends, as often as needed.
        return iter(np.resize(order, self.total_size)[self.rank :: self.num_replicas].tolist())

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Draw the next order for this epoch.

        Parameters
        ----------
        epoch : int
            From 0.
        """
        self.epoch = whole_number("DistributedSampler.set_epoch", "epoch", epoch, 0)
