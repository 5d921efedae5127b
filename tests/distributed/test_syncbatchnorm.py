"""SyncBatchNorm on several ranks, which mpiexec starts: what they do is in ``programs/syncbatchnorm.py``."""

from __future__ import annotations

import pytest

from tests.devices import EVERYWHERE, GPU, on_gpu
from tests.distributed.launch import needs_mpi, run

pytestmark = needs_mpi


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_is_batch_norm_of_all_ranks_rows(ranks: int, where: str, dtype: str) -> None:
    run(ranks, "syncbatchnorm", "layers", where, dtype)


@pytest.mark.parametrize("name", ["modes", "too_small", "computed_again", "unused"])
@pytest.mark.parametrize("where", EVERYWHERE)
def test_ranks_meet(name: str, where: str) -> None:
    run(2, "syncbatchnorm", name, where, "float32")


def test_a_rank_that_has_ended_is_named() -> None:
    assert run(3, "syncbatchnorm", "ended", "cpu", "float32").count("told") == 2


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_training_is_that_of_one_process(ranks: int, dtype: str) -> None:
    print(run(ranks, "syncbatchnorm", "training", "cpu", dtype))


@pytest.mark.emulator
@pytest.mark.parametrize("ranks", [2, 4])
def test_a_captured_step_is_the_eager_one(ranks: int) -> None:
    run(ranks, "syncbatchnorm", "captured", "emulator", "float32")


@pytest.mark.parametrize("where", on_gpu(GPU))
def test_a_capture_on_a_gpu_refuses_mpi(where: str) -> None:
    run(2, "syncbatchnorm", "captured_by_mpi", where, "float32")


def test_a_residual_network() -> None:
    run(2, "syncbatchnorm", "residual_network", "cpu", "float64")
