"""``x[key] = value``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import same_device
from gpunn._interop import constant, is_cupy
from gpunn._layout import logical
from gpunn._shared.index_keys import Parts, parse
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, UsageError, here
from gpunn.ops.take_at import set_at
from gpunn.ops.take_slice import set_slice
from gpunn.tape import is_grad_enabled


def setitem(x: Tensor, key: Any, value: Any) -> None:
    """``x[key] = value``, in place and off the tape.

    Parameters
    ----------
    x : Tensor
        Not on the tape: a leaf that needs no gradient, or any leaf under ``no_grad``.
    key : as for :func:`getitem`
        Where index arrays name an element more than once, the last value wins, on every device.
    value : Tensor, array or number
        Converted to x's dtype, broadcast to the shape of ``x[key]``.

    Raises
    ------
    UsageError
        If x or the value is on the tape.
    ShapeError
        If the value does not broadcast.
    """
    op = "setitem"
    parts = parse(op, x, key)
    value = constant(op, value, x.device) if is_cupy(value) else value
    if isinstance(value, Tensor):
        same_device(op, x.device, value.device)
        if value.requires_grad and is_grad_enabled():
            raise UsageError(
                f"{here(op)}: the value requires a gradient, which an assignment would lose; use where(), cat() or "
                "stack(), or assign value.detach()."
            )
        source = value.array
    else:
        source = x.device.array(np.asarray(value, None if isinstance(value, np.ndarray) else x.dtype))
    target = _shape_of(x, parts)
    extra = max(source.ndim - len(target), 0)
    try:
        fits = all(n == 1 for n in source.shape[:extra]) and np.broadcast_shapes(source.shape[extra:], target) == target
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"{here(op)}: expected a value that broadcasts to {target}; got shape {tuple(source.shape)}.")
    array = logical(x._in_place(op))
    if parts.indices:
        set_at(x.device, array, source, parts.basic, parts.indices, parts.axes, parts.at)
    else:
        set_slice(x.device, array, source, parts.basic)


def _shape_of(x: Tensor, parts: Parts) -> tuple[int, ...]:
    shape = tuple(x.array[parts.basic].shape)
    if not parts.indices:
        return shape
    rest = [n for a, n in enumerate(shape) if a not in parts.axes]
    common = np.broadcast_shapes(*(i.shape for i in parts.indices))
    return (*rest[: parts.at], *common, *rest[parts.at :])
