"""SyncBatchNorm on several ranks, which mpiexec starts: what they do is in ``programs/syncbatchnorm.py``."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpunn._device import device
from tests.devices import EVERYWHERE, GPU
from tests.distributed.launch import NEEDS_MPI, run
from tests.distributed.standin import build

pytestmark = NEEDS_MPI


BOTH = "float64,float32"


def check(ranks: int, names: str, where: str, dtypes: str, **environment: str) -> str:
    """What the program's checks print, on so many ranks: in one job, as ranks take long to start."""
    program = "tests.distributed.programs.syncbatchnorm"
    status, said = run(ranks, "-m", program, names, where, dtypes, **environment)
    assert status == 0, said
    return said


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("where", EVERYWHERE)
def test_is_batch_norm_of_all_ranks_rows(ranks: int, where: str) -> None:
    check(ranks, "layers", where, BOTH)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_ranks_meet(where: str) -> None:
    check(2, "modes,too_small,computed_again,unused", where, "float32")


def test_a_rank_that_has_ended_is_named() -> None:
    assert check(3, "ended", "cpu", "float32").count("told") == 2


@pytest.mark.parametrize("ranks", [2, 4])
def test_training_is_that_of_one_process(ranks: int) -> None:
    print(check(ranks, "training", "cpu", BOTH))


@pytest.mark.emulator
@pytest.mark.parametrize("ranks", [2, 4])
def test_a_captured_step_is_the_eager_one(ranks: int) -> None:
    check(ranks, "captured", "emulator", "float32")


@pytest.mark.gpu
def test_a_capture_on_a_gpu_refuses_mpi() -> None:
    check(2, "captured_by_mpi", GPU, "float32")


@pytest.mark.gpu
@pytest.mark.skipif(build.missing() is not None, reason=str(build.missing()))
@pytest.mark.parametrize("name", ["layers", "captured"])
def test_over_nccl(name: str, tmp_path: Path) -> None:
    """With the stand-in for NCCL, which notes what ranks do wrong."""
    if device("cuda").xp.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("needs two GPUs")
    log = tmp_path / "nccl.log"
    check(2, name, "cuda", "float32", GPUNN_NCCL_LOG=str(log), **build.environment())
    text = log.read_text()
    assert "allGather" in text, "NCCL was not used"
    assert "FINDING" not in text, text


def test_a_residual_network() -> None:
    check(2, "residual_network", "cpu", "float64")
