"""Networks beside classifiers of images, and whole scripts: PyTorch's numbers with only their imports changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.programs._both import assert_captured_equals_eager, assert_same
from tests.programs._runs import assert_same_run

_NETWORKS = ["char_transformer", "dcgan", "mingpt", "siamese", "style_transfer", "super_resolution", "vae", "vit"]
_RUNS = ["accumulate", "actor_critic", "char_transformer", "dcgan", "features", "mingpt"]
_NEEDS = {"vit": "einops"}


@pytest.mark.parametrize("name", _NETWORKS)
def test_same_as_pytorch(name: str) -> None:
    pytest.importorskip(_NEEDS.get(name, "numpy"))
    assert_same(name)


# The loss of super-resolution is asked for its number, and a VAE's noise has no kernel: neither can be captured.
@pytest.mark.parametrize("name", ["dcgan", "mingpt", "siamese", "style_transfer", "vit"])
def test_captured_step(name: str, kernels: str) -> None:
    pytest.importorskip(_NEEDS.get(name, "numpy"))
    assert_captured_equals_eager(name, kernels)


@pytest.mark.parametrize("name", _RUNS)
def test_same_run_as_pytorch(name: str) -> None:
    assert_same_run(name)


_SCHEDULES = {"cosine": "adam", "exp": "sgd", "multistep": "sgd", "one": "sgd", "plateau": "sgd", "poly": "rmsprop"}
_SCHEDULES |= {"step": "sgd", "warm": "adamw"}


@pytest.mark.parametrize(("schedule", "optimizer"), _SCHEDULES.items())
def test_same_schedules_and_optimizers(schedule: str, optimizer: str, capsys: pytest.CaptureFixture[str]) -> None:
    lr = "0.1" if optimizer == "sgd" else "0.01"
    given = assert_same_run("checkpoints", ["--schedule", schedule, "--optimizer", optimizer, "--lr", lr])
    assert len(given["history"]) == 6
    assert "Epoch: [5][0/6]" in capsys.readouterr().out


def test_each_goes_on_from_the_others_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    straight = assert_same_run("checkpoints", ["--epochs", "5"])
    options = ["--epochs", "3", "--folder", str(tmp_path)]
    for last in ("PyTorch", "gpunn"):  # whose file is there afterwards
        assert_same_run("checkpoints", options, first="gpunn" if last == "PyTorch" else "PyTorch")
        file = tmp_path / "checkpoint.pth.tar"
        resumed = assert_same_run("checkpoints", ["--epochs", "5", "--resume", str(file)])
        assert f"=> goes on from '{file}' (epoch 3)" in capsys.readouterr().out
        for (rates, *told), (expected, *straight_told) in zip(resumed["history"], straight["history"], strict=True):
            assert rates == expected
            assert told == pytest.approx(straight_told, rel=1e-9)  # as in assert_same_run
        best = assert_same_run("checkpoints", ["--evaluate", "--resume", str(tmp_path / "model_best.pth.tar")])
        assert best[0] == pytest.approx(max(acc for _, _, acc, _ in straight["history"][:3]))
