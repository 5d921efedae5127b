"""Calls that all ranks make together, on tensors and on Python's objects."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

from gpunn._device import device_of
from gpunn._tensor import Tensor
from gpunn.differences import refuse
from gpunn.distributed._state import needed
from gpunn.errors import DTypeError, ShapeError, UsageError
from gpunn.tape import no_grad


class ReduceOp(enum.Enum):
    """What becomes of the ranks' numbers: AVG is their mean."""

    SUM = "sum"
    AVG = "avg"
    PRODUCT = "product"
    MIN = "min"
    MAX = "max"


class Work:
    """A call with ``async_op=True``: its tensors are as before until :meth:`wait` has returned.

    Parameters
    ----------
    end : callable
        Finishes the call.
    """

    def __init__(self, end: Callable[[], None]) -> None:
        self._end: Callable[[], None] | None = end

    def wait(self, timeout: Any = None) -> bool:
        """Finish the call: the tensors have their new values then.

        Parameters
        ----------
        timeout : None
            The group's limit holds.

        Returns
        -------
        bool
            True.
        """
        refuse("Work.wait", timeout=timeout)
        end, self._end = self._end, None
        if end is not None:
            end()
        return True

    def is_completed(self) -> bool:
        """Whether :meth:`wait` has returned."""
        return self._end is None


def all_reduce(tensor: Tensor, op: ReduceOp = ReduceOp.SUM, group: Any = None, async_op: bool = False) -> Work | None:
    """Give every rank the sum of all ranks' tensors, in place.

    Parameters
    ----------
    tensor : Tensor
        Of the same shape and dtype on every rank.
    op : ReduceOp
        Sum, mean, product, smallest or largest, element by element.
    group : None
        There is one group only.
    async_op : bool
        Return at once; :meth:`Work.wait` ends the call.

    Returns
    -------
    Work or None

    Raises
    ------
    UsageError
        If there is no group, or no such op.
    DistributedError
        If a rank has ended or does not come.
    """
    refuse("all_reduce", group=group)
    home, made = _copied("all_reduce", tensor)
    how = _op("all_reduce", op)
    pending = home.channel(tensor.device).all_reduce(made._physical, "sum" if how is ReduceOp.AVG else how.value)

    def end() -> None:
        pending.wait()
        with no_grad():
            tensor.copy_(made / home.size if how is ReduceOp.AVG else made)

    return _run(end, async_op)


def reduce(
    tensor: Tensor,
    dst: int | None = None,
    op: ReduceOp = ReduceOp.SUM,
    group: Any = None,
    async_op: bool = False,
    group_dst: int | None = None,
) -> Work | None:
    """Give rank ``dst`` the sum of all ranks' tensors, in place; those of the others stay as they are.

    Parameters
    ----------
    tensor : Tensor
        Of the same shape and dtype on every rank.
    dst, group_dst : int
        One of them, the rank.
    op, group, async_op
        As of :func:`all_reduce`.

    Returns
    -------
    Work or None

    Raises
    ------
    UsageError
        If there is no group, rank or op.
    DistributedError
        If a rank has ended or does not come.
    """
    refuse("reduce", group=group)
    home, made = _copied("reduce", tensor)
    root, how = _rank("reduce", "dst", dst, group_dst, home), _op("reduce", op)
    pending = home.channel(tensor.device).all_reduce(made._physical, "sum" if how is ReduceOp.AVG else how.value)

    def end() -> None:
        pending.wait()
        if home.rank == root:
            with no_grad():
                tensor.copy_(made / home.size if how is ReduceOp.AVG else made)

    return _run(end, async_op)


def broadcast(
    tensor: Tensor, src: int | None = None, group: Any = None, async_op: bool = False, group_src: int | None = None
) -> Work | None:
    """Give every rank the tensor of rank ``src``, in place.

    Parameters
    ----------
    tensor : Tensor
        Of the same shape and dtype on every rank.
    src, group_src : int
        One of them, the rank.
    group : None
        There is one group only.
    async_op : bool
        Return at once; :meth:`Work.wait` ends the call.

    Returns
    -------
    Work or None

    Raises
    ------
    UsageError
        If there is no group, or no such rank.
    DistributedError
        If a rank has ended or does not come.
    """
    refuse("broadcast", group=group)
    home, made = _copied("broadcast", tensor)
    root = _rank("broadcast", "src", src, group_src, home)
    pending = home.channel(tensor.device).broadcast(made._physical, root)

    def end() -> None:
        pending.wait()
        if home.rank != root:
            with no_grad():
                tensor.copy_(made)

    return _run(end, async_op)


def all_gather(tensor_list: list[Tensor], tensor: Tensor, group: Any = None, async_op: bool = False) -> Work | None:
    """Give every rank the tensors of all.

    Parameters
    ----------
    tensor_list : list of Tensor
        One for each rank, like ``tensor``; written to.
    tensor : Tensor
        Of the same shape and dtype on every rank.
    group : None
        There is one group only.
    async_op : bool
        Return at once; :meth:`Work.wait` ends the call.

    Returns
    -------
    Work or None

    Raises
    ------
    UsageError, ShapeError, DTypeError
        If there is no group, or the list does not fit it.
    DistributedError
        If a rank has ended or does not come.
    """
    refuse("all_gather", group=group)
    home, given = _copied("all_gather", tensor)
    if len(tensor_list) != home.size:
        raise ShapeError(f"all_gather: tensor_list: expected {home.size} tensors, one a rank; got {len(tensor_list)}.")
    device = device_of("all_gather", (tensor, *tensor_list))
    for place in tensor_list:
        if place.shape != tensor.shape:
            raise ShapeError(f"all_gather: tensor_list: expected tensors of shape {tensor.shape}; got {place.shape}.")
        if place.dtype != tensor.dtype:
            raise DTypeError(f"all_gather: tensor_list: expected tensors of {tensor.dtype}; got {place.dtype}.")
    into = device.empty((home.size, *given._physical.shape), given.dtype)
    pending = home.channel(device).all_gather(given._physical, into)

    def end() -> None:
        pending.wait()
        with no_grad():
            for rank, place in enumerate(tensor_list):
                place.copy_(Tensor._of_physical(into[rank, ...], device))

    return _run(end, async_op)


def barrier(group: Any = None, async_op: bool = False, device_ids: Any = None) -> None:
    """Wait until every rank has come here.

    Parameters
    ----------
    group : None
        There is one group only.
    async_op : bool
        False only.
    device_ids : list of int, optional
        Changes nothing.

    Raises
    ------
    UsageError
        If there is no group.
    DistributedError
        If a rank has ended or does not come.
    """
    refuse("barrier", group=group, async_op=async_op)
    needed("distributed.barrier").barrier()


def all_gather_object(object_list: list[Any], obj: Any, group: Any = None) -> None:
    """Give every rank what all have, of anything that can be pickled.

    Parameters
    ----------
    object_list : list
        One place for each rank; written to.
    obj : any
    group : None
        There is one group only.

    Raises
    ------
    UsageError, ShapeError
        If there is no group, or the list does not fit it.
    DistributedError
        If a rank has ended or does not come.
    """
    refuse("all_gather_object", group=group)
    home = needed("distributed.all_gather_object")
    if len(object_list) != home.size:
        raise ShapeError(f"all_gather_object: object_list: expected {home.size} places; got {len(object_list)}.")
    object_list[:] = home.objects("all_gather_object", obj)


def broadcast_object_list(
    object_list: list[Any],
    src: int | None = None,
    group: Any = None,
    device: Any = None,
    group_src: int | None = None,
) -> None:
    """Give every rank the objects of rank ``src``, which may be anything that can be pickled.

    Parameters
    ----------
    object_list : list
        As long on every rank; written to.
    src, group_src : int
        One of them, the rank.
    group : None
        There is one group only.
    device : Device, optional
        Changes nothing: they travel by MPI.

    Raises
    ------
    UsageError, ShapeError
        If there is no group, or no such rank; if the lists have other lengths.
    DistributedError
        If a rank has ended or does not come.
    """
    refuse("broadcast_object_list", group=group)
    home = needed("distributed.broadcast_object_list")
    root = _rank("broadcast_object_list", "src", src, group_src, home)
    given = home.objects("broadcast_object_list", object_list if home.rank == root else None)[root]
    if len(given) != len(object_list):
        raise ShapeError(
            f"broadcast_object_list: object_list: expected {len(given)} places, as rank {root} has; got "
            f"{len(object_list)}."
        )
    object_list[:] = given


def _copied(op: str, tensor: Tensor) -> tuple[Any, Tensor]:
    home = needed(f"distributed.{op}")
    return home, tensor.detach().clone()


def _run(end: Callable[[], None], async_op: bool) -> Work | None:
    if async_op:
        return Work(end)
    end()
    return None


def _op(name: str, op: Any) -> ReduceOp:
    if not isinstance(op, ReduceOp):
        raise UsageError(f"{name}: op: expected ReduceOp.SUM, AVG, PRODUCT, MIN or MAX; got {op!r}.")
    return op


def _rank(op: str, name: str, given: Any, of_group: Any, home: Any) -> int:
    if given is not None and of_group is not None:
        raise UsageError(f"{op}: {name} and group_{name} are the same here; give one of them.")
    rank = (
        (0 if name == "src" else None)
        if given is None and of_group is None
        else given
        if of_group is None
        else of_group
    )
    if not isinstance(rank, int) or isinstance(rank, bool) or not 0 <= rank < home.size:
        raise UsageError(f"{op}: {name}: expected a rank from 0 to {home.size - 1}; got {rank!r}.")
    return rank
