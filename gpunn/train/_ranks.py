"""A trainer's place among those of other processes: its part of each batch, and what all of them agree on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gpunn._device import Device
from gpunn._device import device as get_device
from gpunn._tensor import Tensor
from gpunn.data.device_loader import DeviceLoader
from gpunn.data.loader import DataLoader, rows_of_part
from gpunn.distributed._state import current
from gpunn.errors import UsageError
from gpunn.nn.module import Module
from gpunn.random import Generator
from gpunn.train.evaluation import Evaluation, Share, Totals, labelled_batch, mean_of

Part = tuple[int, int] | None  # rank and number of ranks
# A loader's batches, of each this part where the loader knows parts; or the numbers of their images.
Begin = Callable[[Any, Part, bool], Iterator[Any]]


def take_of(loader: Any, device: Device) -> Callable[..., tuple[Tensor, Tensor]] | None:
    """What makes a loader's batches of numbers of images that it has on this device; None where it has none there."""
    return loader.take if isinstance(loader, DeviceLoader) and loader.device is device else None


class Alone:
    """The place of a trainer without others.

    Attributes
    ----------
    rank, size : int
        Which of how many.
    first : bool
        Whether this one shows and writes what is shown and written.
    """

    rank, size, first = 0, 1, True

    def batches(self, loader: Any, begin: Begin, number: int, device: Device) -> Iterator[Share]:
        """Parts of the batches that ``begin`` gives, from ``number`` on."""
        take = take_of(loader, device)
        for batch in begin(loader, None, take is not None):
            inputs = labelled_batch(batch, device) if take is None else (batch,)
            yield Share(inputs, len(inputs[-1]), 1.0, take)

    def read(self, totals: Totals, or_nothing: bool = False) -> Evaluation:
        """The means over all ranks' batches; NaN of no images ``or_nothing``."""
        return mean_of(self.sums(totals), or_nothing)

    def sums(self, totals: Totals) -> list[float]:
        """The sums over all ranks of ``totals``; waits for the device, and raises what its kernels reported."""
        return totals.sums()

    def any(self, what: str, value: int) -> int:
        """The largest of all ranks' numbers."""
        return value

    def from_first(self, what: str, make: Callable[[], Any]) -> Any:
        """What ``make`` returns on rank 0."""
        return make()

    def can_capture(self, device: Device) -> bool:
        """Whether a step may be captured with what the ranks do in it: MPI works on the host."""
        return True

    def share_buffers(self) -> None:
        """Give every rank rank 0's buffers, such as running averages: tests and checkpoints are of these."""

    def expect(self) -> None:
        """Let the next backward pass average its gradients over the ranks."""

    def average(self) -> None:
        """Average the gradients that there are now."""

    def draw_apart(self, generators: Iterable[tuple[str, Any]]) -> None:
        """Let layers draw other numbers than the same layers of other ranks, from the same state."""


class Ranks(Alone):
    """The place of a trainer among those of other ranks.

    Parameters
    ----------
    group : ProcessGroup
    model : Module
        On its device; it becomes that of rank 0.
    """

    def __init__(self, group: Any, model: Module) -> None:
        from gpunn.distributed._reducer import Reducer

        self._group = group
        self.rank, self.size, self.first = group.rank, group.size, group.rank == 0
        self._model = model
        self._reducer = Reducer(group, model)
        self._reducer.share()

    def batches(self, loader: Any, begin: Begin, number: int, device: Device) -> Iterator[Share]:
        """As of :class:`Alone`.

        A ``DataLoader`` or ``DeviceLoader`` of gpunn reads only this rank's part. A loader whose sampler is a
        DistributedSampler has split the data already. Of any other one each rank reads whole batches.
        """
        from gpunn.utils.data.distributed import DistributedSampler

        split = isinstance(getattr(loader, "sampler", None), DistributedSampler)
        knows = isinstance(loader, DataLoader | DeviceLoader) and not split
        take = take_of(loader, device)
        mine = (self.rank, self.size) if knows else None
        for i, batch in enumerate(begin(loader, mine, take is not None), number):
            inputs: tuple[Tensor, ...] = labelled_batch(batch, device) if take is None else (batch,)
            if split:
                yield Share(inputs, len(inputs[-1]), 1.0)
                continue
            whole = loader.rows(i) if knows else len(inputs[-1])
            if not knows:
                part = rows_of_part(whole, self.rank, self.size)
                inputs = tuple(t[part] for t in inputs)
            rows = len(inputs[-1]) if self.rank < whole else 0  # else the part is an image that another rank has
            yield Share(inputs, rows, rows * self.size / whole, take)

    def sums(self, totals: Totals) -> list[float]:
        everyone = self._group.objects("the sum of the ranks' losses", totals.sums())
        return [sum(column) for column in zip(*everyone, strict=True)]

    def any(self, what: str, value: int) -> int:
        largest: int = self._group.largest(what, value)
        return largest

    def from_first(self, what: str, make: Callable[[], Any]) -> Any:
        return self._group.from_first(what, make)

    def can_capture(self, device: Device) -> bool:
        return device.ordinal is None or self._group.backend == "nccl"

    def share_buffers(self) -> None:
        self._reducer.broadcast(list(self._model.buffers()))

    def expect(self) -> None:
        self._reducer.expect()

    def average(self) -> None:
        self._reducer.reduce()

    def draw_apart(self, generators: Iterable[tuple[str, Any]]) -> None:
        for _, generator in generators:
            if self.rank and isinstance(generator, Generator):
                state = generator.get_state()
                generator.set_state({**state, "path": [*state["path"], f"rank {self.rank}"]})


def ranks_of(model: Module) -> Alone:
    """The place of this process's trainer, for a model on its device."""
    group = current()
    return Alone() if group is None or group.size == 1 else Ranks(group, model)


def device_of_rank(device: Device | str) -> Device:
    """The device of this name; of GPUs without a number the one of this rank.

    Raises
    ------
    UsageError
        If several ranks of a machine would use the same GPU with NCCL.
    """
    group = current()
    home = get_device(device)
    if group is None or group.size == 1 or home.ordinal is None:
        return home
    if isinstance(device, str) and ":" not in device:
        count = home.xp.cuda.runtime.getDeviceCount()
        return get_device(f"{home.name.partition(':')[0]}:{group.local_rank % count}")
    if group.backend == "nccl" and group.local_size > 1:
        raise UsageError(
            f"device {home.name!r}: {group.local_size} ranks of this machine would share it. Give 'cuda', which is "
            "each rank's own."
        )
    return home
