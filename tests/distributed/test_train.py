"""The Trainer among several ranks does what it does alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import gpunn
from tests.distributed import training
from tests.distributed.launch import NEEDS_MPI, run
from tests.distributed.launch import gpunn as command

pytestmark = NEEDS_MPI


def _train(folder: Path, ranks: int, kind: str, device: str = "cpu") -> tuple[dict[str, Any], Any]:
    if ranks == 1:
        training.train(str(folder), kind, device)
    else:
        status, said = run(ranks, "-m", "tests.distributed.training", str(folder), kind, device)
        assert status == 0, said
    return gpunn.load(folder / "model.safetensors"), json.loads((folder / "figures.json").read_text())


def _same(one: tuple[dict[str, Any], Any], many: tuple[dict[str, Any], Any], tolerance: float) -> None:
    told, *rest = one[1]
    told_of_many, *rest_of_many = many[1]
    assert rest == rest_of_many
    for a, b in zip(told, told_of_many, strict=True):
        assert a == pytest.approx(b, rel=tolerance, abs=tolerance)
    for name, value in one[0].items():
        apart = (value - many[0][name]).abs().max().item()
        assert apart <= tolerance, (name, apart)


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize(
    "kind", ["even", "uneven", "fewer", "pieces", "plateau", "early", "list", "torch-like", "sampler"]
)
def test_ranks_do_what_one_process_does(tmp_path: Path, kind: str, ranks: int) -> None:
    if kind == "sampler" and ranks == 3:
        pytest.skip("32 items, of which a sampler would repeat one")
    _same(_train(tmp_path / "one", 1, kind), _train(tmp_path / "many", ranks, kind), 1e-10)


@pytest.mark.emulator
@pytest.mark.parametrize("kind", ["uneven", "fewer"])
def test_on_the_emulator_too(tmp_path: Path, kind: str) -> None:
    one = _train(tmp_path / "one", 1, kind, "emulator")
    _same(one, _train(tmp_path / "many", 3, kind, "emulator"), 1e-5)


def test_a_step_is_skipped_on_all_ranks(tmp_path: Path) -> None:
    one, two = (_train(tmp_path / str(ranks), ranks, "skip") for ranks in (1, 2))
    assert one[1][3] == two[1][3] == [1, 1, 1]
    _same(one, two, 1e-10)


def test_ranks_draw_other_masks_and_batch_norm_sees_parts(tmp_path: Path) -> None:
    """What one process does differently: so only that it trains, is the same on all ranks, and twice the same."""
    for kind in ("dropout", "norm"):
        two, again = (_train(tmp_path / f"{kind}{k}", 2, kind) for k in range(2))
        assert two[1] == again[1]
        assert two[1][0][-1][1] < two[1][0][0][1]


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_another_number_of_ranks_goes_on(tmp_path: Path, ranks: int) -> None:
    whole = _train(tmp_path / "whole", 1, "even")
    folder = tmp_path / "run"
    _train(folder, 2, "resume")
    resumed = _train(folder, ranks, "resume")
    _same(({**whole[0]}, [whole[1][0][1:], *whole[1][1:]]), resumed, 1e-10)


def test_the_command_line(tmp_path: Path) -> None:
    words = ("train", "lenet5", "--device", "cpu", "--epochs", "1", "--max-steps", "3", "--seed", "2")
    status, said = command(2, *words, "--out", str(tmp_path / "two"))
    assert status == 0
    assert said.count("Training lenet5") == 1
    assert "and 1 more process: " in said
    assert said.count("epoch 1/1") == 1
    status, _ = command(1, *words, "--out", str(tmp_path / "one"))
    assert status == 0
    one, two = (gpunn.load(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert max((one[name] - two[name]).abs().max().item() for name in one) <= 1e-6
    config = json.loads((tmp_path / "two" / "config.json").read_text())
    assert config["ranks"] == 2
    shutil.copytree(tmp_path / "two", tmp_path / "again")
    status, said = command(2, "train", "--resume", str(tmp_path / "again"))
    assert status == 0
    assert said.count("is complete") == 1
