"""Making and leaving the group of processes, and asking about it."""

from __future__ import annotations

import atexit
import datetime
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, NoReturn

from gpunn._launch import launched, mpi_is_installed
from gpunn.differences import refuse
from gpunn.errors import DeviceError, DistributedError, UsageError

_TIMEOUT = 1800.0  # seconds: as PyTorch's for processors


class _State:
    group: Any = None
    hook: Callable[..., Any] | None = None


def current() -> Any:
    """The group, or None."""
    return _State.group


def needed(op: str) -> Any:
    """The group.

    Raises
    ------
    UsageError
        If there is none.
    """
    if _State.group is None:
        raise UsageError(
            f"{op}: there is no group of processes. Call distributed.init_process_group() first, in a program that "
            "mpiexec or srun has started; or ask distributed.is_initialized()."
        )
    return _State.group


def init_process_group(
    backend: str | None = None,
    init_method: str | None = None,
    timeout: datetime.timedelta | None = None,
    world_size: int = -1,
    rank: int = -1,
    store: Any = None,
    group_name: str = "",
    pg_options: Any = None,
    device_id: Any = None,
) -> None:
    """Make all processes that mpiexec or srun has started one group; every one of them calls this.

    From then on an exception that nothing catches ends all of them, and is shown once.

    Parameters
    ----------
    backend : "auto", "mpi", "nccl" or "gloo"
        How arrays on GPUs travel; the host's always travel by MPI. "auto", which None is too, takes NCCL if this
        machine has a GPU for each of its ranks, and CuPy finds NCCL; else arrays on GPUs are copied to the host and
        back. "gloo" is taken as "mpi".
    init_method : str, optional
        "env://" changes nothing: MPI knows where the others are. No other one.
    timeout : datetime.timedelta, optional
        How long a rank waits for the others before it gives up, 30 minutes if not given. A rank that does not come is
        named on standard error after 30 seconds, or after as many as ``GPUNN_LATE_AFTER`` in the environment says.
    world_size, rank : int
        As MPI has them, or -1.
    store, pg_options : None
        There is none.
    group_name : str
        Changes nothing.
    device_id : Device or str, optional
        Changes nothing.

    Raises
    ------
    DistributedError
        If mpi4py or the MPI library is missing, or is not the launcher's.
    DeviceError
        If NCCL was asked for, and is not there or has too few GPUs.
    UsageError
        If there is a group already, or an argument is not of those above.
    """
    from gpunn.distributed._group import ProcessGroup, check_backend

    name = check_backend(backend)
    refuse("init_process_group", store=store, pg_options=pg_options)
    if init_method not in (None, "env://"):
        raise UsageError(
            f"init_process_group: init_method: expected None or 'env://'; got {init_method!r}. Start the program with "
            "mpiexec or srun, which tell MPI where the others are."
        )
    limit = _TIMEOUT if timeout is None else _seconds(timeout)
    if _State.group is not None:
        raise UsageError("init_process_group: there is a group already; destroy_process_group() leaves it.")
    group = ProcessGroup("mpi", limit)
    for what, said, true in (("world_size", world_size, group.size), ("rank", rank, group.rank)):
        if said not in (-1, true):
            raise UsageError(f"init_process_group: {what}: expected -1 or MPI's, {true}; got {said!r}.")
    group.backend = _backend_on_gpus(name, group)
    _State.group = group
    _State.hook = sys.excepthook
    sys.excepthook = _uncaught
    atexit.register(_leave)


def _seconds(timeout: Any) -> float:
    if not isinstance(timeout, datetime.timedelta) or timeout.total_seconds() <= 0:
        raise UsageError(f"init_process_group: timeout: expected a datetime.timedelta above 0; got {timeout!r}.")
    return timeout.total_seconds()


def _backend_on_gpus(asked: str, group: Any) -> str:
    """What all ranks can use."""
    if asked in ("mpi", "gloo"):
        return "mpi"
    reason = _why_no_nccl(group)
    reasons = [r for r in group.objects("init_process_group", reason) if r is not None]
    if not reasons:
        return "nccl"
    if asked == "nccl":
        raise DeviceError(f"init_process_group: backend 'nccl': {reasons[0]}")
    return "mpi"


def _why_no_nccl(group: Any) -> str | None:
    from gpunn._device import cuda_is_available, device

    if not cuda_is_available():
        return f"rank {group.rank} ({group.names[group.rank]}) has no working GPU: gpunn doctor says why."
    cupy = device("cuda").xp
    count = cupy.cuda.runtime.getDeviceCount()
    if count < group.local_size:
        return f"{group.local_size} ranks on a machine with {count} GPU(s): start at most one rank for each."
    from gpunn.distributed._nccl import available

    reason: str | None = available(cupy)
    return reason


def destroy_process_group(group: Any = None) -> None:
    """Leave the group, once all others do so as well; does nothing if there is none.

    Parameters
    ----------
    group : None
        There is one group only.
    """
    refuse("destroy_process_group", group=group)
    _leave()


def _leave() -> None:
    group, _State.group = _State.group, None
    if group is None:
        return
    atexit.unregister(_leave)
    if sys.excepthook is _uncaught and _State.hook is not None:
        sys.excepthook = _State.hook
    group.close()


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Python's last word on an exception: once for all ranks, which end then."""
    shown = _State.hook or sys.__excepthook__
    fail(lambda: shown(kind, error, trace), 130 if issubclass(kind, KeyboardInterrupt) else 1)


def fail(tell: Callable[[], Any], status: int) -> None:
    """End all processes because of an error in this one, which ``tell`` shows; without a group it just does that."""
    if _State.group is None:
        tell()
    else:
        _State.group.fail(tell, status)


def is_available() -> bool:
    """Whether mpi4py is installed."""
    return mpi_is_installed()


def is_initialized() -> bool:
    """Whether this process is in a group."""
    return _State.group is not None


def is_mpi_available() -> bool:
    """Whether mpi4py is installed."""
    return mpi_is_installed()


def is_gloo_available() -> bool:
    """As :func:`is_mpi_available`: MPI does its work."""
    return mpi_is_installed()


def is_nccl_available() -> bool:
    """Whether there is a GPU, and CuPy finds NCCL."""
    from gpunn._device import cuda_is_available, device
    from gpunn.distributed._nccl import available

    return cuda_is_available() and available(device("cuda").xp) is None


def is_torchelastic_launched() -> bool:
    """False: mpiexec and srun start processes here, torchrun does not."""
    return False


def get_rank(group: Any = None) -> int:
    """The number of this process in the group, from 0.

    Parameters
    ----------
    group : None
        There is one group only.

    Raises
    ------
    UsageError
        If there is no group.
    """
    refuse("get_rank", group=group)
    rank: int = needed("distributed.get_rank").rank
    return rank


def get_local_rank() -> int:
    """The number of this process among those of its machine, from 0: its GPU is that of this number.

    Raises
    ------
    UsageError
        If there is no group.
    """
    rank: int = needed("distributed.get_local_rank").local_rank
    return rank


def get_world_size(group: Any = None) -> int:
    """How many processes are in the group.

    Parameters
    ----------
    group : None
        There is one group only.

    Raises
    ------
    UsageError
        If there is no group.
    """
    refuse("get_world_size", group=group)
    size: int = needed("distributed.get_world_size").size
    return size


def get_backend(group: Any = None) -> str:
    """How arrays on GPUs travel: "nccl", or "mpi".

    Parameters
    ----------
    group : None
        There is one group only.

    Raises
    ------
    UsageError
        If there is no group.
    """
    refuse("get_backend", group=group)
    backend: str = needed("distributed.get_backend").backend
    return backend


def new_group(*args: Any, **kwargs: Any) -> NoReturn:
    """Raise UsageError, whatever ``args`` and ``kwargs`` are: there is one group, of all processes."""
    raise UsageError("distributed.new_group: there is one group, of all processes. Leave out group=.")


def started_together() -> bool:
    """Whether mpiexec or srun started this process with others, which wait for it."""
    return launched() is not None


__all__ = ["DistributedError", "current", "fail", "needed", "started_together"]
