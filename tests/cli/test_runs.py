"""Training one's own network on one's own data, and what can be done with a run afterwards."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunn.cli.main import main
from tests.cli.test_cli import refused, write_mnist

_NET = '''
from gpunn import nn

class Net(nn.Module):
    """A network of one's own; told the shape of an image and the number of classes."""

    def __init__(self, input_shape, classes, width=6):
        super().__init__()
        c, h, w = input_shape
        self.body = nn.Sequential(nn.Conv2d(c, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2))
        self.head = nn.Linear(width * (h // 2) * (w // 2), classes)

    def forward(self, x):
        return self.head(self.body(x).flatten(1))

def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))

class NeedsMore(nn.Module):
    def __init__(self, layers):
        super().__init__()

NUMBER = 3
'''


@pytest.fixture
def net(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(_NET)
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes in train/ and test/: bright on the left, bright on the right."""
    image = pytest.importorskip("PIL.Image")
    rng = np.random.Generator(np.random.Philox(4))
    for part, n in (("train", 24), ("test", 8)):
        for side in ("left", "right"):
            folder = tmp_path / "pictures" / part / side
            folder.mkdir(parents=True)
            for i in range(n):
                pixels = rng.integers(0, 60, (9, 12, 3)).astype(np.uint8)
                pixels[:, slice(0, 6) if side == "left" else slice(6, 12)] += 180
                image.fromarray(pixels).save(folder / f"{i}.png")
    return tmp_path / "pictures"


def test_ones_own_network_on_ones_own_images(net: Path, pictures: Path, tmp_path: Path, capsys) -> None:
    out = str(tmp_path / "run")
    words = ["train", f"{net}:Net", "--data", str(pictures), "--image-size", "8", "--epochs", "4", "--device", "cpu"]
    assert main([*words, "--batch-size", "8", "--lr", "0.05", "--augment", "crop,jitter", "--out", out]) == 0
    text = capsys.readouterr().out
    assert "test accuracy 100.00 %" in text
    assert "(48 training and 16 test images)" in text
    # Evaluated again, on the same numbers, from another folder than the one it was trained in.
    assert main(["eval", out, "--trust", "--device", "cpu"]) == 0
    line = capsys.readouterr().out
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert line.startswith(f"{net}:Net from {out} (epoch 4) on {pictures}, 16 test images, on cpu: loss ")
    assert f"loss {last['test_loss']:.4f}, accuracy 100.00 %" in line
    assert main(["eval", out, "--model", f"{net}:Net", "--part", "train", "--device", "cpu"]) == 0
    assert "48 train images" in capsys.readouterr().out
    files = [str(pictures / "test" / side / "0.png") for side in ("left", "right")]
    assert main(["predict", *files, "--run", out, "--trust"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(re.escape(files[0]) + r": left [\d.]+ %, right [\d.]+ %", first)
    assert re.fullmatch(re.escape(files[1]) + r": right [\d.]+ %, left [\d.]+ %", second)
    shares = [float(v) for v in re.findall(r"([\d.]+) %", first)]
    assert sum(shares) == pytest.approx(100, abs=0.11)


def test_predicts_digits_and_inverted_digits(tmp_path: Path, capsys) -> None:
    pytest.importorskip("sklearn")
    image = pytest.importorskip("PIL.Image")
    from gpunn.data import Digits

    out = str(tmp_path / "run")
    assert main(["train", "mlp", "--epochs", "2", "--out", out, "--device", "cpu"]) == 0
    test = Digits(train=False)
    image.fromarray(test.images[0].reshape(28, 28)).save(tmp_path / "bright.png")
    image.fromarray(255 - test.images[0].reshape(28, 28)).resize((56, 56)).save(tmp_path / "ink.png")
    capsys.readouterr()
    for words in (["bright.png"], ["ink.png", "--invert"]):
        assert main(["predict", str(tmp_path / words[0]), *words[1:], "--run", out, "--top", "1"]) == 0
        assert re.search(rf": {test.labels[0]} [\d.]+ %$", capsys.readouterr().out.strip())


@pytest.mark.parametrize(
    "words",
    [
        ["--optimizer", "adam"],
        ["--optimizer", "adamw", "--weight-decay", "0.01", "--schedule", "cosine"],
        ["--optimizer", "rmsprop", "--schedule", "plateau"],
        ["--optimizer", "adagrad", "--schedule", "step"],
        ["--optimizer", "lamb", "--schedule", "warmup-cosine"],
        ["--schedule", "one-cycle", "--label-smoothing", "0.1", "--workers", "1"],
        ["--schedule", "constant", "--augment", "crop,flip,cutout,jitter"],
        ["--resident", "--augment", "crop,flip,cutout"],
    ],
    ids=" ".join,
)
def test_every_recipe_trains_and_repeats(words: list[str], net: Path, tmp_path: Path, capsys) -> None:
    write_mnist(tmp_path / "mnist")
    data = ["--data", "mnist", "--data-dir", str(tmp_path), "--device", "cpu"]
    assert main(["train", f"{net}:Net", *data, "--epochs", "3", "--out", str(tmp_path / "a"), *words]) == 0
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    assert main([*config["command"], "--out", str(tmp_path / "b")]) == 0
    first, second = ((tmp_path / run / "model.safetensors").read_bytes() for run in "ab")
    assert first == second
    losses = [float(v) for v in re.findall(r"loss ([\d.]+)", capsys.readouterr().out)]
    assert np.isfinite(losses).all()


def test_npz_data(net: Path, tmp_path: Path, capsys) -> None:
    rng = np.random.Generator(np.random.Philox(8))
    arrays: dict[str, Any] = {}
    for part, n in (("train", 30), ("test", 12)):
        labels = np.arange(n) % 3
        images = rng.integers(0, 50, (n, 6, 6)).astype(np.uint8)
        images[np.arange(n), 2 * labels] = 255
        arrays |= {f"x_{part}": images, f"y_{part}": labels}
    np.savez(tmp_path / "data.npz", **arrays)
    words = ["train", f"{net}:Net", "--data", str(tmp_path / "data.npz"), "--epochs", "6", "--device", "cpu"]
    assert main([*words, "--batch-size", "5", "--lr", "0.05"]) == 0
    assert "test accuracy 100.00 %" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "{net}"], "expected file.py:Net, with the name of the class behind a colon"),
        (["train", "{net}:Nut"], "has no 'Nut'; did you mean 'Net'?"),
        (["train", "{net}:NUMBER"], "'NUMBER' in {net} is int; expected a Module class or a function"),
        (["train", "{net}:NeedsMore"], "give the others defaults"),
        (["train", "{folder}/none.py:Net"], "there is no file {folder}/none.py"),
        (["train", "{folder}/broken.py:Net"], "could not be run: ZeroDivisionError: division by zero"),
        (["summary", "{net}:Net"], "--input"),
        (["train", "mlp", "--schedule", "cosine", "--lr-decay", "0.5"], "--lr-decay: it is for the schedules"),
        (["train", "mlp", "--optimizer", "adam", "--momentum", "0.9"], "--momentum: it is for sgd and rmsprop"),
        (["train", "mlp", "--optimizer", "adm"], "got 'adm'; did you mean 'adam'?"),
        (["train", "mlp", "--augment", "flop"], "got 'flop'; did you mean 'flip'?"),
        (["train", "mlp", "--resident", "--workers", "2"], "--workers: its threads prepare batches on the host"),
        (["train", "mlp", "--resident", "--augment", "jitter"], "cannot apply ColorJitter"),
        (["train", "mlp", "--label-smoothing", "2"], "a number from 0 to 1; got 2"),
        (["train", "mlp", "--download"], "--download: digits is not published data"),
        (["train", "mlp", "--image-size", "8"], "--image-size: it is for folders of images"),
        (["train", "mlp", "--data", "{folder}"], "expected folders train/ and test/ in {folder}"),
        (["train", "mlp", "--data", "none.npz"], "none.npz"),
        (["eval", "{folder}/none"], "{folder}/none does not exist"),
        (["eval", "{folder}"], "has no config.json and no model.safetensors"),
        (["predict", "a.png"], "the following arguments are required: --run"),
        (["predict", "a.png", "--run", "{folder}/none"], "does not exist"),
    ],
)
def test_refuses(words: list[str], message: str, net: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "broken.py").write_text("1 / 0")
    names = {"net": str(net), "folder": str(tmp_path)}
    assert message.format(**names) in refused(capsys, *(word.format(**names) for word in words))


@pytest.mark.parametrize("command", ["eval", "predict"])
def test_python_that_only_the_run_names_is_not_run(command: str, net: Path, tmp_path: Path, capsys) -> None:
    write_mnist(tmp_path / "mnist")
    run, trace = tmp_path / "run", tmp_path / "it-ran"
    data = ["--data", "mnist", "--data-dir", str(tmp_path), "--device", "cpu"]
    assert main(["train", f"{net}:make", *data, "--max-steps", "1", "--epochs", "1", "--out", str(run)]) == 0
    capsys.readouterr()
    net.write_text(f"open({str(trace)!r}, 'w').close()\n{_NET}")
    image = pytest.importorskip("PIL.Image")
    image.new("L", (28, 28)).save(tmp_path / "a.png")
    words = ["eval", str(run)] if command == "eval" else ["predict", str(tmp_path / "a.png"), "--run", str(run)]
    message = refused(capsys, *words)
    assert f"the run's network is '{net}:make', a file of Python" in message
    assert "--model FILE.py:NAME, or give --trust" in message
    assert not trace.exists()
    # Another file than the run's: the user's word counts, and the run's file is not looked at.
    other = tmp_path / "other.py"
    other.write_text(_NET)
    assert main([*words, "--model", f"{other}:make"]) == 0
    assert not trace.exists()
    for allowed in (["--trust"], ["--model", f"{net}:make"]):
        assert main([*words, *allowed]) == 0
        assert trace.exists()
        trace.unlink()


def test_refuses_a_damaged_run_and_other_data(net: Path, tmp_path: Path, capsys) -> None:
    write_mnist(tmp_path / "mnist")
    data = ["--data", "mnist", "--data-dir", str(tmp_path), "--device", "cpu"]
    run = tmp_path / "run"
    assert main(["train", f"{net}:make", *data, "--max-steps", "1", "--epochs", "1", "--out", str(run)]) == 0
    capsys.readouterr()
    rng = np.random.Generator(np.random.Philox(8))
    arrays: dict[str, Any] = {"x_test": rng.integers(0, 9, (4, 6, 6)).astype(np.uint8), "y_test": np.arange(4)}
    np.savez(tmp_path / "other.npz", **arrays)
    assert "takes images (1, 28, 28) and tells 10 classes; the data has (1, 6, 6) and 4" in refused(
        capsys, "eval", str(run), "--trust", "--data", str(tmp_path / "other.npz")
    )
    assert "there is no file" in refused(capsys, "predict", str(tmp_path / "a.png"), "--run", str(run), "--trust")
    (run / "config.json").write_text('{"model": 3}')
    assert "not a configuration that gpunn train wrote" in refused(capsys, "eval", str(run))
