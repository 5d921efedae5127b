"""What the device report times: which of ``gpunn.bench.cases``, in which order."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from benchmarks._report.work import random_array
from gpunn.bench import ops
from gpunn.bench.case import Arrays, Case
from gpunn.bench.cases import all_cases as every_case

# The lecture's LeNet first; conv01 is its second convolution. Then what a target is about, then the rest.
_LENET: tuple[str, ...] = ("copy", "lenet-conv1", "conv01", "lenet-pool1", "lenet-pool2")
_LENET += ("lenet-fc1", "lenet-fc2", "lenet-loss", "lenet-sgd")
_FIRST: tuple[str, ...] = ("conv06", "conv05", "stem-pool", "bn256-add-relu", "cross-entropy-large", "sgd25m", "conv08")
_FIRST += ("conv04", "conv11a", "conv11b", "conv02", "bn256-relu", "cross-entropy1000")


def all_cases(quick: bool) -> list[Case]:
    """LeNet's layers at batch 128 first; unless quick all others after them, those with a target first."""
    made = [case for case in every_case("full") if case.group == "layers"]
    made += ops.cross_entropy("cross-entropy-large", 32_768, 1000)
    first = _LENET if quick else (*_LENET, *_FIRST)
    order = {key: number for number, key in enumerate(first)}
    chosen = [case for case in made if case.key in order or not quick]
    return sorted(chosen, key=lambda case: order.get(case.key, len(order)))


def small_cases() -> list[Case]:
    """One of each kind, small enough for any device: the definitions are themselves tested."""
    made = ops.convolution("conv", 2, 3, 7, 4, 3, stride=2, pad=1)
    made += ops.convolution("first", 2, 1, 6, 4, 3, first=True) + ops.max_pooling("pool", 2, 4, 6, 2, 2)
    made += ops.batch_norm("bn", 2, 4, 5) + ops.linear("linear", 3, 6, 5)
    return made + ops.cross_entropy("loss", 4, 5) + ops.sgd("sgd", "small", [3, 5])


def fill(device: Any, case: Case, seed: int) -> Arrays:
    """Random arrays for a case, made on the device."""
    arrays: Arrays = {}
    for number, (name, shape) in enumerate(case.shapes.items()):
        if name == "target":
            labels = np.random.default_rng(seed).integers(0, case.classes, math.prod(shape))
            arrays[name] = device.array(labels.reshape(shape))
        else:
            arrays[name] = random_array(device, shape, 100 * seed + number)
    return arrays
