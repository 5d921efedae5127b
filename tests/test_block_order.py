"""The bits of a split sum do not depend on the order in which its blocks finish, and so not on which of them is last.

Every kernel that draws tickets (``last_block`` in ``common.cuh``) has a case here, in which the sum is split into more
than two parts: a + b is b + a. Where parts are added up in a tree, each of its levels has more than two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gpunn._device import device
from gpunn._window import Window
from gpunn.gpu.launcher import KernelSource, kernel_folder, trace_launches
from gpunn.gpu.signatures import parse_signatures
from gpunn.ops import import_all
from gpunn.primitive import REGISTRY
from tests.test_battery import run_body

import_all()
pytestmark = pytest.mark.emulator
_ORDERS = (("forward", 0), ("reverse", 0), ("shuffled", 1), ("shuffled", 2), ("shuffled", 3))
_SPLIT = 33  # parts that two levels of 16 do not add up


class _Draw:
    """Numbers whose sums depend on the order of adding."""

    def __init__(self) -> None:
        self._rng = np.random.Generator(np.random.Philox(12))

    def __call__(self, *shape: int) -> np.ndarray:
        return self._rng.standard_normal(shape).astype(np.float32)

    def positive(self, *shape: int) -> np.ndarray:
        return self._rng.uniform(0.5, 1.5, shape).astype(np.float32)

    def labels(self, n: int, classes: int) -> np.ndarray:
        return self._rng.integers(0, classes, n)


def _linear(d: _Draw, n: int, inputs: int, units: int, needs: tuple[bool, bool, bool]) -> dict[str, Any]:
    y = np.maximum(d(n, units), 0)
    return {"dy": d(n, units), "y": y, "x": d(n, inputs), "weight": d(units, inputs), "needs": needs}


def _conv2d(
    d: _Draw, n: int, c: int, k: int, groups: int, needs: tuple[bool, bool, bool], side: int = 3, relu: bool = True
) -> dict[str, Any]:
    window = Window(16, 16, side, side, (1, 1), (side // 2, side // 2), (1, 1))
    arrays = {"x": d(n, 16, 16, c), "weight": d(k, side, side, c // groups), "dy": d(n, 16, 16, k)}
    y = np.maximum(d(n, 16, 16, k), 0) if relu else None
    return {**arrays, "y": y, "window": window, "groups": groups, "needs": needs}


def _batch_norm(d: _Draw, rows: int, c: int) -> dict[str, Any]:
    x = d(rows, c)
    arrays = {"dy": d(rows, c), "x": x, "y": d(rows, c), "mean": x.mean(0), "var": x.var(0), "weight": d.positive(c)}
    return {**arrays, "bias": None, "eps": 1e-5, "training": True, "added": True, "needs": (True, True, True, True)}


def _cross_entropy(d: _Draw, weighted: bool, reduction: str) -> dict[str, Any]:
    made: dict[str, Any] = {"logits": d(700, 10), "target": d.labels(700, 10), "weight": None, "smoothing": 0.0}
    if weighted:
        made |= {"weight": d.positive(10), "smoothing": 0.1}
    return {**made, "ignore_index": 3, "reduction": reduction, "with_gradient": True}


_LONG = 128 * _SPLIT  # of a product, whose slices have 128 at least
_Case = tuple[str, Callable[[_Draw], dict[str, Any]]]
# The kernel; the primitive that launches it and its arguments, and the same with other arguments.
_CASES: dict[str, tuple[_Case, ...]] = {
    "gemm_nn": (("gemm", lambda d: {"a": d(40, _LONG), "b": d(_LONG, 7), "form": "nn"}),),
    "gemm_nt": (("gemm", lambda d: {"a": d(5, _LONG), "b": d(34, _LONG), "form": "nt", "bias": d(34), "relu": True}),),
    "gemm_tn": (
        ("gemm", lambda d: {"a": d(_LONG, 9), "b": d(_LONG, 6), "form": "tn"}),
        ("linear_backward", lambda d: _linear(d, _LONG, 5, 7, (False, True, True))),
    ),
    "gemm_backward": (
        ("linear_backward", lambda d: _linear(d, _LONG, 5, 7, (True, True, True))),
        ("linear_backward", lambda d: _linear(d, 7, 9, _LONG, (True, True, True))),
    ),
    "conv2d_backward": (("conv2d_backward", lambda d: _conv2d(d, 17, 5, 3, 1, (True, True, True))),),
    "conv2d_backward_weight": (("conv2d_backward", lambda d: _conv2d(d, 17, 5, 3, 1, (False, True, True))),),
    "conv2d_narrow_backward_weight": (
        ("conv2d_backward", lambda d: _conv2d(d, 12, 8, 8, 8, (False, True, True), 5)),
        ("conv2d_backward", lambda d: _conv2d(d, 12, 8, 8, 2, (False, True, True), 5)),
    ),
    "conv2d_narrow_3x3_backward_weight": (
        ("conv2d_backward", lambda d: _conv2d(d, 12, 8, 8, 8, (False, True, True), relu=False)),
        ("conv2d_backward", lambda d: _conv2d(d, 12, 8, 8, 2, (False, True, True), relu=False)),
    ),
    "conv2d_narrow_3x3_backward_weight_relu": (
        ("conv2d_backward", lambda d: _conv2d(d, 12, 8, 8, 8, (False, True, True))),
        ("conv2d_backward", lambda d: _conv2d(d, 12, 8, 8, 2, (False, True, True))),
    ),
    "conv2d_first_backward_weight": (("conv2d_backward", lambda d: _conv2d(d, 20, 1, 3, 1, (False, True, True))),),
    "bias_backward": (("bias_backward", lambda d: {"dy": d(700, 7), "y": d(700, 7), "wants_bias": True}),),
    "batch_norm_statistics": (
        (
            "batch_norm_statistics",
            lambda d: {
                "x": d(290 * _SPLIT, 7),
                "running_mean": d(7),
                "running_var": d.positive(7),
                "batches": np.array(4),
                "momentum": 0.1,
            },
        ),
    ),
    "batch_norm_backward_sums": (("batch_norm_backward", lambda d: _batch_norm(d, 290 * _SPLIT, 7)),),
    "sync_batch_norm_combine": (
        (
            "sync_batch_norm_combine",
            lambda d: {
                "parts": np.concatenate([d(33, 300), d.positive(33, 300), np.full((33, 1), 7, np.float32)], axis=1),
                "running_mean": d(300),
                "running_var": d.positive(300),
                "batches": np.array(4),
                "momentum": None,
            },
        ),
    ),
    "cross_entropy_forward": (
        ("cross_entropy_forward", lambda d: _cross_entropy(d, False, "mean")),
        ("cross_entropy_forward", lambda d: _cross_entropy(d, False, "sum")),
    ),
    "cross_entropy_weighted_forward": (("cross_entropy_forward", lambda d: _cross_entropy(d, True, "mean")),),
    "cross_entropy_of_probabilities": (
        (
            "cross_entropy_of_probabilities",
            lambda d: {  # whose losses are added up in float64: exactly, if they were float32 and much alike
                "logits": d(700, 10).astype(np.float64),
                "target": np.exp(9 * d(700, 1).astype(np.float64)) * d.positive(700, 10),
                "weight": None,
                "smoothing": 0.1,
                "divisor": 700.0,
                "needs": (True, True),
            },
        ),
    ),
}


@pytest.mark.parametrize(("kernel", "number"), [(k, i) for k, cases in _CASES.items() for i in range(len(cases))])
def test_the_bits_do_not_depend_on_which_block_is_last(kernel: str, number: int) -> None:
    from gpunn.emulator import schedule

    name, draw = _CASES[kernel][number]
    primitive, example = REGISTRY[name], draw(_Draw())
    found = []
    for order, seed in _ORDERS:
        with schedule(order, seed), trace_launches() as launches:
            returned, mutated = run_body(primitive, device("emulator"), example)
        drawn = [launch for launch in launches if launch.kernel == kernel]
        assert len(drawn) == 1
        assert np.prod(drawn[0].grid) > 2
        arrays = [*zip(primitive.returns, returned, strict=True), *mutated.items()]
        found.append({label: None if array is None else array.tobytes() for label, array in arrays})
    for (order, seed), bits in zip(_ORDERS, found, strict=True):
        differ = [label for label, array in bits.items() if array != found[0][label]]
        assert differ == [], f"{order} {seed}"


def test_every_kernel_that_draws_tickets_has_a_case() -> None:
    drawing = {
        kernel
        for file, source in KernelSource.registry.items()
        if (kernel_folder() / file).exists()  # tests register sources of their own
        for macros in source.specialisations()
        for kernel, parameters in parse_signatures(source.text, macros).items()
        if any("tickets" in parameter.name for parameter in parameters)
    }
    # Tensor cores' want a precision to be set, or 16 bits: tests/test_precision.py, tests/gpu/test_half.py,
    # tests/gpu/test_conv2d_first_half.py and tests/gpu/test_conv2d_tensor.py.
    elsewhere = ("gemm_tensor_", "conv2d_tensor_", "gemm_half_", "conv2d_half_", "conv2d_first_half_", "bias_half_")
    assert {kernel for kernel in drawing if not kernel.startswith(elsewhere)} == set(_CASES)
    # Whoever calls last_block has its counter from there.
    texts = {file.name: file.read_text() for file in kernel_folder().glob("*.cu*")}
    callers = {name for name, text in texts.items() if "last_block(" in text and name != "common.cuh"}
    assert all("tickets" in texts[name] for name in callers)
