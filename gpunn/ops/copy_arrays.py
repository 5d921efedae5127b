"""Copying several arrays of any dtypes by one launch (``kernels/copy_arrays.cu``): a captured step's inputs."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._layout import address_of
from gpunn.gpu.launcher import KernelSource, ceil_div
from gpunn.gpu.launches import Struct
from gpunn.primitive import primitive

SOURCE = KernelSource("copy_arrays.cu")

_ARRAYS, _BLOCK, _EACH = 8, 256, 16  # copy_arrays.cu
_COPIES = np.dtype(
    [(name, np.int64, (_ARRAYS,)) for name in ("to", "from", "bytes")]
    + [("first_block", np.int32, (_ARRAYS,)), ("count", np.int32)],
    align=True,
)
_PACK = struct.Struct(f"={3 * _ARRAYS}q{_ARRAYS}ii4x").pack  # the same bytes


@primitive(returns=(), mutates=("targets",), tolerance=0, moves=True)
def copy_arrays(xp: Any, targets: Sequence[Any], sources: Sequence[Any]) -> None:
    """targets[k] = sources[k], of one shape and dtype each."""
    for target, source in zip(targets, sources, strict=True):
        target[...] = source


@copy_arrays.kernel
def _(device: Device, targets: Sequence[Any], sources: Sequence[Any]) -> None:
    for first in range(0, len(targets), _ARRAYS):
        to, given = targets[first : first + _ARRAYS], sources[first : first + _ARRAYS]
        rest = [0] * (_ARRAYS - len(to))
        starts, blocks = [], 0
        for array in to:
            starts.append(blocks)
            blocks += max(1, ceil_div(array.nbytes, _BLOCK * _EACH))
        fields = (*map(address_of, to), *rest, *map(address_of, given), *rest, *[a.nbytes for a in to], *rest)

        def pointees(to: Sequence[Any] = to, given: Sequence[Any] = given) -> list[tuple[Any, str, str]]:
            return [(a, "out", f"to[{k}]") for k, a in enumerate(to)] + [
                (a, "in", f"from[{k}]") for k, a in enumerate(given)
            ]

        copies = Struct.of_bytes(_PACK(*fields, *starts, *rest, len(to)), _COPIES)
        SOURCE.launch(device, "copy_arrays", (blocks, 1, 1), _BLOCK, (copies,), pointees=pointees)
