"""Matrix products (``kernels/gemm.cu``): ``a @ b``, and the primitive that linear layers are made of."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn import _host_memory as memory
from gpunn import threads
from gpunn._device import Device, same_device
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, ShapeError, where
from gpunn.launcher import KernelSource, c_type, ceil_div, vector_width
from gpunn.ops._blocks import rectify
from gpunn.ops._tickets import COUNT, tickets
from gpunn.ops.broadcast import repeat_to, unbroadcast
from gpunn.ops.shape import to_logical_order, to_physical_order
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("gemm.cu", REAL=("float", "double"), VEC=(1, 2, 4), TILE=(32, 64, 128))
BATCHED = KernelSource("gemm_batched.cu", REAL=("float", "double"), VEC=(1, 4), TILE=(32, 64, 128))
# gemm_tile.cuh: rows and columns of a block's tile, and its threads.
TILES = {128: (128, 128, 256), 64: (64, 64, 256), 32: (64, 32, 128)}
_WAVE = 132  # blocks that fill a large card once; a constant, so that every card computes the same bits
_LEAST_SLICE = 128  # a shorter reduction is not worth adding up
_TICKETS = 16  # of each tile (gemm_tile.cuh)


def choose_tile(rows: int, columns: int, groups: int = 1) -> int:
    """The largest tile that still gives two waves of blocks, or the smallest that fits the columns."""
    if columns <= 32:
        return 32
    blocks = ceil_div(rows, 128) * ceil_div(columns, 128) * groups
    return 128 if columns > 64 and blocks >= 2 * _WAVE else 64


def count_tiles(rows: int, columns: int, tile: int) -> int:
    """How many tiles a matrix has."""
    return ceil_div(columns, TILES[tile][1]) * ceil_div(rows, TILES[tile][0])


def at_once(blocks: int, tile: int) -> bool:
    """Whether a large card has room for all blocks at the same time, with 512 threads on an SM: 128 registers each."""
    return blocks * TILES[tile][2] <= _WAVE * 512


def choose_slices(rows: int, columns: int, depth: int, tile: int, groups: int = 1) -> int:
    """How often to split the reduction so that about one wave of blocks is at work."""
    blocks = max(1, count_tiles(rows, columns, tile) * groups)
    return max(1, min(ceil_div(_WAVE, blocks), depth // _LEAST_SLICE))


def split_buffers(device: Device, dtype: Any, tiles: int, slices: int, tile: int) -> tuple[Any, Any]:
    """What the blocks of a split reduction leave to the last of them, and the tickets that tell which one it is."""
    if slices == 1:
        return None, None
    rows, columns, _ = TILES[tile]
    assert tiles * _TICKETS <= COUNT, "only fewer tiles than a wave are split"
    return device.empty((tiles, slices, rows * columns + rows), dtype), tickets(device)


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
    # More slices than are added up at once.
    return [*made, case("nn", 65, 7, 2200), case("nt", 3, 34, 2300, np.float64, bias=True, relu=True)]


@primitive(examples=_examples, returns=("c",))
def gemm(xp: Any, a: Any, b: Any, form: str, bias: Any = None, relu: bool = False) -> Any:
    """c (M, N) = act(a b + bias): form "nn" a (M, K) b (K, N); "nt" b (N, K) transposed; "tn" a (K, M) transposed.

    Only "nt", the form of linear layers, takes a bias or a ReLU.
    """
    c = xp.matmul(a.T if form[0] == "t" else a, b.T if form[1] == "t" else b)
    if bias is not None:
        c = c + bias
    return xp.maximum(c, c.dtype.type(0)) if relu else c


@gemm.numpy
def _(a: np.ndarray, b: np.ndarray, form: str, bias: np.ndarray | None = None, relu: bool = False) -> np.ndarray:
    left, right = (a.T if form[0] == "t" else a), (b.T if form[1] == "t" else b)
    (m, k), n = left.shape, right.shape[1]
    c = memory.empty((m, n), a.dtype)
    # With few rows BLAS takes up to 1.4 times as long to read the large b transposed as to read a so: then c is turned.
    turned = form == "nt" and 2 * m <= min(n, 2 * _FLAT) and m * n * k >= _SMALL

    def task(part: tuple[slice, slice]) -> None:
        rows, columns = part
        block = c[part]
        if turned:
            room = threads.scratch.array("gemm", block.shape[::-1], c.dtype)
            block[...] = np.matmul(b[columns], a[rows].T, out=room).T
        else:
            np.matmul(left[rows], right[:, columns], out=block)
        if bias is not None:
            block += bias[columns]
        if relu:
            rectify(block, 1)

    threads.run(task, _cut(m, n, k))
    return c


_FLAT = 128  # rows of C up to which turning it pays
_WIDTH = 192  # rows or columns of C in a piece: narrower ones cost BLAS more than other cores gain
_NARROW = 64  # where neither is long
_SMALL = 1 << 21  # multiply-adds that are not worth handing to other threads


def _cut(m: int, n: int, k: int) -> list[tuple[slice, slice]]:
    """Cut C (M, N) into pieces along its rows, or along its columns if only they are long.

    By shape alone, never within the sum over K: the numbers do not depend on the threads.
    """
    if m * k * n < _SMALL:
        return [(slice(0, m), slice(0, n))]
    if m < 2 * _WIDTH <= n:
        return [(slice(0, m), part) for part in threads.spans(n, _pieces(n, _WIDTH))]
    width = _WIDTH if m >= 2 * _WIDTH else _NARROW
    return [(part, slice(0, n)) for part in threads.spans(m, _pieces(m, width))]


def _pieces(length: int, width: int) -> int:
    """How many pieces of at least ``width``; more than one are even in number, which is fair to two threads."""
    pieces = min(16, length // width)
    return pieces - pieces % 2 if pieces > 1 else 1


@gemm.kernel
def _(device: Device, a: Any, b: Any, form: str, bias: Any = None, relu: bool = False) -> Any:
    m, k = a.shape if form[0] == "n" else a.shape[::-1]
    n = b.shape[1] if form[1] == "n" else b.shape[0]
    c = device.empty((m, n), a.dtype)
    if form == "nt":
        launch_gemm(device, form, (m, n, k), (c,), (a, b, bias), (int(relu),))
    elif form == "nn":
        launch_gemm(device, form, (m, n, k), (c,), (a, b, None))
    else:
        launch_gemm(device, form, (m, n, k), (c, None, None), (a, None, b))
    return c


def launch_gemm(
    device: Device,
    form: str,
    sizes: tuple[int, int, int],
    outputs: tuple[Any, ...],
    inputs: tuple[Any, ...],
    scalars: tuple[int, ...] = (),
) -> None:
    """Launch the kernel of a form of product with M, N and K; the arrays are those of its signature in ``gemm.cu``."""
    m, n, k = sizes
    tile = choose_tile(m, n)
    slices = choose_slices(m, n, k, tile)
    tiles = count_tiles(m, n, tile)
    args = (*outputs, *split_buffers(device, outputs[0].dtype, tiles, slices, tile), *inputs, m, n, k, *scalars)
    _launch(device, f"gemm_{form}", args, (tiles, 1, slices), tile, (*inputs, *outputs[1:]))


def _launch(
    device: Device, kernel: str, args: tuple[Any, ...], grid: tuple[int, int, int], tile: int, operands: tuple[Any, ...]
) -> None:
    # A vector lies along the contiguous axis of each operand.
    matrices = [array for array in operands if array is not None and array.ndim == 2]
    vec = min(vector_width(array.shape[1], array, widths=(4, 2, 1)) for array in matrices)
    macros: dict[str, Any] = {"REAL": c_type(args[0].dtype, "gemm"), "VEC": vec, "TILE": tile}
    SOURCE.launch(device, kernel, grid, TILES[tile][2], args, **macros)


def launch_gemm_backward(
    device: Device, dy: Any, y: Any, x: Any, weight: Any, wants_sums: bool, more: Any
) -> tuple[Any, Any, Any] | None:
    """Launch the gradients (dx, dweight, sums or None) of x weight^T at once, or return None where that does not pay.

    dy, y (K, M), y None without a ReLU; x (K, N), weight (M, N); dx is added to ``more`` (K, N), unless that is None.
    """
    (k, m), n = dy.shape, x.shape[1]
    tile = min(choose_tile(m, n), choose_tile(k, n))
    tiles, dx_tiles = count_tiles(m, n, tile), count_tiles(k, n, tile)
    slices = choose_slices(m, n, k, tile)
    # Their tickets lie behind those of dweight's tiles; where there are no more, those tiles fill the card.
    dx_slices = choose_slices(k, n, m, tile) if (tiles + dx_tiles) * _TICKETS <= COUNT else 1
    # A large product of dx alone has registers for another block on an SM, and reads dz instead of dy and y.
    if max(choose_tile(m, n), choose_tile(k, n)) == 128 or not at_once(dx_tiles * dx_slices, tile):
        return None
    dweight, dx = device.empty(weight.shape, x.dtype), device.empty(x.shape, x.dtype)
    sums = device.empty((m,), x.dtype) if wants_sums else None
    partial, drawn = split_buffers(device, x.dtype, tiles, slices, tile)
    dx_partial, dx_drawn = split_buffers(device, x.dtype, dx_tiles, dx_slices, tile)
    buffers = (partial, dx_partial, dx_drawn if drawn is None else drawn)
    inputs = (dy, y, x, weight, more)
    args = (dweight, sums, dx, *buffers, *inputs, m, n, k, slices, dx_slices)
    grid = (tiles * slices + dx_tiles * dx_slices, 1, 1)
    _launch(device, "gemm_backward", args, grid, tile, inputs)
    return dx, dweight, sums


# -- many products at once ------------------------------------------------------------------------


def _batched_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(form: str, n: int, m: int, c: int, k: int, dtype: Any = np.float32, same: str = "") -> dict[str, Any]:
        a = rng.standard_normal((1 if same == "a" else n, *((m, k) if form[0] == "n" else (k, m)))).astype(dtype)
        b = rng.standard_normal((1 if same == "b" else n, *((k, c) if form[1] == "n" else (c, k)))).astype(dtype)
        return {"a": a, "b": b, "form": form}

    made = [case(form, 3, 5, 7, 9, same=same) for form in ("nn", "nt", "tn") for same in ("", "a", "b")]
    made += [case("nn", 0, 2, 3, 4), case("nt", 2, 0, 3, 4), case("tn", 2, 3, 4, 0), case("nn", 2, 1, 1, 1)]
    # One below, at and above a tile's edge, with vectors and without.
    made += [
        case(form, 2, m, n, k) for form in ("nn", "nt", "tn") for m, n, k in ((63, 33, 17), (64, 64, 16), (68, 36, 20))
    ]
    return [*made, case("nn", 4, 150, 160, 100), case("nt", 2, 400, 30, 200, np.float64)]


@primitive(examples=_batched_examples, returns=("c",))
def matmul_batched(xp: Any, a: Any, b: Any, form: str) -> Any:
    """c[i] (M, N) = a[i] b[i] in the forms of :func:`gemm`; an operand with one matrix takes part in every product."""
    return xp.matmul(a.swapaxes(1, 2) if form[0] == "t" else a, b.swapaxes(1, 2) if form[1] == "t" else b)


@matmul_batched.numpy
def _(a: np.ndarray, b: np.ndarray, form: str) -> np.ndarray:
    left, right = (a.swapaxes(1, 2) if form[0] == "t" else a), (b.swapaxes(1, 2) if form[1] == "t" else b)
    n, m, k = max(len(a), len(b)) if len(a) and len(b) else 0, left.shape[1], left.shape[2]
    c = memory.empty((n, m, right.shape[2]), a.dtype)

    def task(item: tuple[slice, tuple[slice, slice]]) -> None:
        part, (rows, columns) = item
        of_left, of_right = (part if len(v) > 1 else slice(None) for v in (left, right))
        np.matmul(left[of_left, rows], right[of_right, :, columns], out=c[part, rows, columns])

    # Whole matrices, several to a piece; few large ones are cut as in gemm.
    pieces = threads.spans(n, max(1, min(16, n * m * k * c.shape[2] // _SMALL)))
    cuts = _cut(m, c.shape[2], k) if n < _FEW else [(slice(0, m), slice(0, c.shape[2]))]
    threads.run(task, [(part, cut) for part in pieces for cut in cuts])
    return c


_FEW = 4  # products, that alone do not keep the threads busy


@matmul_batched.kernel
def _(device: Device, a: Any, b: Any, form: str) -> Any:
    m, k = a.shape[1:] if form[0] == "n" else a.shape[:0:-1]
    n = b.shape[2] if form[1] == "n" else b.shape[1]
    count = max(len(a), len(b)) if len(a) and len(b) else 0
    c = device.empty((count, m, n), a.dtype)
    tile = choose_tile(m, n, count)
    rows, columns, block = TILES[tile]
    vec = min(vector_width(array.shape[2], array) for array in (a, b))
    # A matrix that takes part in all products is not stepped over.
    steps = [array.shape[1] * array.shape[2] if len(array) > 1 else 0 for array in (a, b)]
    macros: dict[str, Any] = {"REAL": c_type(a.dtype, "matmul"), "VEC": vec, "TILE": tile}
    for start in range(0, count, 65532):  # CUDA's limit on grid.z, rounded down to keep parts aligned
        part = slice(start, min(count, start + 65532))
        left, right = (array[part] if len(array) > 1 else array for array in (a, b))
        grid = (ceil_div(m, rows) * ceil_div(n, columns), 1, part.stop - part.start)
        args = (c[part], left, right, m, n, k, *steps)
        BATCHED.launch(device, f"gemm_batched_{form}", grid, block, args, **macros)
    return c


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """The matrix product a @ b, as ``torch.matmul``.

    Parameters
    ----------
    a : Tensor, (..., M, K) or (K,)
    b : Tensor, (..., K, N) or (K,)
        Floating, of a's dtype and device. Leading axes are broadcast; a vector is a row on the left and a column on
        the right, and the axis of 1 is taken away again. Four-dimensional operands are copied to logical order.

    Returns
    -------
    Tensor, (..., M, N)

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If they do not fit, or do not go together.
    """
    device = same_device(where("matmul"), a.device, b.device)
    inner = b.shape[-2:][0] if b.ndim else None
    if not a.ndim or not b.ndim or a.shape[-1] != inner or not _broadcasts(a.shape[:-2], b.shape[:-2]):
        raise ShapeError(
            f"{where('matmul')}: expected shapes (..., M, K) and (..., K, N); got {a.shape} and {b.shape}."
        )
    if a.dtype != b.dtype or a.dtype.kind != "f":
        raise DTypeError(f"{where('matmul')}: expected one floating dtype; got {a.dtype} and {b.dtype}.")
    if a.ndim == 1:
        y = matmul(a.reshape(1, -1) if a.numel() else a.reshape(1, 0), b)
        return y.reshape(*y.shape[:-1][:-1], *y.shape[-1:]) if b.ndim > 1 else y.reshape(())
    if b.ndim == 1:
        y = matmul(a, b.reshape(b.shape[0], 1))
        return y.reshape(y.shape[:-1])
    if b.ndim == 2:
        if a.ndim == 2:
            return _plain(device, a, b)
        rows = a.reshape(math.prod(a.shape[:-1]), a.shape[-1])
        return _plain(device, rows, b).reshape(*a.shape[:-1], b.shape[1])
    return _batched(device, a, b)


def _broadcasts(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return all(m == n or 1 in (m, n) for m, n in zip(a[::-1], b[::-1], strict=False))


def _plain(device: Device, a: Tensor, b: Tensor) -> Tensor:
    pa, pb = a._physical, b._physical

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        da = gemm(device, dy, pb, "nt") if needs[0] else None
        return da, gemm(device, pa, dy, "tn") if needs[1] else None

    return record("matmul", gemm(device, pa, pb, "nn"), device, (a, b), backward, saves=(a, b))


def _batched(device: Device, a: Tensor, b: Tensor) -> Tensor:
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    left, right = _stacked(device, a, lead), _stacked(device, b, lead)
    shapes = a.shape, b.shape

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        flat = to_logical_order(device, dy).reshape(math.prod(lead), *_last_two(dy))
        da = _unstacked(device, matmul_batched(device, flat, right, "nt"), lead, shapes[0]) if needs[0] else None
        return da, _unstacked(device, matmul_batched(device, left, flat, "tn"), lead, shapes[1]) if needs[1] else None

    c = matmul_batched(device, left, right, "nn")
    y = to_physical_order(device, c.reshape(*lead, *c.shape[1:]))
    return record("matmul", y, device, (a, b), backward, saves=(a, b))


def _last_two(physical: Any) -> tuple[int, int]:
    """Lengths of the last two logical axes."""
    shape = physical.shape[1:3] if physical.ndim == 4 else physical.shape[-2:]
    return int(shape[0]), int(shape[1])


def _stacked(device: Device, x: Tensor, lead: tuple[int, ...]) -> Any:
    """Matrices (B, rows, columns) in logical order: one, or as many as ``lead`` counts."""
    own, matrix = x.shape[:-2], x.shape[-2:]
    array = to_logical_order(device, x._physical)
    if math.prod(own) == 1 or own == lead:
        return array.reshape(-1 if array.size else math.prod(own), *matrix)
    return repeat_to(device, array, (*lead, *matrix)).reshape(math.prod(lead), *matrix)


def _unstacked(device: Device, dx: Any, lead: tuple[int, ...], shape: tuple[int, ...]) -> Any:
    """The gradient (B, rows, columns) of what was repeated to ``lead``, summed to ``shape``, physical."""
    summed = unbroadcast(device, dx.reshape(*lead, *dx.shape[1:]), (*(1,) * (len(lead) + 2 - len(shape)), *shape))
    return to_physical_order(device, summed.reshape(shape))


def mm(a: Tensor, b: Tensor) -> Tensor:
    """The product of two matrices.

    Parameters
    ----------
    a : Tensor, (M, K)
    b : Tensor, (K, N)

    Raises
    ------
    ShapeError
        If they are not matrices that fit.
    """
    if a.ndim != 2 or b.ndim != 2:
        raise ShapeError(f"{where('mm')}: expected two matrices; got {a.shape} and {b.shape}. matmul broadcasts.")
    return matmul(a, b)


def bmm(a: Tensor, b: Tensor) -> Tensor:
    """The products of two batches of matrices.

    Parameters
    ----------
    a : Tensor, (N, M, K)
    b : Tensor, (N, K, P)

    Raises
    ------
    ShapeError
        If they are not batches of one length that fit.
    """
    if a.ndim != 3 or b.ndim != 3 or a.shape[0] != b.shape[0]:
        raise ShapeError(f"{where('bmm')}: expected (N, M, K) and (N, K, P); got {a.shape} and {b.shape}.")
    return matmul(a, b)
