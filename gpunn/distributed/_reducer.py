"""Averages gradients over all ranks while the backward pass still runs, in buckets (Li et al. 2020, arXiv:2006.15704).

The backward pass reaches the last layers first. So parameters are put into buckets from the last to the first; when all
gradients of a bucket are complete, they are copied into one flat array, whose mean over the ranks begins at once. Ranks
make their calls in the same order, so a bucket waits for those before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gpunn import tape
from gpunn._capture_state import refuse_in_capture
from gpunn._device import Device
from gpunn._grad_mode import grad_mode
from gpunn._tensor import Tensor
from gpunn.errors import DistributedError, UsageError
from gpunn.nn.module import Module
from gpunn.ops.copy_arrays import copy_arrays
from gpunn.utils.checkpoint import COMPUTED_AGAIN

BUCKET_MB = 25.0
_FIRST_MB = 1.0  # the first bucket is small, so that its sum begins early
_LARGE_MB = 4.0  # a parameter from here on is a bucket of its own, whose gradient need not be copied
_ALIGNED = 16  # elements: every parameter's place in a bucket begins at a multiple


class Reducer:
    """Makes the gradients of a module's parameters the means over all ranks, at each backward that it is told of.

    Parameters
    ----------
    group : ProcessGroup
    module : Module
        With the same parameters and buffers on every rank: of rank 0's values, when :meth:`share` has been called.
    bucket_mb : float
        Mebibytes of gradients in a bucket.
    find_unused : bool
        Whether a backward may leave parameters without a gradient. Their gradient is 0 here then, and stays as it is
        where no rank has one. That needs one call more, and waits for the device; sums begin after the backward pass.
    """

    def __init__(self, group: Any, module: Module, bucket_mb: float = BUCKET_MB, find_unused: bool = False) -> None:
        self.group, self._find_unused = group, find_unused
        self._names = {id(p): name for name, p in module.named_parameters() if p.requires_grad}
        self._module = module
        wanted = [p for p in module.parameters() if p.requires_grad]
        if not wanted:
            raise UsageError("DistributedDataParallel: no parameter of the module requires a gradient.")
        self._buckets = _buckets(group, wanted, bucket_mb, in_place=not find_unused)
        self._bucket_of = {id(p): bucket for bucket in self._buckets for p in bucket.parameters}
        self._left: dict[int, int] = {}  # by parameter: gradients that this backward still brings
        self._arrived: set[int] = set()
        self._next = 0
        self._in_order = False

    @property
    def bucket_bytes(self) -> list[int]:
        """Bytes of each bucket, in the order in which their sums begin."""
        return [bucket.nbytes for bucket in self._buckets]

    # -- before training -----------------------------------------------------------------------

    def share(self) -> None:
        """Give every rank the parameters and buffers of rank 0, and see that all have the same then.

        Raises
        ------
        DistributedError
            If the ranks' modules differ in names, shapes, dtypes, or in what requires a gradient.
        """
        tensors = {**dict(self._module.named_parameters()), **dict(self._module.named_buffers())}
        own = [(name, t.shape, str(t.dtype), t.requires_grad) for name, t in tensors.items()]
        for rank, other in enumerate(self.group.objects("DistributedDataParallel", own)):
            _compare(own, other, self.group.rank, rank)
        self.broadcast(tensors.values())
        digests = self.group.objects("DistributedDataParallel", {n: _digest(t) for n, t in tensors.items()})
        for rank, digest in enumerate(digests):
            wrong = next((name for name in tensors if digest[name] != digests[0][name]), None)
            if wrong is not None:
                raise DistributedError(
                    f"DistributedDataParallel: {wrong} of rank {rank} is not rank 0's after the copy."
                )

    def broadcast(self, tensors: Any) -> None:
        """Give every rank rank 0's values of these tensors, which are the same ones everywhere."""
        by_kind: dict[tuple[Device, Any], list[Tensor]] = {}
        for t in tensors:
            by_kind.setdefault((t.device, t.dtype), []).append(t)
        for (device, dtype), alike in by_kind.items():
            flat = _Flat(device, dtype, [t._physical.shape for t in alike])
            arrays = [t._physical for t in alike]
            copy_arrays(device, flat.parts, arrays)
            self.group.channel(device).broadcast(flat.array, 0).wait()
            copy_arrays(device, arrays, flat.parts)
            for t in alike:
                t._storage.changed()

    def reduce(self) -> None:
        """Make the gradients that there are now the means over all ranks, without a backward pass."""
        self._arrived = set(self._names)
        self._next = 0
        self._start(everything=True)
        for bucket in self._buckets:
            bucket.finish(self._arrived)

    # -- a backward pass -----------------------------------------------------------------------

    def expect(self) -> None:
        """Reduce the gradients of this thread's next backward pass.

        Raises
        ------
        DistributedError
            In a backward pass, which computes the module again.
        """
        if grad_mode.walk is not None:
            raise DistributedError(
                "DistributedDataParallel: its forward was called again by a backward pass. Use checkpoint inside of "
                "the module, not around it."
            )
        if self not in grad_mode.reducers:
            grad_mode.reducers = (*grad_mode.reducers, self)

    def begin(self, uses: Mapping[int, int], complete: bool) -> bool:
        """A backward pass begins, in which a leaf gets ``uses[id(leaf)]`` gradients; whether it concerns this module.

        Without ``complete`` more may come, from what is computed again meanwhile.

        Raises
        ------
        DistributedError
            If a parameter gets none, unless that was announced.
        """
        if complete and not any(key in uses for key in self._names):
            return False
        unused = [name for key, name in self._names.items() if key not in uses]
        if unused and complete and not self._find_unused:
            raise _unused(self.group.rank, unused)
        self._left = {key: uses.get(key, 0) for key in self._names}
        self._arrived = {key for key in self._names if key in uses}
        # Ranks that use other parameters complete a bucket at other times, and SyncBatchNorm makes calls in between.
        self._in_order = complete and not self._find_unused
        self._next = 0
        for bucket in self._buckets:
            bucket.begin(self._left)
        return True

    def arrived(self, leaf: Tensor) -> None:
        """A gradient has been added to ``leaf.grad``."""
        bucket = self._bucket_of.get(id(leaf))
        if bucket is None:
            return
        self._arrived.add(id(leaf))
        left = self._left[id(leaf)] = self._left[id(leaf)] - 1
        if left == 0 and self._in_order:
            bucket.missing -= 1
            self._start()

    def _start(self, everything: bool = False) -> None:
        while self._next < len(self._buckets) and (everything or self._buckets[self._next].missing == 0):
            self._buckets[self._next].start()
            self._next += 1
        for bucket in self._buckets[: self._next]:
            bucket.progress()

    def finish(self) -> bool:
        """The backward pass has ended: wait for all means, and put them into the gradients; whether it had a part."""
        if not self._arrived:
            return False
        used = {name for key, name in self._names.items() if key in self._arrived}
        if self._find_unused:
            refuse_in_capture(
                "DistributedDataParallel(find_unused_parameters=True), which asks the other ranks,",
                "Set requires_grad=False where a parameter is not trained, or leave the step uncaptured.",
            )
            used = used.union(*self.group.objects("DistributedDataParallel", used))
        elif len(used) < len(self._names):
            raise _unused(self.group.rank, [name for name in self._names.values() if name not in used])
        self._start(everything=True)
        for bucket in self._buckets:
            bucket.finish({key for key, name in self._names.items() if name in used})
        return True


class _Flat:
    """One array, and the views of it that have these shapes."""

    def __init__(self, device: Device, dtype: Any, shapes: Sequence[tuple[int, ...]]) -> None:
        starts, end = [], 0
        for shape in shapes:
            starts.append(end)
            end += -(-_size(shape) // _ALIGNED) * _ALIGNED
        self.array = device.zeros((end,), dtype)
        self.parts = [
            self.array[start : start + _size(shape)].reshape(shape) for start, shape in zip(starts, shapes, strict=True)
        ]


class _Bucket:
    def __init__(self, group: Any, parameters: list[Tensor]) -> None:
        self.parameters = parameters
        self._group = group
        self._device: Device = parameters[0].device
        self._flat = _Flat(self._device, parameters[0].dtype, [p._physical.shape for p in parameters])
        self.nbytes = int(self._flat.array.nbytes)
        self._pending: Any = None
        self.missing = 0

    def begin(self, left: Mapping[int, int]) -> None:
        """Count the parameters that wait for a gradient."""
        self.missing = sum(left[id(p)] > 0 for p in self.parameters)

    def start(self) -> None:
        """Copy the gradients together, and begin their mean."""
        there = [(part, p.grad) for part, p in zip(self._flat.parts, self.parameters, strict=True)]
        copy_arrays(
            self._device,
            [part for part, gradient in there if gradient is not None],
            [gradient._physical for _, gradient in there if gradient is not None],
        )
        for part, gradient in there:
            if gradient is None:
                self._device.fill(part, 0)
        self._pending = self._group.channel(self._device).all_reduce(self._flat.array, "avg")

    def progress(self) -> None:
        """Let the call go on."""
        if self._pending is not None:
            self._pending.progress()

    def finish(self, used: set[int]) -> None:
        """Wait for the means, and copy them back, to the parameters that some rank used."""
        pending, self._pending = self._pending, None
        pending.wait()
        targets, sources = [], []
        for part, p in zip(self._flat.parts, self.parameters, strict=True):
            if id(p) not in used:
                continue
            if p.grad is None:
                p.grad = Tensor._of_physical(self._device.zeros(part.shape, part.dtype), self._device)
            targets.append(p.grad._physical)
            sources.append(part)
            p.grad._storage.changed()
        copy_arrays(self._device, targets, sources)


class _LargeBucket:
    """As :class:`_Bucket`, of one parameter that always gets a gradient: the sum is made where that is."""

    def __init__(self, group: Any, parameter: Tensor) -> None:
        self.parameters = [parameter]
        self._group = group
        self.nbytes = int(parameter._physical.nbytes)
        self._pending: Any = None
        self.missing = 0

    def begin(self, left: Mapping[int, int]) -> None:
        """See whether the gradient is still to come."""
        self.missing = int(left[id(self.parameters[0])] > 0)

    def start(self) -> None:
        """Begin the mean."""
        (p,) = self.parameters
        if p.grad is None:
            p.grad = Tensor._of_physical(p.device.zeros(p._physical.shape, p.dtype), p.device)
        self._pending = self._group.channel(p.device).all_reduce(p.grad._physical, "avg")

    def progress(self) -> None:
        """Let the call go on."""
        if self._pending is not None:
            self._pending.progress()

    def finish(self, used: set[int]) -> None:
        """Wait for the mean."""
        pending, self._pending = self._pending, None
        pending.wait()
        gradient = self.parameters[0].grad
        assert gradient is not None, "start has seen to that"
        gradient._storage.changed()


def _buckets(
    group: Any, parameters: Sequence[Tensor], megabytes: float, in_place: bool
) -> list[_Bucket | _LargeBucket]:
    """From the last parameter to the first, each of one device and dtype; large ones ``in_place`` if wanted."""
    made: list[_Bucket | _LargeBucket] = []
    waiting: list[Tensor] = []

    def close() -> None:
        if waiting:
            made.append(_Bucket(group, list(waiting)))
            waiting.clear()

    for p in reversed(parameters):
        if waiting and (p.device, p.dtype) != (waiting[0].device, waiting[0].dtype):
            close()
        if in_place and p._physical.nbytes >= _LARGE_MB * 2**20:
            close()
            made.append(_LargeBucket(group, p))
            continue
        waiting.append(p)
        limit = min(_FIRST_MB, megabytes) if not made else megabytes
        if sum(q._physical.nbytes for q in waiting) >= limit * 2**20:
            close()
    close()
    return made


def _size(shape: Sequence[int]) -> int:
    size = 1
    for n in shape:
        size *= n
    return size


def _digest(t: Tensor) -> str:
    return hashlib.sha256(t.device.to_host(t._physical).tobytes()).hexdigest()


def _compare(own: list[tuple[Any, ...]], other: list[tuple[Any, ...]], rank: int, rank_of_other: int) -> None:
    """Raise DistributedError unless both ranks' tensors are alike."""
    for mine, theirs in zip([*own, None], [*other, None], strict=False):
        if mine != theirs:
            what = ["nothing more" if t is None else _described(t) for t in (mine, theirs)]
            raise DistributedError(
                f"DistributedDataParallel: the ranks' modules differ: rank {rank} has {what[0]}, rank {rank_of_other} "
                f"has {what[1]}. Build the same module on every rank."
            )


def _described(t: tuple[Any, ...]) -> str:
    name, shape, dtype, wanted = t
    return f"{name} {shape} {dtype}{'' if wanted else ' without a gradient'}"


def _unused(rank: int, names: Sequence[str]) -> DistributedError:
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return DistributedError(
        f"DistributedDataParallel: this backward gives no gradient to {shown} (rank {rank}). Use all outputs of "
        "forward in the loss, set requires_grad=False where a parameter is not trained, or find_unused_parameters=True."
    )


def walk_and_reduce(
    roots: Sequence[tuple[Tensor, Any]], retain_graph: bool, add: Callable[[Tensor, Any, bool], None]
) -> None:
    """The backward pass from these roots; tells the reducers that expect it whenever a gradient is complete."""
    uses, complete = _uses_of(roots)
    waiting, grad_mode.reducers = grad_mode.reducers, ()
    taking_part = [reducer for reducer in waiting if reducer.begin(uses, complete)]

    def deliver(leaf: Tensor, dx: Any, fresh: bool) -> None:
        add(leaf, dx, fresh)
        for reducer in taking_part:
            reducer.arrived(leaf)

    tape.walk(roots, retain_graph, deliver)
    # A forward whose loss is not among these roots has its own backward still to come.
    grad_mode.reducers = tuple(r for r in waiting if r not in taking_part or not r.finish())


def _uses_of(roots: Sequence[tuple[Tensor, Any]]) -> tuple[dict[int, int], bool]:
    """How many gradients the backward pass from these roots brings to each leaf, by its id; whether that is all."""
    uses: dict[int, int] = {}
    seen: set[int] = set()
    complete = True
    waiting: list[Any] = []

    def reach(target: Any) -> None:
        if isinstance(target, tape.Node):
            if id(target) not in seen:
                seen.add(id(target))
                waiting.append(target)
        elif target._hooks:  # all at once, at the end
            uses[id(target)] = 1
        else:
            uses[id(target)] = uses.get(id(target), 0) + 1

    for root, _ in roots:
        reach(root._node or root)
    while waiting:
        node = waiting.pop()
        complete &= node.name != COMPUTED_AGAIN
        for parent in node.parents:
            if parent is not None:
                reach(parent)
    return uses, complete
