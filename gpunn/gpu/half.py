"""Products and convolutions of float16 and bfloat16 by tensor cores, without copies in float32.

Which are computed so, and the launches of ``kernels/gemm_half.cu``, ``conv2d_half.cu`` and ``bias_half.cu``. None is
too small for it: float32 copies would be launches of their own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gpunn._device import Device
from gpunn._half import FLOATING, is_bfloat16, is_half
from gpunn._window import Window
from gpunn.gpu.choices import Facts, Way, best
from gpunn.gpu.conv2d import facts, phases_of, shape_struct
from gpunn.gpu.conv2d_geometry import MOST_TAPS, counts_in_ints, pixel_steps
from gpunn.gpu.launcher import KernelSource, ceil_div, vector_width
from gpunn.gpu.tensor import MOST_SLICES, choose_slices, has_tensor_cores, slices_around
from gpunn.gpu.tickets import COUNT, tickets

# half_tile.cuh: numbers of a step of the reduction, stages of shared memory, and what each warp computes.
_STEP, _STAGES, _WARP_TILE = 32, 3, 64 * 64
_EACH = 8  # numbers of a vector


class _Tile(NamedTuple):
    """Rows and columns of a block."""

    rows: int
    columns: int

    @property
    def threads(self) -> int:
        return self.rows * self.columns // _WARP_TILE * 32

    @property
    def at_once(self) -> int:
        """Blocks that an SM holds."""
        return _WARPS * 32 // self.threads

    @property
    def shared(self) -> int:
        # 16 more: of 48 KB exactly CUDA would not be asked, and last_block has a variable of its own.
        return _STAGES * (self.rows + self.columns) * _STEP * 2 + 16

    def grid(self, rows: int, columns: int) -> tuple[int, int]:
        """Tiles across and down."""
        return ceil_div(columns, self.columns), ceil_div(rows, self.rows)


_SQUARE, _NARROW, _LOW = _TILES = (_Tile(128, 128), _Tile(256, 64), _Tile(64, 128))
_OF_PIXELS, _OF_FILTERS = (_SQUARE, _NARROW), (_SQUARE, _LOW)  # conv2d_half.cu: what C has as rows
_WARPS = 8  # that an SM holds
_TALLEST = 65535  # tiles down: a grid has no more
_DEEPEST = 2**23 - 1  # the kernel counts the bytes of 256 rows in 32 bits


def _declared(kernels: tuple[str, ...]) -> dict[str, Any]:
    return {
        "architectures": (80, 86, 89, 90, 100, 120),
        "dynamic_shared": dict.fromkeys(kernels, max(tile.shared for tile in _TILES)),
        "only": lambda macros: (int(macros["ROWS"]), int(macros["COLUMNS"])) in _TILES,
        "REAL": ("float",),
        "NUMBER": ("BFLOAT16", "FLOAT16"),
        "ROWS": tuple(sorted({tile.rows for tile in _TILES})),
        "COLUMNS": tuple(sorted({tile.columns for tile in _TILES})),
        "SPLIT": (0, 1),
    }


PRODUCTS = KernelSource("gemm_half.cu", **_declared(("gemm_half_nt", "gemm_half_nn", "gemm_half_tn")))
CONVOLUTIONS = KernelSource(
    "conv2d_half.cu",
    **_declared(("conv2d_half_forward", "conv2d_half_backward_data", "conv2d_half_backward_weight")),
)
BIAS = KernelSource("bias_half.cu", REAL=("float",), NUMBER=("BFLOAT16", "FLOAT16"), VEC=(1, 2, 8))


def one_dtype(*arrays: Any) -> bool:
    """Whether all floating arrays are of one 16-bit dtype."""
    dtypes = {array.dtype for array in arrays if array is not None and array.dtype.kind in FLOATING}
    return len(dtypes) == 1 and is_half(dtypes.pop())


def _vectors(*arrays: Any) -> bool:
    """Whether the rows of all arrays are whole vectors."""
    return all(vector_width(array.shape[-1], array, widths=(_EACH,)) == _EACH for array in arrays if array is not None)


def bits_of(array: Any) -> Any:
    """The array as the kernels take it, or None."""
    return array if array is None else array.view(np.uint16)


def number_name(dtype: np.dtype) -> str:
    """The macro NUMBER of half_number.cuh."""
    return "BFLOAT16" if is_bfloat16(dtype) else "FLOAT16"


def _tile(rows: int, columns: int, among: tuple[_Tile, ...] = _TILES) -> _Tile:
    if columns <= _NARROW.columns and _NARROW in among:
        return _NARROW
    return _LOW if rows <= _LOW.rows and _LOW in among else _SQUARE


def _ways(sizes: tuple[int, int, int], among: tuple[_Tile, ...], phases: int) -> list[Way]:
    """The (rows, columns, slices) that such a product may be computed by."""
    (m, n, k), ways = sizes, list[Way]()
    for tile in among:
        across, down = tile.grid(m, n)
        # None that is more than half empty, unless it is the rule's.
        if down > _TALLEST or (tile != _tile(m, n, among) and (2 * m <= tile.rows or 2 * n <= tile.columns)):
            continue
        each = slices_around(across * down * max(1, phases), k, tile.at_once)
        ways += [(tile.rows, tile.columns, slices) for slices in each]
    return ways


def _launch(
    device: Device,
    source: KernelSource,
    kernel: str,
    sizes: tuple[int, int, int],
    arrays: tuple[Any, ...],
    rest: tuple[Any, ...],
    known: Facts = (),
    among: tuple[_Tile, ...] = _TILES,
    phases: int = 0,
) -> None:
    """Launch a product of M, N and K whose arguments begin with C; with ``phases`` so many of them at once.

    ``known``: what its time depends on beside its sizes.
    """
    m, n, k = sizes
    c, *others = arrays
    float32, name = np.dtype(np.float32), number_name(c.dtype)

    def run(way: Way) -> None:
        *shape, slices = way
        tile = _Tile(*shape)
        across, down = tile.grid(m, n)
        buffers: tuple[Any, Any] = None, None
        if slices > 1:
            tiles = across * down * max(1, phases)
            buffers = device.empty((tiles, slices, tile.rows * tile.columns), float32), tickets(device)
        grid = across, down, slices * max(1, phases)
        args = (bits_of(c), *buffers, *map(bits_of, others), *rest, *((slices,) if phases else ()))
        macros: dict[str, Any] = {"REAL": "float", "NUMBER": name, "ROWS": tile.rows, "COLUMNS": tile.columns}
        macros["SPLIT"] = int(slices > 1)
        source.launch(device, kernel, grid, tile.threads, args, shared=tile.shared, **macros)

    tile = _tile(m, n, among)
    across, down = tile.grid(m, n)
    rule = tile.rows, tile.columns, choose_slices(across * down * max(1, phases), k, tile.at_once)
    best(device, source, kernel, (*sizes, name, *known), rule, lambda: _ways(sizes, among, phases), run)


def _takes(device: Device, sizes: tuple[int, int, int], *arrays: Any) -> bool:
    m, n, k = sizes
    if not one_dtype(*arrays) or not has_tensor_cores(device):
        return False
    return _tile(m, n).grid(m, n)[1] <= _TALLEST and k <= _DEEPEST


# -- products -------------------------------------------------------------------------------------


def takes_product(device: Device, sizes: tuple[int, int, int], a: Any, b: Any, *more: Any) -> bool:
    """Whether this product of M, N and K is computed here; more: what is added, or None."""
    return sizes[1] % _EACH == 0 and _takes(device, sizes, a, b, *more) and _vectors(a, b, *more)


def product(device: Device, a: Any, b: Any, form: str, added: Any = None, relu: bool = False) -> Any:
    """c (M, N) in the forms of ``gemm``; added: "nt" the bias (N,), "nn" a matrix like c. None if it is not taken."""
    m, k = a.shape if form[0] == "n" else a.shape[::-1]
    n = b.shape[1] if form[1] == "n" else b.shape[0]
    if not takes_product(device, (m, n, k), a, b, added):
        return None
    c = device.empty((m, n), a.dtype)
    rest = (m, n, k, *((int(relu),) if form == "nt" else ()))
    arrays = (c, a, b) if form == "tn" else (c, a, b, added)
    _launch(device, PRODUCTS, f"gemm_half_{form}", (m, n, k), arrays, rest)
    return c


def takes_backward(device: Device, dy: Any, y: Any, x: Any, weight: Any, needs: Any, more: Any) -> bool:
    """Whether both products of a linear layer's gradients are, as far as they are wanted."""
    (rows, m), n = dy.shape, x.shape[1]
    if not one_dtype(dy, y, x, weight, more):
        return False
    data = not needs[0] or takes_product(device, (rows, n, m), dy, weight, more)
    return data and (not needs[1] or takes_product(device, (m, n, rows), dy, x))


# -- convolutions ---------------------------------------------------------------------------------


def takes_convolution(device: Device, x: Any, weight: Any, window: Window, groups: int, *others: Any) -> bool:
    """Whether a convolution of x by weight, and its gradients, are computed here; others: more arrays it is given."""
    n, _, _, c = x.shape
    k, r, s, _ = weight.shape
    if groups != 1 or r * s > MOST_TAPS or not _vectors(x, weight, *others) or k % _EACH:
        return False
    pixels, depth = n * window.P * window.Q, r * s * c
    if not counts_in_ints(n, c, k, window, _STEP):
        return False
    number, of_phase = phases_of(window, n)
    if number > _TALLEST // MOST_SLICES:
        return False
    tall = any(_tile(m, n, _OF_PIXELS).grid(m, n)[1] > _TALLEST for m, n in ((pixels, k), (of_phase, c)))
    return not tall and depth <= _DEEPEST and one_dtype(x, weight, *others) and has_tensor_cores(device)


def forward(device: Device, x: Any, weight: Any, window: Window, bias: Any, relu: bool) -> Any:
    """y of a convolution that is taken."""
    n, _, _, c = x.shape
    k, r, s, _ = weight.shape
    y = device.empty((n, window.P, window.Q, k), x.dtype)
    sizes = (n * window.P * window.Q, k, r * s * c)
    arrays, rest = (y, x, weight, bias), (shape_struct(n, c, k, window, 1), int(relu))
    known = facts(n, c, k, window, 1, x.dtype)
    _launch(device, CONVOLUTIONS, "conv2d_half_forward", sizes, arrays, rest, known, _OF_PIXELS)
    return y


def backward_data(device: Device, dz: Any, weight: Any, x_shape: tuple[int, ...], window: Window, more: Any) -> Any:
    """The gradient of x, added to ``more`` unless that is None."""
    n, _, _, c = x_shape
    k, r, s, _ = weight.shape
    dx = device.empty(x_shape, dz.dtype)
    number, rows = phases_of(window, n)
    sizes = (rows, c, ceil_div(r * s, number) * k)
    arrays, rest = (dx, dz, weight, more), (shape_struct(n, c, k, window, 1),)
    known = facts(n, c, k, window, 1, dz.dtype)
    _launch(device, CONVOLUTIONS, "conv2d_half_backward_data", sizes, arrays, rest, known, _OF_PIXELS, number)
    return dx


def backward_weight(device: Device, dz: Any, x: Any, weight: Any, window: Window) -> Any:
    """The gradient of weight."""
    n, _, _, c = x.shape
    k, r, s, _ = weight.shape
    dweight = device.empty(weight.shape, x.dtype)
    sizes = (k, r * s * c, n * window.P * window.Q)
    rest = shape_struct(n, c, k, window, 1), pixel_steps(c, window, _STEP)
    known = facts(n, c, k, window, 1, x.dtype)
    _launch(device, CONVOLUTIONS, "conv2d_half_backward_weight", sizes, (dweight, dz, x), rest, known, _OF_FILTERS)
    return dweight


# -- the gradient before a ReLU, and a bias' ------------------------------------------------------

_LANES = 8  # bias_half.cu: rows of threads
_MOST_CHUNKS = 512  # of rows: enough blocks for a large card; the last block goes through a eighth of them


def bias_backward(device: Device, dy: Any, y: Any, wants_bias: bool) -> tuple[Any, Any] | None:
    """Like ``ops.bias.bias_backward``; None where it is not taken."""
    if not one_dtype(dy, y):
        return None
    if y is None and not wants_bias:
        return dy, None
    rows, columns = dy.shape
    dz = dy if y is None else device.empty(dy.shape, dy.dtype)
    widths = (8, 2) if columns >= 8 * 32 else (2,)  # in all lanes of a warp, where there are as many columns
    vec = vector_width(columns, dy, y, dz, widths=widths)
    across = ceil_div(columns, 32 * vec)
    chunks = max(1, min(_MOST_CHUNKS // across, ceil_div(rows, 4 * _LANES)))
    dbias = partial = drawn = None
    if wants_bias:
        dbias = device.empty((columns,), dy.dtype)
        chunks = chunks if across <= COUNT else 1
        partial, drawn = device.empty((chunks, columns), np.dtype(np.float32)), tickets(device)
    args = (*map(bits_of, (None if y is None else dz, dbias)), partial, drawn, *map(bits_of, (dy, y)), rows, columns)
    macros: dict[str, Any] = {"REAL": "float", "NUMBER": number_name(dy.dtype), "VEC": vec}
    chunk = ceil_div(rows, chunks)
    BIAS.launch(device, "bias_half_backward", (across, chunks, 1), (32, _LANES, 1), (*args, chunk), **macros)
    return dz, dbias
