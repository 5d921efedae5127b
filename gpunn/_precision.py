"""How products of float32 matrices and convolutions round on a GPU: ``set_precision``, and PyTorch's names for it.

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


# What PyTorch calls these in ``backends.*.fp32_precision``.
_IEEE = {"ieee": "fp32", "none": "fp32", "tf32": "tf32", "bf16": "bf16"}


class _Chosen(threading.local):
    """The present settings, each one of ``MODES``: ``name`` of products, ``convolutions``.

    Those of all threads are the class's. A thread has some of its own within :func:`exact_products`.
    """

    name = "fp32"
    convolutions = "fp32"


chosen = _Chosen()


def set_precision(precision: str) -> None:
    """How large products of two float32 matrices, and convolutions, are computed on a GPU, now and in all threads.

    Arrays, sums, and all other ops stay float32: the operands alone are rounded, as they are multiplied. It applies to
    ``matmul`` of two matrices, to linear layers and to two-dimensional convolutions, in both directions, where they are
    large enough for tensor cores to pay: 2^24 multiplications; more than 64 rows and columns of a product; more than 32
    channels of a convolution's result or gradient, 64 with "tf32x3". A convolution of 1 x 1 is a product. Batches of
    matrices, groups of channels, filters of more than 32 elements and float64 are never affected, nor is the CPU.
    Operands whose rows are no whole vectors of four numbers (16 bytes) are never rounded either: a layer of 1001 inputs
    is as with "fp32". So is everything on GPUs older than sm_80, which have no such instructions. PyTorch's
    ``backends`` set products and convolutions apart.

    Parameters
    ----------
    precision : str
        "fp32", the default: float32. "tf32": operands rounded to 10 bits after the point, errors near 1e-3 of the
        largest element. "bf16": to 7 bits, near 1e-2; those of convolutions as with "tf32", which takes them no longer.
        "tf32x3": each operand cut in two, three products made: nearly as exact as float32, with other last bits.

    Raises
    ------
    UsageError
        If it is none of them.
    """
    if precision not in MODES:
        raise UsageError(f"set_precision: expected one of {', '.join(MODES)}; got {precision!r}.")
    _Chosen.name = _Chosen.convolutions = precision


def choose_products(precision: str) -> None:
    """Set that of products alone, one of ``MODES``."""
    _Chosen.name = precision


def choose_convolutions(precision: str) -> None:
    """Set that of convolutions alone, one of ``MODES``."""
    _Chosen.convolutions = precision


def of_ieee(op: str, name: str) -> str:
    """What PyTorch's ``fp32_precision`` of this name is here.

    Raises
    ------
    UsageError
        If it is none of its names.
    """
    if name not in _IEEE:
        raise UsageError(f"{op}: expected one of {', '.join(_IEEE)}; got {name!r}.")
    return _IEEE[name]


def ieee_of(precision: str) -> str:
    """The reverse; "ieee" also for "tf32x3", which is nearly as exact."""
    return precision if precision in ("tf32", "bf16") else "ieee"


def get_precision() -> str:
    """What :func:`set_precision` was given last, or of products what one of PyTorch's names was; "fp32" at first.

    Returns
    -------
    str
    """
    return chosen.name


def set_float32_matmul_precision(precision: str) -> None:
    """PyTorch's name for :func:`set_precision`, of products alone.

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
    choose_products(_TORCH[precision])


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
    own = dict(vars(chosen))
    chosen.name = chosen.convolutions = _EXACT[dtype]
    try:
        yield
    finally:
        vars(chosen).clear()
        vars(chosen).update(own)
