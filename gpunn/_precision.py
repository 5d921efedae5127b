"""How products of float32 matrices round on a GPU: ``set_precision``, and PyTorch's names for it.

This module stands alone: launches, plans and captured steps ask it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from gpunn.errors import UsageError

__all__ = ["get_float32_matmul_precision", "get_precision", "set_float32_matmul_precision", "set_precision"]

# What MODE is in the kernels (mma_tile.cuh); None: FFMA.
MODES: dict[str, str | None] = {"fp32": None, "tf32": "TF32", "tf32x3": "TF32X3", "bf16": "BF16"}
_TORCH = {"highest": "fp32", "high": "tf32", "medium": "bf16"}


class _Chosen(threading.local):
    """The present setting: ``name`` is one of ``MODES``.

    That of all threads is the class's. A thread has one of its own within :func:`exact_products`.
    """

    name = "fp32"


chosen = _Chosen()


def set_precision(precision: str) -> None:
    """How large products of two float32 matrices are computed on a GPU, from now on and in all threads.

    Arrays, sums, and all other ops stay float32: the operands alone are rounded, as they are multiplied. It applies to
    ``matmul`` of two matrices and to linear layers, where they are large enough for tensor cores to pay (more than 64
    rows and columns, 2^24 multiplications), in both directions. Convolutions other than 1 x 1, batches of matrices and
    float64 are never affected, nor is the CPU. Operands whose rows are no whole vectors of four numbers (16 bytes) are
    never rounded either: a layer of 1001 inputs is as with "fp32". So is everything on GPUs older than sm_80, which
    have no such instructions.

    Parameters
    ----------
    precision : str
        "fp32", the default: float32. "tf32": operands rounded to 10 bits after the point, errors near 1e-3 of the
        largest element. "bf16": to 7 bits, near 1e-2. "tf32x3": each operand cut in two, three products made: nearly as
        exact as float32, with other last bits.

    Raises
    ------
    UsageError
        If it is none of them.
    """
    if precision not in MODES:
        raise UsageError(f"set_precision: expected one of {', '.join(MODES)}; got {precision!r}.")
    _Chosen.name = precision


def get_precision() -> str:
    """What :func:`set_precision` was given last; "fp32" at first.

    Returns
    -------
    str
    """
    return chosen.name


def set_float32_matmul_precision(precision: str) -> None:
    """PyTorch's name for :func:`set_precision`.

    Parameters
    ----------
    precision : str
        "highest" is "fp32" there, "high" is "tf32", "medium" is "bf16".

    Raises
    ------
    UsageError
        If it is none of them.
    """
    if precision not in _TORCH:
        raise UsageError(f"set_float32_matmul_precision: expected one of {', '.join(_TORCH)}; got {precision!r}.")
    set_precision(_TORCH[precision])


def get_float32_matmul_precision() -> str:
    """PyTorch's word for :func:`get_precision`; "highest" at first, and for "tf32x3".

    Returns
    -------
    str
    """
    return next((name for name, ours in _TORCH.items() if ours == chosen.name), "highest")


# Modes in which no operand of a 16-bit dtype is rounded: tf32 has float16's 10 bits after the point, and more range.
_EXACT = {"float16": "tf32", "bfloat16": "bf16"}


@contextlib.contextmanager
def exact_products(dtype: str | None) -> Iterator[None]:
    """A block in which this thread's operands are numbers of a 16-bit dtype, so that tensor cores round nothing.

    Without a dtype nothing changes.
    """
    if dtype is None:
        yield
        return
    own = vars(chosen).get("name")
    chosen.name = _EXACT[dtype]
    try:
        yield
    finally:
        if own is None:
            del chosen.name
        else:
            chosen.name = own
