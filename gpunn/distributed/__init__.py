"""Several processes that train together, with PyTorch's names: ranks by MPI, arrays on GPUs by NCCL.

``mpiexec -n 4 python program.py`` or ``srun`` starts the processes; :func:`init_process_group` makes them a group.
:class:`~gpunn.nn.parallel.DistributedDataParallel` then averages their gradients, and
:class:`~gpunn.utils.data.DistributedSampler` gives each its part of the data. A program that was started alone asks
:func:`is_initialized`, and goes on by itself.

>>> from gpunn import distributed as dist
>>> dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
0
"""

from __future__ import annotations

from gpunn._calls import explains_all
from gpunn.distributed._collectives import (
    ReduceOp,
    Work,
    all_gather,
    all_gather_object,
    all_reduce,
    barrier,
    broadcast,
    broadcast_object_list,
    reduce,
)
from gpunn.distributed._state import (
    destroy_process_group,
    get_backend,
    get_local_rank,
    get_rank,
    get_world_size,
    init_process_group,
    is_available,
    is_gloo_available,
    is_initialized,
    is_mpi_available,
    is_nccl_available,
    is_torchelastic_launched,
    new_group,
)
from gpunn.errors import DistributedError

__all__ = [
    "DistributedError",
    "ReduceOp",
    "Work",
    "all_gather",
    "all_gather_object",
    "all_reduce",
    "barrier",
    "broadcast",
    "broadcast_object_list",
    "destroy_process_group",
    "get_backend",
    "get_local_rank",
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

explains_all(globals())
