"""Methods that change a Tensor in place. Only off the tape: backward would not see the change.

A leaf that requires a gradient may be changed only under ``no_grad()``. While a step is captured, only kernels may
write. Changes are counted, so that a backward that needs the old values raises.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunn import tape
from gpunn._capture_state import refuse_in_capture
from gpunn._layout import physical
from gpunn.errors import DTypeError, ShapeError, UsageError, here

if TYPE_CHECKING:
    from gpunn._tensor import Tensor


class InPlaceMethods:
    """Mixed into :class:`gpunn.Tensor`."""

    __slots__ = ()

    def _in_place(self: Any, op: str, launches: bool = False) -> Any:
        """The physical array to write to; counts the change. Leaves that need a gradient: only under no_grad.

        ``launches``: a kernel does the writing, which a captured step repeats.
        """
        if self._node is not None or (self.requires_grad and tape.is_grad_enabled()):
            raise UsageError(
                f"{op}: this tensor is on the tape, which would not see the change; "
                "do it within gpunn.no_grad() on a leaf, or on .data."
            )
        if not launches:
            refuse_in_capture(f"{op} (array-library code)")
        self._version.count += 1
        return self._physical

    def fill_(self: Any, value: Any) -> Tensor:
        """Set every element; returns itself."""
        self.device.fill(self._in_place("fill_"), value)
        return self

    def zero_(self: Any) -> Tensor:
        """Set every element to zero; returns itself."""
        return self.fill_(0)

    def copy_(self: Any, source: Any) -> Tensor:
        """Copy values from a tensor (of any device), NumPy or CuPy array of the same shape; returns itself."""
        from gpunn._interop import is_cupy, tensor_of
        from gpunn._tensor import Tensor

        source = tensor_of("copy_", source) if is_cupy(source) else source
        if tuple(source.shape) != self.shape:
            raise ShapeError(f"copy_: expected shape {self.shape}; got {tuple(source.shape)}.")
        values = source._numpy_without_tape() if isinstance(source, Tensor) else source
        self.device.fill(self._in_place("copy_"), self.device.array(physical(np.asarray(values, self.dtype))))
        return self

    def add_(self: Any, other: Any, *, alpha: float = 1) -> Tensor:
        """Add ``alpha * other``, a tensor broadcast to this shape or a number; returns itself."""
        return _update(self, "add", other, alpha)

    def sub_(self: Any, other: Any, *, alpha: float = 1) -> Tensor:
        """Subtract ``alpha * other``, a tensor broadcast to this shape or a number; returns itself."""
        return _update(self, "sub", other, alpha)

    def mul_(self: Any, other: Any) -> Tensor:
        """Multiply by ``other``, a tensor broadcast to this shape or a number; returns itself."""
        return _update(self, "mul", other)

    def div_(self: Any, other: Any) -> Tensor:
        """Divide by ``other``, a tensor broadcast to this shape or a number; returns itself."""
        return _update(self, "div", other)

    def clamp_(self: Any, min: Any = None, max: Any = None) -> Tensor:
        """Limit every element to [min, max]; returns itself."""
        from gpunn.ops.clamp import clamp

        limited = clamp(self.detach(), min, max)
        if (limited.shape, limited.dtype) != (self.shape, self.dtype):
            raise UsageError(f"clamp_: the result, {limited.shape} {limited.dtype}, does not fit in place.")
        self.device.fill(self._in_place("clamp_"), limited._physical)
        return self

    clip_ = clamp_

    def normal_(self: Any, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Tensor:
        """Draw every element from a Gaussian, on the host; returns itself."""
        return _draw(self, "normal_", mean, std, generator)

    def uniform_(self: Any, low: float = 0.0, high: float = 1.0, *, generator: Any = None) -> Tensor:
        """Draw every element uniformly from [low, high), on the host; returns itself."""
        return _draw(self, "uniform_", low, high, generator)

    # ``a += b`` writes to a's memory where a is off the tape, as in PyTorch. A result on the tape is a new tensor under
    # the old name. A leaf that requires a gradient is refused outside no_grad().

    def __iadd__(self: Any, other: Any) -> Any:
        return _augmented(self, "add", other)

    def __isub__(self: Any, other: Any) -> Any:
        return _augmented(self, "sub", other)

    def __imul__(self: Any, other: Any) -> Any:
        return _augmented(self, "mul", other)

    def __itruediv__(self: Any, other: Any) -> Any:
        return _augmented(self, "div", other)


_OPERATORS = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv}


def _update(x: Any, name: str, other: Any, alpha: float = 1) -> Any:
    from gpunn.ops.update import update_

    return update_(x, name, other, alpha)


def _augmented(x: Any, name: str, other: Any) -> Any:
    from gpunn.ops.binary import is_operand

    if not is_operand(other):
        return NotImplemented
    recorded = x._node is not None or (getattr(other, "requires_grad", False) and not x.requires_grad)
    if tape.is_grad_enabled() and recorded:
        return _OPERATORS[name](x, other)
    return _update(x, name, other)


def _draw(x: Any, op: str, first: float, second: float, generator: Any) -> Any:
    from gpunn.random import default_generator

    if x.dtype.kind != "f":
        raise DTypeError(f"{here(op)}: expected a floating dtype; got {x.dtype}.")
    target = x._in_place(op)
    source = generator or default_generator()
    values = (source.normal if op == "normal_" else source.uniform)(first, second, x.shape, x.dtype)
    x.device.fill(target, x.device.array(physical(values)))
    return x
