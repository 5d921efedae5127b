"""What the project aims at on a GPU, which line of the report each aim belongs to, and whether it was reached.

Aims are for a card like the H200. A *floor* is what must hold, a *goal* what is aimed at; most have only a goal.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CUDNN = "× cuDNN's speed"
PYTORCH = "× PyTorch's speed"
BANDWIDTH = "of copy bandwidth"
MICROSECONDS = "µs at most"
EAGER = "× PyTorch eager's speed"
GRAPH = "× PyTorch's whole-step CUDA graph's speed"
SECONDS = "s at most"
_AT_MOST = (MICROSECONDS, SECONDS)


@dataclass(frozen=True)
class Target:
    """One aim.

    Attributes
    ----------
    what, unit : str
        What it is about, and what is measured: one of the units above.
    goal : float
    floor : float or None
    lines : tuple of str
        Patterns of the report's lines that it is about; of several aims with one unit a line has the first.
    missing : str
        Why no line is about it, where none is.
    """

    what: str
    unit: str
    goal: float
    floor: float | None = None
    lines: tuple[str, ...] = ()
    missing: str = ""

    @property
    def text(self) -> str:
        """The aim in a few words."""
        if self.unit in _AT_MOST:
            return f"{self.goal:g} {self.unit}"
        floor = "" if self.floor is None else f"floor {self.floor:g}, "
        return f"{floor}goal {self.goal:g} {self.unit}"

    def reached(self, measured: float) -> float:
        """What part of the goal was reached; 1 and more is met."""
        if not measured > 0:  # NaN too
            return 0.0
        return self.goal / measured if self.unit in _AT_MOST else measured / self.goal

    def verdict(self, measured: float | None) -> str:
        """ "met", "floor met", "not met" or "not measured"."""
        if measured is None:
            return "not measured"
        if self.reached(measured) >= 1:
            return "met"
        return "floor met" if self.floor is not None and measured >= self.floor else "not met"


_NO_TENSOR_CORES = "no convolution computes float32 by 3×TF32 or Winograd"
_NO_CASES = "the report has no cases of bf16 yet, and no convolution computes in TF32"
_SMALL_LOSSES = ("lenet-loss.both", "cross-entropy1000.both")

TARGETS = (
    # Convolutions: of PyTorch's two layouts the faster counts, cuDNN's autotuning on.
    Target("depthwise and grouped convolution", CUDNN, 1.5, 1.0, ("conv11[ab].*",)),
    Target("convolution, weight gradient", CUDNN, 0.9, 0.6, ("conv[01]*.dweight", "lenet-conv1.dweight")),
    Target("fp32 convolution by SIMT", CUDNN, 0.95, 0.8, ("conv[01]*.forward", "conv[01]*.dx", "lenet-conv1.*")),
    Target("fp32 convolution by 3×TF32 or Winograd", CUDNN, 1.7, 1.2, missing=_NO_TENSOR_CORES),
    Target("TF32/bf16 convolution, memory-bound", CUDNN, 1.1, 0.85, missing=_NO_CASES),
    Target("TF32/bf16 convolution, compute-bound", CUDNN, 0.95, 0.65, missing=_NO_CASES),
    # Everything else: shares are for tensors far larger than the L2.
    Target("max-pool", BANDWIDTH, 0.9, lines=("stem-pool.*",)),
    Target("max-pool", PYTORCH, 1.3, lines=("stem-pool.*", "lenet-pool*.*")),
    Target("batch norm + ReLU (+ residual)", BANDWIDTH, 0.9, lines=("bn256-*.*", "bn64-*.*")),
    Target("softmax-cross-entropy", BANDWIDTH, 0.85, lines=("cross-entropy-large.both",)),
    Target("softmax-cross-entropy, small", MICROSECONDS, 3.0, lines=_SMALL_LOSSES),
    Target("SGD, all parameters", BANDWIDTH, 0.9, lines=("sgd25m.update",)),
    # Whole training steps, captured.
    Target("LeNet step, batch 128", EAGER, 5.0, lines=("lenet-b128.step",)),
    Target("LeNet step, batch 128", GRAPH, 1.3, lines=("lenet-b128.step",)),
    Target("CIFAR ResNet-20 step, batch 128", EAGER, 3.0, lines=("resnet20-b128.step",)),
    Target("CIFAR ResNet-20 step, batch 128", GRAPH, 1.15, lines=("resnet20-b128.step",)),
    Target("ResNet-18 step, batch 512, bf16", EAGER, 1.0, missing="the report has no steps of bf16 yet"),
    Target("ResNet-18 step, batch 512, bf16", GRAPH, 1.0, missing="the report has no steps of bf16 yet"),
    Target("ResNet-50 step, batch 256, bf16", EAGER, 1.0, missing="the report has no steps of bf16 yet"),
    Target("ResNet-50 step, batch 256, bf16", GRAPH, 1.0, missing="the report has no steps of bf16 yet"),
    Target("CIFAR-10 to 94 % accuracy", SECONDS, 2.0, missing="a run of its own, with the CIFAR-10 recipe"),
)


def targets_of(line: str) -> list[Target]:
    """The aims of one line, at most one for each unit."""
    found: dict[str, Target] = {}
    for target in TARGETS:
        if any(fnmatch.fnmatchcase(line, pattern) for pattern in target.lines):
            found.setdefault(target.unit, target)
    return list(found.values())


def judge(line: str, measured: Mapping[str, float | None]) -> list[dict[str, Any]]:
    """A verdict for each aim of a line.

    Parameters
    ----------
    line : str
        ``key.direction`` of the case.
    measured : mapping
        unit = what was measured, None or missing where nothing was.
    """
    made = []
    for target in targets_of(line):
        value = measured.get(target.unit)
        if value is not None and math.isnan(value):
            value = None
        made.append(
            {
                "line": line,
                "what": target.what,
                "measured": value,
                "target": target.text,
                "verdict": target.verdict(value),
                "share of goal": None if value is None else target.reached(value),
            }
        )
    return made


def cells(verdicts: list[dict[str, Any]]) -> dict[str, str]:
    """The columns "target" and "met" of a line's row."""
    if not verdicts:
        return {"target": "", "met": "no target"}
    return {"target": "; ".join(v["target"] for v in verdicts), "met": "; ".join(v["verdict"] for v in verdicts)}


def worst_first(verdicts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those not met, then those whose floor alone is met, each from the farthest to the nearest to its goal."""
    order = ("not met", "floor met")
    open_ones = [v for v in verdicts if v["verdict"] in order]
    return sorted(open_ones, key=lambda v: (order.index(v["verdict"]), v["share of goal"]))
