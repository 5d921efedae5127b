"""Views: tensors that are a part of another one's memory, or all of it in another order.

PyTorch's views are strided. Here an array always lies in memory without gaps (see ``_layout``), so a view of which that
is not true is a *copy* that knows where it came from: its storage, and the steps from the storage's root to it. What is
written to it is written through, and it is made anew after its storage has changed. A view that has no gaps (rows of a
matrix, another shape) is the memory itself.

Nothing of this costs an op anything: a copied view whose storage has changed has an empty slot in place of its array,
and is of a class by which Python asks :class:`Lacking` for it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gpunn import tape
from gpunn._capture_state import capturing, refuse_in_capture
from gpunn._device import Device
from gpunn._layout import address_of, logical, physical, size_of
from gpunn._layout import is_contiguous as is_whole
from gpunn._storage import KeptStorage, complete, forget_copy, note_view
from gpunn.errors import UsageError, here

if TYPE_CHECKING:
    from gpunn._tensor import Tensor

Strides = tuple[int, ...]


class Step:
    """One way from a tensor to a view of it: a slice, another order of the axes, another shape, a repetition.

    Attributes
    ----------
    op : str
        Its name on the tape and in errors.
    repeats : bool
        Whether elements of the view share memory, so that nothing can be written to it.
    adds : bool
        Whether it has :meth:`back_into`; then :meth:`back` makes an array of its own.
    """

    op: str
    repeats: bool = False
    adds: ClassVar[bool] = False

    def get(self, device: Device, array: Any) -> tuple[Any, bool]:
        """The view of a physical array, physical; and whether it is a part of the same memory."""
        raise NotImplementedError

    def back(self, device: Device, dy: Any, shape: tuple[int, ...]) -> Any:
        """The physical gradient of an array of the logical ``shape``; dy's own memory only where :meth:`get` shares."""
        raise NotImplementedError

    def back_into(self, device: Device, dy: Any, waiting: Any) -> Any:
        """What :meth:`back` returns, added to the physical gradient ``waiting``, which it returns."""
        raise NotImplementedError

    def put(self, device: Device, target: Any, value: Any) -> None:
        """Write a view's values to the physical array that it is a view of."""
        raise NotImplementedError

    def among_rows(self, ndim: int, from_rows: bool) -> tuple[Step, bool] | None:
        """The same step from rows, or to them from other than four axes, and whether its result is in rows (``_rows``).

        None where there is none.
        """
        return None

    def strided(self, array: Any) -> Any:
        """The view of a logical array without a copy, or None where strides cannot say it."""
        raise NotImplementedError

    def strides(self, shape: tuple[int, ...], strides: Strides) -> tuple[tuple[int, ...], Strides | None]:
        """The view's shape and strides in elements, None where strides cannot say it."""
        raise NotImplementedError


class View:
    """How a tensor hangs on its storage, where it is not the whole of it in the same order.

    Attributes
    ----------
    base : Tensor or None
        The tensor on whose place on the tape its own depends. None where it has one of its own, behind ``detach()``.
    steps : tuple of Step
        From the storage's root to it.
    copied : bool
        Whether its array is a copy. It is never written to: others may read it.
    recorded : bool
        Whether ops were recorded when it was made.
    rows : array or None
        Its elements in rows (see ``_rows``), where it has them like that. Never written to, as the copy.
    """

    __slots__ = ("base", "copied", "recorded", "rows", "steps")

    def __init__(
        self, base: Tensor | None, steps: tuple[Step, ...], copied: bool, recorded: bool, rows: Any = None
    ) -> None:
        self.base, self.steps, self.copied, self.recorded, self.rows = base, steps, copied, recorded, rows


# -- making ---------------------------------------------------------------------------------------


def view_of(x: Tensor, step: Step) -> Tensor:
    """The view of x that ``step`` leads to, on the tape; from x's rows, or to rows (``_rows``), where it knows them."""
    device, way, to_rows, source, on_cpu = x.device, step, False, None, x.device.name == "cpu"
    if on_cpu and not x._storage.is_exported():
        rows = None if x._view is None else x._view.rows
        other = step.among_rows(x.ndim, rows is not None) if rows is not None or x.ndim != 4 else None
        if other is not None:
            (way, to_rows), source = other, rows
    source = x._physical if source is None else source
    stored, shape = source.shape, logical(source).shape
    y, shares = way.get(device, source)

    def backward(dy: Any, needs: tuple[bool, ...], waiting: Any = None) -> tuple[Any, ...]:
        return (way.back(device, dy, shape) if waiting is None else way.back_into(device, dy, waiting),)

    into, passes_on = stored if on_cpu and way.adds else None, shares and not way.adds
    result = tape.record(step.op, y, device, (x,), backward, passes_on=passes_on, into=into, rows=to_rows)
    attach(result, x, step, shares, y if to_rows else None)
    return result


def attach(result: Tensor, x: Tensor, step: Step, shares: bool, rows: Any = None) -> None:
    """Make ``result``, whose array ``step`` has got from x's, a view of x."""
    known = x._view
    before: tuple[Step, ...] = ()
    if known is None:
        base, copied = x, not shares
    else:
        base = x if known.base is None else known.base
        before, copied = known.steps, known.copied or not shares
        if shares and known.rows is not None and rows is None:  # they may be memory where x's array is a copy
            copied = not np.may_share_memory(result._physical, x._storage.shared().root)
    copied = copied or rows is not None
    recorded = tape.is_grad_enabled() and (known is None or known.recorded)
    x._storage.add(x, result)
    _hang(result, View(base, (*before, step), copied, recorded, rows))


def _hang(result: Tensor, view: View) -> None:
    """Make ``result``, whose storage it shares already, a view."""
    result._view = view
    note_view(result)
    if view.rows is not None:
        return
    if view.copied:
        result._shape = size_of(result._physical.shape)  # asking for it later may copy
        _lock(result._physical)
        if result._storage.is_exported():
            forget_copy(result)


def _lock(copy: Any) -> None:
    """Let nobody write to a view's copy, as far as the array library can see to that: it would be lost."""
    if isinstance(copy, np.ndarray) and capturing() is None:  # a captured launch writes to it later
        copy.flags.writeable = False


def twin_of(x: Tensor, result: Tensor) -> Tensor:
    """``result``, which has x's array, as a tensor of the same storage with a place of its own on the tape."""
    from gpunn._rows import settle

    settle(x)
    x._storage.add(x, result)
    if x._view is not None:
        _hang(result, View(None, x._view.steps, x._view.copied, True))
    return result


def tensor_over(op: str, array: Any, device: Device) -> Tensor:
    """A tensor whose memory is an array with gaps, as another library has made it: a copied view of that."""
    from gpunn._tensor import Tensor

    result = Tensor._of_physical(physical(array), device)
    result._storage = KeptStorage()
    sharing = result._storage.shared()
    sharing.root = array.transpose(0, 2, 3, 1) if array.ndim == 4 else array
    sharing.exported = True
    steps = tuple(s // array.dtype.itemsize for s in array.strides)
    gathered = _Gathered(op, steps, _may_overlap(array.shape, steps))
    _hang(result, View(None, (gathered,), copied=True, recorded=True))
    return result


def _may_overlap(shape: tuple[int, ...], strides: Strides) -> bool:
    """Whether two elements may be one in memory: an axis steps less far than those with smaller steps reach."""
    reach = 0
    for step, n in sorted((abs(s), n) for s, n in zip(strides, shape, strict=True) if n > 1):
        if step <= reach:
            return True
        reach += step * (n - 1)
    return False


class _Gathered(Step):
    """The step from an array with gaps to a tensor."""

    def __init__(self, op: str, steps: Strides, repeats: bool) -> None:
        self.op, self.steps, self.repeats = op, steps, repeats

    def get(self, device: Device, array: Any) -> tuple[Any, bool]:
        refuse_in_capture(f"{self.op}: reading an array with gaps")
        with device.active():
            return array.copy(order="C"), False

    def put(self, device: Device, target: Any, value: Any) -> None:
        refuse_in_capture(f"{self.op}: writing an array with gaps")
        device.fill(target, value)

    def strided(self, array: Any) -> Any:
        return array

    def strides(self, shape: tuple[int, ...], strides: Strides) -> tuple[tuple[int, ...], Strides | None]:
        return shape, self.steps


# -- reading --------------------------------------------------------------------------------------


class Lacking:
    """Mixed into the class of tensors while a slot of theirs is empty, since their storage or base has changed."""

    __slots__ = ()

    def __getattr__(self: Any, name: str) -> Any:
        if name == "_physical":
            return _read_again(self)
        if name in ("_node", "requires_grad"):
            return _recorded_again(self)[name == "requires_grad"]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'", name=name, obj=self)

    # What does not need the array, which may have to be copied first.

    @property
    def dtype(self: Any) -> np.dtype:
        return self._storage.sharing.root.dtype

    @property
    def ndim(self: Any) -> int:
        return len(self.shape)

    def numel(self: Any) -> int:
        return math.prod(self.shape)


def _read_again(x: Tensor) -> Any:
    sharing = x._storage.shared()
    array = get(x.device, sharing.root, () if x._view is None else x._view.steps)
    _lock(array)
    if not sharing.exported:  # else an array library may change it before it is read next
        x._physical = array
        complete(x)
        note_view(x)
    return array


def _recorded_again(x: Tensor) -> tuple[tape.Node | None, bool]:
    """x's place on the tape after its base has changed, found by recording the steps from there anew."""
    view = x._view
    assert view is not None
    assert view.base is not None, "only views of a base lose their place"
    base = view.base
    if not view.recorded:
        if tape.is_grad_enabled():
            raise UsageError(
                f"a view of shape {x.shape} was made under no_grad(), and its storage has changed in place since: it "
                "is not clear whether gradients are wanted. Make the view and change it both within no_grad(), or both "
                "outside; or use detach()."
            )
        return None, False
    begun = 0 if base._view is None else len(base._view.steps)
    again = base
    with tape.enable_grad():
        for step in view.steps[begun:]:
            again = view_of(again, step)
    x._node, x.requires_grad = again._node, again.requires_grad
    complete(x)
    note_view(x)
    return again._node, again.requires_grad


def strided_array(x: Tensor) -> Any:
    """A logical array of the array library that is x's memory, or None where no strides lead from that to x."""
    view = x._view
    if view is None or not view.copied:
        return logical(x._physical)
    return _strided(x._storage.shared().root, view.steps)


def _strided(root: Any, steps: tuple[Step, ...]) -> Any:
    array = logical(root)
    for step in steps:
        array = step.strided(array)
        if array is None:
            return None
    return array


def _box(root: Any, steps: tuple[Step, ...]) -> tuple[Any, Strides, int] | None:
    """A view as a physical array with gaps in memory that is whole, its strides and its start in elements, if it is."""
    array = _strided(root, steps) if is_whole(root) else None
    if array is None:
        return None
    inner = array.transpose(0, 2, 3, 1) if array.ndim == 4 else array
    size = inner.itemsize
    start = (address_of(inner) - address_of(root)) // size if inner.size else 0
    return inner, tuple(s // size for s in inner.strides), start


def strides_of(x: Tensor) -> Strides:
    """The strides in elements that PyTorch's tensor has, whose images lie in the order (N, C, H, W)."""
    if x._view is None:
        return strides_for(x.shape)
    shape = tuple(logical(x._storage.shared().root).shape)
    strides: Strides | None = strides_for(shape)
    for step in x._view.steps:
        if strides is not None:
            shape, strides = step.strides(shape, strides)
    return strides_for(x.shape) if strides is None else strides


def strides_for(shape: tuple[int, ...]) -> Strides:
    """Strides in elements without gaps, in C order."""
    return tuple(math.prod(max(n, 1) for n in shape[a + 1 :]) for a in range(len(shape)))


def is_contiguous(x: Tensor) -> bool:
    """Whether PyTorch's tensor would be contiguous."""
    if x._view is None:
        return True
    return all(n == 1 or s == t for n, s, t in zip(x.shape, strides_of(x), strides_for(x.shape), strict=True)) or (
        x.numel() == 0
    )


# -- writing --------------------------------------------------------------------------------------


def memory(op: str, x: Tensor) -> Any:
    """The physical array that a kernel or the array library may write to; :func:`written` has to follow."""
    from gpunn.ops.accumulate import copy

    refuse_repeated(op, x)
    if x._view is not None and x._view.copied:  # its own array is never written to
        return copy(x.device, x._physical)
    own_memory(x)
    return x._physical


def own_memory(x: Tensor) -> None:
    """Give a storage that has borrowed a view's copy memory of its own."""
    from gpunn.ops.accumulate import copy

    if not x._storage.is_lent():
        return
    sharing = x._storage.shared()
    sharing.lent = False
    root = x._physical if sharing.root is None else sharing.root
    sharing.root = copy(x.device, root)
    for tensor in {id(t): t for t in (x, *x._storage.others(x))}.values():
        if tensor._view is None:
            tensor._physical = sharing.root
        elif tensor._view.rows is not None:
            forget_copy(tensor)
        elif not tensor._view.copied:
            tensor._physical = get(tensor.device, sharing.root, tensor._view.steps)


def written(x: Tensor, array: Any) -> None:
    """Make what was written to the array of :func:`memory` seen by all that share x's storage."""
    view = x._view
    if view is not None and view.copied:
        own_memory(x)
        put(x.device, x._storage.shared().root, view.steps, array)
        view.rows = None
        _lock(array)
        x._physical = array
        complete(x)
        note_view(x)
        x._storage.changed(x)
        if x._storage.is_exported():
            forget_copy(x)
    else:
        x._storage.changed()


def store(op: str, x: Tensor, value: Any) -> None:
    """Write the physical array ``value``, of x's shape and dtype, to x's memory. Nobody else may write to it later."""
    from gpunn.ops.copy_arrays import copy_arrays

    if x._view is not None and x._view.copied:
        refuse_repeated(op, x)
        written(x, value)
        return
    array = memory(op, x)
    copy_arrays(x.device, [array], [value])
    written(x, array)


def put(device: Device, root: Any, steps: tuple[Step, ...], value: Any) -> None:
    """Write a view's values to the memory that it is a view of."""
    from gpunn.ops.take_slice import write_strided

    box = _box(root, steps)
    if box is not None:
        write_strided(device, root, value, *box[1:])
        return
    arrays, own = [root], [True]
    for step in steps[:-1]:
        array, shares = step.get(device, arrays[-1])
        arrays.append(array)
        own.append(own[-1] and shares)
    for step, array, is_memory in zip(reversed(steps), reversed(arrays), reversed(own), strict=True):
        step.put(device, array, value)
        if is_memory:
            return
        value = array


def get(device: Device, root: Any, steps: tuple[Step, ...]) -> Any:
    """The physical array of a view, a part of the same memory where that has no gaps."""
    from gpunn.ops.take_slice import read_strided

    box = _box(root, steps)
    if box is not None:
        inner, strides, start = box
        return inner if is_whole(inner) else read_strided(device, root, inner.shape, strides, start)
    for step in steps:
        root, _ = step.get(device, root)
    return root


def refuse_repeated(op: str, x: Tensor) -> None:
    """Raise UsageError if several elements of x are one element in memory."""
    if x._view is not None and any(step.repeats for step in x._view.steps):
        raise UsageError(
            f"{here(op)}: several elements of an expanded tensor of shape {x.shape} are one element in memory, so it "
            "cannot be changed in place; clone() it first."
        )
