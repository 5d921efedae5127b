"""Windows as columns, and columns added up: PyTorch's values and gradients, also captured, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn.errors import DTypeError, GpunnError, ShapeError, UsageError
from gpunn.nn import functional as F
from tests.devices import EVERYWHERE

# Sums of at most 9 numbers of order one, which PyTorch adds in another order.
TOLERANCE = {np.float32: 2e-6, np.float64: 1e-14}


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, dict[str, Any]]:
    """An image and the options of windows that fit into it."""
    options: dict[str, Any] = {}
    size = []
    for name, least, most in (("kernel_size", 1, 3), ("dilation", 1, 2), ("padding", 0, 2), ("stride", 1, 3)):
        both = draw(st.tuples(st.integers(least, most), st.integers(least, most)))
        options[name] = draw(st.sampled_from([both, both, both[0]]))
    for axis in range(2):
        kernel, spread, border = (
            value if isinstance(value, int) else value[axis]
            for value in (options["kernel_size"], options["dilation"], options["padding"])
        )
        size.append(draw(st.integers(max(1, spread * (kernel - 1) + 1 - 2 * border), 8)))
    batch = draw(st.sampled_from([(), (1,), (2,)]))
    shape = (*batch, draw(st.integers(1, 3)), *size)
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    return np.random.Generator(np.random.Philox(draw(st.integers(0, 99)))).standard_normal(shape).astype(dtype), options


def _compare(x: np.ndarray, options: dict[str, Any], where: str) -> None:
    parity = pytest.importorskip("tests.parity")
    theirs, tolerance = parity.torch.nn.functional, TOLERANCE[x.dtype.type]
    # Numbers are only moved; their gradients are added up.
    parity.compare(
        lambda x: F.unfold(x, **options), lambda x: theirs.unfold(x, **options), {"x": x}, where, tolerance,
        least_scale=1,
    )  # fmt: skip
    columns, size = F.unfold(gpunn.tensor(x), **options).numpy(), x.shape[-2:]
    parity.compare(
        lambda x: F.fold(x, size, **options), lambda x: theirs.fold(x, size, **options), {"x": columns}, where,
        tolerance, least_scale=1,
    )  # fmt: skip


@given(case=cases())
@settings(max_examples=60, deadline=None)
def test_matches_torch(case: tuple[np.ndarray, dict[str, Any]]) -> None:
    _compare(*case, "cpu")


@given(case=cases())
@settings(max_examples=8, deadline=None)
def test_matches_torch_with_kernels(kernels: str, case: tuple[np.ndarray, dict[str, Any]]) -> None:
    _compare(*case, kernels)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_an_empty_batch(where: str) -> None:
    x = gpunn.ones(0, 2, 4, 5, device=where, requires_grad=True)
    columns = F.unfold(x, 2, stride=2)
    y = F.fold(columns, (4, 5), 2, stride=2)
    y.sum().backward()
    assert (columns.shape, y.shape, x.grad.shape) == ((0, 8, 4), (0, 2, 4, 5), (0, 2, 4, 5))


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (2, 2), (4, 4), (3, 1)])
def test_results_are_no_views(kernel: int, stride: int) -> None:
    x = gpunn.randn(1, 2, 4, 4)
    before = x.tolist()
    columns = F.unfold(x, kernel, stride=stride)
    columns.zero_()
    assert x.tolist() == before
    F.fold(columns, 4, kernel, stride=stride).fill_(1)
    assert not columns.any().item()


def test_layers_are_the_functions() -> None:
    x = gpunn.randn(2, 3, 5, 6)
    columns = gpunn.nn.Unfold(2, 1, 1, (1, 2))(x)
    assert columns.tolist() == F.unfold(x, 2, 1, 1, (1, 2)).tolist()
    y = gpunn.nn.Fold((5, 6), 2, 1, 1, (1, 2))(columns)
    assert y.tolist() == F.fold(columns, (5, 6), 2, 1, 1, (1, 2)).tolist()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.unfold(gpunn.ones(4, 4), 2), ShapeError, r"unfold: expected x \(N, C, H, W\) or \(C, H, W\)"),
        (lambda: F.unfold(gpunn.ones(1, 0, 4, 4), 2), ShapeError, "unfold: expected x .* with no axis of 0 but N"),
        (lambda: F.unfold(gpunn.ones(1, 1, 2, 4), 3), ShapeError, "unfold: the window is 3 in height"),
        (lambda: F.unfold(gpunn.ones(1, 1, 4, 4), (1, 2, 3)), UsageError, "unfold: kernel_size: expected an integer"),
        (lambda: F.unfold(gpunn.arange(4).reshape(1, 2, 2), 1), DTypeError, "unfold: expected a floating dtype"),
        (lambda: F.fold(gpunn.ones(1, 1, 4, 4), 2, 1), ShapeError, r"fold: expected x \(N, C R S, P Q\)"),
        (lambda: F.fold(gpunn.ones(1, 3, 4), 3, 2), ShapeError, "fold: .* a multiple of 4 rows, .* and 4 columns"),
        (lambda: F.fold(gpunn.ones(1, 4, 3), 3, 2), ShapeError, "fold: .* for 2 x 2 windows in an image of 3 x 3"),
        (lambda: F.fold(gpunn.ones(1, 4, 3), 1, 2), ShapeError, "fold: the window is 2 in height"),
        (lambda: gpunn.nn.Unfold(0), UsageError, "Unfold: kernel_size: expected an integer >= 1"),
        (lambda: gpunn.nn.Fold(0, 1), UsageError, "Fold: output_size: expected an integer >= 1"),
        (lambda: gpunn.nn.Fold(2, 1, padding=-1), UsageError, "Fold: padding: expected an integer >= 0"),
    ],
)
def test_refuses(call: Any, error: type[GpunnError], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        call()
