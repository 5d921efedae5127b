"""The ONNX graph while it is being made: values, weights, and lengths that depend on the size of the batch.

Two traces of the same model with other lengths along the dynamic axes say together what one cannot: a length or number
that is the same in both is fixed, one that has grown by the same factor as the batch follows it. Whatever else differs
(a number computed from the data, a random mask) has no place in a graph, and is an error that names the layer.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn.errors import UsageError
from gpunn.onnx._trace import Call, Noted


@dataclass(frozen=True)
class Axis:
    """A dynamic axis of an input: its name in the file, the input's, which axis, and its length in both traces."""

    name: str
    input: str
    number: int
    lengths: tuple[int, int]


@dataclass(frozen=True)
class Size:
    """A length that follows dynamic axes: ``factor`` times their lengths, and ``more``.

    Without axes it follows them in another way, as an image's does behind a pooling that rounds.
    """

    lengths: tuple[int, int]  # in both traces
    factor: int = 0
    axes: tuple[Axis, ...] = ()
    more: int = 0

    @property
    def text(self) -> str:
        """Its name in the file; nothing for a length that has none."""
        names = "*".join(axis.name for axis in self.axes)
        names = names if self.factor == 1 else f"{self.factor}*{names}"
        return f"{names}{self.more:+}" if self.more else names


Length = int | Size


@dataclass(frozen=True)
class Value:
    """A tensor that the graph computes.

    Attributes
    ----------
    name : str
        In the graph.
    shape : tuple of int or Size
    dtype : numpy.dtype
    """

    name: str
    shape: tuple[Length, ...]
    dtype: np.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)


@dataclass(frozen=True)
class Constant(Value):
    """A tensor that does not depend on the inputs; ``values`` is None where its shape follows a dynamic axis."""

    values: np.ndarray | None = None


class Graph:
    """Nodes and weights so far.

    Parameters
    ----------
    state : dict of int to (str, array)
        By a tensor's id: its name in the model's ``state_dict``, and its values.
    axes : sequence of Axis
        The dynamic ones.
    opset : int
        The version of ONNX's operators.
    """

    def __init__(self, state: dict[int, tuple[str, np.ndarray]], axes: Sequence[Axis], opset: int) -> None:
        self.opset = opset
        self.nodes: list[Any] = []
        self.weights: dict[str, np.ndarray] = {}
        self.names: dict[int, str] = {}  # of the values, by number
        self._state, self._axes = state, axes
        self._shared: dict[tuple[Any, ...], str] = {}  # small constants, made once each
        self._call: Call | None = None
        self._taken: set[str] = {name for name, _ in state.values()}

    # -- where we are --------------------------------------------------------------------------

    def enter(self, call: Call | None) -> None:
        """From here on nodes belong to this call."""
        self._call = call

    def take(self, names: Sequence[str]) -> None:
        """Let no node or constant have one of these names."""
        self._taken.update(names)

    def refuse(self, why: str) -> UsageError:
        """The error of the present op: raise it."""
        where = "the model's outputs" if self._call is None else self._call.place
        op = "" if self._call is None or self._call.op in where else f" {self._call.op}:"
        return UsageError(f"onnx.export: {where}:{op} {why}")

    @property
    def op(self) -> str:
        """The present op's name."""
        return "" if self._call is None else self._call.op

    def unique(self, wanted: str) -> str:
        """``wanted``, or with a number behind it if that name is taken; taken from now on."""
        name = wanted
        for number in itertools.count(1):
            if name not in self._taken:
                break
            name = f"{wanted}_{number}"
        self._taken.add(name)
        return name

    # -- nodes ---------------------------------------------------------------------------------

    def node(self, op_type: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> Any:
        """Add a node; returns the name of its output, or the names of several."""
        from onnx import helper

        path = "" if self._call is None else self._call.path
        name = self.unique(f"/{path.replace('.', '/')}/{op_type}" if path else f"/{op_type}")
        made = [f"{name}_output_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op_type, list(inputs), made, name, **attributes))
        return made[0] if outputs == 1 else made

    def constant(self, array: Any, dtype: Any = None) -> str:
        """The name of a constant with these values."""
        values = np.asarray(array, dtype)
        key = (values.dtype.str, values.shape, values.tobytes())
        if values.size > 64:  # larger ones are hardly met twice
            return self._weight(self.unique("constant"), values)
        if key not in self._shared:
            self._shared[key] = self._weight(self.unique("constant"), values)
        return self._shared[key]

    def _weight(self, name: str, values: np.ndarray) -> str:
        self.weights[name] = values
        return name

    def numbers(self, *values: int) -> str:
        """The name of a constant list of whole numbers."""
        return self.constant(np.array(values, np.int64).reshape(-1))

    # -- lengths -------------------------------------------------------------------------------

    def lengths(self, sizes: Sequence[Length]) -> str:
        """The name of the list of these lengths, computed from the inputs' shapes where they follow them."""
        if all(isinstance(n, int) for n in sizes):
            return self.numbers(*(int(n) for n in sizes))  # type: ignore[arg-type]
        parts = [self._length(n) if isinstance(n, Size) else self.numbers(n) for n in sizes]
        return parts[0] if len(parts) == 1 else self.node("Concat", parts, axis=0)

    def _length(self, size: Size) -> str:
        """The name of a list with this one length."""
        if not size.axes:
            raise self._unlike(*size.lengths)
        product = ""
        for axis in size.axes:
            shape = self.node("Shape", [axis.input])
            length = self.node("Gather", [shape, self.numbers(axis.number)], axis=0)
            product = self.node("Mul", [product, length]) if product else length
        product = product if size.factor == 1 else self.node("Mul", [product, self.numbers(size.factor)])
        return self.node("Add", [product, self.numbers(size.more)]) if size.more else product

    def fixed(self, value: Any, what: str) -> Any:
        """The numbers in ``value``, none of which may follow a dynamic axis; ``what`` they are, for the error."""
        for one in value if isinstance(value, tuple | list) else (value,):
            if isinstance(one, Size):
                raise self.refuse(
                    f"{what} follows a dynamic axis ({one.text or one.lengths}); expected a fixed one. Leave that "
                    "axis out of dynamic_axes."
                )
        return value

    # -- what two traces say together ----------------------------------------------------------

    def both(self, first: Any, second: Any) -> Any:
        """An argument as both traces have it: with :class:`Value` for tensors and :class:`Size` for lengths."""
        if isinstance(first, Noted) and isinstance(second, Noted):
            return self._tensor(first, second)
        if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
            return self._held(first, second)
        if isinstance(first, tuple | list) and type(first) is type(second) and len(first) == len(second):
            return type(first)(self.both(a, b) for a, b in zip(first, second, strict=True))
        if isinstance(first, dict) and isinstance(second, dict) and list(first) == list(second):
            return {key: self.both(a, second[key]) for key, a in first.items()}
        if isinstance(first, slice) and isinstance(second, slice):
            bounds = zip((first.start, first.stop, first.step), (second.start, second.stop, second.step), strict=True)
            return slice(*(self.both(a, b) for a, b in bounds))
        if isinstance(first, bool | float | str | np.generic) or not isinstance(first, int):
            if first is second or (type(first) is type(second) and (first == second or (first != first) is True)):
                return first
            raise self.refuse(
                f"got {_short(first)} in one run and {_short(second)} in another: expected arguments that do not "
                "depend on the values of the inputs."
            )
        return self.length(first, second)

    def length(self, first: int, second: Any) -> Length:
        """A whole number among the arguments as both traces have it."""
        found = self._length_of(first, second)
        if isinstance(found, Size) and not found.axes:
            raise self._unlike(first, second)
        return found

    def _length_of(self, first: int, second: int) -> Length:
        if first == second:
            return int(first)
        both = (first, second)
        for count in range(1, len(self._axes) + 1):
            for axes in itertools.combinations(self._axes, count):
                ones = [math.prod(axis.lengths[trace] for axis in axes) for trace in (0, 1)]
                if first % ones[0] == 0 and second == first // ones[0] * ones[1]:
                    return Size(both, first // ones[0], axes)
        for axis in self._axes:
            more = first - axis.lengths[0]
            if second - axis.lengths[1] == more:
                return Size(both, 1, (axis,), more)
        return Size(both)

    def _unlike(self, first: Any, second: Any) -> UsageError:
        names = ", ".join(f"{axis.name} was {axis.lengths[0]} and {axis.lengths[1]}" for axis in self._axes)
        return self.refuse(
            f"a number was {first} in one run and {second} in another ({names or 'with other values'}): expected a "
            "multiple of a dynamic axis, one that is larger or smaller by a fixed number, or always the same."
        )

    def shape(self, first: Sequence[int], second: Sequence[int]) -> tuple[Length, ...]:
        """A shape as both traces have it."""
        if len(first) != len(second):
            raise self.refuse(f"a shape was {tuple(first)} in one run and {tuple(second)} in another.")
        return tuple(self._length_of(a, b) for a, b in zip(first, second, strict=True))

    def result(self, name: str, first: Noted, second: Noted) -> Value:
        """A value of the graph under its name."""
        return Value(name, self.shape(first.shape, second.shape), first.dtype)

    def _tensor(self, first: Noted, second: Noted) -> Value:
        if (first.number is None) != (second.number is None) or first.number != second.number:
            raise self.refuse("the ops' order depends on the values of the inputs: expected always the same ops.")
        if first.number is not None:
            name = self.names.get(first.number)
            if name is None:
                raise self.refuse("uses the indices of a pooling or another result that ONNX does not have.")
            return self.result(name, first, second)
        if first.tensor is not None and first.values is None and second.tensor is first.tensor:
            name, values = self._state[id(first.tensor)]
            self.weights[name] = values
            return Constant(name, first.shape, first.dtype, values)
        return self._held(_values(first), _values(second))

    def _held(self, first: np.ndarray, second: np.ndarray) -> Constant:
        """A constant that is no weight of the model's."""
        if first.shape == second.shape:
            if not np.array_equal(first, second, equal_nan=first.dtype.kind == "f"):
                raise self.refuse(
                    "a tensor that it computed without ops of gpunn, or by chance, differs from run to run: expected "
                    "tensors that are computed by ops, and no random numbers."
                )
            return Constant(self._weight_like(first), first.shape, first.dtype, first)
        shape = self.shape(first.shape, second.shape)
        core = first
        for axis, n in enumerate(shape):
            if isinstance(n, Size):
                core = core[(slice(None),) * axis + (slice(0, 1),)]
        if not all(np.array_equal(np.broadcast_to(core, whole.shape), whole) for whole in (first, second)):
            raise self.refuse(
                f"a tensor of shape {first.shape} is not computed by ops, and has other values where dynamic axes have "
                "other lengths: expected one that ops compute from the inputs, or that repeats along these axes."
            )
        return Constant(self.node("Expand", [self._weight_like(core), self.lengths(shape)]), shape, first.dtype)

    def _weight_like(self, values: np.ndarray) -> str:
        """The name of a constant; of a weight of the model's where it is one in another shape."""
        for name, own in self._state.values():
            alike = own.size == values.size > 1 and own.dtype == values.dtype
            if alike and np.array_equal(own.reshape(-1), values.reshape(-1)):
                self.weights[name] = own
                same = own.shape == values.shape
                return name if same else str(self.node("Reshape", [name, self.numbers(*values.shape)]))
        return self.constant(values)


def _values(noted: Noted) -> np.ndarray:
    assert noted.tensor is not None
    return noted.tensor._numpy_without_tape() if noted.values is None else noted.values


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:57]}..."


def dtype_code(dtype: np.dtype) -> int:
    """ONNX's number of a dtype.

    Raises
    ------
    UsageError
        If ONNX does not have it.
    """
    from onnx import helper

    try:
        return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
    except (KeyError, ValueError) as error:
        raise UsageError(f"onnx.export: ONNX has no {dtype}.") from error
