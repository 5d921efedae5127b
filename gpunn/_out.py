"""``out=``: a function's result written into a tensor that the caller has."""

from __future__ import annotations

from typing import Any

from gpunn._device import same_device
from gpunn._promotion import can_cast
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, ShapeError, UsageError, here
from gpunn.tape import is_grad_enabled


def check_out(op: str, out: Any) -> None:
    """Raise unless ``out`` is a tensor, or several, that can be written to."""
    for each in out if isinstance(out, tuple | list) else (out,):
        if not isinstance(each, Tensor):
            raise DTypeError(f"{here(op)}: out: expected a Tensor; got {type(each).__name__}.")
        if each.requires_grad and is_grad_enabled():
            raise UsageError(
                f"{here(op)}: out: expected a tensor off the tape; it requires a gradient. Call it without out=."
            )


def write_out(op: str, out: Any, result: Any) -> Any:
    """Write ``result`` into ``out``, a tensor or as many as there are results, and return that.

    Raises
    ------
    UsageError
        If the result is on the tape, which would not see that it is written.
    ShapeError, DTypeError, DeviceError
        If it does not fit.
    """
    if isinstance(result, tuple):
        if not isinstance(out, tuple | list) or len(out) != len(result):
            raise UsageError(f"{here(op)}: out: expected {len(result)} tensors; got {_called(out)}.")
        return type(result)(*(write_out(op, each, part) for each, part in zip(out, result, strict=True)))
    if not isinstance(out, Tensor):
        raise DTypeError(f"{here(op)}: out: expected one Tensor; got {_called(out)}.")
    if result.requires_grad:
        raise UsageError(
            f"{here(op)}: out: the result requires a gradient, which writing it would lose; call it without out=, or "
            "within gpunn.no_grad()."
        )
    if out.shape != result.shape:
        raise ShapeError(
            f"{here(op)}: out: expected a tensor of the result's shape, {result.shape}; got {out.shape}. It is not "
            "resized."
        )
    if not can_cast(result.dtype, out.dtype):
        raise DTypeError(f"{here(op)}: out: a result of {result.dtype} does not go into a tensor of {out.dtype}.")
    same_device(op, result.device, out.device)
    out[...] = result
    return out


def _called(out: Any) -> str:
    return f"{len(out)}" if isinstance(out, tuple | list) else type(out).__name__
