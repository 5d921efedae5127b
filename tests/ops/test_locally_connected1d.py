"""locally_connected1d against a banded matrix, PyTorch's unfold and a convolution, and what it refuses."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.errors import DTypeError, ShapeError, UsageError
from gpunn.nn import functional as F


@st.composite
def configurations(draw: st.DrawFn) -> dict:
    n, c, k = draw(st.sampled_from([0, 1, 3])), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    kernel, length = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    stride, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    left, right = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    room = length + left + right - dilation * (kernel - 1) - 1
    assume(room >= 0)
    q = room // stride + 1
    rng = np.random.Generator(np.random.Philox(draw(st.integers(0, 2**16))))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    shapes = {"x": (n, c, length), "weight": (q, k, c, kernel), "bias": (k, q)}
    arrays: dict = {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}
    if draw(st.booleans()):
        arrays["x"] = np.ascontiguousarray(arrays["x"].transpose(2, 1, 0)).transpose(2, 1, 0)
    if draw(st.booleans()):
        arrays["bias"] = None
    return {"arrays": arrays, "how": {"stride": stride, "padding": ((left, right),), "dilation": dilation}}


def _check_against_torch(where: str, configuration: dict) -> None:
    parity = pytest.importorskip("tests.parity")
    arrays, how = configuration["arrays"], configuration["how"]

    def theirs(x, weight, bias):
        padded = parity.torch.nn.functional.pad(x, how["padding"][0])
        extent = how["dilation"] * (weight.shape[3] - 1) + 1
        windows = padded.unfold(2, extent, how["stride"])[..., :: how["dilation"]]
        y = parity.torch.einsum("ncqs,qkcs->nkq", windows, weight)
        return y if bias is None else y + bias

    # Sums of up to sixteen products of normal numbers, in another order than PyTorch's.
    tolerance = 1e-5 if arrays["x"].dtype == np.float32 else 1e-12
    parity.compare(partial(F.locally_connected1d, **how), theirs, arrays, where, tolerance, least_scale=1.0)


@given(configurations())
@settings(max_examples=150, deadline=None)
def test_matches_torch_on_cpu(configuration: dict) -> None:
    _check_against_torch("cpu", configuration)


@given(configurations())
@settings(max_examples=20, deadline=None)
def test_matches_torch_with_kernels(kernels: str, configuration: dict) -> None:
    _check_against_torch(kernels, configuration)


def test_centred_form_is_a_banded_matrix() -> None:
    rng = np.random.Generator(np.random.Philox(4))
    weight, x = rng.standard_normal((5, 1, 1, 3)), rng.standard_normal(5)
    matrix = np.zeros((5, 5))
    for q in range(5):
        for s in range(3):
            if 0 <= q + s - 1 < 5:
                matrix[q, q + s - 1] = weight[q, 0, 0, s]
    given_weight = gpunn.tensor(weight, requires_grad=True)
    y = F.locally_connected1d(gpunn.tensor(x[None, None]), given_weight, padding="same")
    np.testing.assert_allclose(y.detach().numpy()[0, 0], matrix @ x, rtol=0, atol=1e-15)  # sums of three
    y.sum().backward()
    gradient = given_weight.grad.numpy()[:, 0, 0]
    assert np.count_nonzero(gradient) == np.count_nonzero(matrix) == 13
    assert gradient[0, 0] == gradient[4, 2] == 0  # they meet only padding


def test_equals_a_convolution_where_all_positions_share_the_weights() -> None:
    rng = np.random.Generator(np.random.Philox(5))
    x, filters = gpunn.tensor(rng.standard_normal((2, 3, 8))), rng.standard_normal((4, 3, 3))
    expected = F.conv1d(x, gpunn.tensor(filters), stride=2, padding=1)
    weight = gpunn.tensor(np.broadcast_to(filters, (4, 4, 3, 3)))
    y = F.locally_connected1d(x, weight, stride=2, padding=1)
    np.testing.assert_allclose(y.numpy(), expected.numpy(), rtol=0, atol=1e-14)  # sums of nine


def test_gradcheck() -> None:
    rng = np.random.Generator(np.random.Philox(1))
    inputs = [gpunn.tensor(rng.standard_normal(s), requires_grad=True) for s in ((2, 2, 5), (3, 2, 2, 3), (2, 3))]
    assert gradcheck(lambda x, w, b: F.locally_connected1d(x, w, b, 2, 1), inputs)


@pytest.mark.parametrize(
    ("x", "w", "how", "error", "message"),
    [
        ((1, 1, 1, 4), (2, 1, 1, 3), {}, ShapeError, r"expected x \(N, C, L\) and weight \(Q, K, C, S\)"),
        ((1, 2, 4), (2, 1, 1, 3), {}, ShapeError, "expected 1 input channels to match weight"),
        ((1, 1, 5), (2, 1, 1, 3), {}, ShapeError, "filters for 2 positions; a sequence of length 5 has 3"),
        ((1, 1, 2), (2, 1, 1, 3), {}, ShapeError, "the window is 3 in length"),
        ((1, 1, 6), (2, 1, 1, 3), {"stride": 2, "strict": True}, ShapeError, r"the last 1 element\(s\)"),
        ((1, 1, 4), (2, 1, 1, 3), {"padding": (0, 0)}, UsageError, r"or \(\(left, right\),\)"),
        ((1, 1, 4), (2, 1, 1, 3), {"bias": gpunn.zeros(2)}, ShapeError, r"expected a bias of shape \(1, 2\)"),
    ],
)
def test_refuses(x: tuple, w: tuple, how: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        F.locally_connected1d(gpunn.zeros(x), gpunn.zeros(w), **how)


def test_refuses_other_dtypes() -> None:
    with pytest.raises(DTypeError, match="one floating dtype; got float32, float64"):
        F.locally_connected1d(gpunn.zeros(1, 1, 3), gpunn.zeros(1, 1, 1, 3, dtype=np.float64))
