"""What the device report times: which of ``gpunn.bench.cases``, in which order."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.bench import ops
from gpunn.bench.case import Arrays, Case
from gpunn.bench.cases import all_cases as every_case

# LeNet's layers first; conv01 is its second convolution.
_LENET = (
    "copy",
    "lenet-conv1",
    "conv01",
    "lenet-pool1",
    "lenet-pool2",
    "lenet-fc1",
    "lenet-fc2",
    "lenet-loss",
    "lenet-sgd",
)
_LARGE = (
    "conv06",
    "conv05",
    "conv08",
    "conv04",
    "conv07",
    "conv03",
    "conv09",
    "conv11a",
    "conv11b",
    "conv02",
    "conv10",
)
_LARGE += ("conv12", "bn256-relu", "bn256-add-relu", "bn64-relu", "stem-pool", "cross-entropy1000", "sgd25m")
_LARGE += ("linear1024", "layer-norm", "relu", "gelu")


def all_cases(quick: bool) -> list[Case]:
    """LeNet's layers at batch 128 first, then large ones unless quick."""
    keys = _LENET if quick else _LENET + _LARGE
    by_key: dict[str, list[Case]] = {key: [] for key in keys}
    for case in every_case("full"):
        if case.key in by_key:
            by_key[case.key].append(case)
    return [case for key in keys for case in by_key[key]]


def small_cases() -> list[Case]:
    """One of each kind, small enough for any device: the definitions are themselves tested."""
    made = ops.convolution("conv", 2, 3, 7, 4, 3, stride=2, pad=1)
    made += ops.convolution("first", 2, 1, 6, 4, 3, first=True) + ops.max_pooling("pool", 2, 4, 6, 2, 2)
    made += ops.batch_norm("bn", 2, 4, 5) + ops.linear("linear", 3, 6, 5)
    return made + ops.cross_entropy("loss", 4, 5) + ops.sgd("sgd", "small", [3, 5])


def fill(device: Any, case: Case, seed: int) -> Arrays:
    """Random arrays for a case, drawn on the device: gigabytes would be long on the way from the host."""
    xp = device.xp
    with device.active():
        rng = xp.random.default_rng(seed)
        arrays = {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in case.shapes.items()}
        if "target" in arrays:
            arrays["target"] = rng.integers(0, case.classes, case.shapes["target"], dtype=np.int64)
    return arrays
