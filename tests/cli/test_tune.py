"""``gpunn tune``: what it prints, keeps, predicts and forgets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunn import cuda
from gpunn._device import Device, device
from gpunn.bench import tune as trials
from gpunn.cli import tune
from gpunn.cli.main import main
from gpunn.gpu import choices
from gpunn.gpu.launcher import trace_launches

_NET = """
from gpunn import nn
class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(512, 80), nn.ReLU(), nn.Linear(80, 3))
"""


def _blocks(where: Device, run: Any) -> float:
    """A stand-in for a clock: more blocks take longer."""
    with trace_launches() as launches:
        run()
    return float(sum(np.prod(launch.grid) for launch in launches))


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    """The emulator, taken for a GPU whose clock counts blocks."""
    where = device("emulator")
    monkeypatch.setattr(tune, "_gpu", lambda name: where)
    monkeypatch.setattr(trials, "timed", _blocks)
    monkeypatch.setattr(cuda, "get_device_name", lambda home: "a stand-in")
    monkeypatch.setenv("GPUNN_TUNED", str(tmp_path / "tuned"))
    yield where
    choices.use(where, {})


@pytest.mark.emulator
def test_tunes_and_forgets(card: Device, tmp_path: Path, capsys: Any) -> None:
    net, path = tmp_path / "net.py", tmp_path / "tuned" / "emulator.json"
    net.write_text(_NET)
    command = ["tune", f"{net}:Net", "--input", "2,16,16", "--batch-size", "40"]
    assert main(command) == 0
    first, *lines, total, kept = capsys.readouterr().out.splitlines()
    assert "batch 40; emulator (a stand-in)" in first
    (line,) = (line for line in lines if line.startswith("  gemm_nt 40 80 512 "))
    assert line.split(": ")[1] == "tile 64 2.0 µs instead of tile 32, 4 slices 12.0 µs"
    assert f"{len(lines)} kinds of launches; of " in total
    assert kept == f"kept in {path}: {len(lines)} kinds of launches"
    table = choices.read(path)
    assert table == choices.table_of(card)
    assert next(entry.way for (kernel, facts), entry in table.items() if facts[:3] == (40, 80, 512)) == (64, 1)
    assert main([*command[:-1], "50"]) == 0  # what is there is added to
    assert set(table) < set(choices.read(path))
    capsys.readouterr()
    assert main(["tune", "--clear"]) == 0
    assert capsys.readouterr().out == f"removed {path}\n"
    assert not path.exists()
    assert main(["tune", "--clear"]) == 0
    assert capsys.readouterr().out == f"nothing was measured on this kind of card: there is no {path}\n"


def test_without_a_file_there_is_nothing_to_tune(card: Device, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("GPUNN_TUNED", "0")
    assert main(["tune", "lenet5"]) == 2
    assert "GPUNN_TUNED=0 leaves all choices to the rules. Unset it." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "more", "kernel"),
    [
        ("lenet5", [], "conv2d_backward_weight"),
        ("alexnet-cifar", ["--precision", "tf32"], "conv2d_tensor_forward"),
        ("resnet20", ["--autocast", "bfloat16"], "conv2d_half_forward"),
    ],
)
def test_predicts_without_a_gpu(
    model: str, more: list[str], kernel: str, monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path
) -> None:
    if "bfloat16" in more:
        pytest.importorskip("ml_dtypes")
    asked: list[str] = []

    def predicted(card: Any) -> Any:
        asked.append(card.name)
        return _blocks

    monkeypatch.setattr(trials, "predicted", predicted)
    monkeypatch.setenv("GPUNN_TUNED", str(tmp_path))
    assert main(["tune", model, "--predict", "a100", "--batch-size", "1024", *more]) == 0
    first, *lines, total = capsys.readouterr().out.splitlines()
    assert first.endswith("batch 1024; predicted for A100, nothing is measured or kept")
    assert asked == ["A100"]
    assert kernel in {line.split()[0] for line in lines}
    assert f"{len(lines)} kinds of launches" in total
    assert list(tmp_path.iterdir()) == []
    from gpunn._precision import get_precision

    assert get_precision() == "fp32"


def test_a_way_in_words() -> None:
    def told(kernel: str, way: tuple[int, ...]) -> str:
        return tune._way(trials.Trial(kernel, (), "", way), way)

    assert told("gemm_nt", (64, 1)) == "tile 64"
    assert told("gemm_nt", (64, 3)) == "tile 64, 3 slices"
    assert told("conv2d_forward", (128,)) == "tile 128"
    assert told("gemm_half_nt", (128, 64, 5)) == "tile 128x64, 5 slices"
    assert told("gemm_tensor_nt", (1,)) == "1 slice"
    assert told("conv2d_tensor_forward", (8,)) == "8 slices"
    assert told("conv2d_backward", (64, 1, 8)) == "tile 64, slices 1 and 8"
    assert told("gemm_backward", (0,)) == "two launches"
    assert told("conv2d_forward", (4, 128)) == told("conv2d_backward_weight", (4, 128)) == "Winograd, 128 MB"
