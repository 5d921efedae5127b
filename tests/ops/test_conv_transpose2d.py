"""Transposed convolutions: PyTorch's values and gradients for every option, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import gpunn
from gpunn.errors import DTypeError, GpunnError, ShapeError, UsageError
from gpunn.nn import functional as F

# Sums of up to a hundred products of numbers of order one, added in another order.
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-13}


@st.composite
def cases(draw: st.DrawFn, axes: int) -> tuple[dict[str, np.ndarray | None], dict[str, Any]]:
    """Operands and options whose output has elements."""

    def each(least: int, most: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(least, most)) for _ in range(axes))

    groups = draw(st.sampled_from([1, 1, 2, 3]))
    c, k = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    image, kernel, stride, dilation, padding = each(1, 5), each(1, 4), each(1, 3), each(1, 3), each(0, 2)
    more = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    whole = [
        (n - 1) * s - 2 * p + d * (r - 1) + m
        for n, s, p, d, r, m in zip(image, stride, padding, dilation, kernel, more, strict=True)
    ]
    assume(min(whole) >= 0)
    dtype = draw(st.sampled_from(list(TOLERANCE)))
    rng = np.random.Generator(np.random.Philox(draw(st.integers(0, 99))))
    batch = draw(st.sampled_from([(), (1,), (3,)]))
    operands: dict[str, np.ndarray | None] = {
        "x": rng.standard_normal((*batch, c, *image)).astype(dtype),
        "weight": rng.standard_normal((c, k // groups, *kernel)).astype(dtype),
        "bias": rng.standard_normal(k).astype(dtype) if draw(st.booleans()) else None,
    }
    options = {"stride": stride, "padding": padding, "output_padding": more, "groups": groups, "dilation": dilation}
    return operands, options


def _compare(name: str, case: tuple[dict[str, np.ndarray | None], dict[str, Any]], where: str) -> None:
    parity = pytest.importorskip("tests.parity")
    operands, options = case
    x = operands["x"]
    assert x is not None
    theirs = getattr(parity.torch.nn.functional, name)
    parity.compare(
        lambda x, weight, bias: getattr(F, name)(x, weight, bias, **options),
        lambda x, weight, bias: theirs(x, weight, bias, **options),
        operands,
        where,
        TOLERANCE[x.dtype.type],
        least_scale=1,
    )


@given(case=cases(2))
@settings(max_examples=60, deadline=None)
def test_matches_torch(case: Any) -> None:
    _compare("conv_transpose2d", case, "cpu")


@given(case=cases(1))
@settings(max_examples=25, deadline=None)
def test_sequences_match_torch(case: Any) -> None:
    _compare("conv_transpose1d", case, "cpu")


@given(case=cases(2))
@settings(max_examples=10, deadline=None)
def test_matches_torch_with_kernels(kernels: str, case: Any) -> None:
    _compare("conv_transpose2d", case, kernels)


@given(case=cases(1))
@settings(max_examples=3, deadline=None)
def test_sequences_match_torch_with_kernels(kernels: str, case: Any) -> None:
    _compare("conv_transpose1d", case, kernels)


def test_an_output_longer_than_all_filters_reach() -> None:
    """With a dilation above the stride the output padding may be more than one step."""
    x, weight, bias = gpunn.ones(1, 1, 1, 2), gpunn.ones(1, 1, 1, 2), gpunn.tensor([0.5])
    y = F.conv_transpose2d(x, weight, bias, dilation=(1, 4), output_padding=(0, 3))
    assert y.tolist() == [[[[1.5, 1.5, 0.5, 0.5, 1.5, 1.5, 0.5, 0.5, 0.5]]]]


def test_an_empty_batch() -> None:
    x, weight = gpunn.ones(0, 2, 3, 3, requires_grad=True), gpunn.ones(2, 4, 3, 3, requires_grad=True)
    y = F.conv_transpose2d(x, weight, stride=2)
    y.sum().backward()
    assert y.shape == (0, 4, 7, 7)
    assert not weight.grad.any().item()


X, WEIGHT = (1, 4, 3, 3), (4, 2, 3, 3)


@pytest.mark.parametrize(
    ("shapes", "options", "error", "message"),
    [
        (((4, 3), WEIGHT), {}, ShapeError, r"expected x \(N, C, H, W\) or \(C, H, W\) and weight"),
        (((1, 3, 3, 3), WEIGHT), {}, ShapeError, "expected 4 input channels to match weight"),
        ((X, (4, 0, 3, 3)), {}, ShapeError, "expected at least one channel and one filter"),
        ((X, WEIGHT), {"groups": 3}, UsageError, "groups: expected a divisor of the 4 input channels; got 3"),
        ((X, WEIGHT, (3,)), {}, ShapeError, r"expected a bias of shape \(2,\); got \(3,\)"),
        ((X, WEIGHT), {"output_padding": 1}, UsageError, "output_padding: expected less than stride 1 or dilation 1"),
        ((X, WEIGHT), {"padding": 3}, ShapeError, "the output would have the length -1 for an input of 3"),
        ((X, WEIGHT), {"stride": 0}, UsageError, "stride: expected an integer >= 1"),
    ],
)
def test_refuses(
    shapes: tuple[tuple[int, ...], ...], options: dict[str, Any], error: type[GpunnError], message: str
) -> None:
    x, weight, *bias = (gpunn.ones(*shape) for shape in shapes)
    with pytest.raises(error, match=f"^conv_transpose2d: {message}"):
        F.conv_transpose2d(x, weight, bias[0] if bias else None, **options)


def test_refuses_two_dtypes_and_sequences_without_channels() -> None:
    with pytest.raises(DTypeError, match="conv_transpose2d: expected one floating dtype; got float64, float32"):
        F.conv_transpose2d(gpunn.ones(*X, dtype="float64"), gpunn.ones(*WEIGHT))
    with pytest.raises(ShapeError, match=r"conv_transpose1d: expected x \(N, C, L\) or \(C, L\) and weight"):
        F.conv_transpose1d(gpunn.ones(3), gpunn.ones(1, 1, 3))
    with pytest.raises(ShapeError, match="conv_transpose1d: expected 2 input channels to match weight"):
        F.conv_transpose1d(gpunn.ones(1, 3, 3), gpunn.ones(2, 1, 3))
