"""``gpunn bench`` and ``gpunn profile``: what they print, keep and refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gpunn.bench import machine, records, runner
from gpunn.cli.main import main
from tests.cli.test_cli import refused

QUICK = ["bench", "--device", "cpu", "--size", "tiny", "--seconds", "0.001"]


@pytest.fixture
def quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "share_of_others", lambda before, after: 0.01)


def test_one_line_for_each_side(capsys: Any, quiet_machine: None) -> None:
    assert main([*QUICK, "--quick", "--cases", "linear1024,mlp*"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("cpu, ")
    assert "GFLOP/s and" in lines[0]
    assert [line.split()[0] for line in lines[1:]] == [
        *("linear1024.forward", "gpunn", "linear1024.backward", "gpunn", "mlp-b3.step", "gpunn")
    ]
    for word in ("ms ±", "images/s", "GFLOP/s", "GB/s", "of ceiling"):
        assert word in lines[-1]


def test_beside_pytorch_with_memory(capsys: Any, quiet_machine: None) -> None:
    pytest.importorskip("torch")
    assert main([*QUICK, "--quick", "--cases", "conv05.forward", "--against", "torch", "--memory"]) == 0
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [line[2:30].strip() for line in lines] == ["gpunn", "torch", "torch channels_last"]
    assert all("peak " in line for line in lines)
    assert ["ratio " in line for line in lines] == [False, True, True]


def test_results_are_kept_and_come_back(tmp_path: Path, capsys: Any, quiet_machine: None) -> None:
    out = tmp_path / "bench.jsonl"
    for _ in range(2):
        assert main([*QUICK, "--cases", "linear1024", "--threads", "1", "--out", str(out)]) == 0
    assert f"2 of 2 results appended to {out}" in capsys.readouterr().out
    kept = records.read(out)
    assert [r["case"] for r in kept] == ["linear1024.forward", "linear1024.backward"] * 2
    assert {(r["size"], r["threads"], r["device"]) for r in kept} == {("tiny", 1, "cpu")}


def test_times_of_a_busy_machine_are_not_kept(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "share_of_others", lambda before, after: 2 * machine.DISTURBED)
    out = tmp_path / "bench.jsonl"
    assert main([*QUICK, "--cases", "linear1024.forward", "--out", str(out)]) == 1
    text = capsys.readouterr().out
    assert "other processes took 10% of the machine: do not trust this" in text
    assert "0 of 1 results appended" in text
    assert not out.exists()


def test_wrong_results_are_said_and_not_kept(capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "results.jsonl"
    monkeypatch.setattr(runner, "difference", lambda ours, theirs: float("nan"))
    assert main([*QUICK, "--cases", "linear1024", "--out", str(out)]) == 1
    text = capsys.readouterr().out
    for direction in ("forward", "backward"):
        assert f"linear1024.{direction}  WRONG: linear1024.{direction}" in text
    assert "0 of 2 results appended" in text
    assert "2 of 2 cases compute something else than the other side" in text
    assert not out.exists()


def test_the_list_of_cases(capsys: Any) -> None:
    assert main(["bench", "--list", "--device", "cpu", "--size", "full"]) == 0
    text = capsys.readouterr().out
    row = next(line for line in text.splitlines() if line.startswith("conv06.dx "))
    assert row.split()[1:] == ["conv", "b256", "64→64", "3×3", "56²", "59.19", "411.2"]
    assert "mnist-lenet.epoch" in text
    assert main(["bench", "--list", "--cases", "conv06", "--device", "cpu"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--cases", "conv6"], "no case is called 'conv6'"),
        (["--against", "pytorch"], "expected torch, dezero, one-thread or a device"),
        (["--against", "cpu"], "cpu is the device that is measured"),
        (["--size", "huge"], "argument --size: expected one of full, cpu, tiny; got 'huge'"),
        (["--dtype", "float16"], "argument --dtype: expected one of float32, float64; got 'float16'"),
        (["--threads", "0"], "argument --threads: expected a whole number of at least 1"),
        (["--seconds", "0"], "argument --seconds: expected a number above 0"),
        (["--device", "gpu"], "unknown device 'gpu'"),
        (["--quick", "--out", "x.jsonl"], "the results of --quick are not worth keeping"),
        (["--out", "."], "expected a file; . is a folder"),
        (["--agianst", "torch"], "unknown option '--agianst' (see gpunn bench --help); did you mean '--against'"),
    ],
)
def test_wrong_use(words: list[str], message: str, capsys: Any) -> None:
    assert message in refused(capsys, "bench", *(["--device", "cpu"] if "--device" not in words else []), *words)


# -- profile ---------------------------------------------------------------------------------------


def test_a_step_layer_by_layer(capsys: Any) -> None:
    assert main(["profile", "lenet5", "--device", "cpu", "--batch-size", "4", "--steps", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("lenet5: the lecture's LeNet")
    assert "input 1x28x28, batch 4, on cpu" in lines[0]
    assert lines[1].startswith("a step takes ")
    headings = [line.split()[0] for line in lines[2:]]
    for name in ("layer", "conv1", "pool2", "fc2", "CrossEntropyLoss", "update", "everything", "total"):
        assert name in headings
    assert "fused into conv1" in next(line for line in lines if line.startswith("relu1"))


def test_a_network_of_ones_own(tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "net.py"
    file.write_text(
        "from gpunn import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.inner = nn.Linear(6, 3)\n"
        "    def forward(self, x):\n"
        "        return self.inner(x)\n"
        "class Pair(Net):\n"
        "    def forward(self, x):\n"
        "        return x, x\n"
    )
    words = ["--device", "cpu", "--batch-size", "2", "--steps", "1"]
    assert main(["profile", f"{file}:Net", "--input", "6", *words]) == 0
    assert "\ninner  " in capsys.readouterr().out
    assert "expected a network that returns one tensor; got tuple" in refused(
        capsys, "profile", f"{file}:Pair", "--input", "6", *words
    )
    assert "give the shape of one item with --input" in refused(capsys, "profile", f"{file}:Net", *words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lenet6"], "unknown model 'lenet6'"),
        (["lenet5", "--input", "1,x"], "argument --input: expected channels,height,width"),
        (["lenet5", "--batch-size", "0"], "argument --batch-size: expected a whole number of at least 1"),
        (["lenet5", "--device", "tpu"], "unknown device 'tpu'"),
    ],
)
def test_wrong_use_of_profile(words: list[str], message: str, capsys: Any) -> None:
    assert message in refused(capsys, "profile", *words)


@pytest.mark.emulator
def test_times_of_the_emulator_are_told_to_mean_nothing(tmp_path: Path, capsys: Any) -> None:
    from gpunn._device import device
    from gpunn.errors import DeviceError

    try:
        device("emulator")
    except DeviceError as error:
        pytest.skip(str(error))
    file = tmp_path / "net.py"
    file.write_text("from gpunn import nn\ndef Net():\n    return nn.Sequential(nn.Linear(4, 3))\n")
    words = ["--input", "4", "--device", "emulator", "--batch-size", "2", "--steps", "1"]
    assert main(["profile", f"{file}:Net", *words]) == 0
    assert "its times say nothing about a GPU" in capsys.readouterr().out
    assert main(["bench", "--device", "emulator", "--quick", "--cases", "linear1024.forward"]) == 0
    assert "its times say nothing about a GPU" in capsys.readouterr().out
