"""The table of ops that can be exported: which function is which op, and what writes its nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import numpy as np

from gpunn.onnx._graph import Constant, Graph, Length, Size, Value, dtype_code


@dataclass(frozen=True)
class Made:
    """An op's result as the traces have it."""

    shape: tuple[Length, ...]
    dtype: np.dtype


class Arguments:
    """An op's arguments by name, as :meth:`Graph.both` has them, and its results."""

    def __init__(self, values: dict[str, Any], results: Sequence[Made]) -> None:
        self._values, self.results = values, results

    def __getattr__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def shape(self) -> tuple[Length, ...]:
        """The first result's."""
        return self.results[0].shape

    @property
    def dtype(self) -> np.dtype:
        """The first result's."""
        return self.results[0].dtype


# The names of an op's results in the graph, in order; None for one that ONNX does not have.
Lowering = Callable[[Graph, Arguments], "str | Sequence[str | None]"]

OPS: dict[FunctionType, str] = {}
LOWERINGS: dict[str, Lowering] = {}


def lowers(*functions: Any, name: str | None = None) -> Callable[[Lowering], Lowering]:
    """Declare that calls of these ops are written by the decorated function.

    Parameters
    ----------
    functions : functions of ``gpunn.ops``
    name : str, optional
        For errors and for the tracer; the function's own if not given.
    """

    def decorate(lowering: Lowering) -> Lowering:
        for function in functions:
            op = name or function.__name__.rstrip("_")
            if function in OPS or LOWERINGS.get(op, lowering) is not lowering:
                raise ValueError(f"two forms in ONNX for {op}")
            OPS[function] = op
            LOWERINGS[op] = lowering
        return lowering

    return decorate


# -- what several families need ---------------------------------------------------------------------


def cast(g: Graph, value: Value, dtype: np.dtype) -> str:
    """The name of a tensor in another dtype."""
    if value.dtype == dtype:
        return value.name
    if isinstance(value, Constant) and value.values is not None:
        return g.constant(value.values.astype(dtype))
    return g.node("Cast", [value.name], to=dtype_code(dtype))


def operand(g: Graph, value: Any, dtype: np.dtype) -> str:
    """The name of a tensor or number in a dtype."""
    if isinstance(value, Value):
        return cast(g, value, dtype)
    g.fixed(value, "a number")
    return g.constant(np.asarray(value).astype(dtype))


def one_like(g: Graph, value: Value, number: float) -> str:
    """The name of a number in a tensor's dtype."""
    return g.constant(np.asarray(number, value.dtype))


def reshaped(g: Graph, name: str, old: Sequence[Length] | None, new: Sequence[Length]) -> str:
    """The tensor ``name``, of shape ``old`` (None if not known), in another shape.

    At most one length that follows the batch can be left to ONNX as -1; those that stand in the same place in both
    shapes are copied, others are computed from the inputs' shapes.
    """
    if old is not None and tuple(old) == tuple(new):
        return name
    moving = [axis for axis, n in enumerate(new) if isinstance(n, Size)]
    copied = [axis for axis in moving if old is not None and axis < len(old) and old[axis] == new[axis]]
    left = [axis for axis in moving if axis not in copied]
    if 0 in new:  # in ONNX's list of lengths 0 stands for the old length
        return g.node("Reshape", [name, g.lengths(new)], allowzero=1)
    if len(moving) == 1:
        left, copied = moving, []
    if len(left) > 1:
        return g.node("Reshape", [name, g.lengths(new)])
    lengths = [0 if axis in copied else -1 if axis in left else int(n) for axis, n in enumerate(new)]  # type: ignore[arg-type]
    return g.node("Reshape", [name, g.numbers(*lengths)])


def activated(g: Graph, name: str, activation: str | None) -> str:
    """Behind a fused activation."""
    return g.node("Relu", [name]) if activation == "relu" else name


def axes_of(dim: Any, ndim: int, *, empty_means_all: bool = True) -> tuple[int, ...]:
    """The axes that an argument ``dim`` names, none negative; all for None."""
    if dim is None or (empty_means_all and isinstance(dim, tuple | list) and not dim):
        return tuple(range(ndim))
    given = dim if isinstance(dim, tuple | list) else (dim,)
    return tuple(int(a) % ndim for a in given) if ndim else ()
