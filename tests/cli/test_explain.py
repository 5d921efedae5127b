"""``gpunn explain``: what it prints and refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gpunn import emulator
from gpunn.bench import resources
from gpunn.bench.sass import Part
from gpunn.cli import explain
from gpunn.cli.main import main
from gpunn.gpu.launcher import kernel_folder
from tests.cli.test_cli import refused


def test_all_layers(capsys: Any) -> None:
    assert main(["explain", "lenet5", "--batch-size", "32", "--card", "rtx 4090"]) == 0
    title, card, headings, rule, *rows, _, total = capsys.readouterr().out.splitlines()
    assert title == ("lenet5: the lecture's LeNet: 20 and 50 filters of 5x5, 500 hidden units; input 1x28x28, batch 32")
    assert card == (
        "RTX4090: sm_89, 128 SMs, 82.6 TFLOP/s float32, 1,008 GB/s, as published; occupancy and times are predictions"
    )
    assert " ".join(headings.split()) == "layer pass kernel times grid block regs shared occupancy MB MFLOP least µs"
    assert set(rule) == {"-"}
    assert len(rows) == 13
    assert rows[0].split()[:4] == ["conv1", "forward", "conv2d_first_forward", "1"]
    assert rows[6].startswith("(loss)  forward   cross_entropy_forward ")
    assert total.split()[:2] == ["total", "13"]
    assert max(map(len, rows)) <= 120


@pytest.mark.emulator
@pytest.mark.skipif(emulator.available() is not None, reason=str(emulator.available()))
def test_a_layer(capsys: Any) -> None:
    assert main(["explain", "lenet5", "fc2", "--batch-size", "16", "--card", "T4", "--blocks", "1"]) == 0
    out = capsys.readouterr().out
    forward, backward = out.split("\nfc2, ")[1:]
    line = resources.kernel_line("gemm.cu", "gemm_nt")[1]
    assert forward.splitlines()[0] == f"forward: gemm_nt, {kernel_folder() / 'gemm.cu'}:{line}"
    assert backward.startswith("backward: gemm_backward, ")
    shown = {line[2:17].rstrip(): line[17:] for line in forward.splitlines()[1:]}
    assert shown["launch"].startswith("1 launch; grid ")
    assert re.fullmatch(r"\d+ a thread; no spills", shown["registers"])
    assert re.fullmatch(r"[\d,]+ bytes of static, 0 of dynamic a block", shown["shared memory"])
    assert re.fullmatch(
        r"\d+%: \d+ blocks? of \d+ warps? an SM, limited by \w+(?: memory)?; the grid fills the card [\d.]+ times",
        shown["occupancy"],
    )
    assert re.fullmatch(r"at least [\d.]+ µs a launch", shown["prediction"])
    assert re.fullmatch(r"on the emulator, 1 of \d+ blocks", shown["counted"])
    assert re.match(r"[\d.]+% of ideal: [\d,]+ of 32 bytes asked for, [\d,]+ at least", shown["sectors"])
    assert re.match(r"(none|[\d,]+): [\d,]+ passes over the banks, [\d,]+ at least", shown["bank conflicts"])
    assert "place " in forward
    assert re.search(r"^ +gemm_sources.cuh:\d+ +global load of ", forward, re.MULTILINE)


def test_a_layer_without_counts_needs_no_compiler(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert main(["explain", "lenet5", "fc2", "--no-counts"]) == 0
    out = capsys.readouterr().out
    assert "prediction" in out
    assert "counted" not in out
    message = refused(capsys, "explain", "lenet5", "fc2")
    assert "g++" in message
    assert message.endswith("With --no-counts nothing is counted.")


def test_json(capsys: Any) -> None:
    assert main(["explain", "lenet5", "--batch-size", "4", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["model"], record["layer"], record["batch_size"], record["input"]) == ("lenet5", None, 4, [1, 28, 28])
    assert record["card"] == {"name": "H100", "sm": 90, "sms": 132, "tflops": 67, "gbs": 3350, "mma": 620, "copy": 0.91}
    first = record["launches"][0]
    assert (first["layer"], first["type"], first["pass"]) == ("conv1", "Conv2d", "forward")
    assert first["file"] == "conv2d_first.cu"
    assert first["resources"]["registers"] > 0
    assert 0 < first["occupancy"]["share"] <= 1
    assert first["predicted_least_us"] > 0
    assert first["counts"] is None


def test_a_kernel_that_the_table_does_not_know(capsys: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(resources, "table_path", lambda: tmp_path / "none.tsv")
    assert main(["explain", "lenet5", "fc2", "--no-counts"]) == 0
    assert "the compile gate's table does not know this source for sm_90" in capsys.readouterr().out
    assert main(["explain", "lenet5"]) == 0
    assert "?" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("columns", "headings"),
    [
        (72, "layer pass kernel occupancy least µs"),
        (84, "layer pass kernel times occupancy MB least µs"),
        (130, "layer pass kernel times grid block regs shared occupancy MB MFLOP least µs"),
    ],
)
def test_narrow_terminals_leave_columns_out(
    columns: int, headings: str, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explain, "_columns", lambda: columns)
    assert main(["explain", "lenet5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert " ".join(lines[2].split()) == headings
    assert max(map(len, lines[2:])) <= columns
    assert lines[-1].startswith("A wider terminal shows shared, block, grid, ") == (columns < 130)


def test_lines_are_as_wide_as_the_terminal(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain, "_columns", lambda: 60)
    assert main(["explain", "lenet5", "fc2", "--no-counts"]) == 0
    text = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert max(map(len, text)) <= 60
    assert any(line.startswith(" " * 17) for line in text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0004, "<0.001"),
        (0.00123, "0.001"),
        (0.5, "0.500"),
        (1.234, "1.23"),
        (56.78, "56.8"),
        (1234.5, "1,234"),
    ],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert explain._short(value) == text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lenet5", "conv9"], "there is no layer 'conv9'; expected one of conv1, "),
        (["lenet5", "--card", "GTX9"], "unknown card 'GTX9': expected one of T4, A100, "),
        (["lenet5", "--blocks", "0"], "argument --blocks: expected a whole number of at least 1; got '0'"),
        (["lenet7"], "lenet5"),
    ],
)
def test_wrong_use(words: list[str], message: str, capsys: Any) -> None:
    assert message in refused(capsys, "explain", *words)


@pytest.fixture
def without_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """No disassembler: only the table is left."""
    monkeypatch.setattr("importlib.metadata.files", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: None)


def test_what_the_table_does_not_know_asks_for_the_extra(capsys: Any, without_compiler: None) -> None:
    message = refused(capsys, "explain", "lenet5", "fc1", "--no-counts", "--card", "RTX5090", "--predict")
    assert message.endswith(
        "NVIDIA's disassembler is not installed: pip install 'gpunn[sass]' (Linux, x86-64; needs no GPU)"
    )


def test_a_layers_prediction(capsys: Any, without_compiler: None, monkeypatch: pytest.MonkeyPatch) -> None:
    found = (Part("once", 100, fma=10, alu=40, lsu=4, accesses=4, bytes=512, l1=200, l2=300, dram=500),)
    monkeypatch.setattr("gpunn.bench.predict.parts", lambda *given: found)
    assert main(["explain", "lenet5", "fc1", "--no-counts", "--card", "H200", "--predict"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"prediction +at least [\d.]+ µs a launch, limited by [\w/]+: \d+% of the roofline", out)
    assert re.search(r"units, µs +[\w/]+ [\d.]+, .*;\s+100 instructions a warp, loads from\s+\w+", out, re.DOTALL)
    assert main(["explain", "lenet5", "--predict", "--card", "A6000"]) == 0
    headings, _, first, *_, total = capsys.readouterr().out.splitlines()[2:]
    assert " ".join(headings.split()) == ("layer pass kernel times occupancy waves least µs limit of roofline of copy")
    assert first.split()[:4] == ["conv1", "forward", "conv2d_first_forward", "1"]
    assert total.split()[:2] == ["total", "13"]
    assert main(["explain", "lenet5", "--predict", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["launches"][0]["prediction"]["us"] > 0
