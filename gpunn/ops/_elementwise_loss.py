"""What losses between two arrays of one shape share: their checks, and how their terms are added up.

Such a loss is a formula for the term of one element. Its forward is the terms themselves, or with a
``divisor`` their sum over it: the number of elements for the mean, 1 for the sum. The kernels of all of them are
in ``kernels/elementwise_loss.cu``, a specialisation for each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn import threads
from gpunn._device import Device, same_device
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, ShapeError, UsageError, where
from gpunn.launcher import KernelSource, c_type, ceil_div, vector_width
from gpunn.ops._blocks import in_blocks, parts, quiet
from gpunn.ops.reduce import spread

SOURCE = KernelSource(
    "elementwise_loss.cu",
    REAL=("float", "double"),
    VEC=(1, 4),
    LOSS=("SQUARED", "ABSOLUTE", "ROUNDED", "BINARY", "LOGISTIC"),
)
_BLOCK = 256
_EACH = 8  # vectors that a thread adds up at least, where there are several blocks
_PARTS = 1024  # blocks at most

Two = tuple[bool, bool]  # whether the gradients of input and target are wanted


# -- checks ---------------------------------------------------------------------------------------


def check_reduction(op: str, reduction: str, allowed: tuple[str, ...] = ("mean", "sum", "none")) -> None:
    """Raise UsageError unless the reduction is an allowed one."""
    if reduction not in allowed:
        names = ", ".join(map(repr, allowed[:-1]))
        raise UsageError(f"{where(op)}: reduction: expected {names} or {allowed[-1]!r}; got {reduction!r}.")


def check_pair(op: str, input: Tensor, target: Tensor) -> None:
    """Raise unless input and target have one floating dtype, one shape and one device."""
    place = where(op)
    if input.dtype.kind != "f":
        raise DTypeError(f"{place}: input: expected a floating dtype; got {input.dtype}. Convert with .float().")
    if target.dtype != input.dtype:
        raise DTypeError(
            f"{place}: target: expected the input's dtype, {input.dtype}; got {target.dtype}. "
            f"Convert with target.to('{input.dtype}')."
        )
    if input.shape != target.shape:
        raise ShapeError(
            f"{place}: expected a target of the input's shape {input.shape}; got {target.shape}. "
            "Nothing is broadcast, which would compare every element with every other: reshape one of them."
        )
    same_device(place, input.device, target.device)


def divisor_of(op: str, reduction: str, count: int) -> float | None:
    """What the sum of ``count`` terms is divided by; None for the terms themselves."""
    check_reduction(op, reduction)
    return {"none": None, "sum": 1.0, "mean": float(count)}[reduction]


def spread_weight(op: str, name: str, weight: Tensor | None, input: Tensor) -> Any:
    """A constant factor of the terms, repeated to the input's shape, physical; None if there is none."""
    if weight is None:
        return None
    check_constant(op, name, weight, input)
    if weight.shape == input.shape:
        return weight._physical
    try:
        fits = np.broadcast_shapes(weight.shape, input.shape) == input.shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(
            f"{where(op)}: {name}: expected a shape that broadcasts to the input's, {input.shape}; got {weight.shape}."
        )
    return spread(weight.device, weight.array, input.shape, 1.0)


def check_constant(op: str, name: str, weight: Tensor, input: Tensor) -> None:
    """Raise unless a weight has the input's dtype and device, and asks for no gradient."""
    place = where(op)
    if weight.dtype != input.dtype:
        raise DTypeError(
            f"{place}: {name}: expected the input's dtype, {input.dtype}; got {weight.dtype}. "
            f"Convert with {name}.to('{input.dtype}')."
        )
    if weight.requires_grad:
        raise UsageError(f"{place}: {name}: expected a constant; it requires a gradient. Pass {name}.detach().")
    same_device(place, input.device, weight.device)


# -- adding up ------------------------------------------------------------------------------------


def total(xp: Any, terms: Any, divisor: float | None, dtype: Any) -> Any:
    """The terms, or their sum in float64 over ``divisor`` (NaN for 0 / 0), as an array of ``dtype``.

    NumPy makes a scalar of a result without axes, and some of its versions a float64 of that.
    """
    if divisor is None:
        return xp.asarray(terms, dtype)
    with quiet():
        return xp.asarray(terms.sum(dtype=np.float64) / divisor, dtype)


def share(dy: Any, divisor: float | None) -> Any:
    """The gradient of every term, given that of the loss."""
    if divisor is None:
        return dy
    with quiet():
        return dy / dy.dtype.type(divisor)


def total_in_blocks(formula: Callable[..., Any], divisor: float | None, *arrays: np.ndarray | None) -> np.ndarray:
    """``total(formula(*arrays), divisor)`` part by part on the CPU; arrays of one shape, or None."""
    packed, given = _without_none(formula, arrays)
    if divisor is None:
        return in_blocks(packed, given[0].dtype, *given)
    flat, size = [a.reshape(-1) for a in given], given[0].size
    cuts = parts(size)
    sums = np.zeros(len(cuts), np.float64)

    def task(numbered: tuple[int, slice]) -> None:
        number, part = numbered
        with quiet():
            sums[number] = packed(*(a[part] for a in flat)).sum(dtype=np.float64)

    if len(cuts) == 1:
        task((0, cuts[0]))
    else:
        threads.run(task, enumerate(cuts))
    with quiet():
        return np.asarray(sums.sum() / divisor, given[0].dtype)


def gradient_in_blocks(
    formula: Callable[..., Any], dy: np.ndarray, divisor: float | None, *arrays: np.ndarray | None
) -> np.ndarray:
    """``formula(share(dy, divisor), *arrays)`` part by part on the CPU; arrays of one shape, or None."""
    each = share(dy, divisor)
    if divisor is None:
        packed, given = _without_none(formula, (each, *arrays))
    else:
        packed, given = _without_none(lambda *parts: formula(each, *parts), arrays)
    return in_blocks(packed, dy.dtype, *given)


def _without_none(
    formula: Callable[..., Any], arrays: tuple[np.ndarray | None, ...]
) -> tuple[Callable[..., Any], list[np.ndarray]]:
    """A formula of the arrays that are there, and these."""

    def packed(*parts: Any) -> Any:
        waiting = iter(parts)
        return formula(*(None if a is None else next(waiting) for a in arrays))

    return packed, [a for a in arrays if a is not None]


def both(xp: Any, dx: Any, needs: Two, dtype: Any) -> tuple[Any, Any]:
    """(dx, -dx) as wanted: the gradients of a loss that depends on the difference alone."""
    return (xp.asarray(dx, dtype) if needs[0] else None), (xp.asarray(-dx, dtype) if needs[1] else None)


# -- kernels --------------------------------------------------------------------------------------

Form = tuple[float, float, float]  # edge, slope and curvature, for LOSS=ROUNDED


def launch_loss(
    device: Device,
    loss: str,
    x: Any,
    target: Any,
    divisor: float | None,
    *,
    weight: Any = None,
    pos_weight: Any = None,
    form: Form = (0.0, 0.0, 0.0),
    layer: int | None = None,
) -> Any:
    """The terms of the specialisation ``loss``, or with a divisor their sum over it.

    Bad data is reported for ``layer``, if given.
    """
    error = None if layer is None else device.error_buffer
    inputs, n = (error, x, target, weight, pos_weight, *form), x.size
    if divisor is None:
        terms = device.empty(x.shape, x.dtype)
        vec = vector_width(4, terms, *inputs[:5])
        _launch(device, "loss_terms", loss, ceil_div(n, vec * _BLOCK), (terms, *inputs, layer or 0, n), x.dtype, vec)
        return terms
    total, vec = device.empty((), x.dtype), vector_width(4, *inputs[:5])
    blocks = max(1, min(_PARTS, ceil_div(n, vec * _BLOCK * _EACH)))
    parts = device.empty((blocks,), np.float64) if blocks > 1 else None
    args = (total if blocks == 1 else None, parts, *inputs, divisor, layer or 0, n)
    _launch(device, "loss_parts", loss, blocks, args, x.dtype, vec)
    if blocks > 1:
        _launch(device, "loss_total", loss, 1, (total, parts, blocks, divisor), x.dtype, vec)
    return total


def launch_gradients(
    device: Device,
    loss: str,
    dy: Any,
    x: Any,
    target: Any,
    divisor: float | None,
    needs: Two,
    *,
    weight: Any = None,
    pos_weight: Any = None,
    form: Form = (0.0, 0.0, 0.0),
) -> tuple[Any, Any]:
    """The gradients of input and target, None where not wanted."""
    made = tuple(device.empty(x.shape, x.dtype) if need else None for need in needs)
    arrays = (*made, dy, x, target, weight, pos_weight)
    each, n = divisor is None, x.size
    vec = vector_width(4, *arrays)
    args = (*arrays, *form, 1.0 if divisor is None else divisor, int(each), n)
    _launch(device, "loss_backward", loss, ceil_div(n, vec * _BLOCK), args, x.dtype, vec)
    return made[0], made[1]


def _launch(device: Device, kernel: str, loss: str, blocks: int, args: Any, dtype: Any, vec: int) -> None:
    macros: dict[str, Any] = {"REAL": c_type(dtype, kernel), "VEC": vec, "LOSS": loss}
    SOURCE.launch(device, kernel, (blocks, 1, 1), _BLOCK, args, **macros)


# -- examples -------------------------------------------------------------------------------------


def pair_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Inputs and targets with every reduction: images, vectors, a number, nothing, several blocks, float64."""
    shapes: tuple[tuple[int, ...], ...] = ((3, 5), (2, 3, 3, 4), (1,), (), (0, 4), (8193,), (70_001,))
    made: list[dict[str, Any]] = []
    for number, shape in enumerate(shapes):
        a, b = (np.asarray(rng.standard_normal(shape), np.float32) for _ in range(2))
        made += [{"x": a, "target": b, "divisor": d} for d in (None, 1.0, float(a.size))[: 2 + number % 2]]
    special = np.array([np.nan, np.inf, -np.inf, 0.0, 0.5, 1.0], np.float32)
    made += [{"x": special, "target": np.zeros(6, np.float32), "divisor": None}]
    doubles = [rng.standard_normal(17) for _ in range(2)]
    return [*made, *({"x": doubles[0], "target": doubles[1], "divisor": d} for d in (None, 17.0))]


def with_gradient(rng: np.random.Generator, examples: list[dict[str, Any]], name: str = "x") -> list[dict[str, Any]]:
    """The same for the backward pass: the gradient that comes in, and which ones are wanted."""
    made = []
    for number, example in enumerate(examples):
        x = example[name]
        dy = np.asarray(rng.standard_normal(x.shape if example["divisor"] is None else ()), x.dtype)
        needs = ((True, True), (True, False), (False, True))[number % 3]
        made.append({"dy": dy, **example, "needs": needs})
    return made
