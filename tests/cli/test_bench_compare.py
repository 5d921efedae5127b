"""``gpunn bench --compare``: one table, one picture, one run; and what is said of a device that is not there."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from gpunn._device import device
from gpunn.bench import compare, machine
from gpunn.cli.main import main
from gpunn.errors import DeviceError

_NET = """
from gpunn import nn

class Net(nn.Module):
    input_shape = (1, 4, 4)

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        return self.fc(x.flatten(1))

class Shapeless(Net):
    input_shape = None
"""


@pytest.fixture(autouse=True)
def _place(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("net.py").write_text(_NET)
    monkeypatch.delenv("GPUNN_TRACEBACK", raising=False)
    monkeypatch.setattr(compare, "share_of_others", lambda before, after: 0.01)


def _without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from gpunn.gpu.diagnosis import no_import

    def build(name: Any = "auto") -> Any:
        if str(name).startswith("cuda"):
            raise DeviceError(no_import(name, ModuleNotFoundError("No module named 'cupy'")))
        return device(name)

    monkeypatch.setattr("gpunn._device.device", build)


def _words(devices: str, rest: str = "", networks: str = "net.py:Net", batches: str = "2,8") -> list[str]:
    words = f"bench --compare {devices} --networks {networks} --batch-sizes {batches} --seconds 0.001"
    return f"{words} {rest}".split()


def _rows(printed: str) -> list[list[str]]:
    return [line.split() for line in printed.splitlines() if line.split()[1:2] in (["train"], ["inference"])]


def test_one_table_one_picture_one_run(kernels: str, capsys: Any) -> None:
    name = str(device(kernels))
    assert main(_words(f"cpu,{kernels}", "--quick --mode both --threads 1")) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[0].startswith("cpu: ")
    assert printed.splitlines()[0].endswith(", 1 thread")
    assert printed.splitlines()[1].startswith(f"{name}: ")
    assert f"{name}/cpu" in printed
    rows = _rows(printed)
    assert [row[:3] for row in rows] == [
        ["Net", mode, batch] for mode in ("train", "inference") for batch in ("2", "8")
    ]  # fmt: skip
    assert all(row[3] != "-" and float(row[-1]) > 0 for row in rows)
    assert "WRONG" not in printed
    if importlib.util.find_spec("matplotlib") is None:
        return
    assert "compare.png shows it." in printed
    assert Path("compare.png").read_bytes().startswith(b"\x89PNG")


def test_the_emulators_times_are_none_of_a_gpu(capsys: Any) -> None:
    try:
        device("emulator")
    except DeviceError as error:
        pytest.skip(str(error))
    assert main(_words("cpu,emulator", "--quick", batches="2")) == 0
    printed = capsys.readouterr().out
    assert "emulator: the kernels on the CPU, checked: its times say nothing about a GPU" in printed
    assert "times as fast" not in printed


def test_without_a_gpu_it_says_what_is_missing_and_shows_the_cpus_half(
    capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    _without_gpu(monkeypatch)
    assert main(_words("cpu,cuda", "--quick --picture half.svg")) == 0
    printed = capsys.readouterr().out
    assert "Left out: device 'cuda'" in printed
    assert "pip" in printed
    rows = _rows(printed)
    assert [row[:3] for row in rows] == [["Net", "train", "2"], ["Net", "train", "8"]]
    assert "cuda/cpu" not in printed
    assert "without cuda, which this machine has not" in Path("half.svg").read_text()


def test_without_any_of_the_devices(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _without_gpu(monkeypatch)
    assert main(_words("cuda,cuda:1")) == 2
    assert "device 'cuda" in capsys.readouterr().err


def test_results_are_lines_of_json(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _without_gpu(monkeypatch)
    assert main(_words("cpu,cuda-plain", "--out kept/c.jsonl", networks="net.py:Net,mlp", batches="3")) == 0
    kept = [json.loads(line) for line in Path("kept", "c.jsonl").read_text().splitlines()]
    assert [record["case"] for record in kept] == ["Net-b3.train", "mlp-b3.train"]
    assert all(record["sides"]["cpu"]["items_per_second"] > 0 and record["group"] == "compare" for record in kept)
    assert "2 of 2 results appended to kept/c.jsonl" in capsys.readouterr().out


def test_times_of_a_busy_machine_are_not_kept(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _without_gpu(monkeypatch)
    monkeypatch.setattr(compare, "share_of_others", lambda before, after: 2 * machine.DISTURBED)
    assert main(_words("cpu,cuda", "--out c.jsonl", batches="2")) == 1
    printed = capsys.readouterr().out
    assert "other processes took 10% of the machine: do not trust this" in printed
    assert "0 of 1 results appended to c.jsonl; 1 not kept" in printed
    assert not Path("c.jsonl").exists()


def test_a_batch_that_does_not_fit_is_said(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from gpunn.bench.case import Case

    prepare = Case.prepare

    def full(self: Case, home: Any, seed: int = 0) -> Any:
        if self.items > 2:
            raise MemoryError("Unable to allocate 3 TiB")
        return prepare(self, home, seed)

    _without_gpu(monkeypatch)
    monkeypatch.setattr(Case, "prepare", full)
    assert main(_words("cpu,cuda", "--quick", batches="2,4,8")) == 0
    printed = capsys.readouterr().out
    assert [" ".join(row[2:6]) for row in _rows(printed)[1:]] == ["4 does not fit", "8 does not fit"]
    assert "cpu: does not fit: Unable to allocate 3 TiB" in printed
    assert "cpu: batch 4 did not fit" in printed


def test_where_the_second_device_pays() -> None:
    from gpunn.cli import bench_compare

    def point(batch: int, one: float, other: float) -> compare.Point:
        sides = {"cpu": {"items_per_second": one}, "cuda": {"items_per_second": other}}
        return compare.Point("n", "train", batch, sides)

    said = [
        bench_compare._conclusions([point(4, 4, small), point(64, 4, large)], ["cpu", "cuda"])
        for small, large in ((1, 16), (5, 16), (1, 2))
    ]
    assert said == [
        ["n, train: cuda is faster than cpu from a batch of about 16 on (4.00 times as fast at 64)"],
        ["n, train: cuda is faster than cpu at every batch size (4.00 times as fast at 64)"],
        ["n, train: cuda is not faster than cpu (0.50 times as fast at 64)"],
    ]


def test_without_matplotlib_there_is_a_table(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _without_gpu(monkeypatch)
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(_words("cpu,cuda", "--quick", batches="2")) == 0
    printed = capsys.readouterr().out
    assert len(_rows(printed)) == 1
    assert "No picture: pictures need matplotlib" in printed
    assert main(_words("cpu,cuda", "--quick --picture c.png")) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("bench --compare cpu", "--compare: expected at least two devices such as cpu,cuda; got 'cpu'"),
        ("bench --compare cpu,gpu", "--compare: expected devices of cpu, cuda"),
        ("bench --compare cpu,cpu", "--compare: cpu is there twice"),
        ("bench --compare cpu,cpu:1", "--compare: expected devices of cpu, cuda"),
        ("bench --compare cpu,", "--compare: expected devices of cpu, cuda"),
        ("bench --compare cpu,cuda --networks lenet6", "unknown model 'lenet6'"),
        (
            "bench --compare cpu,cuda --networks net.py:Shapeless",
            "the size of its images is not known",
        ),
        ("bench --compare cpu,cuda --networks ,", "--networks: expected 1 to 6 names"),
        (
            "bench --compare cpu,cuda --batch-sizes 1,0",
            "--batch-sizes: expected whole numbers of at least 1; got '1,0'",
        ),
        ("bench --compare cpu,cuda --batch-sizes 8..64", "--batch-sizes: expected up to 16 whole numbers from 1"),
        ("bench --compare cpu,cuda --batch-sizes 12345678", "--batch-sizes: expected up to 16 whole numbers from 1"),
        ("bench --compare cpu,cuda --mode test", "argument --mode: expected one of train, inference, both; got 'test'"),
        ("bench --compare cpu,cuda --cases layers", "--cases: it is for benchmarks without --compare"),
        ("bench --compare cpu,cuda --against torch", "--against: it is for benchmarks without --compare"),
        ("bench --compare cpu,cuda --device cpu", "--device: it is for benchmarks without --compare"),
        ("bench --compare cpu,cuda --picture c.bmp", "--picture: expected a file name that ends in .png, .svg, .pdf"),
        ("bench --compare cpu,cuda --out c.jsonl --quick", "--out: the results of --quick are not worth keeping"),
        ("bench --networks lenet5", "--networks: it is for --compare DEVICES, such as --compare cpu,cuda"),
        ("bench --batch-sizes 1", "--batch-sizes: it is for --compare DEVICES"),
        ("bench --mode train", "--mode: it is for --compare DEVICES"),
    ],
)
def test_mistakes(words: str, said: str, capsys: Any) -> None:
    assert main(words.split()) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert len(err) <= 500
