"""What a model computes: the calls of ops in one forward pass, seen as a profiler sees them.

Ops are functions that layers, tensors' methods and users call with tensors. While a forward is watched, Python tells
every call of a function; those of the ops in the table are noted with their arguments and results. So no op knows of
this, none is slower for it, and code of users needs no rules: what they write in Python runs as it is.

A tensor that none of the noted ops has made from the model's inputs is a constant: a parameter, or whatever was
computed from constants.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import CodeType, FrameType, FunctionType
from typing import Any

import numpy as np

from gpunn import _in_place, _views, tape
from gpunn._tensor import Tensor
from gpunn.errors import UsageError, module_stack
from gpunn.nn.module import Module


@dataclass(frozen=True)
class Noted:
    """A tensor as an argument or a result, at the time of the call.

    Attributes
    ----------
    number : int or None
        Of the value that it has, counted from the model's inputs on; None for a constant.
    shape, dtype
        The tensor's.
    tensor : Tensor or None
        Of a constant: itself.
    values : numpy.ndarray or None
        Of a constant that is no part of the model's state, which may change later: a copy.
    """

    number: int | None
    shape: tuple[int, ...]
    dtype: np.dtype
    tensor: Tensor | None = None
    values: np.ndarray | None = None


@dataclass
class Call:
    """An op that was called.

    Attributes
    ----------
    op : str
        The op's name in the table.
    place : str
        The layer that it ran in, "features.0 (Conv2d)", or the op's name outside of layers.
    path : str
        The layer's dotted name.
    arguments : dict
        By parameter, with :class:`Noted` in place of tensors.
    results : list of Noted
        The tensors that it returned, in order.
    """

    op: str
    place: str
    path: str
    arguments: dict[str, Any]
    results: list[Noted] = field(default_factory=list)


@dataclass
class Trace:
    """One forward pass: its calls, its outputs as the model returned them, and what it did that is not exported."""

    calls: list[Call]
    outputs: Any
    refused: str = ""


def watched(
    model: Module,
    inputs: Mapping[str, Any],
    call: Callable[[], Any],
    table: Mapping[FunctionType, str],
    known: set[int],
) -> Trace:
    """Run ``call`` and note which ops of the ``table`` it calls.

    Parameters
    ----------
    model : Module
        For the names of layers.
    inputs : mapping of str to Tensor
        The tensors whose values are not constants.
    call : callable
        The forward pass, without arguments.
    table : mapping of functions to str
        The ops, with the names that calls are to have.
    known : set of int
        The ids of the tensors of the model's state.

    Raises
    ------
    UsageError
        If a profiler or the like is in the place of the watcher.
    """
    if sys.getprofile() is not None:
        raise UsageError("onnx.export: a profiler is watching the program's calls; export without it.")
    watcher = _Watcher(model, table, known)
    for tensor in inputs.values():
        watcher.give_number(tensor)
    sys.setprofile(watcher)
    try:
        outputs = call()
    finally:
        sys.setprofile(None)
    return Trace(watcher.calls, watcher.noted(outputs), watcher.refused)


@dataclass(frozen=True)
class _Holder:
    """A tensor that has a value, and its storage as it was then."""

    number: int
    tensor: Tensor
    storage: Any
    count: int

    def is_as_then(self) -> bool:
        return self.tensor._storage is self.storage and self.storage.count == self.count


class _Watcher:
    """Called by Python at each call and return."""

    def __init__(self, model: Module, table: Mapping[FunctionType, str], known: set[int]) -> None:
        self.calls: list[Call] = []
        self.refused = ""
        self._names = {id(module): name for name, module in model.named_modules()}
        self._ops: dict[CodeType, str] = {function.__code__: name for function, name in table.items()}
        self._known = known
        self._holders: dict[int, _Holder] = {}  # by the tensor's id; they keep it, so ids stay unique
        self._count = 0
        self._frame: FrameType | None = None  # of the noted op that runs now, and whose inner calls are its own
        self._call: Call | None = None
        self._written: Any = None  # the tensor that it writes to, if it returns nothing
        self._fitted: int | None = None  # the value that a tensor is about to take over

    def __call__(self, frame: FrameType, event: str, given: Any) -> None:
        code = frame.f_code
        if event == "call" and self._frame is None:
            if code in self._ops:
                self._begin(frame, self._ops[code])
            elif code is _RECORD:
                self._unknown(frame.f_locals)
        elif event == "return" and frame is self._frame:
            self._end(given)
        elif event == "return" and self._frame is None and isinstance(given, Tensor):
            if code in _SAME:
                self._hold(given, self._number(frame.f_locals["x"]))
            elif code is _FITTING:
                self._fitted = self._number(given)
            elif code is _REWRITE:
                self._hold(given, self._fitted)

    # -- values --------------------------------------------------------------------------------

    def give_number(self, tensor: Tensor) -> None:
        """A new value, which this tensor has from now on."""
        self._hold(tensor, self._count)
        self._count += 1

    def _hold(self, tensor: Tensor, number: int | None) -> None:
        if number is None:
            self._holders.pop(id(tensor), None)
        else:
            self._holders[id(tensor)] = _Holder(number, tensor, tensor._storage, tensor._storage.count)

    def _number(self, tensor: Tensor) -> int | None:
        holder = self._holders.get(id(tensor))
        if holder is None:
            return None
        if not holder.is_as_then():
            self._refuse("a tensor was changed in place through a view of it, or filled; compute a new one")
        return holder.number

    def noted(self, value: Any) -> Any:
        """An argument or a result, with :class:`Noted` in place of tensors."""
        if isinstance(value, Tensor):
            number = self._number(value)
            if number is not None:
                return Noted(number, value.shape, value.dtype)
            copied = None if id(value) in self._known else np.array(value._numpy_without_tape())
            return Noted(None, value.shape, value.dtype, value, copied)
        if isinstance(value, np.ndarray):
            return np.array(value)
        if isinstance(value, tuple | list):
            return (list if type(value) is list else tuple)(map(self.noted, value))
        if isinstance(value, dict):
            return {key: self.noted(one) for key, one in value.items()}
        if isinstance(value, slice):
            return slice(*(self.noted(one) for one in (value.start, value.stop, value.step)))
        return value

    # -- calls ---------------------------------------------------------------------------------

    def _begin(self, frame: FrameType, op: str) -> None:
        arguments = dict(frame.f_locals)
        self._frame = frame
        self._written = arguments["x"] if op in WRITING else None
        noted = {
            name: self.noted(value) for name, value in arguments.items() if not isinstance(value, FunctionType)
        }  # an op's helpers are given its gradient, which is made anew each time
        self._call = Call(op, *self._place(op), noted)

    def _end(self, given: Any) -> None:
        call, written = self._call, self._written
        self._frame = self._call = self._written = None
        assert call is not None
        results = [t for t in flat(written if given is None else given) if isinstance(t, Tensor)]
        constant = not any(isinstance(n, Noted) and n.number is not None for n in flat(list(call.arguments.values())))
        for tensor in results:
            holder = self._holders.get(id(tensor))
            if constant:
                self._hold(tensor, None)
            elif holder is None or not holder.is_as_then():
                self.give_number(tensor)
        if results and not constant:
            call.results = [self.noted(tensor) for tensor in results]
            self.calls.append(call)

    def _unknown(self, arguments: Mapping[str, Any]) -> None:
        """An op outside of the table puts its result on the tape."""
        if any(id(t) in self._holders for t in arguments["inputs"]):
            self._refuse(f"{arguments['op']} has no form in ONNX that gpunn knows")

    def _refuse(self, why: str) -> None:
        if not self.refused:
            self.refused = f"{self._place('the forward pass')[0]}: {why}"

    def _place(self, op: str) -> tuple[str, str]:
        """The innermost layer that the model has a name for, as in messages, and its dotted name."""
        for module in reversed(module_stack.modules):
            name = self._names.get(id(module))
            if name is not None:
                kind = type(module).__name__
                return (f"{name} ({kind})" if name else kind), name
        return op, ""


_RECORD = tape.record.__code__
_SAME = {_views.twin_of.__code__, _in_place._stand_in.__code__}  # another tensor with the values of x
_FITTING, _REWRITE = _in_place._fitting.__code__, _in_place.rewrite.__code__
WRITING = frozenset(("update_", "copy_", "setitem"))  # ops that change x


def flat(value: Any) -> list[Any]:
    """What is in nested tuples, lists, dicts and slices."""
    if isinstance(value, tuple | list):
        return [one for part in value for one in flat(part)]
    if isinstance(value, dict):
        return [one for part in value.values() for one in flat(part)]
    if isinstance(value, slice):
        return flat([value.start, value.stop, value.step])
    return [value]
