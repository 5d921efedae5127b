"""Every primitive that has a kernel, at the edges of the kernel's tiles.

Hypothesis draws each length that a kernel tiles, vectorises or cuts up from one below, at and above a tile, two tiles
and one, odd primes, 1, and for batches 0 (``tests/edges``). The kernel in float32 is compared with the plain body in
float64, so that the difference is the kernel's own.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunn.gpu import gemm
from gpunn.gpu.launcher import trace_launches
from gpunn.ops import import_all, permute
from gpunn.primitive import REGISTRY
from tests.devices import call
from tests.edges import ROWS, Draw, elements

import_all()  # registers every primitive

WITH_KERNEL = sorted(name for name, primitive in REGISTRY.items() if primitive.kernel_body is not None)
TOLERANCE = 1e-5  # of the largest magnitude: the promise for float32, some hundred roundings
# Nothing is added up here, and a formula such as 1 - y * y may lose digits of its own: compared in float32 as it is.
_BY_ELEMENT = (elements.elements, elements.tensors, elements.power)
PRODUCTS = ("gemm", "matmul_batched", "linear_backward", "conv2d_forward", "conv2d_backward")  # the most kernels


def wide(value: object) -> object:
    """The same in float64, which holds every float32."""
    if isinstance(value, np.ndarray | np.generic) and value.dtype == np.float32:
        return value.astype(np.float64)
    return [wide(v) for v in value] if isinstance(value, list) else copy.deepcopy(value)


def assert_close(where: str, got: Any, expected: Any, before: Any = None) -> None:
    """Relative to the largest magnitude of ``expected``, or of what the array held ``before`` if that is given."""
    if expected is None or got is None:
        assert got is expected, where
    elif isinstance(expected, list):
        for number, (one, other) in enumerate(zip(got, expected, strict=True)):
            assert_close(f"{where}[{number}]", one, other, None if before is None else before[number])
    else:
        expected = np.asarray(expected)
        assert got.shape == expected.shape, f"{where}: {got.shape} for {expected.shape}"
        if got.dtype.kind != "f":
            np.testing.assert_array_equal(got, expected, err_msg=where)
            return
        finite = np.isfinite(expected)
        np.testing.assert_array_equal(np.isfinite(got), finite, err_msg=where)
        scale = np.abs(expected[finite]).max(initial=1e-30)
        if before is not None:
            scale = max(scale, np.abs(before[np.isfinite(before)]).max(initial=0))
        error = np.abs(got[finite] - expected[finite]).max(initial=0) / scale
        assert error < TOLERANCE, f"{where}: relative error {error:.2e} in {got.shape}"


def run(kernels: str, name: str, arguments: dict) -> None:
    primitive = REGISTRY[name]
    given, reference = copy.deepcopy(arguments), copy.deepcopy(arguments)
    if ROWS[name] not in _BY_ELEMENT:
        reference = {k: v if k in primitive.host_arguments else wide(v) for k, v in reference.items()}
    with np.errstate(all="ignore"):
        expected = primitive.plain(np, **reference)
        got = call(primitive, kernels, **given)
    if len(primitive.returns) == 1:
        expected, got = (expected,), (got,)
    for label, one, other in zip(primitive.returns, got or (), expected or (), strict=True):
        assert_close(f"{name}: {label}", one, other)
    for label in primitive.mutates:
        # A GPU rounds m + c * g once, NumPy and the emulator twice: where the two cancel, that is a rounding of m.
        before = None if kernels == "emulator" else arguments[label]
        assert_close(f"{name}: {label}", given[label], reference[label], before)


def test_every_kernel_has_a_row() -> None:
    assert sorted(ROWS) == WITH_KERNEL


def check(kernels: str, name: str, examples: int) -> None:
    @settings(max_examples=examples, deadline=None)
    @given(st.data())
    def compare(data: st.DataObject) -> None:
        run(kernels, name, ROWS[name](Draw(data.draw, name)))

    compare()


@pytest.mark.parametrize("name", WITH_KERNEL)
def test_at_the_edges(kernels: str, name: str) -> None:
    check(kernels, name, 200 if name in PRODUCTS else 60)


@pytest.mark.parametrize("name", PRODUCTS)
def test_at_the_edges_of_the_largest_tile(kernels: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of small matrices as of large ones, which have at least a wave of them."""
    monkeypatch.setattr(gemm, "tiles_of", lambda rows, columns: [128])
    rules = (gemm.choose_tile, gemm.choose_slices, gemm.choose_split, gemm.choose_shared)
    for rule in rules:
        rule.cache_clear()
    try:
        with trace_launches() as launches:
            check(kernels, name, 60)
        assert {one.macros["TILE"] for one in launches if "TILE" in one.macros} == {"128"}
    finally:
        for rule in rules:
            rule.cache_clear()


def test_a_transpose_of_more_rows_than_a_grid_has(kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permute, "_MOST_ROWS", 8)
    check(kernels, "batched_transpose", 60)
