"""Convolution of volumes and its transpose: PyTorch's values and gradients, the layers, and what is refused."""

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

# Sums of up to some hundred products of numbers of order one, which PyTorch adds in another order.
TOLERANCE = 1e-12


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Operands of a convolution, and its options."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    c, k = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 3))
    three = st.tuples(*[st.integers(1, 3)] * 3)
    kernel = draw(st.one_of(three, st.sampled_from([(1, 1, 1), (3, 1, 1), (1, 2, 3)])))
    dilation, stride = draw(st.tuples(*[st.integers(1, 2)] * 3)), draw(three)
    padding: Any = draw(st.tuples(*[st.integers(0, 2)] * 3))
    least = [max(1, d * (n - 1) + 1 - 2 * p) for n, d, p in zip(kernel, dilation, padding, strict=True)]
    if draw(st.integers(0, 3)) == 0:
        odd = all((n - 1) * d % 2 == 0 for n, d in zip(kernel, dilation, strict=True))  # PyTorch warns of even ones
        padding = "same" if odd else "valid"
        stride = (1, 1, 1) if padding == "same" else stride
        least = [d * (n - 1) + 1 for n, d in zip(kernel, dilation, strict=True)]
    size = [draw(st.integers(n, n + 3)) for n in least]
    batch = draw(st.sampled_from([(), (1,), (2,)]))
    rng = np.random.Generator(np.random.Philox(draw(st.integers(0, 99))))
    shapes = {"x": (*batch, c, *size), "weight": (k, c // groups, *kernel), "bias": (k,)}
    arrays = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    if draw(st.booleans()):
        del arrays["bias"]
    return arrays, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


def _compare(arrays: dict[str, np.ndarray], options: dict[str, Any], where: str, name: str = "conv3d") -> None:
    parity = pytest.importorskip("tests.parity")
    theirs = getattr(parity.torch.nn.functional, name)
    parity.compare(
        lambda x, weight, bias=None: getattr(F, name)(x, weight, bias, **options),
        lambda x, weight, bias=None: theirs(x, weight, bias, **options),
        arrays, where, TOLERANCE, least_scale=1,
    )  # fmt: skip


@given(case=cases())
@settings(max_examples=40, deadline=None)
def test_matches_torch(case: tuple[dict[str, np.ndarray], dict[str, Any]]) -> None:
    _compare(*case, "cpu")


@given(case=cases())
@settings(max_examples=10, deadline=None)
def test_matches_torch_with_kernels(kernels: str, case: tuple[dict[str, np.ndarray], dict[str, Any]]) -> None:
    _compare(*case, kernels)


@st.composite
def transposed(draw: st.DrawFn) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The same for a transposed convolution."""
    groups = draw(st.sampled_from([1, 1, 2]))
    c, part = groups * draw(st.integers(1, 2)), draw(st.integers(1, 2))
    kernel = draw(st.tuples(*[st.integers(1, 3)] * 3))
    stride, dilation = (draw(st.tuples(*[st.integers(1, 2 + i)] * 3)) for i in (1, 0))
    size = draw(st.tuples(*[st.integers(1, 3)] * 3))
    more = [draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)]
    whole = [
        (n - 1) * s + d * (k - 1) + 1 + m for n, s, d, k, m in zip(size, stride, dilation, kernel, more, strict=True)
    ]
    padding = [draw(st.integers(0, min(2, (n - 1) // 2))) for n in whole]
    batch = draw(st.sampled_from([(), (1,), (2,)]))
    rng = np.random.Generator(np.random.Philox(draw(st.integers(0, 99))))
    shapes = {"x": (*batch, c, *size), "weight": (c, part, *kernel), "bias": (part * groups,)}
    arrays = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    options = {"stride": stride, "padding": tuple(padding), "output_padding": tuple(more), "groups": groups}
    return arrays, {**options, "dilation": dilation}


@given(case=transposed())
@settings(max_examples=25, deadline=None)
def test_the_transpose_matches_torch(case: tuple[dict[str, np.ndarray], dict[str, Any]]) -> None:
    _compare(*case, "cpu", "conv_transpose3d")


@given(case=transposed())
@settings(max_examples=8, deadline=None)
def test_the_transpose_matches_torch_with_kernels(
    kernels: str, case: tuple[dict[str, np.ndarray], dict[str, Any]]
) -> None:
    _compare(*case, kernels, "conv_transpose3d")


LAYERS: dict[str, Any] = {
    "reflect": lambda lib: lib.nn.Conv3d(2, 4, 3, 1, (1, 2, 0), padding_mode="reflect"),
    "replicate": lambda lib: lib.nn.Conv3d(2, 4, 3, 2, 2, groups=2, padding_mode="replicate"),
    "circular": lambda lib: lib.nn.Conv3d(2, 4, 3, padding="same", padding_mode="circular", bias=False),
    "factors": lambda lib: lib.nn.Sequential(
        lib.nn.Conv3d(2, 3, (1, 3, 3), padding=(0, 1, 1)), lib.nn.Conv3d(3, 2, (3, 1, 1), padding=(1, 0, 0))
    ),
    "residual": lambda lib: lib.nn.Sequential(
        lib.nn.Conv3d(2, 4, 3, 2, 1), lib.nn.BatchNorm3d(4), lib.nn.ReLU(inplace=True), lib.nn.MaxPool3d(2),
        lib.nn.ConvTranspose3d(4, 2, 2, 2), lib.nn.InstanceNorm3d(2, affine=True), lib.nn.AvgPool3d((1, 2, 2)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("name", LAYERS)
def test_layers_train_as_pytorchs(where: str, name: str) -> None:
    parity = pytest.importorskip("tests.parity")
    theirs, ours = LAYERS[name](parity.torch).double(), LAYERS[name](gpunn).double()
    assert repr(ours) == repr(theirs)
    ours.load_state_dict({k: gpunn.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    ours.to(where)
    x = np.random.Generator(np.random.Philox(1)).standard_normal((2, 2, 5, 8, 9))
    # Two norms more.
    parity.compare(ours, lambda x: theirs(x), {"x": x}, where, 1e-11, least_scale=1)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        parity.close("parameter's gradient", mine.grad.numpy(), other.grad.numpy(), 1e-11, 1)
    for key, value in theirs.state_dict().items():
        parity.close(key, ours.state_dict()[key].numpy(), value.numpy(), TOLERANCE, 1)


def test_a_volume_of_one_channel_is_not_written_to() -> None:
    """There volume and images are the same memory: the convolution keeps a copy for backward."""
    x = gpunn.randn(1, 1, 2, 3, 3)
    weight = gpunn.ones(1, 1, 1, 2, 2, requires_grad=True)
    expected = x.numpy().copy()
    y = F.conv3d(x, weight)
    x.zero_()
    y.sum().backward()
    corners = [expected[..., i : i + 2, j : j + 2].sum() for i in range(2) for j in range(2)]
    np.testing.assert_allclose(weight.grad.numpy().reshape(-1), corners, rtol=1e-5)  # eight additions of float32


def test_an_empty_batch() -> None:
    x = gpunn.ones(0, 2, 3, 4, 5, requires_grad=True)
    y = F.conv_transpose3d(F.conv3d(x, gpunn.ones(3, 2, 2, 2, 2)), gpunn.ones(3, 1, 2, 2, 2))
    y.sum().backward()
    assert (y.shape, x.grad.shape) == ((0, 1, 3, 4, 5), x.shape)


def test_summary_counts_products() -> None:
    net = nn.Sequential(nn.Conv3d(2, 4, 3, 2, 1, groups=2), nn.ConvTranspose3d(4, 2, 2, 2), nn.BatchNorm3d(2))
    rows = nn.summarize(net, (2, 4, 6, 8)).layers
    assert [row.output_shape for row in rows] == [(4, 2, 3, 4), (2, 4, 6, 8), (2, 4, 6, 8)]
    assert [row.multiply_adds for row in rows] == [24 * 4 * 27, 24 * 4 * 2 * 8, 2 * 192]
    flat = nn.Sequential(nn.ConvTranspose2d(4, 6, 3, 2, groups=2), nn.ConvTranspose1d(6, 1, 5))
    counted = nn.summarize(nn.Sequential(flat[0], nn.Flatten(2), flat[1]), (4, 3, 3)).layers
    assert [row.multiply_adds for row in counted] == [9 * 4 * 3 * 9, 0, 49 * 6 * 5]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x, w: F.conv3d(x[0, 0], w), ShapeError, r"conv3d: expected x \(N, C, D, H, W\) or \(C, D, H, W\) and"),
        (lambda x, w: F.conv3d(x, w[0]), ShapeError, "conv3d: expected x .* and weight"),
        (lambda x, w: F.conv3d(x[:, :1], w), ShapeError, "conv3d: expected 2 input channels"),
        (lambda x, w: F.conv3d(x[:, :, :1], w), ShapeError, "conv3d: the window is 2 in depth"),
        (lambda x, w: F.conv3d(x[..., :1], w), ShapeError, "conv3d: the window is 2 in width"),
        (lambda x, w: F.conv3d(x, w, stride=(1, 2)), UsageError, "conv3d: stride: expected an integer >= 1 or three"),
        (
            lambda x, w: F.conv3d(x, w, padding=(1, 2)),
            UsageError,
            r"conv3d: padding: .* or three of them, or \(\(front",
        ),
        (lambda x, w: F.conv3d(x, w, stride=2, padding="same"), UsageError, "conv3d: padding='same' needs stride 1"),
        (lambda x, w: F.conv3d(x, w, groups=0), UsageError, "conv3d: groups: expected a divisor"),
        (lambda x, w: F.conv3d(x, w.double()), DTypeError, "conv3d: expected one floating dtype"),
        (lambda x, w: F.conv_transpose3d(x[0, 0], w), ShapeError, "conv_transpose3d: expected x .* or .* and weight"),
        (lambda x, w: F.conv_transpose3d(x, w[:1]), ShapeError, "conv_transpose3d: expected 1 input channels"),
        (lambda x, w: F.conv_transpose3d(x, w, None, 1, 9), ShapeError, "conv_transpose3d: the output would have"),
        (
            lambda x, w: F.conv_transpose3d(x, w, None, 2, 0, 2),
            UsageError,
            "conv_transpose3d: output_padding: expected",
        ),
        (lambda x, w: nn.Conv3d(2, 3, (1, 2)), UsageError, "Conv3d: kernel_size: expected an integer >= 1 or three"),
        (lambda x, w: nn.Conv3d(2, 3, 1, padding_mode="a"), UsageError, "Conv3d: padding_mode: expected 'zeros'"),
        (lambda x, w: nn.ConvTranspose3d(2, 3, 1, output_padding=1), UsageError, "ConvTranspose3d: output_padding:"),
        (lambda x, w: nn.BatchNorm3d(2)(x[0]), ShapeError, r"BatchNorm3d: expected x of shape \(N, C, D, H, W\)"),
        (lambda x, w: F.batch_norm(x, None, None, training=True, residual=w), ShapeError, "batch_norm: residual: exp"),
    ],
)
def test_refuses(call: Any, error: type[GpunnError], message: str) -> None:
    with pytest.raises(error, match=message):
        call(gpunn.ones(1, 2, 3, 4, 5), gpunn.ones(2, 2, 2, 2, 2))
