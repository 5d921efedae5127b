"""interpolate: PyTorch's values and gradients for every mode, size and scale, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn.errors import GpunnError, ShapeError, UsageError
from gpunn.nn import functional as F

MODES = {
    1: ("nearest", "nearest-exact", "linear", "area"),
    2: ("nearest", "nearest-exact", "bilinear", "bicubic", "area"),
}
MODES[3] = ("nearest", "nearest-exact", "trilinear", "area")
# Sums of a few products of numbers of order one. PyTorch adds them in another order, and on some processors fuses
# products into sums; the gradients add several of these up.
TOLERANCE = {np.float32: 5e-6, np.float64: 1e-13}


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, dict[str, Any]]:
    """An input and options."""
    axes = draw(st.sampled_from([1, 2, 2, 2, 3]))
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 3)), *(draw(st.integers(1, 7)) for _ in range(axes)))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    x = np.random.Generator(np.random.Philox(draw(st.integers(0, 99)))).standard_normal(shape).astype(dtype)
    options: dict[str, Any] = {"mode": draw(st.sampled_from(MODES[axes]))}
    if options["mode"].endswith(("linear", "cubic")):
        options["align_corners"] = draw(st.sampled_from([None, False, True]))
    if options["mode"] in ("bilinear", "bicubic"):
        options["antialias"] = draw(st.booleans())
    if draw(st.booleans()):
        options["size"] = draw(st.one_of(st.integers(1, 9), st.tuples(*[st.integers(1, 9)] * axes)))
    else:
        # With 1.04 the size may stay, with 2.02 it may double: some modes then forget the scale.
        factor = st.sampled_from([1.0, 1.04, 1.7, 2, 2.02, 2.5, 3])
        # Where the scale is forgotten by PyTorch's gradient alone, or by all but it.
        if (options["mode"] == "nearest" and axes != 2) or options.get("antialias"):
            factor = st.sampled_from([1.0, 1.7, 2, 2.5, 3])
        options["scale_factor"] = draw(st.one_of(factor, st.tuples(*[factor] * axes)))
        options["recompute_scale_factor"] = draw(st.sampled_from([None, False, True]))
    # PyTorch 2.13 gives every row of a single antialiased column what belongs to the first: see the test of columns.
    if options.get("antialias") and F.interpolate(gpunn.tensor(x), **options).shape[-1] == 1:
        options["antialias"] = False
    return x, options


def _compare(x: np.ndarray, options: dict[str, Any], where: str) -> None:
    parity = pytest.importorskip("tests.parity")
    theirs = parity.torch.nn.functional.interpolate
    tolerance = TOLERANCE[x.dtype.type]
    parity.compare(
        lambda x: F.interpolate(x, **options), lambda x: theirs(x, **options), {"x": x}, where, tolerance, least_scale=1
    )


@given(case=cases())
@settings(max_examples=80, deadline=None)
def test_matches_torch(case: tuple[np.ndarray, dict[str, Any]]) -> None:
    _compare(*case, "cpu")


@given(case=cases())
@settings(max_examples=8, deadline=None)
def test_matches_torch_with_kernels(kernels: str, case: tuple[np.ndarray, dict[str, Any]]) -> None:
    _compare(*case, kernels)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("sizes", [(2, 4), (3, 2), (5, 4), (7, 2)])
def test_a_single_antialiased_column(mode: str, sizes: tuple[int, int]) -> None:
    """Is each of two equal ones, of which PyTorch has the rows."""
    parity = pytest.importorskip("tests.parity")
    x = np.random.Generator(np.random.Philox(5)).standard_normal((2, 3, sizes[0], 1))
    how: dict[str, Any] = {"mode": mode, "antialias": True}
    mine = F.interpolate(gpunn.tensor(x), size=(sizes[1], 1), **how).numpy()
    two = parity.torch.nn.functional.interpolate(
        parity.torch.tensor(x).expand(-1, -1, -1, 2), size=(sizes[1], 2), **how
    )
    np.testing.assert_allclose(mine, two.numpy()[..., :1], rtol=0, atol=1e-13)


@pytest.mark.parametrize("scale", [0.97, 1.04, 1 / 3 + 0.01, 2.02, 3.03])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic"])
def test_positions_just_between_two(mode: str, scale: float) -> None:
    """Sizes long enough that a position goes wrong if it is calculated otherwise than PyTorch does."""
    for dtype in TOLERANCE:
        x = np.arange(25, dtype=dtype).reshape(1, 1, 25, 1) / 25 * np.ones((1, 2, 1, 25), dtype)
        _compare(x, {"scale_factor": scale, "mode": mode}, "cpu")


def test_an_empty_batch() -> None:
    assert F.interpolate(gpunn.ones(0, 2, 3, 4), scale_factor=2, mode="bilinear").shape == (0, 2, 6, 8)


@pytest.mark.parametrize(
    ("shape", "options", "error", "message"),
    [
        ((1, 1, 4), {}, UsageError, "expected either size or scale_factor; got None and None"),
        ((1, 1, 4), {"size": 2, "scale_factor": 2}, UsageError, "expected either size or scale_factor"),
        ((1, 1, 4), {"size": 0}, UsageError, "size: expected whole numbers of at least 1; got 0"),
        ((1, 1, 4), {"size": (2, 2)}, UsageError, "size: expected one number or 1, one for each axis"),
        ((1, 1, 4), {"scale_factor": -1}, UsageError, "scale_factor: expected numbers above 0"),
        ((1, 1, 4), {"scale_factor": 0.1}, ShapeError, r"scale_factor 0.1 leaves nothing of size \(4,\)"),
        ((1, 1, 4), {"size": 2, "recompute_scale_factor": True}, UsageError, "recompute_scale_factor goes with"),
        ((1, 1, 4), {"size": 2, "mode": "cubic"}, UsageError, "mode: expected one of nearest, .*; got 'cubic'"),
        ((1, 1, 4), {"size": 2, "mode": "bilinear"}, ShapeError, "mode 'bilinear': expected x with 4 axes"),
        ((1, 4), {"size": 2}, ShapeError, r"mode 'nearest': expected x with 3 to 5 axes; got shape \(1, 4\)"),
        ((1, 0, 4), {"size": 2}, ShapeError, "expected x with no axis of 0 but N"),
        ((1, 1, 4), {"size": 2, "align_corners": True}, UsageError, "align_corners goes with"),
        ((1, 1, 4, 4), {"size": 2, "antialias": True}, UsageError, "antialias: expected mode 'bilinear' or 'bicubic'"),
    ],
)
def test_refuses(shape: tuple[int, ...], options: dict[str, Any], error: type[GpunnError], message: str) -> None:
    with pytest.raises(error, match=f"^interpolate: {message}"):
        F.interpolate(gpunn.ones(*shape), **options)
