"""Changing a tensor in place, as PyTorch does: every name and view of it sees the change, and so does backward.

Off the tape an in-place op writes to memory. On the tape it computes a new array, as any op, and the tensor *object*
takes over the array and its place on the tape: nodes that saved the old array still have it. Where others see the
memory (views, twins, array libraries) the new values are written there instead, and backward raises if it needed the
old ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gpunn import tape
from gpunn._layout import physical_shape
from gpunn._promotion import can_cast
from gpunn._rows import settle
from gpunn._storage import forget_place
from gpunn._views import Step, get, put, refuse_repeated, store
from gpunn.errors import DTypeError, ShapeError, UsageError, here

if TYPE_CHECKING:
    from gpunn._tensor import Tensor


def rewrite(x: Tensor, op: str, make: Callable[[Tensor], Tensor], *others: Any, give_up: bool = False) -> Tensor:
    """Let x become ``make(x)``, which computes it as a new tensor; returns x.

    Parameters
    ----------
    x : Tensor
    op : str
        For errors, and the name on the tape of what a view writes to its base.
    make : callable
        Gets x, or a copy of it with the same place on the tape.
    others : Tensor or anything
        The other operands: x is on the tape afterwards if one of them is.
    give_up : bool
        Whether x's memory may be exchanged also off the tape, where nobody else sees it and an op has made it.
    """
    refuse_repeated(op, x)
    settle(x)
    alone = x._view is None and x._storage.belongs_to(x)
    if not recorded(op, x, *others):
        with tape.no_grad():
            new = _fitting(op, x, make(x))
        if give_up and alone and not x._storage.kept:
            _become(x, new)
        elif new is not x:
            store(op, x, new._physical)
    elif alone:
        _become(x, _fitting(op, x, make(x)))
    else:
        _write_recorded(x, op, _fitting(op, x, make(_stand_in(x))))
    return x


def recorded(op: str, x: Tensor, *others: Any) -> bool:
    """Whether a change of x has to be recorded.

    Raises
    ------
    UsageError
        If it has to and cannot be: x is a leaf that requires a gradient, or a view of one.
    """
    if not tape.is_grad_enabled():
        return False
    if not (x.requires_grad or any(getattr(other, "requires_grad", False) for other in others)):
        return False
    base = _base(x)
    if base.requires_grad and base._node is None:
        what = "a leaf" if base is x else "a view of a leaf"
        raise UsageError(
            f"{here(op)}: this tensor is {what} that requires a gradient, whose value backward would lose; change it "
            "within gpunn.no_grad(), or on .data."
        )
    if base is not x and x._view is not None and not x._view.recorded:
        raise UsageError(
            f"{here(op)}: this is a view that was made under no_grad() and would now be changed with a gradient; make "
            "it outside, or change it under no_grad()."
        )
    return True


def _base(x: Tensor) -> Tensor:
    view = x._view
    return x if view is None or view.base is None else view.base


def _stand_in(x: Tensor) -> Tensor:
    """A tensor with x's values and place on the tape, in memory of its own: the op may keep it for backward."""
    from gpunn._tensor import Tensor
    from gpunn.ops.accumulate import copy

    copied = x._view is not None and x._view.copied  # its array is never written to
    stand_in = Tensor._of_physical(x._physical if copied else copy(x.device, x._physical), x.device)
    stand_in._node, stand_in.requires_grad = x._node, x.requires_grad
    return stand_in


def _fitting(op: str, x: Tensor, new: Tensor) -> Tensor:
    """A result as a tensor of x's shape and dtype in memory of its own."""
    if new.shape != x.shape:
        raise ShapeError(
            f"{here(op)}: the result, of shape {new.shape}, does not fit into x of shape {x.shape} in place."
        )
    if new.dtype != x.dtype:
        if not can_cast(new.dtype, x.dtype):
            raise DTypeError(
                f"{here(op)}: the result, {new.dtype}, does not fit into a tensor of {x.dtype} in place; compute a new "
                "tensor, or convert with .to(dtype) first."
            )
        new = new.to(x.dtype)
    if new is not x and (new._view is not None or not new._storage.belongs_to(new)):
        new = new.clone()
    return new


def _become(x: Tensor, new: Tensor) -> None:
    if new is not x:
        x._physical, x._storage = new._physical, new._storage
        _take_place(x, new)


def _take_place(x: Tensor, new: Tensor) -> None:
    """Take over a place on the tape. A gradient that x retains is that of its new value."""
    if x._node is not None and new._node is not None and tape.RETAIN in x._node.hooks:
        new._node.hooks[tape.RETAIN] = x._node.hooks.pop(tape.RETAIN)
    x._node, x.requires_grad = new._node, new.requires_grad


def _write_recorded(x: Tensor, op: str, new: Tensor) -> None:
    """Write ``new`` to memory that others see too, and give x and its base the places on the tape that follow."""
    base = _base(x)
    store(op, x, new._physical)
    if base is x:
        _take_place(x, new)
    else:
        begun = 0 if base._view is None or x._view is None else len(base._view.steps)
        steps = () if x._view is None else x._view.steps[begun:]
        _take_place(base, _with_part(op, base, steps, new))
    for tensor in x._storage.others(base):
        view = tensor._view
        if view is not None and view.base is base and view.recorded:
            forget_place(tensor)


def _with_part(op: str, base: Tensor, steps: tuple[Step, ...], part: Tensor) -> Tensor:
    """The base after ``part`` has been written to the view of it that ``steps`` lead to, on the tape."""
    from gpunn._tensor import Tensor
    from gpunn.ops.accumulate import copy

    device, shape, dtype = base.device, physical_shape(part.shape), part.dtype

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        rest = None
        if needs[0]:
            rest = copy(device, dy)
            put(device, rest, steps, device.zeros(shape, dtype))
        return rest, get(device, dy, steps) if needs[1] else None

    before = Tensor._of_physical(base._physical, device)
    before._node, before.requires_grad = base._node, base.requires_grad
    return tape.record(op, base._physical, device, (before, part), backward, passes_on=True)
