"""DistributedDataParallel: what several ranks compute is what one computes of the whole batch."""

from __future__ import annotations

from pathlib import Path

import pytest

import gpunn
from tests.distributed import checks
from tests.distributed.launch import NEEDS_MPI, check

pytestmark = NEEDS_MPI


def _trained(out: Path, ranks: int, *how: str) -> dict[str, gpunn.Tensor]:
    if ranks == 1:
        checks.lenet(str(out), *how)
    else:
        check(ranks, "lenet", str(out), *how)
    return gpunn.load(out)


def _apart(a: dict[str, gpunn.Tensor], b: dict[str, gpunn.Tensor]) -> float:
    assert a.keys() == b.keys()
    return max((a[name] - b[name]).abs().max().item() for name in a)


@pytest.mark.parametrize(
    ("optimizer", "dtype", "tolerance"),
    # Sums in another order: found were 3e-8, 2e-7 and 2e-16.
    [("SGD", "float32", 1e-6), ("Adam", "float32", 1e-6), ("Adam", "float64", 1e-13)],
)
def test_parts_of_a_batch_give_the_parameters_of_the_whole(
    tmp_path: Path, optimizer: str, dtype: str, tolerance: float
) -> None:
    how = (optimizer, "cpu", dtype, "128", "20")
    one = _trained(tmp_path / "1.safetensors", 1, *how)
    two = _trained(tmp_path / "2.safetensors", 2, *how)
    four = _trained(tmp_path / "4.safetensors", 4, *how)
    assert _apart(one, two) <= tolerance
    assert _apart(one, four) <= tolerance
    again = _trained(tmp_path / "2b.safetensors", 2, *how)
    assert _apart(two, again) == 0


@pytest.mark.emulator
def test_captured_steps_of_two_ranks_on_the_emulator(tmp_path: Path) -> None:
    how = ("float32", "16", "5")
    cpu = _trained(tmp_path / "cpu.safetensors", 2, "SGD", "cpu", *how)
    emulator = _trained(tmp_path / "emulator.safetensors", 2, "SGD", "emulator", *how)
    assert _apart({"losses": cpu["losses"]}, {"losses": emulator["losses"]}) <= 1e-4
    assert cpu["losses"][-1].item() < cpu["losses"][0].item()


@pytest.mark.parametrize("ranks", [2, 3])
def test_gradients_that_are_shared_unused_recomputed_or_added_up(ranks: int) -> None:
    check(ranks, "gradients")


@pytest.mark.parametrize("ranks", [2, 3])
def test_a_large_parameter_is_averaged_in_place(ranks: int) -> None:
    check(ranks, "large")


def test_the_start_and_models_that_differ() -> None:
    check(2, "start")
