"""conv2d against PyTorch, known answers, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn._window import Window
from gpunn.errors import DeviceError, DTypeError, ShapeError, UsageError
from gpunn.ops import conv2d as F
from tests.devices import EVERYWHERE, call


@st.composite
def configurations(draw: st.DrawFn) -> dict:
    """Any convolution of a small image: odd sizes, unequal sides, strides, paddings, dilations, groups."""
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    # Few channels have kernels of their own: those of first layers, and of groups.
    c = groups * draw(st.sampled_from([1, 2, 3, 4, 5, 6, 9, 12]))
    k = groups * draw(st.sampled_from([1, 2, 3, 4, 5, 6, 9]))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    small, pads = st.integers(1, 3), st.integers(0, 4)
    form = draw(st.sampled_from(["both", "sides", "same", "valid"]))
    how: dict = {
        "stride": (1, 1) if form == "same" else draw(st.tuples(small, small)),
        "padding": draw(
            st.tuples(st.tuples(pads, pads), st.tuples(pads, pads)) if form == "sides" else st.tuples(pads, pads)
        ),
        "dilation": draw(st.tuples(small, small)),
    }
    size = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    for n, r, d, p in zip(size, kernel, how["dilation"], how["padding"], strict=True):
        assume(
            form == "same" or d * (r - 1) + 1 <= n + (0 if form == "valid" else sum(p) if form == "sides" else 2 * p)
        )
    if form in ("same", "valid"):
        how["padding"] = form
    rng = np.random.Generator(np.random.Philox(draw(st.integers(0, 2**16))))
    n = draw(st.sampled_from([0, 1, 2, 3]))
    shapes = {"x": (n, c, *size), "weight": (k, c // groups, *kernel), "bias": (k,)}
    relu = draw(st.booleans())
    # Whole numbers where a ReLU follows: their sums are exact in any order, so that no output lies on one
    # side of 0 here and on the other in PyTorch, which would open one gate and not the other.
    numbers = (lambda shape: rng.integers(-4, 5, shape)) if relu else rng.standard_normal
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    arrays: dict = {name: numbers(shape).astype(dtype) for name, shape in shapes.items()}
    if draw(st.booleans()):  # every other column of a transposed image
        arrays["x"] = np.repeat(arrays["x"].transpose(0, 1, 3, 2), 2, axis=2)[:, :, ::2].transpose(0, 1, 3, 2)
    if draw(st.booleans()):
        arrays["bias"] = None
    return {"arrays": arrays, "how": how | {"groups": groups}, "relu": relu}


def _check_against_torch(where: str, configuration: dict) -> None:
    parity = pytest.importorskip("tests.parity")
    how, relu = configuration["how"], configuration["relu"]

    def theirs(x, weight, bias):
        given = dict(how)
        if isinstance(how["padding"], tuple) and isinstance(how["padding"][0], tuple):
            (top, bottom), (left, right) = how["padding"]
            x, given["padding"] = parity.torch.nn.functional.pad(x, (left, right, top, bottom)), 0
        y = parity.torch.nn.functional.conv2d(x, weight, bias, **given)
        return y.relu() if relu else y

    def ours(x, weight, bias):
        return F.conv2d(x, weight, bias, **how, activation="relu" if relu else None)

    # Sums of up to a few hundred products of normal numbers, in another order than PyTorch's.
    tolerance = 1e-5 if configuration["arrays"]["x"].dtype == np.float32 else 1e-12
    parity.compare(ours, theirs, configuration["arrays"], where, tolerance, least_scale=1.0)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@given(configurations())
@settings(max_examples=200, deadline=None)
def test_matches_torch_on_cpu(configuration: dict) -> None:
    _check_against_torch("cpu", configuration)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@given(configurations())
@settings(max_examples=60, deadline=None)
def test_matches_torch_with_kernels(kernels: str, configuration: dict) -> None:
    _check_against_torch(kernels, configuration)


def test_lecture_example() -> None:
    """COVERAGE L13: the worked two-dimensional example."""
    image = [[1, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 1], [0, 0, 1, 1, 0], [0, 1, 1, 0, 0]]
    kernel = [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    x, w = (gpunn.tensor(np.array(a, np.float32)[None, None]) for a in (image, kernel))
    assert F.conv2d(x, w).tolist() == [[[[4, 3, 4], [2, 4, 3], [2, 3, 4]]]]


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "how", "expected"),
    [
        ((1, 3, 32, 32), (6, 3, 5, 5), {}, (1, 6, 28, 28)),
        ((1, 6, 28, 28), (10, 6, 5, 5), {}, (1, 10, 24, 24)),
        ((1, 3, 32, 32), (64, 3, 6, 6), {}, (1, 64, 27, 27)),
        ((1, 1, 7, 7), (1, 1, 3, 3), {"stride": 2}, (1, 1, 3, 3)),
        ((1, 1, 7, 7), (1, 1, 3, 3), {"stride": 3}, (1, 1, 2, 2)),
        ((1, 1, 7, 7), (1, 1, 3, 3), {"padding": 1}, (1, 1, 7, 7)),
        ((2, 3, 8, 9), (4, 3, 5, 3), {"padding": "same"}, (2, 4, 8, 9)),
        ((1, 1, 6, 7), (1, 1, 2, 4), {"padding": "same", "dilation": (3, 1)}, (1, 1, 6, 7)),
        ((1, 1, 4, 5), (1, 1, 3, 3), {"padding": ((0, 2), (1, 0))}, (1, 1, 4, 4)),
        ((1, 1, 4, 5), (1, 1, 3, 3), {"padding": (1, (0, 2))}, (1, 1, 4, 5)),
    ],
)
def test_sizes(x_shape: tuple, w_shape: tuple, how: dict, expected: tuple) -> None:
    """COVERAGE L10: output sizes of the lecture."""
    assert F.conv2d(gpunn.zeros(x_shape), gpunn.zeros(w_shape), **how).shape == expected


@pytest.mark.parametrize("groups", [1, 2])
def test_gradcheck(groups: int) -> None:
    rng = np.random.Generator(np.random.Philox(1))
    arrays = (rng.standard_normal(s) for s in ((2, 4, 5, 4), (6, 4 // groups, 3, 2), (6,)))
    inputs = [gpunn.tensor(a, requires_grad=True) for a in arrays]
    assert gradcheck(lambda x, w, b: F.conv2d(x, w, b, (2, 1), (1, 2), (1, 2), groups), inputs)
    assert gradcheck(lambda x, w, b: F.conv2d(x, w, b, 1, ((4, 0), (0, 3)), 1, groups), inputs)


def test_odd_zero_of_same_padding_is_at_the_end() -> None:
    x, w = gpunn.tensor([[[[1.0, 2, 3]]]]), gpunn.tensor([[[[1.0, 10]]]])
    assert F.conv2d(x, w, padding="same").tolist() == [[[[21, 32, 3]]]]


def test_strict_takes_what_is_used_whole() -> None:
    x, w = gpunn.ones(1, 1, 7, 7), gpunn.ones(1, 1, 3, 3)
    assert F.conv2d(x, w, stride=2, strict=True).shape == (1, 1, 3, 3)
    assert F.conv2d(x, w, stride=3, padding=((1, 1), (0, 2)), strict=True).shape == (1, 1, 3, 3)


def test_first_layer_does_not_compute_dx() -> None:
    from gpunn.ops.conv2d import conv2d_backward

    asked = []
    numpy_body = conv2d_backward.numpy_body
    conv2d_backward.numpy_body = lambda *args: asked.append(args[6]) or numpy_body(*args)
    try:
        w = gpunn.randn(2, 1, 3, 3, requires_grad=True)
        F.conv2d(gpunn.randn(1, 1, 5, 5), w).sum().backward()
    finally:
        conv2d_backward.numpy_body = numpy_body
    assert asked == [(False, True, False)]


def test_output_is_channels_last() -> None:
    y = F.conv2d(gpunn.randn(2, 3, 5, 5), gpunn.randn(4, 3, 3, 3))
    assert y.array.transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize(
    ("x", "w", "how", "error", "message"),
    [
        ((1, 1, 5, 5), (4, 3, 3, 3), {}, ShapeError, r"expected 3 input channels to match weight \(4, 3, 3, 3\)"),
        ((1, 3, 2, 5), (4, 3, 3, 3), {}, ShapeError, r"larger than the input with padding, 2 \+ 2\*0 = 2"),
        ((1, 0, 5, 5), (4, 0, 3, 3), {}, ShapeError, "at least one channel and one filter"),
        ((5, 5), (4, 3, 3, 3), {}, ShapeError, r"expected x \(N, C, H, W\) or \(C, H, W\)"),
        ((1, 4, 5, 5), (6, 2, 3, 3), {"groups": 4}, UsageError, "groups: expected a divisor of the 6"),
        ((1, 3, 5, 5), (4, 3, 3, 3), {"stride": 0}, UsageError, "stride: expected an integer >= 1"),
        ((1, 3, 5, 5), (4, 3, 3, 3), {"padding": (1, 2, 3)}, UsageError, "padding: expected an integer >= 0"),
        ((1, 3, 5, 5), (4, 3, 3, 3), {"padding": ((1, -2), 1)}, UsageError, r"or \(\(top, bottom\), \(left, right\)\)"),
        ((1, 3, 2, 5), (4, 3, 5, 3), {"padding": ((0, 1), 0)}, ShapeError, r"with padding, 2 \+ 0 \+ 1 = 3"),
        ((1, 3, 6, 6), (4, 3, 3, 3), {"padding": "same", "stride": (1, 2)}, UsageError, "needs stride 1; got stride"),
        (
            (1, 3, 5, 5),
            (4, 3, 3, 3),
            {"padding": "full"},
            UsageError,
            "expected numbers, 'same' or 'valid'; got 'full'",
        ),
        ((1, 3, 5, 6), (4, 3, 3, 3), {"stride": 2, "strict": True}, ShapeError, r"the last 0 row\(s\) and 1 column"),
        ((1, 3, 5, 5), (4, 3, 3, 3), {"activation": "tanh"}, UsageError, "activation"),
    ],
)
def test_refuses(x: tuple, w: tuple, how: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        F.conv2d(gpunn.zeros(x), gpunn.zeros(w), **how)


def test_refuses_other_dtypes() -> None:
    x, w = gpunn.zeros(1, 1, 3, 3), gpunn.zeros(1, 1, 3, 3)
    with pytest.raises(DTypeError, match="one floating dtype; got float64, float32"):
        F.conv2d(x.double(), w)
    with pytest.raises(DTypeError, match="one floating dtype; got int64"):
        F.conv2d(gpunn.zeros(1, 1, 3, 3, dtype=np.int64), gpunn.zeros(1, 1, 3, 3, dtype=np.int64))
    with pytest.raises(ShapeError, match="bias"):
        F.conv2d(x, w, gpunn.zeros(2))


def test_refuses_two_devices(kernels: str) -> None:
    x, w = gpunn.zeros(1, 1, 3, 3), gpunn.zeros(1, 1, 3, 3)
    with pytest.raises(DeviceError, match=f"cpu and {kernels}"):
        F.conv2d(x, w.to(kernels))


@pytest.mark.parametrize("groups", [1, 6])
@pytest.mark.parametrize("device", EVERYWHERE)
def test_what_the_gradient_of_x_is_added_to_stays_as_it_was(device: str, groups: int) -> None:
    """Where two paths meet, the other's gradient may still be needed."""
    rng = np.random.Generator(np.random.Philox(3))
    shapes = ((2, 5, 4, 6), (2, 5, 4, 6), (6, 3, 3, 6 // groups), (2, 5, 4, 6))
    dy, x, weight, more = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    before = more.copy()
    args = (dy, None, x, weight, Window(5, 4, 3, 3, (1, 1), (1, 1), (1, 1)), groups, (True, True, False))
    alone, _, _ = call(F.conv2d_backward, device, *args)
    added, _, _ = call(F.conv2d_backward, device, *args, more)
    assert more.tobytes() == before.tobytes()
    assert added.tobytes() == (more + alone).tobytes()
