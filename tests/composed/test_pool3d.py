"""Pooling and normalisation of volumes: PyTorch's values, gradients and indices, layers, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn as typed
from gpunn.errors import DTypeError, GpunnError, ShapeError, UsageError
from tests.devices import EVERYWHERE

gpunn: Any = typed
nn = gpunn.nn
F = nn.functional

# Sums of at most 27 numbers of order one in two steps, which PyTorch adds in one.
TOLERANCE = 1e-14


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, np.ndarray, dict[str, Any]]:
    """A pooling, a volume with ties, and options."""
    name = draw(st.sampled_from(["max_pool3d", "avg_pool3d", "adaptive_avg_pool3d", "adaptive_max_pool3d"]))
    options: dict[str, Any] = {}
    least = (1, 1, 1)
    if name.startswith("adaptive"):
        options["output_size"] = draw(st.one_of(st.tuples(*[st.integers(1, 5)] * 3), st.integers(1, 4)))
    else:
        kernel = draw(st.tuples(*[st.integers(1, 3)] * 3))
        padding = tuple(draw(st.integers(0, n // 2)) for n in kernel)
        spread = draw(st.tuples(*[st.integers(1, 2)] * 3)) if name == "max_pool3d" else (1, 1, 1)
        options = {"kernel_size": kernel, "padding": padding, "ceil_mode": draw(st.booleans())}
        options["stride"] = draw(st.one_of(st.none(), st.tuples(*[st.integers(1, 3)] * 3)))
        least = tuple(max(1, d * (n - 1) + 1 - 2 * p) for n, d, p in zip(kernel, spread, padding, strict=True))
        if name == "max_pool3d":
            options["dilation"] = spread
        else:
            options["count_include_pad"] = draw(st.booleans())
            options["divisor_override"] = draw(st.sampled_from([None, None, 5]))
            least = kernel  # PyTorch's wants them to fit without padding
    size = [draw(st.integers(n, n + 4)) for n in least]
    batch = draw(st.sampled_from([(), (1,), (2,)]))
    rng = np.random.Generator(np.random.Philox(draw(st.integers(0, 99))))
    shape = (*batch, draw(st.integers(1, 3)), *size)
    return name, np.asarray(rng.integers(-2, 3, shape), np.float64), options


def _compare(name: str, x: np.ndarray, options: dict[str, Any], where: str) -> None:
    parity = pytest.importorskip("tests.parity")
    ours, theirs = getattr(F, name), getattr(parity.torch.nn.functional, name)
    parity.compare(
        lambda x: ours(x, **options), lambda x: theirs(x, **options), {"x": x}, where, TOLERANCE, least_scale=1
    )
    if "max" in name:
        found = ours(gpunn.tensor(x, device=where), **options, return_indices=True)
        expected = theirs(parity.torch.tensor(x), **options, return_indices=True)
        for mine, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(mine.numpy(), other.numpy())
        assert found[1].dtype == np.int64


@given(case=cases())
@settings(max_examples=50, deadline=None)
def test_matches_torch(case: tuple[str, np.ndarray, dict[str, Any]]) -> None:
    _compare(*case, "cpu")


@given(case=cases())
@settings(max_examples=10, deadline=None)
def test_matches_torch_with_kernels(kernels: str, case: tuple[str, np.ndarray, dict[str, Any]]) -> None:
    _compare(*case, kernels)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_nan_wins(where: str) -> None:
    x = np.zeros((1, 1, 3, 3, 3), np.float32)
    x[0, 0, 1, 2, 0] = x[0, 0, 2, 0, 1] = np.nan
    y, index = F.max_pool3d(gpunn.tensor(x, device=where), 3, return_indices=True)
    assert np.isnan(y.item())
    assert index.item() == 2 * 9 + 1


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5, 3), (3, 1, 2, 2, 2), (4, 3, 5)])
def test_batch_norm_of_volumes_and_sequences(where: str, training: bool, shape: tuple[int, ...]) -> None:
    parity = pytest.importorskip("tests.parity")
    x = np.random.Generator(np.random.Philox(3)).standard_normal(shape)
    arrays = {name: np.linspace(1, 2, shape[1]) for name in ("running_mean", "running_var", "weight", "bias")}
    theirs = parity.torch.nn.functional.batch_norm
    # A few sums of dozens of numbers of order one.
    parity.compare(
        lambda x, **t: F.batch_norm(x, **t, training=training), lambda x, **t: theirs(x, **t, training=training),
        {"x": x, **arrays}, where, 1e-12, ("running_mean", "running_var"), least_scale=1,
    )  # fmt: skip


@pytest.mark.parametrize("where", EVERYWHERE)
def test_batch_norm_adds_and_rectifies_volumes(where: str) -> None:
    x, more = (gpunn.randn(2, 3, 2, 4, 3, dtype="float64").to(where) for _ in range(2))
    layer = nn.BatchNorm3d(3, dtype="float64").to(where)
    both = layer(x, residual=more, activation="relu")
    np.testing.assert_allclose(both.detach().numpy(), F.relu(layer(x) + more).detach().numpy(), atol=1e-15)
    assert nn.fused_pairs(nn.Sequential(layer, nn.ReLU())) != []


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: F.max_pool3d(x[0, 0], 2), ShapeError, r"max_pool3d: expected x of shape \(N, C, D, H, W\) or"),
        (lambda x: F.avg_pool3d(x[:, :0], 2), ShapeError, "avg_pool3d: expected x of shape .* with no axis of 0 but N"),
        (lambda x: F.max_pool3d(x, (4, 1, 1)), ShapeError, "max_pool3d: the window is 4 in depth"),
        (lambda x: F.avg_pool3d(x, (1, 5, 1)), ShapeError, "avg_pool3d: the window is 5 in height"),
        (lambda x: F.max_pool3d(x, 2, padding=2), UsageError, "max_pool3d: padding .* is more than half the kernel"),
        (lambda x: F.max_pool3d(x, (1, 2)), UsageError, "max_pool3d: kernel_size: expected an integer >= 1 or three"),
        (lambda x: F.avg_pool3d(x, 1, divisor_override=0), UsageError, "avg_pool3d: divisor_override: expected"),
        (lambda x: F.adaptive_avg_pool3d(x, (1, 2)), UsageError, "adaptive_avg_pool3d: output_size: .* three of them"),
        (lambda x: F.adaptive_max_pool3d(x.long(), 1), DTypeError, "adaptive_max_pool3d: expected a floating dtype"),
        (lambda x: nn.MaxPool3d(2, padding=2), UsageError, "MaxPool3d: padding .* is more than half the kernel"),
        (lambda x: nn.AvgPool3d(0), UsageError, "AvgPool3d: kernel_size: expected an integer >= 1"),
        (lambda x: nn.AdaptiveAvgPool3d((0, 1, 1)), UsageError, "AdaptiveAvgPool3d: output_size: expected"),
        (lambda x: nn.AdaptiveMaxPool3d("a"), UsageError, "AdaptiveMaxPool3d: output_size: expected"),
    ],
)
def test_refuses(call: Any, error: type[GpunnError], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        call(gpunn.ones(1, 2, 3, 4, 5))
