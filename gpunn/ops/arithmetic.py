"""Addition and its relatives: ``a + b`` with broadcasting, and what the tape needs to add gradients.

Same-shape addition, copying and scaling have kernels (``kernels/arithmetic.cu``); everything else is
:func:`gpunn.ops.broadcast.binary`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn.errors import UsageError, where
from gpunn.launcher import KernelSource, c_type, ceil_div, vector_width
from gpunn.ops._blocks import quiet
from gpunn.ops._broadcasting import launch_update
from gpunn.ops.broadcast import aligned, binary, broadcast_binary, operands
from gpunn.ops.convert import cast
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("arithmetic.cu", REAL=("float", "double"), VEC=(1, 4))
_BLOCK = 256


def launch_elementwise(
    source: KernelSource, kernel: str, device: Device, arrays: tuple[Any, ...], *scalars: Any
) -> None:
    """Launch a kernel over same-size arrays, one thread per VEC elements; ``n`` is its last parameter."""
    n = arrays[0].size
    vec = vector_width(4, *arrays)  # the tail is done element by element, so only alignment decides
    grid = (ceil_div(n, vec * _BLOCK), 1, 1)
    source.launch(device, kernel, grid, _BLOCK, (*arrays, *scalars, n), REAL=c_type(arrays[0].dtype, kernel), VEC=vec)


# -- primitives -----------------------------------------------------------------------------------


def _pair_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    sizes = (
        (0, np.float32),
        ((), np.float32),
        (1, np.float32),
        (1027, np.float32),
        (2048, np.float32),
        (37, np.float64),
    )
    return [{name: np.asarray(rng.standard_normal(n), t) for name in ("a", "b")} for n, t in sizes]


@primitive(examples=_pair_examples, returns=("y",))
def add_same_shape(xp: Any, a: Any, b: Any) -> Any:
    """y = a + b, both of one shape."""
    with quiet():
        return a + b


@add_same_shape.kernel
def _(device: Device, a: Any, b: Any) -> Any:
    y = device.empty(a.shape, a.dtype)
    launch_elementwise(SOURCE, "add_same_shape", device, (y, a, b))
    return y


def _accumulate_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"total": e["a"], "extra": e["b"]} for e in _pair_examples(rng)]


@primitive(examples=_accumulate_examples, returns=(), mutates=("total",))
def accumulate(xp: Any, total: Any, extra: Any) -> None:
    """total += extra, in place."""
    with quiet():
        total += extra


@accumulate.kernel
def _(device: Device, total: Any, extra: Any) -> None:
    launch_elementwise(SOURCE, "accumulate", device, (total, extra))


def _copy_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"x": e["a"]} for e in _pair_examples(rng)]


@primitive(examples=_copy_examples, returns=("y",))
def copy(xp: Any, x: Any) -> Any:
    """A new array with x's values."""
    return x.copy()


@copy.kernel
def _(device: Device, x: Any) -> Any:
    y = device.empty(x.shape, x.dtype)
    launch_elementwise(SOURCE, "copy", device, (y, x))
    return y


def _scale_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"x": e["a"], "factor": 0.3} for e in _pair_examples(rng)]


@primitive(examples=_scale_examples, returns=("y",))
def scale(xp: Any, x: Any, factor: float) -> Any:
    """y = factor * x."""
    with quiet():
        return x * x.dtype.type(factor)


@scale.kernel
def _(device: Device, x: Any, factor: float) -> Any:
    y = device.empty(x.shape, x.dtype)
    launch_elementwise(SOURCE, "scale", device, (y, x), factor)
    return y


def _scale_by_scalar_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"x": e["a"], "factor": rng.standard_normal(1).astype(e["a"].dtype)} for e in _pair_examples(rng)]


@primitive(examples=_scale_by_scalar_examples, returns=("y",))
def scale_by_scalar(xp: Any, x: Any, factor: Any) -> Any:
    """y = factor[0] * x with the factor in device memory."""
    return x * factor.reshape(-1)[0]


@scale_by_scalar.kernel
def _(device: Device, x: Any, factor: Any) -> Any:
    y = device.empty(x.shape, x.dtype)
    launch_elementwise(SOURCE, "scale_by_scalar", device, (y, x, factor))
    return y


# -- in place -------------------------------------------------------------------------------------


def _update_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(name: str, shape: tuple[int, ...], other: tuple[int, ...] | None, dtype: Any = np.float32) -> Any:
        extra = dtype(1.5) if other is None else (0.5 + rng.random(other)).astype(dtype)
        return {"name": name, "target": rng.standard_normal(shape).astype(dtype), "other": extra}

    made = [case(n, (4, 5), o) for n in ("add", "sub", "mul", "div") for o in ((5,), (4, 1), (4, 5), None)]
    made += [case("mul", (2, 3, 4, 8), o) for o in ((8,), (3, 1, 8), (1, 1, 1))]
    made += [case("add", (0, 3), (3,)), case("sub", (33,), (33,), np.float64)]
    return [*made, {"name": "add", "target": np.arange(6).reshape(2, 3), "other": np.arange(3)}]


@primitive(examples=_update_examples, returns=(), mutates=("target",))
def update(xp: Any, name: str, target: Any, other: Any) -> None:
    """target (+ - * /)= other, which is broadcast to target's shape, or is a number."""
    function = {"add": xp.add, "sub": xp.subtract, "mul": xp.multiply, "div": xp.divide}[name]
    with quiet():
        function(target, other, out=target)


@update.kernel
def _(device: Device, name: str, target: Any, other: Any) -> None:
    launch_update(device, name, target, other)


def update_(x: Tensor, name: str, other: Any, alpha: float = 1.0) -> Tensor:
    """x.add_(other) and its like: changes x, off the tape; returns it.

    Parameters
    ----------
    x : Tensor
    name : str
        "add", "sub", "mul" or "div".
    other : Tensor or number
        Broadcast to x's shape.
    alpha : number
        Factor on ``other``.

    Raises
    ------
    UsageError
        If x is on the tape, or the result has another shape or dtype than x.
    """
    target, other = operands(f"{name}_", x, other, divides=name == "div")
    wide = np.broadcast_shapes(x.shape, other.shape)
    if wide != x.shape or target.dtype != x.dtype:
        raise UsageError(
            f"{where(f'{name}_')}: the result, {wide} {target.dtype}, does not fit into a tensor of "
            f"{x.shape} {x.dtype} in place; write x = x {'+-*/'[('add', 'sub', 'mul', 'div').index(name)]} other."
        )
    array = aligned(other, x.ndim)
    if alpha != 1:
        array = broadcast_binary(x.device, "mul", array, x.dtype.type(alpha))
    update(x.device, name, x._in_place(f"{name}_", launches=True), array)
    return x


# -- public ops -----------------------------------------------------------------------------------


def add(a: Any, b: Any, *, alpha: float = 1) -> Tensor:
    """a + alpha * b with broadcasting.

    Parameters
    ----------
    a, b : Tensor or number
        One device, shapes that broadcast. Numbers and integer tensors take a floating operand's dtype;
        float32 and float64 do not mix.
    alpha : number
        Factor on b.

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If they do not go together.
    """
    if alpha != 1:
        b = mul(b, alpha) if isinstance(b, Tensor) else b * alpha
    a, b = operands("add", a, b)
    if isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape and a.dtype.kind == "f":
        y = add_same_shape(a.device, a._physical, b._physical)
        return record("add", y, a.device, (a, b), lambda dy, needs: (dy, dy), passes_on=True)
    return binary("add", a, b, lambda device, dy, pa, pb, y, needs: (dy, dy), saves=False, passes_on=True)


def sub(a: Any, b: Any, *, alpha: float = 1) -> Tensor:
    """a - alpha * b with broadcasting; ``a``, ``b`` and ``alpha`` as in :func:`add`."""
    if alpha != 1:
        b = mul(b, alpha) if isinstance(b, Tensor) else b * alpha

    def gradients(device: Device, dy: Any, pa: Any, pb: Any, y: Any, needs: tuple[bool, ...]) -> tuple[Any, Any]:
        return dy, scale(device, dy, -1.0) if needs[1] else None

    return binary("sub", a, b, gradients, saves=False, passes_on=True)


def mul(a: Any, b: Any) -> Tensor:
    """a * b with broadcasting; ``a`` and ``b`` as in :func:`add`."""
    a, b = operands("mul", a, b)
    x, factor = (a, b) if isinstance(a, Tensor) else (b, a)
    if not isinstance(factor, Tensor) and x.dtype.kind == "f":
        return scaled("mul", x, float(factor))

    def gradients(device: Device, dy: Any, pa: Any, pb: Any, y: Any, needs: tuple[bool, ...]) -> tuple[Any, Any]:
        da = broadcast_binary(device, "mul", dy, pb) if needs[0] else None
        return da, broadcast_binary(device, "mul", dy, pa) if needs[1] else None

    return binary("mul", a, b, gradients)


def scaled(op: str, x: Tensor, factor: float) -> Tensor:
    """factor * x, of floats; ``op`` is the name on the tape."""
    device = x.device
    y = scale(device, x._physical, factor)
    return record(op, y, device, (x,), lambda dy, needs: (scale(device, dy, factor),))


def neg(x: Tensor) -> Tensor:
    """-x, element by element.

    Parameters
    ----------
    x : Tensor
        Floating or integer.
    """
    return scaled("neg", x, -1.0) if x.dtype.kind == "f" else mul(x, -1)


def div(a: Any, b: Any) -> Tensor:
    """a / b with broadcasting; ``a`` and ``b`` as in :func:`add`. Integers give float32."""

    def gradients(device: Device, dy: Any, pa: Any, pb: Any, y: Any, needs: tuple[bool, ...]) -> tuple[Any, Any]:
        da = broadcast_binary(device, "div", dy, pb)
        if not needs[1]:
            return da, None
        return da, scale(device, broadcast_binary(device, "mul", da, y), -1.0)

    return binary("div", a, b, gradients, divides=True)


def floor_divide(a: Any, b: Any) -> Tensor:
    """The largest whole number not above a / b, with broadcasting; ``a`` and ``b`` as in :func:`add`. No gradient."""
    return binary("floordiv", a, b, None)


def remainder(a: Any, b: Any) -> Tensor:
    """a - b floor(a / b), with b's sign; ``a`` and ``b`` as in :func:`add`. Only a gets a gradient."""

    def gradients(device: Device, dy: Any, pa: Any, pb: Any, y: Any, needs: tuple[bool, ...]) -> tuple[Any, Any]:
        return dy, None

    if isinstance(b, Tensor) and b.requires_grad:
        raise UsageError(f"{where('remainder')}: the divisor gets no gradient; use b.detach().")
    return binary("remainder", a, b, gradients, saves=False, passes_on=True)


def clone(x: Tensor) -> Tensor:
    """A copy of x, on the tape.

    Parameters
    ----------
    x : Tensor
    """
    device = x.device
    if x.dtype.kind != "f":
        return Tensor._of_physical(cast(device, x._physical, x.dtype), device)
    return record("clone", copy(device, x._physical), device, (x,), lambda dy, needs: (dy,), passes_on=True)
