"""Where a run is kept without --out, early stopping, TensorBoard's files and layer health at the command line."""

from __future__ import annotations

import errno
import json
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunn.cli.main import main
from gpunn.cli.watching import new_folder, sample
from gpunn.errors import UsageError
from tests.cli.test_cli import refused

_NET = """
import gpunn
from gpunn import nn

def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 3))

def dead():
    made = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Linear(8, 3))
    with gpunn.no_grad():
        made[1].bias.fill_(-1000.0)
    return made
"""


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """The command that trains a small network on images of three classes."""
    rng = np.random.Generator(np.random.Philox(8))
    arrays: dict[str, Any] = {}
    for part, n in (("train", 30), ("test", 12)):
        labels = np.arange(n) % 3
        images = rng.integers(0, 50, (n, 6, 6)).astype(np.uint8)
        images[np.arange(n), 2 * labels] = 255
        arrays |= {f"x_{part}": images, f"y_{part}": labels}
    np.savez(tmp_path / "data.npz", **arrays)
    (tmp_path / "net.py").write_text(_NET)
    data = ["--data", str(tmp_path / "data.npz"), "--device", "cpu"]
    return ["train", f"{tmp_path / 'net.py'}:net", *data, "--epochs", "2", "--batch-size", "10"]


# -- the folder -------------------------------------------------------------------------------------


def test_a_run_without_out_is_kept_and_said_where(words: list[str], own_folder: Path, capsys) -> None:
    assert main(words) == 0
    (folder,) = (own_folder / "runs").iterdir()
    assert re.fullmatch(r"net-\d{8}-\d{6}", folder.name)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(f" It is kept in runs/{folder.name}.")
    assert f"; runs/{folder.name} holds model.safetensors, metrics.jsonl, config.json." in lines[-1]
    assert main(["eval", f"runs/{folder.name}", "--trust", "--device", "cpu"]) == 0
    assert main(words) == 0
    assert len(list((own_folder / "runs").iterdir())) == 2, "the next run has a folder of its own"


def test_no_save_keeps_nothing(words: list[str], own_folder: Path, capsys) -> None:
    assert main([*words, "--no-save"]) == 0
    assert list(own_folder.iterdir()) == []
    assert capsys.readouterr().out.rstrip().endswith("(step 6); nothing was saved.")


def test_a_run_that_cannot_begin_leaves_no_folder(words: list[str], own_folder: Path, capsys) -> None:
    refused(capsys, words[0], words[1] + "s", *words[2:])
    refused(capsys, *words, "--lr", "-1")
    refused(capsys, *words, "--augment", "flop")
    assert list(own_folder.iterdir()) == []


def test_folders_of_the_same_second_differ(own_folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(time, "strftime", lambda text: "20261201-120000")
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(new_folder, ["lenet5"] * 40))
    assert len(set(made)) == 40
    assert {Path("runs/lenet5-20261201-120000"), Path("runs/lenet5-20261201-120000-40")} <= set(made)
    assert new_folder("/home/a b/net.py:Net") == Path("runs/Net-20261201-120000")
    assert new_folder("x/../../..") == Path("runs/x-20261201-120000")
    assert new_folder("../..") == Path("runs/run-20261201-120000")
    assert len(new_folder("n" * 300).name) < 100


def test_a_folder_that_cannot_be_made(own_folder: Path, monkeypatch) -> None:
    def refuse(self: Path, **options: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UsageError, match=r"could not be made: Read-only file system. Give --out DIR, or --no-save"):
        new_folder("lenet5")


def test_a_file_in_the_way(words: list[str], own_folder: Path, capsys) -> None:
    (own_folder / "runs").touch()
    line = refused(capsys, *words)
    assert "runs" in line
    assert "Give --out DIR" in line


# -- early stopping ---------------------------------------------------------------------------------


def test_patience(words: list[str], tmp_path: Path, capsys) -> None:
    out = tmp_path / "run"
    slow = [*words, "--epochs", "50", "--lr", "1e-12", "--patience", "3", "--monitor", "train_accuracy_percent"]
    assert main([*slow, "--out", str(out)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("train_accuracy_percent has not improved for 3 epochs: it was best after epoch 1, ")
    assert "after epoch 4 of 50" in last
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 4
    command = " ".join(json.loads((out / "config.json").read_text())["command"])
    assert "--patience 3 --monitor train_accuracy_percent" in command
    # Going on with a run that has stopped says so again.
    assert main(["train", "--resume", str(out), "--trust"]) == 0
    assert f"The run in {out} is complete: train_accuracy_percent has not improved" in capsys.readouterr().out
    assert main([*words, "--patience", "1", "--no-save"]) == 0
    assert "improved" not in capsys.readouterr().out, "it learns"


# -- TensorBoard ------------------------------------------------------------------------------------


def test_tensorboard(words: list[str], tmp_path: Path, capsys) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard's files need its package: pip install 'gpunn[tensorboard]'")
    from tests.train.test_tensorboard import read

    out = tmp_path / "run"
    assert main([*words, "--tensorboard", "--out", str(out)]) == 0
    losses = [json.loads(line)["test_loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    found = read(out)["loss/test"]
    assert [step for step, _ in found] == [3, 6]
    np.testing.assert_allclose([value for _, value in found], losses, rtol=1e-6)
    assert "--tensorboard" in json.loads((out / "config.json").read_text())["command"]


# -- health -----------------------------------------------------------------------------------------


def test_health_while_training(words: list[str], tmp_path: Path, capsys) -> None:
    assert main([*words, "--health", "--out", str(tmp_path / "a")]) == 0
    healthy = capsys.readouterr().out.splitlines()
    assert not [line for line in healthy if line.startswith("health ")]
    assert main([*words, "--out", str(tmp_path / "b")]) == 0
    a, b = ((tmp_path / name / "model.safetensors").read_bytes() for name in "ab")
    assert a == b, "looking changes nothing"
    dead = [words[0], words[1].replace(":net", ":dead"), *words[2:]]
    assert main([*dead, "--health", "--no-save"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("health")]
    assert lines[0].startswith("health before the first step: vanishing gradients: 1 (Linear)")
    assert lines[1].startswith("health before the first step: dead: 1 (Linear), 2 (ReLU)")
    assert len(lines) == 2, "what has not changed is not told again"


def test_gpunn_health_of_a_run_and_of_a_network(words: list[str], tmp_path: Path, capsys) -> None:
    out = tmp_path / "run"
    assert main([*words, "--out", str(out)]) == 0
    capsys.readouterr()
    assert main(["health", str(out), "--trust", "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{words[1]} from {out}, 30 train images, on cpu: loss ")
    assert [line.split()[:2] for line in lines[3:5]] == [["0", "Flatten"], ["1", "Linear"]]
    assert lines[-1] == "no layer stands out"
    dead = words[1].replace(":net", ":dead")
    assert main(["health", dead, *words[2:6], "--images", "7", "--part", "test", "--batch-size", "3"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{dead}, untrained, 7 test images, on cpu: loss ")
    assert "100.0 %" in text
    assert "dead: 1 (Linear), 2 (ReLU). To mend it: lower the learning rate" in text


def test_a_sample_is_spread_over_the_data() -> None:
    class Data:
        def __len__(self) -> int:
            return 101

        def batch(self, numbers: np.ndarray) -> tuple[list[int], int]:
            return numbers.tolist(), 0

    assert [numbers for numbers, _ in sample(Data(), 4, 11)] == [[0, 10, 20, 30], [40, 50, 60, 70], [80, 90, 100]]
    assert sum(len(numbers) for numbers, _ in sample(Data(), 50)) == 101


# -- refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--monitor", "test_loss"], "--monitor: it says what --patience N watches; give both"),
        (["--patience", "0"], "--patience: expected a whole number of at least 1; got '0'"),
        (["--patience", "2", "--monitor", "test_los"], "got 'test_los'; did you mean 'test_loss'?"),
        (["--no-save", "--out", "x"], "--no-save: it keeps nothing, and --out says where to keep it"),
        (["--no-save", "--tensorboard"], "--tensorboard: its files are in the run's folder"),
    ],
)
def test_refusals(flags: list[str], message: str, words: list[str], own_folder: Path, capsys) -> None:
    assert message in refused(capsys, *words, *flags)
    assert list(own_folder.iterdir()) == []


def test_refusals_of_health(words: list[str], tmp_path: Path, capsys) -> None:
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    assert "is not run only because a run names it" in refused(capsys, "health", str(tmp_path / "run"))
    assert "unknown model 'lenet6'" in refused(capsys, "health", "lenet6")
    assert "--trust: it is for a run's folder; lenet5 is none" in refused(capsys, "health", "lenet5", "--trust")
    assert "has no config.json" in refused(capsys, "health", str(tmp_path))
