"""gpunn export: the file of a run or a network, compared in onnxruntime; what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn.cli.main import main
from tests.cli.test_cli import refused

onnx = pytest.importorskip("onnx", reason="pip install onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")


def test_a_run_becomes_a_file_with_its_classes_and_statistics(tmp_path: Path, capsys: Any) -> None:
    run = tmp_path / "run"
    words = ["--data", "digits", "--max-steps", "2", "--batch-size", "8", "--device", "cpu", "--out", str(run)]
    assert main(["train", "lenet5", *words]) == 0
    capsys.readouterr()
    target = tmp_path / "lenet.onnx"
    assert main(["export", str(run), str(target)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{target}: lenet5, images (batch, 1, 28, 28), 1,256,080 parameters, 5.0 MB")
    assert lines[1].startswith("onnxruntime gives the same scores for 3 images: they differ by ")
    proto = onnx.load(target)
    about = {one.key: one.value for one in proto.metadata_props}
    assert about["network"] == "lenet5"
    assert json.loads(about["classes"]) == [str(i) for i in range(10)]
    config = json.loads((run / "config.json").read_text())
    assert len(json.loads(about["mean"])) == len(json.loads(about["std"])) == 1
    assert config["model"]["name"] == "lenet5"
    saved = gpunn.load_file(run / "model.safetensors")
    weights = {one.name: onnx.numpy_helper.to_array(one) for one in proto.graph.initializer}
    np.testing.assert_array_equal(weights["conv1.weight"], saved["conv1.weight"].numpy())


def test_a_network_by_name_with_weights(tmp_path: Path, capsys: Any) -> None:
    gpunn.manual_seed(3)
    model = gpunn.models.build("resnet20", classes=7)
    gpunn.save_file(model.state_dict(), tmp_path / "w.safetensors")
    target = tmp_path / "r.onnx"
    words = ["--classes", "7", "--weights", str(tmp_path / "w.safetensors"), "--input", "3,16,16", "--opset", "19"]
    assert main(["export", "resnet20", str(target), *words]) == 0
    assert "images (batch, 3, 16, 16)" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    x = np.random.Generator(np.random.Philox(1)).normal(size=(2, 3, 16, 16)).astype(np.float32)
    (scores,) = session.run(["scores"], {"images": x})
    expected = model.eval()(gpunn.tensor(x)).detach().numpy()
    # Sums of a few thousand terms in another order.
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["lenet5", "a.pt"], "expected a file named .onnx; got 'a.pt'"),
        (["lenet5", "old.onnx"], "old.onnx exists. Give another name, or --overwrite"),
        (["lenet6", "a.onnx"], "did you mean 'lenet5'?"),
        (["lenet5", "a.onnx", "--opset", "9"], "opset_version: expected 18 to"),
        (["lenet5", "a.onnx", "--trust"], "--model and --trust: they are for runs"),
        (["lenet5", "a.onnx", "--weights", "w.txt"], "--weights: expected a file named .safetensors"),
        (["folder", "a.onnx", "--classes", "3"], "--classes: it is for networks by name; folder is a run's folder"),
        (["folder", "a.onnx"], "has no config.json and no model.safetensors"),
        (["net.py:Net", "a.onnx", "--input", "3,4,4"], "onnx.export: Net: mse_loss has no form in ONNX"),
    ],
)
def test_what_it_refuses(words: list[str], says: str, capsys: Any) -> None:
    Path("old.onnx").touch()
    Path("folder").mkdir()
    Path("net.py").write_text(
        "from gpunn import nn\nclass Net(nn.Module):\n    def forward(self, x):\n"
        "        return nn.functional.mse_loss(x, x * 2)\n"
    )
    assert says in refused(capsys, "export", *words)
    assert not Path("a.onnx").exists()


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert "pip install 'gpunn[onnx]'" in refused(capsys, "export", "lenet5", "a.onnx")


def test_without_onnxruntime_it_says_that_nothing_was_compared(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert main(["export", "lenet5", "a.onnx"]) == 0
    assert "not run: with onnxruntime installed" in capsys.readouterr().out
