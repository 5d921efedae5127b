"""locally_connected2d against PyTorch's unfold, a full matrix, a convolution, and what it refuses."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn._window import Window
from gpunn.cpu import threads
from gpunn.errors import DeviceError, DTypeError, ShapeError, UsageError
from gpunn.nn import functional as F


@st.composite
def configurations(draw: st.DrawFn) -> dict:
    c, k = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    kernel, size = draw(st.tuples(*[st.integers(1, 3)] * 2)), draw(st.tuples(*[st.integers(1, 7)] * 2))
    stride, dilation = draw(st.tuples(*[st.integers(1, 3)] * 2)), draw(st.tuples(*[st.integers(1, 2)] * 2))
    pads = draw(st.tuples(*[st.integers(0, 2)] * 4))
    for n, r, d, p in zip(size, kernel, dilation, (pads[0] + pads[1], pads[2] + pads[3]), strict=True):
        assume(d * (r - 1) + 1 <= n + p)
    window = Window(size[0], size[1], kernel[0], kernel[1], stride, pads[::2], dilation, False, pads[1::2])
    rng = np.random.Generator(np.random.Philox(draw(st.integers(0, 2**16))))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    n = draw(st.sampled_from([0, 1, 2, 5]))
    shapes = {"x": (n, c, *size), "weight": (window.P, window.Q, k, c, *kernel), "bias": (k, window.P, window.Q)}
    arrays: dict = {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}
    if draw(st.booleans()):
        arrays["x"] = np.repeat(arrays["x"].transpose(0, 1, 3, 2), 2, axis=2)[:, :, ::2].transpose(0, 1, 3, 2)
    if draw(st.booleans()):
        arrays["bias"] = None
    return {"arrays": arrays, "stride": stride, "dilation": dilation, "padding": (pads[:2], pads[2:])}


def _check_against_torch(where: str, configuration: dict) -> None:
    parity = pytest.importorskip("tests.parity")
    arrays = configuration["arrays"]
    stride, dilation, padding = (configuration[name] for name in ("stride", "dilation", "padding"))

    def theirs(x, weight, bias):
        (r, s), ((top, bottom), (left, right)) = weight.shape[4:], padding
        padded = parity.torch.nn.functional.pad(x, (left, right, top, bottom))
        tall, wide = (d * (n - 1) + 1 for d, n in zip(dilation, (r, s), strict=True))
        windows = padded.unfold(2, tall, stride[0]).unfold(3, wide, stride[1])
        windows = windows[..., :: dilation[0], :: dilation[1]]
        y = parity.torch.einsum("ncpqrs,pqkcrs->nkpq", windows, weight)
        return y if bias is None else y + bias

    # Sums of up to forty products of normal numbers, in another order than PyTorch's.
    tolerance = 1e-5 if arrays["x"].dtype == np.float32 else 1e-12
    ours = partial(F.locally_connected2d, stride=stride, padding=padding, dilation=dilation)
    parity.compare(ours, theirs, arrays, where, tolerance, least_scale=1.0)


@given(configurations())
@settings(max_examples=150, deadline=None)
def test_matches_torch_on_cpu(configuration: dict) -> None:
    _check_against_torch("cpu", configuration)


@given(configurations())
@settings(max_examples=30, deadline=None)
def test_matches_torch_with_kernels(kernels: str, configuration: dict) -> None:
    _check_against_torch(kernels, configuration)


def test_equals_a_convolution_where_all_positions_share_the_weights() -> None:
    rng = np.random.Generator(np.random.Philox(5))
    x = gpunn.tensor(rng.standard_normal((3, 4, 7, 6)), requires_grad=True)
    twin = gpunn.tensor(x.detach().numpy(), requires_grad=True)
    filters, bias = gpunn.tensor(rng.standard_normal((5, 4, 3, 2))), gpunn.tensor(rng.standard_normal(5))
    how: dict[str, Any] = {"stride": (2, 1), "padding": ((1, 0), (0, 2)), "dilation": (1, 2)}
    expected = F.conv2d(twin, filters, bias, **how)
    p, q = expected.shape[2:]
    weight = gpunn.tensor(np.broadcast_to(filters.numpy(), (p, q, 5, 4, 3, 2)))
    y = F.locally_connected2d(x, weight, gpunn.tensor(np.broadcast_to(bias.numpy()[:, None, None], (5, p, q))), **how)
    np.testing.assert_allclose(y.detach().numpy(), expected.detach().numpy(), rtol=0, atol=1e-13)  # sums of 24
    (y * y).sum().backward()
    (expected * expected).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), twin.grad.numpy(), rtol=0, atol=1e-11)  # of values up to 300


def test_equals_a_full_matrix_with_zeros() -> None:
    """Each output is a row of a fully connected layer that is zero outside its window."""
    rng = np.random.Generator(np.random.Philox(6))
    x, weight = rng.standard_normal((2, 2, 5, 4)), rng.standard_normal((3, 2, 3, 2, 3, 3))
    matrix = np.zeros((3, 3, 2, 2, 5, 4))  # k, p, q, c, h, w
    for p in range(3):
        for q in range(2):
            matrix[:, p, q, :, p : p + 3, q : q + 3] = weight[p, q]
    y = F.locally_connected2d(gpunn.tensor(x), gpunn.tensor(weight))
    expected = (x.reshape(2, -1) @ matrix.reshape(18, -1).T).reshape(2, 3, 3, 2)
    np.testing.assert_allclose(y.numpy(), expected, rtol=0, atol=1e-13)  # sums of 18 products


def test_gradcheck() -> None:
    rng = np.random.Generator(np.random.Philox(1))
    arrays = (rng.standard_normal(s) for s in ((2, 2, 5, 4), (2, 3, 2, 2, 3, 2), (2, 2, 3)))
    inputs = [gpunn.tensor(a, requires_grad=True) for a in arrays]
    assert gradcheck(lambda x, w, b: F.locally_connected2d(x, w, b, (2, 2), ((1, 0), (1, 2))), inputs)


def test_only_wanted_gradients_are_computed() -> None:
    from gpunn.ops.locally_connected2d import locally_connected2d_backward

    asked = []
    numpy_body = locally_connected2d_backward.numpy_body
    locally_connected2d_backward.numpy_body = lambda *args: asked.append(args[-1]) or numpy_body(*args)
    try:
        weight = gpunn.randn(2, 2, 1, 1, 2, 2, requires_grad=True)
        F.locally_connected2d(gpunn.randn(1, 1, 3, 3), weight, gpunn.zeros(1, 2, 2)).sum().backward()
    finally:
        locally_connected2d_backward.numpy_body = numpy_body
    assert asked == [(False, True, False)]


def test_same_bits_for_any_number_of_threads() -> None:
    rng = np.random.Generator(np.random.Philox(2))
    x, weight = (rng.standard_normal(s).astype(np.float32) for s in ((9, 6, 8, 8), (6, 6, 7, 6, 3, 3)))

    def run() -> list[bytes]:
        a, b = gpunn.tensor(x, requires_grad=True), gpunn.tensor(weight, requires_grad=True)
        y = F.locally_connected2d(a, b)
        (y * y).sum().backward()
        return [t.numpy().tobytes() for t in (y.detach(), a.grad, b.grad)]

    before = threads.get_num_threads()
    try:
        threads.set_num_threads(1)
        one = run()
        threads.set_num_threads(3)
        assert run() == one
    finally:
        threads.set_num_threads(before)


@pytest.mark.parametrize(
    ("x", "w", "how", "error", "message"),
    [
        ((1, 1, 4), (2, 2, 1, 1, 3, 3), {}, ShapeError, r"expected x \(N, C, H, W\) and weight \(P, Q, K, C, R, S\)"),
        ((1, 2, 4, 4), (2, 2, 1, 1, 3, 3), {}, ShapeError, "expected 1 input channels to match weight"),
        ((1, 1, 5, 4), (2, 2, 1, 1, 3, 3), {}, ShapeError, "filters for 2x2 positions; an image of 5x4 has 3x2"),
        ((1, 1, 2, 4), (2, 2, 1, 1, 3, 3), {}, ShapeError, "larger than the input"),
        ((1, 0, 4, 4), (2, 2, 1, 0, 3, 3), {}, ShapeError, "no axis of length 0"),
        ((1, 1, 6, 6), (2, 2, 1, 1, 3, 3), {"stride": 2, "strict": True}, ShapeError, r"strict: .*last 1 row\(s\)"),
        ((1, 1, 4, 4), (2, 2, 1, 1, 3, 3), {"stride": 0}, UsageError, "stride: expected an integer >= 1"),
        ((1, 1, 4, 4), (2, 2, 1, 1, 3, 3), {"bias": gpunn.zeros(1)}, ShapeError, r"a bias of shape \(1, 2, 2\)"),
    ],
)
def test_refuses(x: tuple, w: tuple, how: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        F.locally_connected2d(gpunn.zeros(x), gpunn.zeros(w), **how)


def test_refuses_other_dtypes() -> None:
    x, w = gpunn.zeros(1, 1, 3, 3), gpunn.zeros(1, 1, 1, 1, 3, 3)
    with pytest.raises(DTypeError, match="one floating dtype; got float64, float32"):
        F.locally_connected2d(x.double(), w)


def test_refuses_two_devices(kernels: str) -> None:
    x, w = gpunn.zeros(1, 1, 3, 3), gpunn.zeros(1, 1, 1, 1, 3, 3)
    with pytest.raises(DeviceError, match=f"cpu and {kernels}"):
        F.locally_connected2d(x, w.to(kernels))
