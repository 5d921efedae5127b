"""Starting programs as several processes, in tests."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MPIEXEC = shutil.which("mpiexec", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))))
NEEDS_MPI = pytest.mark.skipif(
    MPIEXEC is None or importlib.util.find_spec("mpi4py") is None,
    reason="several processes need MPI: pip install mpi4py mpich",
)
_ROOT = Path(__file__).parents[2]
_LIMIT = 300  # seconds: a test that hangs is ended by it; nothing else depends on it


def start(ranks: int, *words: str, **environment: str) -> subprocess.Popen[str]:
    """Start ``python words`` as so many processes, each with one thread; standard error comes with the output."""
    assert MPIEXEC is not None
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(_ROOT), "PYTHONUNBUFFERED": "1", **environment}
    command = [MPIEXEC, "-n", str(ranks), sys.executable, *words]
    return subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit status and all that it said."""
    try:
        said, _ = process.communicate(timeout=_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, said


def run(ranks: int, *words: str, **environment: str) -> tuple[int, str]:
    """Start it and wait; the exit status, and what it said."""
    return finish(start(ranks, *words, **environment))


def check(ranks: int, name: str, *arguments: str, **environment: str) -> str:
    """Run a function of ``tests/distributed/checks.py`` as so many processes, and see that none failed."""
    status, said = run(ranks, "-m", "tests.distributed.checks", name, *arguments, **environment)
    assert status == 0, said
    return said


def gpunn(ranks: int, *words: str, **environment: str) -> tuple[int, str]:
    """The same as :func:`run` of the command line."""
    return run(ranks, "-m", "gpunn", *words, **environment)
