"""gpunn.arrays on NumPy arrays: every function is called, sums by hand, shared memory, refusals; and on CuPy arrays."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import _device, arrays
from gpunn.errors import DeviceError, DTypeError, LabelError, ShapeError, UsageError
from tests.array_calls import CALLS, Call, channels_last, draw

on_gpu = pytest.mark.skipif(not _device.cuda_is_available(), reason="needs CuPy and a CUDA GPU")


def results(made: Any) -> list[Any]:
    return list(made) if isinstance(made, tuple) else [made]


def test_every_function_is_called() -> None:
    assert {call.function for call in CALLS.values()} == set(arrays.__all__)


@pytest.mark.parametrize("name", CALLS)
def test_calls_leave_their_arguments_alone(name: str) -> None:
    call = copy.deepcopy(CALLS[name])
    made = results(getattr(arrays, call.function)(*call.args, **call.options))
    assert all(type(a) is np.ndarray for a in made if a is not None)
    moved = (3, 4) if "running" in name else ()
    for i, (now, before) in enumerate(zip(call.args, CALLS[name].args, strict=True)):
        if isinstance(now, np.ndarray) and i not in moved:
            np.testing.assert_array_equal(now, before)


# -- known sums -----------------------------------------------------------------------------------


def by_hand(x: np.ndarray, weight: np.ndarray, stride: int = 1) -> np.ndarray:
    """(H, W) with (R, S), one output after the other."""
    (h, w), (r, s) = x.shape, weight.shape
    rows, columns = range(0, h - r + 1, stride), range(0, w - s + 1, stride)
    return np.array([[(x[p : p + r, q : q + s] * weight).sum() for q in columns] for p in rows])


@pytest.mark.parametrize("of_x", [np.float64, np.complex128])
@pytest.mark.parametrize("of_weight", [np.float64, np.complex128])
def test_convolutions_by_hand(of_x: Any, of_weight: Any) -> None:
    x, weight = draw(2, 3, 6, 7, dtype=of_x), draw(3, 2, dtype=of_weight)
    y = arrays.conv2d(x, weight)
    expected = np.array([[by_hand(plane, weight) for plane in planes] for planes in x])
    assert y.dtype == expected.dtype
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-14)  # six products of numbers below 5
    filters = draw(4, 3, 3, 2, dtype=of_weight)
    y = arrays.conv2d(x, filters, stride=2)
    expected = np.array([[sum(map(lambda a, b: by_hand(a, b, 2), item, f)) for f in filters] for item in x])
    np.testing.assert_allclose(y, expected, rtol=0, atol=5e-14)  # 18 products
    lines = arrays.conv1d(x[0], weight[0])
    np.testing.assert_allclose(lines, [[by_hand(r[None], weight[:1])[0] for r in p] for p in x[0]], rtol=0, atol=1e-14)


def test_infinities_stay_apart() -> None:
    y = arrays.conv1d(np.array([complex(1, np.inf), 1]), np.ones(1))
    assert (y[0].real, y[0].imag) == (1.0, np.inf)


@pytest.mark.parametrize(
    "name",
    ["conv2d_backward", "conv2d_backward complex", "conv1d_backward", "conv1d_backward signal", "linear_backward"],
)
def test_gradients_are_adjoint(name: str) -> None:
    """<dy, f(u)> = <dx, u> for every u, where f is linear: in x, and in the weight."""
    call = CALLS[name]
    dy, x, weight = call.args
    forward = getattr(arrays, call.function.removesuffix("_backward"))
    dx, dweight, dbias = getattr(arrays, call.function)(dy, x, weight, **call.options)

    def inner(a: np.ndarray, b: np.ndarray) -> float:
        return float((a.conj() * b).sum().real)

    for gradient, at in ((dx, x), (dweight, weight)):
        u = draw(*at.shape, dtype=at.dtype, seed=9)
        y = forward(*((u, weight) if at is x else (x, u)), **call.options)
        assert gradient.dtype == at.dtype
        np.testing.assert_allclose(inner(dy, y), inner(gradient, u), rtol=1e-12)  # some 300 products in float64
    axis = 1 if "conv2d" in name else -2 if "conv1d" in name else -1
    others = tuple(a for a in range(dy.ndim) if a != axis % dy.ndim) if dbias.size > 1 else None
    np.testing.assert_allclose(dbias, dy.sum(axis=others).reshape(dbias.shape), rtol=1e-12)


def test_running_estimates_move() -> None:
    x, mean, var = draw(5, 4), np.zeros(4), np.ones(4)
    _, m, v = arrays.batch_norm_training(x, running_mean=mean, running_var=var, momentum=0.5)
    np.testing.assert_allclose(mean, 0.5 * m, rtol=1e-15)
    np.testing.assert_allclose(var, 0.5 + 0.5 * v * 5 / 4, rtol=1e-15)


def test_pooling_finds_its_maxima_again() -> None:
    x = draw(2, 3, 6, 6)
    y, offsets = arrays.max_pool2d(x, 2, return_offsets=True)
    assert offsets.dtype == np.uint8
    dx = arrays.max_pool2d_backward(y, offsets, (6, 6), 2)
    np.testing.assert_array_equal(dx[dx != 0], x[dx != 0])
    np.testing.assert_array_equal(arrays.max_pool2d(dx + 1e3 * (dx != 0), 2), y + 1e3)


# -- memory ---------------------------------------------------------------------------------------


def test_channels_last_is_read_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    from gpunn.arrays import _conv

    inner = vars(_conv)["conv2d_forward"]
    monkeypatch.setattr(_conv, "conv2d_forward", lambda device, x, *rest: (seen.append(x), inner(device, x, *rest))[1])
    x, weight = channels_last(draw(2, 3, 5, 5)), channels_last(draw(4, 3, 3, 3))
    y = arrays.conv2d(x, weight)
    assert np.shares_memory(seen[0], x)
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous
    arrays.conv2d(y, channels_last(draw(2, 4, 1, 1)))
    assert np.shares_memory(seen[1], y)
    frames = np.zeros((2, 2, 5, 5, 3)).transpose(0, 1, 4, 2, 3)
    arrays.conv2d(frames, weight)
    assert np.shares_memory(seen[2], frames)
    plane = draw(3, 5, 5)
    arrays.conv2d(plane, weight[0, 0])
    assert np.shares_memory(seen[3], plane)
    lines = np.zeros((2, 9, 3)).transpose(0, 2, 1)
    arrays.conv1d(lines, draw(4, 3, 3))
    assert np.shares_memory(seen[4], lines)


def test_nothing_is_recorded() -> None:
    with gpunn.enable_grad():
        assert isinstance(arrays.relu(draw(3)), np.ndarray)
    with gpunn.no_grad():
        assert arrays.cross_entropy_backward(draw(2, 3), np.array([0, 1])).shape == (2, 3)
        assert arrays.layer_norm_backward(draw(2, 3), draw(2, 3), 3)[0].shape == (2, 3)


# -- refusals -------------------------------------------------------------------------------------

_IMAGE, _KERNEL = np.zeros((1, 3, 5, 5)), np.zeros((2, 3, 3, 3))
REFUSED = [
    ("conv2d", (_IMAGE.astype(int), _KERNEL), DTypeError, r"conv2d: x: expected float32 or .*; got int64.*astype"),
    ("conv2d", (_IMAGE, _KERNEL.astype("f4")), DTypeError, "one precision; x is float64 and weight is float32"),
    ("conv2d", (_IMAGE.astype("f2"), _KERNEL), DTypeError, "x: expected float32 or float64 .*; got float16"),
    ("conv2d", ([1.0], _KERNEL), DTypeError, "x: expected a NumPy or CuPy array; got list"),
    ("conv2d", (gpunn.ones(1, 3, 5, 5), _KERNEL), DTypeError, r"got Tensor. For tensors there is gpunn.nn.functional"),
    ("conv2d", (_IMAGE, np.zeros((2, 3, 3))), ShapeError, r"x \(H, W\) or .*; got \(1, 3, 5, 5\) and \(2, 3, 3\)"),
    ("conv2d", (_IMAGE[:, :2], _KERNEL), ShapeError, "conv2d: expected 3 input channels"),
    ("conv2d", (_IMAGE, _KERNEL, np.zeros(3)), ShapeError, "bias of shape"),
    ("conv1d", (np.zeros((3, 2)), np.zeros((2, 3, 4))), ShapeError, "conv1d: .*length"),
    ("conv2d_backward", (_IMAGE, _IMAGE, _KERNEL), ShapeError, r"dy: expected shape \(1, 2, 3, 3\); got"),
    ("linear", (np.zeros(3), np.zeros((2, 4))), ShapeError, r"linear: expected x \(..., D\) and weight \(M, D\)"),
    ("linear_backward", (np.zeros(3), np.zeros(4), np.zeros((2, 4))), ShapeError, r"dy: expected shape \(2,\)"),
    ("max_pool2d", (np.zeros(3), 2), ShapeError, r"max_pool2d: expected x of shape \(..., H, W\); got \(3,\)"),
    ("max_pool2d_backward", (np.zeros((1, 1)), np.zeros((1, 1), "u1"), (20, 20), 20), DTypeError, "expected uint16"),
    ("max_pool2d", (np.zeros((4, 4), complex), 2), DTypeError, r"got complex128. Pass .real and .imag in turn"),
    ("max_pool2d_backward", (np.zeros((2, 2)), np.zeros((2, 2)), (4, 4), 2), DTypeError, "offsets: expected uint8"),
    ("max_pool2d_backward", (np.zeros((2, 3)), np.zeros((2, 3), "u1"), (4, 4), 2), ShapeError, r"dy: expected"),
    ("avg_pool2d_backward", (np.zeros((2, 3)), (4, 4), 2), ShapeError, r"dy: expected shape \(2, 2\)"),
    ("batch_norm", (np.zeros(3), np.zeros(3), np.ones(3)), ShapeError, r"expected \(N, C\) or \(N, C, ...\)"),
    ("batch_norm_training", (np.zeros((1, 3)),), ShapeError, "more than 1 value per channel"),
    ("layer_norm", (np.zeros((2, 3)), 4), ShapeError, r"x to end in normalized_shape \(4,\)"),
    ("group_norm", (np.zeros((2, 3)), 2), ShapeError, "multiple of num_groups = 2"),
    ("softmax", (np.zeros(3), 1), UsageError, "softmax: dim: axis 1 does not exist"),
    ("softmax_backward", (np.zeros(3), np.zeros(4)), ShapeError, r"dy: expected shape \(4,\)"),
    ("relu_backward", (np.zeros((2, 3)), np.zeros((3, 2))), ShapeError, r"dy: expected shape \(3, 2\)"),
    ("gelu", (np.zeros(3), "fast"), UsageError, "approximate: expected"),
    ("gelu_backward", (np.zeros(3), np.zeros(3), "fast"), UsageError, "approximate: expected"),
    ("cross_entropy", (np.zeros((2, 3)), np.array([0, 3])), LabelError, "label 3 at position 1"),
    ("cross_entropy_backward", (np.zeros((1, 3)), np.array([0]), None, np.zeros(2)), ShapeError, r"dy: .*shape \(\)"),
]  # fmt: skip


@pytest.mark.parametrize(("function", "args", "kind", "message"), REFUSED)
def test_refusals(function: str, args: tuple[Any, ...], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        getattr(arrays, function)(*args)


@pytest.mark.parametrize("estimate", ["strided", "read-only", "byte-swapped"])
def test_estimates_that_cannot_be_changed_in_place(estimate: str) -> None:
    values = {"strided": np.zeros(8)[::2], "read-only": np.zeros(4), "byte-swapped": np.zeros(4, ">f8")}[estimate]
    values.flags.writeable = estimate != "read-only"
    with pytest.raises(UsageError, match="running_mean: expected a contiguous array that can be written to"):
        arrays.batch_norm_training(draw(5, 4), running_mean=values, running_var=np.ones(4))


# -- CuPy -----------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.skipif(gpunn.cuda.device_count() < 2, reason="needs two CUDA GPUs")
@pytest.mark.parametrize(
    "name", ["conv2d complex", "conv2d_backward complex", "linear complex", "layer_norm_backward", "max_pool2d"]
)
def test_another_gpu_than_the_current_one(name: str) -> None:
    cupy, call = gpunn.device("cuda").xp, CALLS[name]
    with cupy.cuda.Device(1):
        given = [cupy.asarray(a) if isinstance(a, np.ndarray) else a for a in call.args]
    expected = results(getattr(arrays, call.function)(*call.args, **call.options))
    for got, wanted in zip(results(getattr(arrays, call.function)(*given, **call.options)), expected, strict=True):
        assert got.device.id == 1
        np.testing.assert_allclose(cupy.asnumpy(got), wanted, rtol=1e-12, atol=1e-12)  # as below


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("name", CALLS)
def test_cupy_arrays_give_what_numpy_arrays_do(name: str) -> None:
    call: Call = copy.deepcopy(CALLS[name])
    cupy = gpunn.device("cuda").xp

    def up(a: Any) -> Any:
        if not isinstance(a, np.ndarray):
            return a
        last = a.ndim == 4 and not a.flags.c_contiguous and a.transpose(0, 2, 3, 1).flags.c_contiguous
        return cupy.asarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) if last else cupy.asarray(a)

    given = [up(a) for a in call.args]
    made = results(getattr(arrays, call.function)(*given, **call.options))
    expected = results(getattr(arrays, call.function)(*call.args, **call.options))
    # What was changed in place is compared as well.
    for got, wanted in zip([*made, *given], [*expected, *call.args], strict=True):
        if wanted is None or not isinstance(wanted, np.ndarray):
            assert got is wanted or got == wanted
            continue
        assert type(got) is cupy.ndarray
        assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
        # Sums of up to 84 products of numbers below 5, in another order.
        bound = 1e-4 if wanted.dtype.name in ("float32", "complex64") else 1e-12
        np.testing.assert_allclose(cupy.asnumpy(got), wanted, rtol=bound, atol=bound)


@pytest.mark.gpu
@on_gpu
def test_cupy_refusals_and_labels() -> None:
    cupy = gpunn.device("cuda").xp
    x = cupy.zeros((3, 4))
    with pytest.raises(DeviceError, match=r"expected all arrays on one device; x is on 'cuda:0' and weight on 'cpu'"):
        arrays.linear(x, np.zeros((2, 4)))
    with pytest.raises(DTypeError, match="x: expected float32 or float64; got int64"):
        arrays.relu(x.astype(np.int64))
    arrays.cross_entropy(x, cupy.asarray([0, 1, 9]))
    with pytest.raises(LabelError, match="cross_entropy: label 9 at position 2"):
        gpunn.device("cuda").synchronize()
