"""What started this process, read from the environment, so that a program alone needs no MPI."""

from __future__ import annotations

import importlib.util
import os
from typing import Any, NamedTuple

from gpunn.errors import DistributedError

# The variables with rank and number of processes: MPICH's and Intel's mpiexec, Open MPI's, srun.
_LAUNCHERS = (
    ("mpiexec", "PMI_RANK", "PMI_SIZE"),
    ("mpiexec", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
)


class Launch(NamedTuple):
    """Who started this process: the launcher's name, and this one's rank among ``size``."""

    launcher: str
    rank: int
    size: int


def launched() -> Launch | None:
    """The launcher's word on this process; None if it was started alone."""
    for launcher, rank, size in _LAUNCHERS:
        if os.environ.get(rank, "").isdigit() and os.environ.get(size, "").isdigit():
            found = Launch(launcher, int(os.environ[rank]), int(os.environ[size]))
            return found if found.size > 1 else None
    return None


def mpi_is_installed() -> bool:
    """Whether mpi4py can be imported, for all that its files tell."""
    return importlib.util.find_spec("mpi4py") is not None


def mpi() -> Any:
    """The module ``mpi4py.MPI``, whose import starts MPI.

    Raises
    ------
    DistributedError
        If it is not there, or finds no MPI library.
    """
    try:
        from mpi4py import MPI
    except ImportError as error:
        fix = "pip install mpi4py, and mpich where the machine has no MPI library"
        raise DistributedError(f"several processes need MPI: {error}. {fix}.") from error
    except RuntimeError as error:
        raise DistributedError(
            f"mpi4py finds no MPI library: {str(error).splitlines()[0]}. Load the cluster's module (module load mpi), "
            "or pip install mpich."
        ) from error
    return MPI
