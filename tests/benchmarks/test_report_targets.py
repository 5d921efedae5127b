"""The device report's targets: what they say, which line each belongs to, and how the report shows them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from benchmarks._report.book import Section, gather, markdown
from benchmarks._report.cases import all_cases
from benchmarks._report.networks import STEPS
from benchmarks._report.targets import (
    BANDWIDTH,
    CUDNN,
    EAGER,
    GRAPH,
    MICROSECONDS,
    PYTORCH,
    SECONDS,
    TARGETS,
    Target,
    cells,
    judge,
    targets_of,
    worst_first,
)

# The project's aims for a GPU, once more: what is about, floor, goal, unit.
AIMS = [
    ("fp32 convolution by SIMT", 0.8, 0.95, CUDNN),
    ("fp32 convolution by 3×TF32 or Winograd", 1.2, 1.7, CUDNN),
    ("TF32/bf16 convolution, memory-bound", 0.85, 1.1, CUDNN),
    ("TF32/bf16 convolution, compute-bound", 0.65, 0.95, CUDNN),
    ("convolution, weight gradient", 0.6, 0.9, CUDNN),
    ("depthwise and grouped convolution", 1.0, 1.5, CUDNN),
    ("max-pool", None, 0.9, BANDWIDTH),
    ("max-pool", None, 1.3, PYTORCH),
    ("batch norm + ReLU (+ residual)", None, 0.9, BANDWIDTH),
    ("softmax-cross-entropy", None, 0.85, BANDWIDTH),
    ("softmax-cross-entropy, small", None, 3.0, MICROSECONDS),
    ("SGD, all parameters", None, 0.9, BANDWIDTH),
    ("LeNet step, batch 128", None, 5.0, EAGER),
    ("LeNet step, batch 128", None, 1.3, GRAPH),
    ("CIFAR ResNet-20 step, batch 128", None, 3.0, EAGER),
    ("CIFAR ResNet-20 step, batch 128", None, 1.15, GRAPH),
    ("ResNet-18 step, batch 512, bf16", None, 1.0, EAGER),
    ("ResNet-18 step, batch 512, bf16", None, 1.0, GRAPH),
    ("ResNet-50 step, batch 256, bf16", None, 1.0, EAGER),
    ("ResNet-50 step, batch 256, bf16", None, 1.0, GRAPH),
    ("CIFAR-10 to 94 % accuracy", None, 2.0, SECONDS),
]
LINES = [case.id for case in all_cases(quick=False)] + [step.line for step in STEPS]


def test_all_aims_are_there_and_no_others() -> None:
    def order(aim: tuple[object, ...]) -> str:
        return str((aim[0], aim[3]))

    made = [(target.what, target.floor, target.goal, target.unit) for target in TARGETS]
    assert sorted(made, key=order) == sorted(AIMS, key=order)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.what} {target.unit}")
def test_each_aim_has_a_line_or_says_why_not(target: Target) -> None:
    about = [line for line in LINES if target in targets_of(line)]
    assert bool(about) != bool(target.missing)


@pytest.mark.parametrize(
    ("line", "texts"),
    [
        ("conv06.forward", ["floor 0.8, goal 0.95 × cuDNN's speed"]),
        ("conv06.dx", ["floor 0.8, goal 0.95 × cuDNN's speed"]),
        ("conv06.dweight", ["floor 0.6, goal 0.9 × cuDNN's speed"]),
        ("lenet-conv1.dweight", ["floor 0.6, goal 0.9 × cuDNN's speed"]),
        ("conv11a.dweight", ["floor 1, goal 1.5 × cuDNN's speed"]),
        ("conv11b.forward", ["floor 1, goal 1.5 × cuDNN's speed"]),
        ("stem-pool.backward", ["goal 0.9 of copy bandwidth", "goal 1.3 × PyTorch's speed"]),
        ("lenet-pool1.forward", ["goal 1.3 × PyTorch's speed"]),
        ("bn64-add-relu.backward", ["goal 0.9 of copy bandwidth"]),
        ("cross-entropy-large.both", ["goal 0.85 of copy bandwidth"]),
        ("lenet-loss.both", ["3 µs at most"]),
        ("sgd25m.update", ["goal 0.9 of copy bandwidth"]),
        ("lenet-b128.step", [f"goal 5 {EAGER}", f"goal 1.3 {GRAPH}"]),
        ("resnet20-b128.step", [f"goal 3 {EAGER}", f"goal 1.15 {GRAPH}"]),
        ("lenet-b512.step", []),
        ("linear1024.forward", []),
    ],
)
def test_a_lines_aims(line: str, texts: list[str]) -> None:
    assert line in LINES
    assert [target.text for target in targets_of(line)] == texts


@pytest.mark.parametrize(
    ("line", "unit", "measured", "verdict", "share"),
    [
        ("conv06.forward", CUDNN, 0.95, "met", 1.0),
        ("conv06.forward", CUDNN, 0.8, "floor met", 0.8 / 0.95),
        ("conv06.forward", CUDNN, 0.79, "not met", 0.79 / 0.95),
        ("sgd25m.update", BANDWIDTH, 0.89, "not met", 0.89 / 0.9),
        ("lenet-loss.both", MICROSECONDS, 2.5, "met", 1.2),
        ("lenet-loss.both", MICROSECONDS, 6.0, "not met", 0.5),
        ("lenet-b128.step", EAGER, 5.5, "met", 1.1),
        ("conv06.forward", CUDNN, None, "not measured", None),
        ("conv06.forward", CUDNN, math.nan, "not measured", None),
    ],
)
def test_verdicts(line: str, unit: str, measured: float | None, verdict: str, share: float | None) -> None:
    found = judge(line, {unit: measured})[0]
    assert found["verdict"] == verdict
    assert found["share of goal"] == (None if share is None else pytest.approx(share))


def test_a_row_says_target_and_met() -> None:
    assert cells(judge("linear1024.forward", {CUDNN: 2.0})) == {"target": "", "met": "no target"}
    found = cells(judge("stem-pool.forward", {BANDWIDTH: 0.95, PYTORCH: 1.2}))
    assert found == {
        "target": "goal 0.9 of copy bandwidth; goal 1.3 × PyTorch's speed",
        "met": "met; not met",
    }


def test_the_worst_come_first() -> None:
    verdicts = judge("conv06.forward", {CUDNN: 0.9}) + judge("sgd25m.update", {BANDWIDTH: 0.8})
    verdicts += judge("conv08.forward", {CUDNN: 0.3}) + judge("conv05.forward", {CUDNN: 1.3})
    verdicts += judge("conv04.forward", {CUDNN: 0.82}) + judge("conv03.forward", {})
    assert [v["line"] for v in worst_first(verdicts)] == [
        "conv08.forward",
        "sgd25m.update",
        "conv04.forward",
        "conv06.forward",
    ]


def test_the_report_counts_them_at_its_top(tmp_path: Path) -> None:
    section = Section("kernels", tmp_path / "part.json", 60)
    section.line("times", "conv06.forward", {CUDNN: 0.5}, op="conv", µs=7.0)
    section.line("times", "conv05.forward", {CUDNN: 0.9}, op="conv", µs=8.0)
    section.line("times", "sgd25m.update", {BANDWIDTH: 0.95}, op="SGD", µs=9.0)
    section.line("times", "lenet-loss.both", {}, op="loss", note="left out")
    section.fail("one thing")
    text = markdown(gather([section.data], {"device": "cuda", "command": "`it`", "finished": True}))
    top, rest = text.split("\n## kernels")
    assert "1 met, 1 floor met, 1 not met, 1 not measured." in top
    assert top.index("## Failures: 1") < top.index("## Targets")
    assert top.index("| conv06.forward | fp32 convolution by SIMT | 0.5 |") < top.index("| conv05.forward |")
    assert "sgd25m" not in top
    assert "Not measured: lenet-loss.both (3 µs at most)." in top
    reached = {target for line in ("conv06.forward", "sgd25m.update", "lenet-loss.both") for target in targets_of(line)}
    for target in TARGETS:
        why = target.missing or "its lines were not reached"
        assert (f"- {target.what} ({target.text}): {why}" in top) == (target not in reached)
    assert "| conv | 7 | floor 0.8, goal 0.95 × cuDNN's speed | not met |  |" in rest
    assert "| loss |  | 3 µs at most | not measured | left out |" in rest


def test_the_order_of_cases() -> None:
    """What a report that runs out of time must have: LeNet's layers, then one line at least for each target."""
    made = all_cases(quick=False)
    assert len({(case.name, case.direction) for case in made}) == len(made)
    assert all(case.traffic > 0 for case in made)
    quick = [case.id for case in all_cases(quick=True)]
    assert [case.id for case in made[: len(quick)]] == quick
    assert quick[0] == "copy.ceiling"
    first = {target for case in made[: len(made) // 2] for target in targets_of(case.id)}
    later = {target for case in made for target in targets_of(case.id)}
    assert first == later
