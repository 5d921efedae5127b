"""A run folder from anybody: whatever is in config.json, the answer is one line that says what is wrong with it."""

from __future__ import annotations

import copy
import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunn.cli.config import read_config
from gpunn.cli.main import main
from gpunn.cli.run import Run
from gpunn.errors import DataError
from tests.cli.test_cli import refused
from tests.hostile import posix, refusal

GOOD: dict[str, Any] = {
    "model": {"name": "mlp", "input_shape": [1, 28, 28], "classes": 10},
    "data": {
        "name": "mnist",
        "image_size": None,
        "folder": None,
        "classes": [str(i) for i in range(10)],
        "mean": [0.1],
        "std": [0.3],
    },
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text(json.dumps(GOOD))
    (tmp_path / "run" / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    return tmp_path / "run"


def test_the_good_one_is_read(run: Path) -> None:
    config = read_config(run / "config.json")
    assert (config.name, config.input_shape, config.classes[9]) == ("mlp", (1, 28, 28), "9")
    assert (config.data_name, config.data_folder, config.image_size) == ("mnist", None, None)
    assert (config.mean, config.std) == ([0.1], [0.3])


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("model", 3, "model: expected an object; got 3"),
        ("model.name", None, "model.name: expected a text of at most 4096 letters; got nothing"),
        ("model.name", ["mlp"], "model.name: expected a text of at most 4096 letters; got a list"),
        ("model.name", "m" * 5000, "got 'mmm"),
        ("model.input_shape", [1, 28], "expected three lengths; got [1, 28]"),
        ("model.input_shape", "abc", "expected a list"),
        ("model.input_shape", [1, 28, 28.0], "expected whole numbers from 1; got 28.0"),
        ("model.input_shape", [1, 28, True], "expected whole numbers from 1; got True"),
        ("model.input_shape", [1, 28, 0], "expected whole numbers from 1; got 0"),
        ("model.input_shape", [1, 28, 10**100], "expected whole numbers from 1; got 1000"),
        ("data.classes", [], "expected at least one name"),
        ("data.classes", {"a": 1}, "data.classes: expected a list; got an object"),
        ("data.classes", [1, 2], "data.classes: expected a text of at most 4096 letters; got 1"),
        ("data.name", 7, "data.name: expected a text"),
        ("data.folder", [], "data.folder: expected a text"),
        ("data.image_size", 1.5, "data.image_size: expected whole numbers"),
        ("data.image_size", 64, "data.image_size is 64 where model.input_shape has 28x28"),
        ("data.mean", 0.1, "data.mean: expected a list; got 0.1"),
        ("data.mean", [0.1, 0.2], "expected one number or 1 each; got 2 and 1"),
        ("data.mean", ["0.1"], "data.mean: expected numbers; got '0.1'"),
        ("data.mean", [True], "data.mean: expected numbers; got True"),
        ("data.std", [0], "data.std: expected numbers above 0; got 0"),
        ("data.std", [1e300], "data.std: expected numbers; got 1e+300"),
        ("data.std", [10**400], "data.std: expected numbers; got 1000"),
    ],
)
def test_fields_of_another_kind(run: Path, place: str, value: Any, message: str) -> None:
    config: Any = copy.deepcopy(GOOD)
    *outer, last = place.split(".")
    inner = config
    for key in outer:
        inner = inner[key]
    inner[last] = value
    (run / "config.json").write_text(json.dumps(config))
    said = refusal(lambda: read_config(run / "config.json"))
    assert "config.json: not a configuration that gpunn train wrote: " in said
    assert message in said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Expecting value"),
        (b"\xff\xfe", "utf-8"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 50_000, "nested too deeply"),
        (b"[" + b"{}," * 3_000_000 + b"{}]", "would take"),
        (b'{"model": Infinity}', "Infinity is not JSON"),
        (b'{"model": {}, "model": {}}', "a name occurs twice"),
        (b" " * 16_000_001, "it has 16000001 bytes; at most 16000000 are read"),
        (b'{"model": {"name": "\\u001b[2J\\ud800"}, "data": {}}', "model.input_shape: expected a list; got nothing"),
    ],
)
def test_what_is_no_configuration(run: Path, content: bytes, message: str) -> None:
    (run / "config.json").write_bytes(content)
    assert message in refusal(lambda: read_config(run / "config.json"), 16_000_000 + 10 * len(content))


def test_names_are_escaped_where_they_are_shown(run: Path, capsys: Any) -> None:
    config = copy.deepcopy(GOOD)
    config["model"]["name"] = "\x1b[2J\u202e\ud800\n" + "n" * 3000
    (run / "config.json").write_text(json.dumps(config))
    message = refused(capsys, "eval", str(run))
    assert message.isprintable()
    assert len(message) < 500


@posix
def test_files_that_are_none(run: Path, capsys: Any) -> None:
    for name in ("config.json", "model.safetensors"):
        whole = (run / name).read_bytes()
        (run / name).unlink()
        os.mkfifo(run / name)
        assert f"has no {name}" in refused(capsys, "eval", str(run))
        (run / name).unlink()
        (run / name).symlink_to("/dev/zero")
        assert f"has no {name}" in refused(capsys, "eval", str(run))
        (run / name).unlink()
        (run / name).symlink_to(run / name)
        assert f"has no {name}" in refused(capsys, "predict", "a.png", "--run", str(run))
        (run / name).unlink()
        (run / name).write_bytes(whole)


def folders(root: Path, train: list[str], test: list[str]) -> Path:
    image = pytest.importorskip("PIL.Image")
    for part, names in (("train", train), ("test", test)):
        for name in names:
            (root / part / name).mkdir(parents=True)
            image.new("RGB", (8, 8)).save(root / part / name / "1.png")
    return root


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (["cat", "zebra"], "only the test part has zebra; the test part has no dog"),
        (["cat"], "the test part has no dog"),
        (["cat", "dog", "emu\n\x1b"], "only the test part has emu\\n\\x1b"),
    ],
)
def test_training_and_test_folders_need_the_same_classes(tmp_path: Path, capsys: Any, test: list[str], message: str):
    root = folders(tmp_path / "x", ["cat", "dog"], test)
    assert message in refused(capsys, "train", "mlp", "--data", str(root), "--device", "cpu")


def test_data_of_other_classes_is_not_what_the_run_learnt(tmp_path: Path, capsys: Any) -> None:
    root = folders(tmp_path / "x", ["cat", "dog"], ["cat", "dog"])
    words = ["train", "mlp", "--data", str(root), "--device", "cpu", "--epochs", "1", "--out", str(tmp_path / "run")]
    assert main(words) == 0
    assert main(["eval", str(tmp_path / "run"), "--device", "cpu"]) == 0
    capsys.readouterr()
    other = folders(tmp_path / "y", ["cat", "zebra"], ["cat", "zebra"])
    message = refused(capsys, "eval", str(tmp_path / "run"), "--data", str(other), "--device", "cpu")
    assert (
        "it was trained on 2 classes, and the data has others: only the data has zebra; the data has no dog" in message
    )
    # The labels of an .npz file have no names: a part of them is fine.
    np.savez(tmp_path / "z.npz", x_test=np.zeros((2, 8, 8, 3), np.uint8), y_test=[0, 0])
    assert main(["eval", str(tmp_path / "run"), "--data", str(tmp_path / "z.npz"), "--device", "cpu"]) == 0
    capsys.readouterr()
    np.savez(tmp_path / "z.npz", x_test=np.zeros((2, 8, 8, 3), np.uint8), y_test=[0, 2])
    assert "tells 2 classes; the data has (3, 8, 8) and 3" in refused(
        capsys, "eval", str(tmp_path / "run"), "--data", str(tmp_path / "z.npz"), "--device", "cpu"
    )


def test_an_npz_test_part_with_labels_of_its_own(tmp_path: Path, capsys: Any) -> None:
    x = np.zeros((3, 8, 8, 1), np.uint8)
    np.savez(tmp_path / "z.npz", x_train=x, y_train=[0, 1, 1], x_test=x, y_test=[0, 1, 5])
    assert "the training part has 2 classes; the test part has labels up to 5" in refused(
        capsys, "train", "mlp", "--data", str(tmp_path / "z.npz"), "--device", "cpu"
    )


def test_max_pixels_is_kept_with_the_command(tmp_path: Path, capsys: Any) -> None:
    root = folders(tmp_path / "x", ["cat", "dog"], ["cat", "dog"])
    words = ["train", "mlp", "--data", str(root), "--device", "cpu", "--max-pixels"]
    assert "at most 63 pixels in a file" in refused(capsys, *words, "63")
    assert main([*words, "64", "--epochs", "1", "--out", str(tmp_path / "run")]) == 0
    command = json.loads((tmp_path / "run" / "config.json").read_text())["command"]
    assert command[command.index("--max-pixels") + 1] == "64"
    capsys.readouterr()
    assert "--max-pixels: it is for folders of images" in refused(
        capsys, "train", "mlp", "--data", "digits", "--max-pixels", "9"
    )
    picture = str(root / "test" / "cat" / "1.png")
    assert "at most 63 pixels" in refused(
        capsys, "predict", picture, "--run", str(tmp_path / "run"), "--max-pixels", "63"
    )


def test_a_configuration_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="could not be read"):
        read_config(tmp_path / "absent")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_shape": [3, 50_000, 50_000]}, "states images (3, 50000, 50000), which are larger than its weights"),
        ({"input_shape": [2**31, 2**31, 2**31]}, "which are larger than its weights make likely"),
        ({"input_shape": [1, 1500, 1500]}, "a parameter of shape (1024, 2250000) is too large for the weights"),
        ({"name": "lenet5", "input_shape": [1, 3, 3]}, "the network that config.json states cannot be built: "),
    ],
)
def test_a_network_larger_than_its_weights_is_not_built(run: Path, change: dict[str, Any], message: str) -> None:
    config = copy.deepcopy(GOOD)
    config["model"] |= change
    (run / "config.json").write_text(json.dumps(config))
    assert message in refusal(lambda: Run(run).model(), 16_000_000)
    if "larger than its weights make" in message:
        assert Run(run, trust=True).input_shape == tuple(change["input_shape"])


def test_many_classes_are_no_reason_for_a_large_network(run: Path) -> None:
    config = copy.deepcopy(GOOD)
    config["data"]["classes"] = ["x"] * 100_000
    (run / "config.json").write_text(json.dumps(config))
    assert "is too large for the weights" in refusal(lambda: Run(run).model(), 30_000_000)


def test_the_limit_is_for_the_block_and_the_thread() -> None:
    from gpunn import nn
    from gpunn.errors import UsageError
    from gpunn.nn._arguments import parameters_within

    with parameters_within(400):
        nn.Linear(9, 10)
        with parameters_within(10_000):
            nn.Linear(30, 30)
        with pytest.raises(UsageError, match=r"a parameter of shape \(1, 1\) is too large"):
            nn.Linear(1, 1)
        made: list[Any] = []
        other = threading.Thread(target=lambda: made.append(nn.Linear(30, 30)))
        other.start()
        other.join()
        assert made
    nn.Linear(30, 30)
