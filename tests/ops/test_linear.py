"""linear and matmul against PyTorch, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.errors import DTypeError, ShapeError, UsageError
from gpunn.gpu.gemm import choose_slices, choose_tile
from gpunn.ops.linear import linear, linear_backward
from tests.devices import EVERYWHERE, call

# Around the tiles' edges (16 deep, 32 and 64 wide), and long enough to be split.
_LENGTHS = st.one_of(st.integers(1, 20), st.sampled_from([31, 32, 33, 63, 64, 65, 130]))


@st.composite
def configurations(draw: st.DrawFn) -> dict:
    rows, depth, columns = draw(_LENGTHS), draw(st.one_of(_LENGTHS, st.just(520))), draw(_LENGTHS)
    rng = np.random.Generator(np.random.Philox(draw(st.integers(0, 2**16))))
    leading = draw(st.sampled_from([(), (1,), (2,)]))
    shapes = {"x": (*leading, rows, depth), "weight": (columns, depth), "bias": (columns,)}
    relu = draw(st.booleans())
    # Whole numbers where a ReLU follows: their sums are exact in any order, so that no output lies on one
    # side of 0 here and on the other in PyTorch, which would open one gate and not the other.
    numbers = (lambda shape: rng.integers(-4, 5, shape)) if relu else rng.standard_normal
    arrays: dict = {name: numbers(shape).astype(np.float32) for name, shape in shapes.items()}
    if draw(st.booleans()):
        arrays["bias"] = None
    return {"arrays": arrays, "relu": relu}


def _check_against_torch(where: str, configuration: dict) -> None:
    parity = pytest.importorskip("tests.parity")
    relu = configuration["relu"]

    def theirs(x, weight, bias):
        y = parity.torch.nn.functional.linear(x, weight, bias)
        return y.relu() if relu else y

    def ours(x, weight, bias):
        return linear(x, weight, bias, activation="relu" if relu else None)

    # Sums of up to 520 products of normal numbers, in another order than PyTorch's.
    parity.compare(ours, theirs, configuration["arrays"], where, 1e-5, least_scale=1.0)


@given(configurations())
@settings(max_examples=100, deadline=None)
def test_matches_torch_on_cpu(configuration: dict) -> None:
    _check_against_torch("cpu", configuration)


@given(configurations())
@settings(max_examples=40, deadline=None)
def test_matches_torch_with_kernels(kernels: str, configuration: dict) -> None:
    _check_against_torch(kernels, configuration)


def test_gradcheck() -> None:
    rng = np.random.Generator(np.random.Philox(1))
    inputs = [gpunn.tensor(rng.standard_normal(s), requires_grad=True) for s in ((3, 4), (5, 4), (5,))]
    assert gradcheck(linear, inputs)
    a, b = (gpunn.tensor(rng.standard_normal(s), requires_grad=True) for s in ((3, 4), (4, 2)))
    assert gradcheck(lambda u, w: u @ w, (a, b))


def test_empty_batch() -> None:
    x, w = gpunn.zeros(0, 3, requires_grad=True), gpunn.ones(2, 3, requires_grad=True)
    y = linear(x, w)
    assert y.shape == (0, 2)
    y.sum().backward()
    assert w.grad.tolist() == [[0, 0, 0], [0, 0, 0]]


def test_same_bits_for_any_number_of_threads() -> None:
    from gpunn.cpu import threads

    x, w = gpunn.randn(300, 700), gpunn.randn(200, 700)
    before = threads.get_num_threads()
    try:
        results = []
        for n in (1, 2, 3):
            threads.set_num_threads(n)
            results.append(linear(x, w).numpy())
    finally:
        threads.set_num_threads(before)
    assert all(np.array_equal(results[0], r) for r in results[1:])


@pytest.mark.parametrize(("rows", "columns", "depth"), [(1, 1, 1), (128, 500, 2450), (10**6, 64, 576), (64, 10**5, 64)])
def test_tiles_and_slices_cover_the_card_or_the_work(rows: int, columns: int, depth: int) -> None:
    tile = choose_tile(rows, columns)
    assert tile in (32, 64, 128)
    assert 1 <= choose_slices(rows, columns, depth, tile) <= max(1, depth // 128)


@pytest.mark.parametrize(
    ("x", "w", "b", "error", "message"),
    [
        ((2, 4), (5, 3), None, ShapeError, r"expected 3 input features to match weight \(5, 3\)"),
        ((2, 3), (5, 3), (4,), ShapeError, r"expected a bias of shape \(5,\)"),
        ((3,), (5, 4), None, ShapeError, "flatten"),
    ],
)
def test_refuses(x: tuple, w: tuple, b: tuple | None, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        linear(gpunn.zeros(x), gpunn.zeros(w), None if b is None else gpunn.zeros(b))


def test_refuses_dtypes_and_activations() -> None:
    with pytest.raises(DTypeError, match="got float64, float32"):
        linear(gpunn.zeros(2, 3, dtype=np.float64), gpunn.zeros(5, 3))
    with pytest.raises(UsageError, match="activation"):
        linear(gpunn.zeros(2, 3), gpunn.zeros(5, 3), activation="gelu")
    with pytest.raises(ShapeError, match=r"expected shapes \(..., M, K\) and \(..., K, N\)"):
        gpunn.zeros(2, 3) @ gpunn.zeros(2, 3)


@pytest.mark.parametrize("device", EVERYWHERE)
def test_what_the_gradient_of_x_is_added_to_stays_as_it_was(device: str) -> None:
    rng = np.random.Generator(np.random.Philox(3))
    dy, x, weight, more = (rng.standard_normal(shape).astype(np.float32) for shape in ((5, 7), (5, 6), (7, 6), (5, 6)))
    before = more.copy()
    args = (dy, None, x, weight, (True, True, False))
    alone, _, _ = call(linear_backward, device, *args)
    added, _, _ = call(linear_backward, device, *args, more)
    assert more.tobytes() == before.tobytes()
    assert added.tobytes() == (more + alone).tobytes()
