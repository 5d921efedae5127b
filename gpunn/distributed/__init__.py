"""PyTorch's names for several processes, of which there are none here: programs ask, and go on with one process.

:func:`is_available` and :func:`is_initialized` say no, so what a program does behind them is left out. What needs other
processes is an error. ``gpunn.guide`` shows what several GPUs can do in one process.

>>> from gpunn import distributed as dist
>>> dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
0
"""

from __future__ import annotations

from typing import Any, NoReturn

from gpunn._calls import explains_all
from gpunn.errors import UsageError

__all__ = [
    "all_gather",
    "all_reduce",
    "barrier",
    "broadcast",
    "destroy_process_group",
    "get_rank",
    "get_world_size",
    "init_process_group",
    "is_available",
    "is_gloo_available",
    "is_initialized",
    "is_mpi_available",
    "is_nccl_available",
    "is_torchelastic_launched",
    "new_group",
    "reduce",
]


def is_available() -> bool:
    """False: there is no communication between processes."""
    return False


def is_initialized() -> bool:
    """False: there is no group of processes."""
    return False


def is_nccl_available() -> bool:
    """False, as :func:`is_available`."""
    return False


def is_gloo_available() -> bool:
    """False, as :func:`is_available`."""
    return False


def is_mpi_available() -> bool:
    """False, as :func:`is_available`."""
    return False


def is_torchelastic_launched() -> bool:
    """False, as :func:`is_available`."""
    return False


def refuse(name: str) -> NoReturn:
    """Raise UsageError: ``name`` needs other processes."""
    raise UsageError(
        f"{name}: gpunn runs in one process, and has no group of them. Start the program as one process, or ask "
        "distributed.is_available() first, which is False."
    )


def init_process_group(*args: Any, **kwargs: Any) -> NoReturn:
    """Raise UsageError, whatever ``args`` and ``kwargs`` are: there is one process."""
    refuse("distributed.init_process_group")


def destroy_process_group(*args: Any, **kwargs: Any) -> NoReturn:
    """Raise UsageError, whatever ``args`` and ``kwargs`` are: there is one process."""
    refuse("distributed.destroy_process_group")


def new_group(*args: Any, **kwargs: Any) -> NoReturn:
    """Raise UsageError, whatever ``args`` and ``kwargs`` are: there is one process."""
    refuse("distributed.new_group")


def get_rank(*args: Any, **kwargs: Any) -> NoReturn:
    """Raise UsageError, whatever ``args`` and ``kwargs`` are, as PyTorch does before a group is made."""
    refuse("distributed.get_rank")


def get_world_size(*args: Any, **kwargs: Any) -> NoReturn:
    """Raise UsageError, whatever ``args`` and ``kwargs`` are, as PyTorch does before a group is made."""
    refuse("distributed.get_world_size")


def barrier(*args: Any, **kwargs: Any) -> NoReturn:
    """Raise UsageError, whatever ``args`` and ``kwargs`` are: there is one process."""
    refuse("distributed.barrier")


def all_reduce(*args: Any, **kwargs: Any) -> NoReturn:
    """Raise UsageError, whatever ``args`` and ``kwargs`` are: there is one process."""
    refuse("distributed.all_reduce")


def reduce(*args: Any, **kwargs: Any) -> NoReturn:
    """Raise UsageError, whatever ``args`` and ``kwargs`` are: there is one process."""
    refuse("distributed.reduce")


def all_gather(*args: Any, **kwargs: Any) -> NoReturn:
    """Raise UsageError, whatever ``args`` and ``kwargs`` are: there is one process."""
    refuse("distributed.all_gather")


def broadcast(*args: Any, **kwargs: Any) -> NoReturn:
    """Raise UsageError, whatever ``args`` and ``kwargs`` are: there is one process."""
    refuse("distributed.broadcast")


explains_all(globals())
