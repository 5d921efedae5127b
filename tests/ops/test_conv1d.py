"""conv1d against PyTorch, known answers, and what it refuses."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.errors import DeviceError, DTypeError, ShapeError, UsageError
from gpunn.nn import functional as F


@st.composite
def configurations(draw: st.DrawFn) -> dict:
    """Any convolution of a short sequence."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    c, k = groups * draw(st.integers(1, 5)), groups * draw(st.integers(1, 5))
    kernel, length = draw(st.integers(1, 4)), draw(st.integers(1, 11))
    dilation = draw(st.integers(1, 3))
    form = draw(st.sampled_from(["both", "sides", "same", "valid"]))
    left, right = draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    padding: object = {"both": left, "sides": ((left, right),), "same": "same", "valid": "valid"}[form]
    total = {"both": 2 * left, "sides": left + right, "same": dilation * (kernel - 1), "valid": 0}[form]
    assume(dilation * (kernel - 1) + 1 <= length + total)
    stride = 1 if form == "same" else draw(st.integers(1, 3))
    rng = np.random.Generator(np.random.Philox(draw(st.integers(0, 2**16))))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    shapes = {"x": (draw(st.sampled_from([0, 1, 2, 3])), c, length), "weight": (k, c // groups, kernel), "bias": (k,)}
    arrays: dict = {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}
    if draw(st.booleans()):
        arrays["x"] = np.repeat(arrays["x"].transpose(2, 1, 0), 2, axis=1)[:, ::2].transpose(2, 1, 0)
    if draw(st.booleans()):
        arrays["bias"] = None
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return {"arrays": arrays, "how": how}


def _check_against_torch(where: str, configuration: dict) -> None:
    parity = pytest.importorskip("tests.parity")
    how = configuration["how"]

    def theirs(x, weight, bias):
        given = dict(how)
        if isinstance(how["padding"], tuple):
            x, given["padding"] = parity.torch.nn.functional.pad(x, how["padding"][0]), 0
        return parity.torch.nn.functional.conv1d(x, weight, bias, **given)

    # Sums of up to a hundred products of normal numbers, in another order than PyTorch's.
    tolerance = 1e-5 if configuration["arrays"]["x"].dtype == np.float32 else 1e-12
    parity.compare(partial(F.conv1d, **how), theirs, configuration["arrays"], where, tolerance, least_scale=1.0)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@given(configurations())
@settings(max_examples=150, deadline=None)
def test_matches_torch_on_cpu(configuration: dict) -> None:
    _check_against_torch("cpu", configuration)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@given(configurations())
@settings(max_examples=25, deadline=None)
def test_matches_torch_with_kernels(kernels: str, configuration: dict) -> None:
    _check_against_torch(kernels, configuration)


def test_known_answers() -> None:
    x, theta = gpunn.tensor([[[1.0, 1, 1, 0, 0]]]), gpunn.tensor([[[1.0, 0, 1]]])
    assert F.conv1d(x, theta).tolist() == [[[2, 1, 1]]]
    assert F.conv1d(x, theta, padding="same").tolist() == [[[1, 2, 1, 1, 0]]]
    assert F.conv1d(x, theta, gpunn.tensor([-1.0]), stride=2, activation="relu").tolist() == [[[1, 0]]]


@pytest.mark.parametrize("groups", [1, 2])
def test_gradcheck(groups: int) -> None:
    rng = np.random.Generator(np.random.Philox(1))
    arrays = (rng.standard_normal(s) for s in ((2, 4, 7), (6, 4 // groups, 3), (6,)))
    inputs = [gpunn.tensor(a, requires_grad=True) for a in arrays]
    assert gradcheck(lambda x, w, b: F.conv1d(x, w, b, 2, ((1, 2),), 2, groups), inputs)


@pytest.mark.parametrize(
    ("x", "w", "how", "error", "message"),
    [
        (
            (1, 1, 1, 5),
            (4, 1, 3),
            {},
            ShapeError,
            r"conv1d: expected x \(N, C, L\) or \(C, L\) and weight",
        ),
        (
            (1, 2, 5),
            (4, 3, 3),
            {},
            ShapeError,
            r"expected 3 input channels to match weight \(4, 3, 3\); got .*\(1, 2, 5\)",
        ),
        ((1, 3, 2), (4, 3, 3), {}, ShapeError, r"conv1d: the window is 3 in length .* 2 \+ 2\*0 = 2"),
        ((1, 3, 5), (4, 3, 3), {"stride": (1, 1)}, UsageError, r"stride: expected an integer >= 1; got \(1, 1\)"),
        (
            (1, 3, 5),
            (4, 3, 3),
            {"padding": (1, 2)},
            UsageError,
            r"padding: expected an integer >= 0, or \(\(left, right\),\)",
        ),
        ((1, 3, 5), (4, 3, 3), {"padding": "same", "stride": 2}, UsageError, "padding='same' needs stride 1"),
        ((1, 3, 5), (4, 3, 3), {"groups": 3}, UsageError, "groups: expected a divisor of the 4"),
        (
            (1, 3, 6),
            (4, 3, 3),
            {"stride": 2, "strict": True},
            ShapeError,
            r"the last 1 element\(s\) are in no window of 3",
        ),
        ((1, 3, 5), (4, 3, 3), {"activation": "tanh"}, UsageError, "activation"),
    ],
)
def test_refuses(x: tuple, w: tuple, how: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        F.conv1d(gpunn.zeros(x), gpunn.zeros(w), **how)


def test_refuses_other_dtypes() -> None:
    x, w = gpunn.zeros(1, 1, 3), gpunn.zeros(1, 1, 3)
    with pytest.raises(DTypeError, match="one floating dtype; got float64, float32"):
        F.conv1d(x.double(), w)
    with pytest.raises(ShapeError, match="bias"):
        F.conv1d(x, w, gpunn.zeros(2))


def test_refuses_two_devices(kernels: str) -> None:
    x, w = gpunn.zeros(1, 1, 3), gpunn.zeros(1, 1, 3)
    with pytest.raises(DeviceError, match=f"conv1d: inputs are on different devices, cpu and {kernels}"):
        F.conv1d(x, w.to(kernels))
