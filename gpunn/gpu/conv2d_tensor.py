"""Which convolutions of float32 tensor cores compute, and their launches (``kernels/conv2d_tensor.cu``).

``gpunn.set_precision`` says whether any: by default none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._precision import chosen
from gpunn._window import Window
from gpunn.gpu import tensor
from gpunn.gpu.choices import Facts, Way, best
from gpunn.gpu.conv2d import facts, phases_of, shape_struct
from gpunn.gpu.conv2d_geometry import MOST_TAPS, counts_in_ints, pixel_steps
from gpunn.gpu.launcher import KernelSource, ceil_div, vector_width
from gpunn.gpu.tensor import SHARED, STEP, THREADS, TILE
from gpunn.gpu.tickets import tickets

SOURCE = KernelSource(
    "conv2d_tensor.cu",
    architectures=tensor.SOURCE.architectures,
    dynamic_shared={f"conv2d_tensor_{name}": SHARED for name in ("forward", "backward_data", "backward_weight")},
    REAL=("float",),
    MODE=("TF32", "TF32X3"),
)

# By what is set for convolutions. bf16 would round more and take as long (conv2d_tensor.cu).
_MODES = {"tf32": "TF32", "tf32x3": "TF32X3", "bf16": "TF32"}

_EACH = 4  # numbers of a vector
_TALLEST = 65535  # tiles down: a grid has no more
_DEEPEST = 2**23 - 1  # the kernel counts the bytes of 128 rows in 32 bits
# Rows or columns of a product; a tile has 128. With fewer, FFMA takes no longer: it has smaller tiles. Three products
# for one take so many more.
_NARROWEST = {"TF32": 33, "TF32X3": 65}

_Sizes = tuple[int, int, int]


def _sizes(n: int, c: int, k: int, window: Window) -> tuple[_Sizes, _Sizes, _Sizes]:
    """M, N and K of the forward pass, of the data gradient (of each phase), of the weight gradient."""
    number, rows = phases_of(window, n)
    pixels, taps = n * window.P * window.Q, window.R * window.S
    return (pixels, k, taps * c), (rows, c, ceil_div(taps, number) * k), (k, taps * c, pixels)


_FORWARD, _DATA, _WEIGHT = range(3)


def _takes(device: Device, product: int, x_shape: tuple[int, ...], weight: Any, window: Window, *arrays: Any) -> bool:
    mode = _MODES.get(chosen.convolutions)
    if mode is None or weight.dtype != np.float32 or not tensor.has_tensor_cores(device):
        return False
    (n, _, _, c), (k, r, s, depth) = x_shape, weight.shape
    # Groups are FFMA's. So are channels that are no whole vectors.
    if depth != c or r * s > MOST_TAPS or c % _EACH or k % _EACH or not counts_in_ints(n, c, k, window, STEP):
        return False
    rows, columns, _ = _sizes(n, c, k, window)[product]
    # The work of all three is the same, up to pixels that no window has.
    if n * window.P * window.Q * k * r * s * c < tensor.LEAST or min(rows, columns) < _NARROWEST[mode]:
        return False
    if (
        phases_of(window, n)[0] > _TALLEST // tensor.MOST_SLICES
        or ceil_div(rows, TILE) > _TALLEST
        or r * s * c > _DEEPEST
    ):
        return False
    return all(vector_width(a.shape[-1], a, widths=(_EACH,)) == _EACH for a in (weight, *arrays) if a is not None)


def takes_forward(device: Device, x: Any, weight: Any, window: Window) -> bool:
    """Whether the present precision has tensor cores convolve x by weight."""
    return _takes(device, _FORWARD, x.shape, weight, window, x)


def takes_data(
    device: Device, dy: Any, y: Any, weight: Any, x_shape: tuple[int, ...], window: Window, more: Any
) -> bool:
    """Whether it has them compute the gradient of x; dy, y and more as in ``conv2d_backward``."""
    return _takes(device, _DATA, x_shape, weight, window, dy, y, more)


def takes_weight(device: Device, dy: Any, y: Any, x: Any, weight: Any, window: Window) -> bool:
    """Whether it has them compute the gradient of weight."""
    return _takes(device, _WEIGHT, x.shape, weight, window, dy, y, x)


def _launch(
    device: Device,
    kernel: str,
    sizes: _Sizes,
    arrays: tuple[Any, ...],
    rest: tuple[Any, ...],
    known: Facts,
    phases: int = 0,
) -> None:
    """Launch a product of M, N and K whose arguments begin with C; with ``phases`` so many of them at once.

    ``known``: what its time depends on beside its sizes.
    """
    m, n, k = sizes
    across, down = ceil_div(n, TILE), ceil_div(m, TILE)
    tiles, mode = across * down * max(1, phases), _MODES[chosen.convolutions]

    def run(way: Way) -> None:
        (slices,) = way
        buffers: tuple[Any, Any] = None, None
        if slices > 1:
            buffers = device.empty((tiles, slices, TILE * TILE), np.dtype(np.float32)), tickets(device)
        args = (arrays[0], *buffers, *arrays[1:], *rest, *((slices,) if phases else ()))
        grid = across, down, slices * max(1, phases)
        SOURCE.launch(device, kernel, grid, THREADS, args, shared=SHARED, REAL="float", MODE=mode)

    rule, others = (tensor.choose_slices(tiles, k, tensor.AT_ONCE),), lambda: tensor.ways_of(tiles, k, tensor.AT_ONCE)
    best(device, SOURCE, kernel, (*sizes, mode, *known), rule, others, run)


def _facts(n: int, c: int, k: int, window: Window) -> Facts:
    return facts(n, c, k, window, 1, np.dtype(np.float32))


def forward(device: Device, x: Any, weight: Any, window: Window, bias: Any, relu: bool) -> Any:
    """y of a convolution that is taken."""
    (n, _, _, c), k = x.shape, weight.shape[0]
    y = device.empty((n, window.P, window.Q, k), x.dtype)
    arrays, rest = (y, x, weight, bias), (shape_struct(n, c, k, window, 1), int(relu))
    _launch(device, "conv2d_tensor_forward", _sizes(n, c, k, window)[_FORWARD], arrays, rest, _facts(n, c, k, window))
    return y


def backward_data(device: Device, dz: Any, weight: Any, x_shape: tuple[int, ...], window: Window, more: Any) -> Any:
    """The gradient of x, added to ``more`` unless that is None; dz is that of the output before its ReLU."""
    (n, _, _, c), k = x_shape, weight.shape[0]
    dx = device.empty(x_shape, dz.dtype)
    sizes, phases = _sizes(n, c, k, window)[_DATA], phases_of(window, n)[0]
    arrays, rest = (dx, dz, weight, more), (shape_struct(n, c, k, window, 1),)
    _launch(device, "conv2d_tensor_backward_data", sizes, arrays, rest, _facts(n, c, k, window), phases)
    return dx


def backward_weight(device: Device, dz: Any, x: Any, weight: Any, window: Window) -> Any:
    """The gradient of weight."""
    (n, _, _, c), k = x.shape, weight.shape[0]
    dweight = device.empty(weight.shape, x.dtype)
    rest = shape_struct(n, c, k, window, 1), pixel_steps(c, window, STEP)
    sizes, known = _sizes(n, c, k, window)[_WEIGHT], _facts(n, c, k, window)
    _launch(device, "conv2d_tensor_backward_weight", sizes, (dweight, dz, x), rest, known)
    return dweight
