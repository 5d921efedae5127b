"""The command line: what it prints, what it writes, how it refuses, and its exit status."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import gpunn
from gpunn.cli.main import main

ROOT = Path(__file__).parent.parent.parent
COMMAND = [sys.executable, "-m", "gpunn"]


def write_mnist(folder: Path, train: int = 40, test: int = 20) -> Path:
    """The four files, with images from which the label can be read off."""
    folder.mkdir(parents=True)
    rng = np.random.Generator(np.random.Philox(0))
    for prefix, n in (("train", train), ("t10k", test)):
        labels = (np.arange(n) % 10).astype(np.uint8)
        images = rng.integers(0, 40, (n, 28, 28)).astype(np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[2 * label + 2 : 2 * label + 6] = 250
        for name, array in ((f"{prefix}-images-idx3-ubyte", images), (f"{prefix}-labels-idx1-ubyte", labels)):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            (folder / f"{name}.gz").write_bytes(gzip.compress(header + array.tobytes()))
    return folder


def refused(capsys, *words: str) -> str:
    """Run something that must be refused; the one line on standard error."""
    status = main(words)
    caught = capsys.readouterr()
    lines = caught.err.splitlines()
    assert len(lines) == 1, caught.err
    assert lines[0].startswith("gpunn: error: ")
    assert status == 2
    assert caught.out == ""
    return lines[0]


# -- train ---------------------------------------------------------------------------------------


def test_trains_on_digits_and_writes_the_run(tmp_path, capsys) -> None:
    pytest.importorskip("sklearn")
    out = tmp_path / "runs" / "a"
    words = ["train", "lenet5", "--epochs", "2", "--max-steps", "3", "--batch-size", "16", "--device", "cpu"]
    assert main([*words, "--weight-decay", "1e-3", "--seed", "5", "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "Training lenet5 (1,256,080 parameters) on digits (1,437 training and 360 test images) on cpu: "
        "2 epochs in batches of 16, SGD with learning rate 0.02, momentum 0.9, weight decay 0.001, seed 5."
    )
    assert lines[1].startswith("epoch 1/2  loss")
    assert re.fullmatch(
        r"test accuracy [\d.]+ % after epoch 1 of 2 \(step 3\); "
        + re.escape(str(out))
        + " holds model.safetensors, metrics.jsonl, config.json.",
        lines[-1],
    )
    config = json.loads((out / "config.json").read_text())
    assert " ".join(config["command"]) == (
        "train lenet5 --data digits --epochs 2 --batch-size 16 --lr 0.02 --optimizer sgd --schedule exponential "
        "--lr-decay 1.0 --momentum 0.9 --weight-decay 0.001 --label-smoothing 0.0 --seed 5 --max-steps 3 "
        "--accumulate 1 --not-finite stop --keep 2 --device cpu"
    )
    assert config["seed"] == 5
    assert config["versions"]["gpunn"] == gpunn.__version__
    assert config["model"]["name"] == "lenet5"
    # The penalty is on the four weights, not on the four biases (lecture, T3).
    groups = config["optimizer"]["groups"]
    assert [(g["weight_decay"], g["tensors"]) for g in groups] == [(0.001, 4), (0.0, 4)]
    record = json.loads((out / "metrics.jsonl").read_text())
    assert f"test accuracy {record['test_accuracy_percent']:.2f} %" in lines[-1]
    # The command in the configuration repeats the run exactly.
    again = tmp_path / "again"
    assert main([*config["command"], "--out", str(again)]) == 0
    assert (again / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()
    weights = gpunn.load_file(out / "model.safetensors")
    gpunn.models.build("lenet5").load_state_dict(weights)


def test_trains_on_mnist_from_a_folder_or_the_environment(tmp_path, capsys, monkeypatch) -> None:
    folder = write_mnist(tmp_path / "data" / "mnist")
    words = ["train", "lenet5", "--data", "mnist", "--epochs", "3", "--batch-size", "10", "--device", "cpu"]
    monkeypatch.delenv("GPUNN_DATA", raising=False)
    assert main([*words, "--data-dir", str(folder.parent)]) == 0
    first = capsys.readouterr().out
    assert "on mnist (40 training and 20 test images) on cpu" in first
    assert "SGD with learning rate 0.02 (times 0.5 after every epoch), momentum 0.9" in first
    assert re.search(r"; runs/lenet5-\d{8}-\d{6} holds model.safetensors", first.splitlines()[-1])
    assert main([*words, "--data-dir", str(folder)]) == 0
    second = capsys.readouterr().out
    monkeypatch.setenv("GPUNN_DATA", str(folder.parent))
    assert main(words) == 0
    third = capsys.readouterr().out
    figures = [re.findall(r"loss ([\d.]+)", text) for text in (first, second, third)]
    assert figures[0] == figures[1] == figures[2]
    assert float(figures[0][-2]) < float(figures[0][0]), "it learns"


def test_trains_with_kernels_too(kernels: str, tmp_path, capsys, monkeypatch) -> None:
    from gpunn import models

    # LeNet's shape with few filters: the emulator runs some hundred thousand CUDA threads a second.
    small = models.ModelEntry(
        lambda shape, classes: models.LeNet5(shape[0], classes, (2, 3), 8, shape[1:]), (1, 28, 28), "small"
    )
    monkeypatch.setitem(models.MODELS, "small", small)
    write_mnist(tmp_path / "mnist", train=4, test=2)
    words = [
        "train",
        "small",
        "--data",
        "mnist",
        "--data-dir",
        str(tmp_path),
        "--epochs",
        "3",
        "--batch-size",
        "2",
    ]
    losses = []
    for options in ([kernels], [kernels, "--no-capture"], ["cpu"]):
        assert main([*words, "--device", *options]) == 0
        losses.append([float(v) for v in re.findall(r"loss ([\d.]+)", capsys.readouterr().out)])
    # Six steps from the same weights, printed with four digits.
    np.testing.assert_allclose(losses[0], losses[2], atol=2e-4)
    assert losses[0] == losses[1]


def test_refuses_what_is_not_there_before_any_work(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.delenv("GPUNN_DATA", raising=False)
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    mnist = ["train", "lenet5", "--data", "mnist"]
    assert "unknown model 'lenet4': expected one of lenet5, " in (line := refused(capsys, "train", "lenet4"))
    assert line.endswith("; did you mean 'lenet5'?")
    assert "give the folder that contains mnist/ with --data-dir DIR" in refused(capsys, *mnist)
    assert f"--data-dir: {tmp_path / 'none'} does not exist" in refused(
        capsys, *mnist, "--data-dir", str(tmp_path / "none")
    )
    assert "is not a folder" in refused(capsys, *mnist, "--data-dir", str(tmp_path / "file"))
    line = refused(capsys, *mnist, "--data-dir", str(tmp_path / "empty"))
    assert "train-images-idx3-ubyte" in line
    assert str(tmp_path / "empty") in line
    assert "--data-dir: it is for mnist, fashion-mnist, cifar10, cifar100; got --data digits" in refused(
        capsys, "train", "lenet5", "--data-dir", str(tmp_path)
    )
    line = refused(capsys, "train", "lenet5", "--out", str(tmp_path / "file"))
    assert f"{tmp_path / 'file'}: expected a folder to write to" in line
    assert "unknown device 'gpu'" in refused(capsys, "train", "lenet5", "--device", "gpu")
    # A missing data set is found before the output folder is made.
    refused(capsys, *mnist, "--out", str(tmp_path / "made"))
    refused(capsys, *mnist, "--data-dir", str(tmp_path / "empty"), "--out", str(tmp_path / "made"))
    assert not (tmp_path / "made").exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc takes no files from anyone, root included")
def test_a_folder_that_the_system_refuses_is_told(capsys) -> None:
    pytest.importorskip("sklearn")
    line = refused(capsys, "train", "lenet5", "--out", "/proc/gpunn")
    assert "/proc/gpunn: expected a folder that can be written to; the system says" in line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["trian", "lenet5"],
            "unknown command 'trian': expected one of train, eval, predict, ",
        ),
        (["train"], "expected a network's name, such as lenet5"),
        (["train", "lenet5", "--epoch", "3"], "'--epoch' (see gpunn train --help); did you mean '--epochs'?"),
        (["train", "lenet5", "more"], "unknown option 'more'"),
        (["--verison"], "unknown option '--verison' (see gpunn --help); did you mean '--version'?"),
        (
            ["train", "lenet5", "--epochs", "0"],
            "argument --epochs: expected a whole number of at least 1; got",
        ),
        (["train", "lenet5", "--epochs", "two"], "expected a whole number of at least 1; got 'two'"),
        (["train", "lenet5", "--lr", "nan"], "argument --lr: expected a number above 0; got 'nan'"),
        (["train", "lenet5", "--lr", "0"], "expected a number above 0; got '0'"),
        (["train", "lenet5", "--momentum", "-1"], "argument --momentum"),
        (["train", "lenet5", "--seed", "-1"], "expected a whole number of at least 0; got '-1'"),
        (
            ["train", "lenet5", "--data", "mnits"],
            "cifar100, a folder or an .npz file; got 'mnits'; did you mean 'mnist'?",
        ),
        (["train", "lenet5", "--out"], "argument --out: expected one argument"),
        (["summary", "lenet5", "--input", "28,28"], "channels,height,width such as 1,28,28; got '28,28'"),
        (["summary", "lenet5", "--input", "1,2,2"], "2 pools leave nothing of an image of 2x2"),
        (["summary", "resnet"], "unknown model 'resnet': expected one of lenet5"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(capsys, words, message) -> None:
    assert message in refused(capsys, *words)


def test_a_loss_that_is_not_finite_is_one_line_and_status_1(tmp_path, capsys) -> None:
    write_mnist(tmp_path / "mnist")
    words = [
        "train",
        "lenet5",
        "--data",
        "mnist",
        "--data-dir",
        str(tmp_path),
        "--lr",
        "1e30",
        "--device",
        "cpu",
    ]
    assert main([*words, "--batch-size", "10"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert re.match(
        r"gpunn: error: the training loss became (nan|inf) at step 2 \(epoch 1\); .* is not finite\. Lower the",
        lines[0],
    )


@pytest.mark.skipif(os.name != "posix", reason="a process elsewhere cannot be sent Ctrl-C alone")
def test_ctrl_c_keeps_complete_epochs_and_ends_with_130(tmp_path) -> None:
    write_mnist(tmp_path / "mnist", train=400, test=20)
    out = tmp_path / "out"
    words = [
        "train",
        "lenet5",
        "--data",
        "mnist",
        "--data-dir",
        str(tmp_path),
        "--epochs",
        "500",
        "--out",
        str(out),
    ]
    with subprocess.Popen(
        [*COMMAND, *words, "--device", "cpu"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores Ctrl-C, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        deadline = time.monotonic() + 120
        while not (out / "metrics.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert len(stderr.splitlines()) == 1, stderr
    assert stderr.startswith("gpunn: interrupted; test accuracy ")
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert f"after epoch {len(records)} of 500" in stderr
    assert "Training lenet5" in stdout
    assert gpunn.load_file(out / "model.safetensors")["fc2.bias"].shape == (10,)
    assert json.loads((out / "config.json").read_text())["data"]["name"] == "mnist"
    assert sorted(p.name for p in out.iterdir()) == ["checkpoints", "config.json", "metrics.jsonl", "model.safetensors"]


# -- summary, help ----------------------------------------------------------------------------------


def test_summary(capsys) -> None:
    assert main(["summary", "lenet5"]) == 0
    text = capsys.readouterr().out
    for part in (
        "50x14x14",
        "1,225,500",
        "4,900,000",
        "15.3 KiB",
        "fused into conv2",
        "1,256,080",
        "6,522,000",
    ):
        assert part in text, part
    assert main(["summary", "lenet5", "--input", "3,33,32"]) == 0
    text = capsys.readouterr().out
    assert "20x33x32" in text
    assert "last row of the padded input unused" in text


def test_summary_draws_the_graph(tmp_path, capsys) -> None:
    place = tmp_path / "net.dot"
    assert main(["summary", "lenet5", "--graph", str(place)]) == 0
    table, told = capsys.readouterr().out.rstrip().rsplit("\n", 1)
    assert "1,256,080" in table
    assert told == f"{place} shows the graph."
    assert '[label="1×20×28×28"];' in place.read_text()
    pytest.importorskip("matplotlib", reason="pictures need matplotlib: pip install 'gpunn[plot]'")
    assert main(["summary", "lenet5", "--graph", str(tmp_path / "net.svg")]) == 0
    assert "<svg" in (tmp_path / "net.svg").read_text()[:1000]
    assert main(["summary", "no-such-model", "--graph", "net.gif"]) == 2
    assert "--graph: expected a file name that ends in .png, .svg, .pdf, .dot; got net.gif" in capsys.readouterr().err


def test_help_and_version(capsys) -> None:
    assert main([]) == 0
    assert "train" in capsys.readouterr().out
    for words in (["--help"], ["train", "--help"], ["summary", "--help"], ["--version"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0
        text = capsys.readouterr().out
        assert text
    assert text == f"gpunn {gpunn.__version__}\n"


def test_python_m_gpunn_is_the_same_program() -> None:
    done = subprocess.run([*COMMAND, "train", "lenet6"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert re.fullmatch(
        r"gpunn: error: unknown model 'lenet6': expected one of lenet5, .*; did you mean 'lenet5'\?\n", done.stderr
    )


@pytest.mark.skipif(os.name != "posix", reason="pipes end like this on POSIX")
def test_a_reader_that_goes_away_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m gpunn summary lenet5 | head -n 1; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
