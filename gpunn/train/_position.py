"""Where in an epoch training is: which batches are done, and what the loaders' generators were."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from gpunn.train._state import move_to, places_of


class Position:
    """Batches of the running epoch that are done, and how to come back to there in another process.

    Attributes
    ----------
    taken : int
        Batches of the running epoch that are done; 0 between epochs.
    elapsed : float
        Seconds of the running epoch before this process, or this call of ``fit``.
    """

    def __init__(self) -> None:
        self.taken = 0
        self.elapsed = 0.0
        self._start: dict[str, Any] = {}  # the training loader's generators before this epoch drew from them
        self._restored: Mapping[str, Any] | None = None

    @property
    def restored(self) -> bool:
        """Whether the next batches go on from a checkpoint, or from where a signal ended ``fit``."""
        return self._restored is not None

    def leave(self) -> None:
        """``fit`` has ended; an epoch that an error ended begins anew next time."""
        if self._restored is None:
            self.taken, self.elapsed = 0, 0.0

    def next_epoch(self) -> None:
        """The running epoch is done."""
        self.taken, self.elapsed, self._restored = 0, 0.0, None

    def batches(self, loader: Any, part: tuple[int, int] | None = None, as_indices: bool = False) -> Iterator[Any]:
        """The batches of the running epoch that are not done yet; of each this part, for loaders that know parts.

        Of a ``DeviceLoader`` they are the numbers of the images, if ``as_indices``.
        """
        restored, self._restored = self._restored, None
        if restored is not None and self.taken:
            move_to(loader, restored["start"])
        self._start = places_of(loader)
        batches = _from(loader, self.taken, part, as_indices)
        if restored is not None and self.taken and hasattr(loader, "batches"):
            move_to(loader, restored["train"])  # what others drew from these generators, they did after the order
        return batches

    def again(self, loader: Any, number: int) -> Iterator[Any]:
        """The batches of the running epoch from ``number`` on; the loader's generators are left somewhere else."""
        move_to(loader, self._start)
        return _from(loader, number)

    def state(self, train_loader: Any, test_loader: Any, elapsed: float) -> dict[str, Any]:
        """What a checkpoint keeps; ``elapsed`` are seconds of this epoch in this call of ``fit``."""
        return {
            "taken": self.taken,
            "elapsed": self.elapsed + elapsed,
            "start": self._start if self.taken else {},
            "train": places_of(train_loader),
            "test": places_of(test_loader),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Come back to a checkpoint's place; the loaders are moved when they are there (:meth:`move`)."""
        self.taken, self.elapsed = int(state["taken"]), float(state["elapsed"])
        self._restored = {key: dict(state[key]) for key in ("start", "train", "test")}

    def move(self, train_loader: Any, test_loader: Any) -> None:
        """Set the loaders' generators as they were, if there was a :meth:`restore` since the last epoch."""
        if self._restored is not None:
            move_to(train_loader, self._restored["train"])
            move_to(test_loader, self._restored["test"])


def _from(loader: Any, number: int, part: tuple[int, int] | None = None, as_indices: bool = False) -> Iterator[Any]:
    """A loader's batches from a number on, without reading those before where the loader can do that."""
    if as_indices:
        indices: Iterator[Any] = loader.indices(number, part)
        return indices
    if hasattr(loader, "batches"):
        batches: Iterator[Any] = loader.batches(number) if part is None else loader.batches(number, part)
        return batches
    rest = iter(loader)
    next(itertools.islice(rest, number, number), None)  # now, as it may draw while it yields
    return rest
