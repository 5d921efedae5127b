"""What a launch has to do at least, read from its arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from gpunn._layout import address_of
from gpunn.gpu.launches import Struct
from gpunn.gpu.signatures import Parameter

_PIXELS = ("N", "P", "Q", "K", "R", "S")  # of the structs that describe a convolution
_TWO_PRODUCTS = ("gemm_backward", "conv2d_backward")  # both gradients by one launch
_NO_PRODUCT = ("local_backward_bias",)


class AnyLaunch(Protocol):
    """One launch: `gpunn.gpu.launcher.Launch`, or one that was only listed."""

    @property
    def kernel(self) -> str:
        """The kernel's name."""

    @property
    def grid(self) -> tuple[int, int, int]:
        """Blocks."""

    @property
    def args(self) -> list[Any]:
        """Arrays or None, numbers, structs, in the order of the parameters."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """What the kernel's signature declares."""

    @property
    def pointees(self) -> Sequence[Any]:
        """(array, access, name) of each array behind a pointer in a struct."""


def bytes_of(launch: AnyLaunch) -> float:
    """Bytes of the arrays it is given: each once, twice where it is read and written.

    A kernel that reads an array in several passes moves more, one that picks a few elements less.
    """
    given = [
        (array, parameter.access)
        for array, parameter in zip(launch.args, launch.parameters, strict=True)
        if parameter.pointer and array is not None
    ]
    given += [(array, access) for array, access, _ in launch.pointees]
    seen: dict[tuple[int, str], float] = {}
    for array, access in given:
        for way in ("in", "out") if access == "inout" else (access,):
            seen[address_of(array), way] = max(seen.get((address_of(array), way), 0.0), float(array.nbytes))
    return sum(seen.values())


def flop_of(launch: AnyLaunch) -> float:
    """Multiplications and additions of its matrix product, padding included; 0 for a kernel that has none."""
    kernel = launch.kernel
    if not kernel.startswith(("gemm", "conv2d", "local")) or kernel in _NO_PRODUCT:
        return 0.0
    given = {p.name: arg for arg, p in zip(launch.args, launch.parameters, strict=True)}
    products = 2 if kernel in _TWO_PRODUCTS else 1
    if "M" in given:
        batch = launch.grid[2] if "batched" in kernel else 1
        return 2.0 * products * batch * int(given["M"]) * int(given["N"]) * int(given["K"])
    shape = next(arg.array[0] for arg in launch.args if isinstance(arg, Struct))
    channels = "group_C" if "group_C" in shape.dtype.names else "C"
    return 2.0 * products * float(np.prod([float(shape[name]) for name in (*_PIXELS, channels)]))
