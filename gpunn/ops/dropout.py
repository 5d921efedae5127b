"""Dropout with a mask that is never stored (``kernels/dropout.cu``).

One word of a counter-based random stream, numbered by the element's index in *logical* order, decides
whether an element is kept. The mask is the same on every device and in every layout, and backward draws
it again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._half import FLOATING
from gpunn._in_place import rewrite
from gpunn._layout import logical, physical
from gpunn._rows import stored
from gpunn._tensor import Tensor
from gpunn.cpu.activations import part_by_part
from gpunn.errors import DTypeError, UsageError, here
from gpunn.gpu.launcher import KernelSource, c_type, ceil_div, vector_width
from gpunn.primitive import primitive
from gpunn.random import Generator, default_generator, philox_uint32
from gpunn.tape import record

SOURCE = KernelSource("dropout.cu", REAL=("float", "double"), VEC=(1, 4))
_BLOCK = 256
_WORDS = 8  # 32-bit words in a block of the random stream
_DRAW = np.dtype([(field, np.uint64) for field in ("key0", "key1", "index", "threshold")])


@primitive(returns=("y",), plans=False)
def dropout_apply(
    xp: Any, x: Any, p: float, key: tuple[int, int], index: int, base: Any, masks: list[Any] | None = None
) -> Any:
    """y = x / (1 - p) where the element's word of mask number index + base[0] is at least p 2^32, else 0.

    The CPU, which takes longer to draw a mask than to read it, leaves it in ``masks`` for the next call with that list.
    """
    words = philox_uint32(key, index + int(base[0]), x.size).reshape(logical(x).shape)
    keep = physical(xp.asarray(words >= _threshold(p)))
    with np.errstate(invalid="ignore"):  # infinity times 0 is NaN, as in PyTorch
        return xp.asarray(x * (keep * x.dtype.type(_scale(p))))  # a 0-d product is a scalar to NumPy


def _threshold(p: float) -> int:
    """The word below which an element is dropped: 0 drops none, 2^32 all."""
    return round(p * 2**32)


def _scale(p: float) -> float:
    return 0.0 if p == 1 else 1 / (1 - p)


@dropout_apply.numpy
def _(
    x: np.ndarray, p: float, key: tuple[int, int], index: int, base: np.ndarray, masks: list[Any] | None = None
) -> np.ndarray:
    if masks:
        keep = masks[0]
    else:
        threshold, words = _threshold(p), philox_uint32(key, index + int(base[0]), x.size)
        keep = words >= np.uint32(threshold) if threshold < 2**32 else np.zeros(x.size, bool)
        keep = physical(keep.reshape(logical(x).shape))
    if masks is not None:
        masks[:] = [keep]

    def work(y: np.ndarray, x: np.ndarray, keep: np.ndarray) -> None:
        np.multiply(keep, x.dtype.type(_scale(p)), out=y)
        y *= x

    return part_by_part(work, x, keep)


@dropout_apply.kernel
def _(
    device: Device, x: Any, p: float, key: tuple[int, int], index: int, base: Any, masks: list[Any] | None = None
) -> Any:
    y = device.empty(x.shape, x.dtype)
    vec = vector_width(4, y, x, base)
    macros: dict[str, Any] = {"REAL": c_type(x.dtype, "dropout"), "VEC": vec}
    args = (y, x, base, np.array([(*key, index, _threshold(p))], _DRAW), _scale(p))
    n, plane, c = (x.shape[0], x.shape[1] * x.shape[2], x.shape[3]) if x.ndim == 4 else (0, 1, 1)
    if plane == 1 or c == 1:  # logical and physical order are the same
        grid = (ceil_div(x.size, _WORDS * _BLOCK), 1, 1)
        SOURCE.launch(device, "dropout", grid, _BLOCK, (*args, x.size), **macros)
        return y
    # A plane of whole blocks starts at a block; any other may start at a block's last word.
    blocks = plane // _WORDS if plane % _WORDS == 0 else (plane + _WORDS - 2) // _WORDS + 1
    across = min(32, c)
    down = min(blocks, _BLOCK // across)
    grid = (n, ceil_div(blocks, down), ceil_div(c, across))
    SOURCE.launch(device, "dropout_images", grid, (across, down, 1), (*args, plane, c, blocks), **macros)
    return y


def dropout(
    x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, generator: Generator | None = None
) -> Tensor:
    """Set each element to zero with probability p and scale the others by 1 / (1 - p).

    Parameters
    ----------
    x : Tensor
        Any shape, float32 or float64.
    p : float
        Probability of dropping an element, from 0 to 1.
    training : bool
        False returns x itself, as p = 0 does.
    inplace : bool
        Whether x becomes the result, for all its names and views.
    generator : Generator, optional
        Where the mask comes from; the default generator if not given. Each call draws one mask,
        even with p = 0, so that later draws do not depend on p.

    Returns
    -------
    Tensor
        Like x. The same seed gives the same mask on every device and for every memory layout.

    Raises
    ------
    UsageError
        If p is not between 0 and 1.
    DTypeError
        If x is not floating.

    References
    ----------
    Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting";
    lecture topic L9.
    """
    if not 0 <= p <= 1:
        raise UsageError(f"{here('dropout')}: p: expected a probability from 0 to 1; got {p}.")
    if x.dtype.kind not in FLOATING:
        raise DTypeError(f"{here('dropout')}: expected a floating dtype; got {x.dtype}. Convert with .float().")
    if not training:
        return x
    if p == 0:  # as networks are that take dropout as an option
        (generator or default_generator()).next_call(x.device)
        return x
    if inplace:
        return rewrite(x, "dropout_", lambda old: dropout(old, p, True, False, generator), give_up=True)
    p, stream, device = float(p), generator or default_generator(), x.device
    key, (index, base) = stream.key, stream.next_call(device)

    masks: tuple[list[Any], ...] = ([],) if device.name == "cpu" else ()

    def masked(array: Any) -> Any:
        return dropout_apply(device, array, p, key, index, base, *masks)

    array, rows = stored(x)
    return record("dropout", masked(array), device, (x,), lambda dy, needs: (masked(dy),), rows=rows)
