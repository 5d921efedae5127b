"""Matrix products (``kernels/gemm.cu``): ``a @ b``, and the primitive that linear layers are made of."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn import threads
from gpunn._device import Device, same_device
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, ShapeError, where
from gpunn.launcher import KernelSource, c_type, ceil_div, vector_width
from gpunn.ops.combine import combine
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("gemm.cu", REAL=("float", "double"), VEC=(1, 2, 4), TILE=(32, 64, 128))
# gemm_tile.cuh: rows and columns of a block's tile, and its threads.
TILES = {128: (128, 128, 256), 64: (64, 64, 256), 32: (64, 32, 128)}
_WAVE = 132  # blocks that fill a large card once; a constant, so that every card computes the same bits
_LEAST_SLICE = 128  # a shorter reduction is not worth a second kernel


def choose_tile(rows: int, columns: int, groups: int = 1) -> int:
    """The largest tile that still gives two waves of blocks, or the smallest that fits the columns."""
    if columns <= 32:
        return 32
    blocks = ceil_div(rows, 128) * ceil_div(columns, 128) * groups
    return 128 if columns > 64 and blocks >= 2 * _WAVE else 64


def choose_slices(rows: int, columns: int, depth: int, tile: int, groups: int = 1) -> int:
    """How often to split the reduction so that about one wave of blocks is at work."""
    tile_rows, tile_columns, _ = TILES[tile]
    blocks = max(1, ceil_div(rows, tile_rows) * ceil_div(columns, tile_columns) * groups)
    return max(1, min(ceil_div(_WAVE, blocks), depth // _LEAST_SLICE))


def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(form: str, m: int, n: int, k: int, dtype: Any = np.float32, bias: bool = False, relu: bool = False) -> Any:
        a = rng.standard_normal((m, k) if form[0] == "n" else (k, m)).astype(dtype)
        b = rng.standard_normal((k, n) if form[1] == "n" else (n, k)).astype(dtype)
        return {
            "a": a,
            "b": b,
            "form": form,
            "bias": rng.standard_normal(n).astype(dtype) if bias else None,
            "relu": relu,
        }

    # One below, at and above a tile's edge; enough depth for slices; no rows, no depth.
    made = [
        case(form, m, n, k) for form in ("nt", "nn", "tn") for m, n, k in ((63, 33, 17), (64, 64, 16), (65, 20, 30))
    ]
    made += [case("nt", 5, 10, 700, bias=True, relu=True), case("nt", 3, 8, 40, np.float64, bias=True)]
    made += [case("nn", 0, 3, 4), case("nt", 2, 3, 0, bias=True), case("tn", 70, 130, 300)]
    return made


@primitive(examples=_examples, returns=("c",))
def gemm(xp: Any, a: Any, b: Any, form: str, bias: Any = None, relu: bool = False) -> Any:
    """c (M, N) = act(a b + bias): form "nn" a (M, K) b (K, N); "nt" b (N, K) transposed; "tn" a (K, M) transposed."""
    c = xp.matmul(a.T if form[0] == "t" else a, b.T if form[1] == "t" else b)
    if bias is not None:
        c = c + bias
    return xp.maximum(c, c.dtype.type(0)) if relu else c


@gemm.numpy
def _(a: np.ndarray, b: np.ndarray, form: str, bias: np.ndarray | None = None, relu: bool = False) -> np.ndarray:
    left, right = (a.T if form[0] == "t" else a), (b.T if form[1] == "t" else b)
    c = np.empty((left.shape[0], right.shape[1]), a.dtype)

    def task(part: tuple[slice, slice]) -> None:
        rows, columns = part
        block = np.matmul(left[rows], right[:, columns], out=c[part])
        if bias is not None:
            block += bias[columns]
        if relu:
            np.maximum(block, c.dtype.type(0), out=block)

    threads.run(task, _cut(c.shape[0], c.shape[1], left.shape[1]))
    return c


_WIDTH = 192  # rows or columns of C in a piece: narrower ones cost BLAS more than other cores gain
_NARROW = 48  # where neither is long
_SMALL = 1 << 21  # multiply-adds that are not worth handing to other threads


def _cut(m: int, n: int, k: int) -> list[tuple[slice, slice]]:
    """Cut C (M, N) into pieces along its rows, or along its columns if only they are long.

    By shape alone, never within the sum over K: the numbers do not depend on the threads.
    """
    if m * k * n < _SMALL:
        return [(slice(0, m), slice(0, n))]
    if m < 2 * _WIDTH <= n:
        return [(slice(0, m), part) for part in threads.spans(n, min(16, n // _WIDTH))]
    width = _WIDTH if m >= 2 * _WIDTH else _NARROW
    return [(part, slice(0, n)) for part in threads.spans(m, max(1, min(16, m // width)))]


@gemm.kernel
def _(device: Device, a: Any, b: Any, form: str, bias: Any = None, relu: bool = False) -> Any:
    m, k = a.shape if form[0] == "n" else a.shape[::-1]
    n = b.shape[1] if form[1] == "n" else b.shape[0]
    # A vector lies along the contiguous axis of each operand.
    widths = [vector_width(length, array, widths=(4, 2, 1)) for length, array in ((a.shape[1], a), (b.shape[1], b))]
    tile = choose_tile(m, n)
    slices = choose_slices(m, n, k, tile)
    tile_rows, tile_columns, block = TILES[tile]
    c = device.empty((slices, m, n), a.dtype)
    grid = (ceil_div(n, tile_columns) * ceil_div(m, tile_rows), 1, slices)
    last = slices == 1
    args = (c, a, b, bias if last else None, m, n, k, int(relu and last))
    SOURCE.launch(device, f"gemm_{form}", grid, block, args, REAL=c_type(a.dtype, "gemm"), VEC=min(widths), TILE=tile)
    return c.reshape(m, n) if last else combine(device, c, bias, relu)


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """The matrix product a @ b.

    Parameters
    ----------
    a : Tensor, (M, K)
    b : Tensor, (K, N)
        Floating, of a's dtype and device.

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If they are not matrices that fit, or do not go together.
    """
    device = same_device(where("matmul"), a.device, b.device)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        raise ShapeError(f"{where('matmul')}: expected shapes (M, K) and (K, N); got {a.shape} and {b.shape}.")
    if a.dtype != b.dtype or a.dtype.kind != "f":
        raise DTypeError(f"{where('matmul')}: expected one floating dtype; got {a.dtype} and {b.dtype}.")
    pa, pb = a._physical, b._physical

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        da = gemm(device, dy, pb, "nt") if needs[0] else None
        return da, gemm(device, pa, dy, "tn") if needs[1] else None

    return record("matmul", gemm(device, pa, pb, "nn"), device, (a, b), backward, saves=(a, b))
