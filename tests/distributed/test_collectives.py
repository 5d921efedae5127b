"""Calls that ranks make together, and what they may ask."""

from __future__ import annotations

import pytest

import gpunn
from gpunn import distributed as dist
from gpunn._launch import launched
from gpunn.errors import UsageError
from gpunn.nn.parallel import DistributedDataParallel
from gpunn.utils.data import DistributedSampler
from tests.distributed.launch import NEEDS_MPI, check


@NEEDS_MPI
@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_every_call_on_all_numbers(ranks: int) -> None:
    check(ranks, "collectives", "cpu")


@NEEDS_MPI
@pytest.mark.emulator
def test_every_call_on_the_emulator() -> None:
    check(2, "collectives", "emulator")


@NEEDS_MPI
def test_questions_and_wrong_calls() -> None:
    check(2, "questions")


@NEEDS_MPI
def test_a_group_of_one() -> None:
    check(1, "questions")


@NEEDS_MPI
@pytest.mark.parametrize("ranks", [2, 3])
def test_a_distributed_sampler_gives_each_its_part(ranks: int) -> None:
    check(ranks, "sampler")


def test_without_a_group_everything_says_how_to_make_one() -> None:
    assert not dist.is_initialized()
    x = gpunn.zeros(2)
    calls = [
        lambda: dist.get_rank(),
        lambda: dist.get_world_size(),
        lambda: dist.get_backend(),
        lambda: dist.get_local_rank(),
        lambda: dist.barrier(),
        lambda: dist.all_reduce(x),
        lambda: dist.reduce(x, 0),
        lambda: dist.broadcast(x, 0),
        lambda: dist.all_gather([x], x),
        lambda: dist.all_gather_object([None], 1),
        lambda: dist.broadcast_object_list([None], 0),
        lambda: DistributedDataParallel(gpunn.nn.Linear(2, 2)),
        lambda: DistributedSampler([1, 2]),
    ]
    for call in calls:
        with pytest.raises(UsageError, match=r"there is no group of processes. Call distributed.init_process_group"):
            call()
    dist.destroy_process_group()


def test_a_sampler_with_rank_and_number_needs_no_group() -> None:
    parts = [list(DistributedSampler(range(7), 3, rank, shuffle=False)) for rank in range(3)]
    assert parts == [[0, 3, 6], [1, 4, 0], [2, 5, 1]]
    with pytest.raises(UsageError, match="expected 0 to 2, of 3; got 3"):
        DistributedSampler(range(7), 3, 3)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"PMI_RANK": "1", "PMI_SIZE": "4"}, ("mpiexec", 1, 4)),
        ({"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2"}, ("mpiexec", 0, 2)),
        ({"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "8"}, ("srun", 3, 8)),
        ({"PMI_RANK": "0", "PMI_SIZE": "1"}, None),  # alone
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, None),  # in a batch script, outside of srun
        ({"PMI_RANK": "", "PMI_SIZE": "x"}, None),
    ],
)
def test_what_the_environment_says_of_the_launcher(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: tuple[str, int, int] | None
) -> None:
    for name in ("PMI_RANK", "PMI_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("SLURM_STEP_NUM_TASKS", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launched() == expected
