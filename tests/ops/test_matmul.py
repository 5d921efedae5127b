"""Batched products against PyTorch (single ones: test_linear.py)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.errors import DeviceError, DTypeError, ShapeError
from tests.arrays import DTYPES, arrays, check, tolerance
from tests.devices import EVERYWHERE


@st.composite
def operands(draw: st.DrawFn) -> dict[str, np.ndarray]:
    """Vectors, matrices and batches of them that fit, broadcast over leading axes, with lengths of 0 and 1."""
    lengths = st.sampled_from([1, 2, 3, 5, 0])
    m, k, n = draw(lengths), draw(lengths), draw(lengths)
    lead = draw(st.lists(st.sampled_from([1, 2, 3, 0]), max_size=3))
    dtype = draw(DTYPES)

    def part(matrix: tuple[int, ...], vector: tuple[int, ...]) -> np.ndarray:
        if draw(st.integers(0, 4)) == 0:
            return draw(arrays(st.just(vector), dtype=dtype))
        own = [a if draw(st.booleans()) else 1 for a in lead][draw(st.integers(0, len(lead))) :]
        return draw(arrays(st.just((*own, *matrix)), dtype=dtype))

    return {"a": part((m, k), (k,)), "b": part((k, n), (k,))}


@pytest.mark.parametrize("where", EVERYWHERE)
@given(operands())
@settings(max_examples=200, deadline=None)
def test_matches_torch(where: str, given_: dict[str, np.ndarray]) -> None:
    # Sums of at most 5 products, and of the batches that one matrix took part in.
    check(lambda a, b: a @ b, given_, tolerance(given_["a"].dtype, 200), least_scale=1.0, where=where)


@pytest.mark.parametrize(
    "shapes", [((2, 40, 50), (2, 50, 60)), ((9, 120, 130), (9, 130, 70)), ((3, 500, 90), (1, 90, 80))]
)
def test_large_batches(shapes: tuple) -> None:
    rng = np.random.Generator(np.random.Philox(1))
    a, b = (rng.standard_normal(s).astype(np.float32) for s in shapes)
    # Up to 500 products of normal numbers in a sum.
    check(lambda a, b: a @ b, {"a": a, "b": b}, 1e-5)


def test_same_bits_for_any_number_of_threads() -> None:
    from gpunn.cpu import threads

    a, b, few = gpunn.randn(7, 150, 200), gpunn.randn(7, 200, 170), gpunn.randn(2, 200, 600)
    before = threads.get_num_threads()
    found = []
    try:
        for n in (1, 2, 3):
            threads.set_num_threads(n)
            found.append(((a @ b).numpy(), (gpunn.ones(2, 600, 200) @ few).numpy()))
    finally:
        threads.set_num_threads(before)
    for other in found[1:]:
        for x, y in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(x, y)


def test_gradcheck() -> None:
    rng = np.random.Generator(np.random.Philox(1))
    for first, second in (((2, 1, 3, 2), (2, 2, 3)), ((2,), (2, 2, 2, 3)), ((3, 2, 2), (2,)), ((2, 3), (2, 3, 2))):
        a, b = (gpunn.tensor(rng.standard_normal(s), requires_grad=True) for s in (first, second))
        assert gradcheck(gpunn.matmul, (a, b))


def test_mm_bmm_and_dot() -> None:
    a, b = gpunn.ones(2, 3), gpunn.ones(3, 4)
    assert gpunn.mm(a, b).tolist() == [[3.0] * 4] * 2
    assert gpunn.bmm(gpunn.ones(5, 2, 3), gpunn.ones(5, 3, 4)).shape == (5, 2, 4)
    assert gpunn.tensor([1.0, 2.0]).dot(gpunn.tensor([3.0, 4.0])).item() == 11.0
    with pytest.raises(ShapeError, match="mm: expected two matrices"):
        a.mm(gpunn.ones(2, 3, 4))
    with pytest.raises(ShapeError, match="bmm: expected"):
        gpunn.ones(5, 2, 3).bmm(gpunn.ones(4, 3, 4))


@pytest.mark.parametrize(
    ("a", "b"), [((2, 3), (2, 3)), ((3,), (2,)), ((), (2,)), ((2, 2, 3), (3, 3, 4)), ((4, 2, 3), (2,))]
)
def test_refuses_shapes(a: tuple, b: tuple) -> None:
    with pytest.raises(ShapeError, match=r"matmul: expected shapes \(..., M, K\)"):
        gpunn.zeros(a) @ gpunn.zeros(b)


def test_refuses_dtypes() -> None:
    with pytest.raises(DTypeError, match="matmul: expected one floating dtype; got int64 and int64"):
        gpunn.ones(2, 2, dtype=np.int64) @ gpunn.ones(2, 2, dtype=np.int64)


def test_refuses_two_devices(kernels: str) -> None:
    with pytest.raises(DeviceError, match=f"matmul: inputs are on different devices, cpu and {kernels}"):
        gpunn.ones(2, 2) @ gpunn.ones(2, 2, device=kernels)


@pytest.mark.parametrize("rows", [20, 128, 129])
@pytest.mark.parametrize("with_bias", [True, False])
def test_few_rows_times_a_large_transposed_matrix(rows: int, with_bias: bool) -> None:
    """On the CPU up to 128 rows are computed the other way round, in several pieces of columns."""
    from gpunn._device import device
    from gpunn.ops.matmul import gemm

    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((rows, 300)), rng.standard_normal((400, 300))
    bias = rng.standard_normal(400) if with_bias else None
    expected = gemm.plain(np, a, b, "nt", bias, True)
    # float64 sums of 300 terms in another order.
    np.testing.assert_allclose(gemm(device("cpu"), a, b, "nt", bias, True), expected, rtol=0, atol=1e-11)
