"""Addition and its relatives: ``a + b`` with broadcasting, and what the tape needs to add gradients.

Same-shape addition, copying and scaling have kernels (``kernels/arithmetic.cu``); broadcasting
runs its plain body.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._creation import tensor
from gpunn._device import Device, same_device
from gpunn._layout import physical_shape
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, ShapeError, where
from gpunn.launcher import KernelSource, c_type, ceil_div, vector_width
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


def _broadcast_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    shapes = (((4, 5), (5,)), ((2, 3, 3, 4), (4,)), ((3, 1), (1, 4)), ((0, 2), (2,)), ((), ()))
    return [
        {
            "name": name,
            "a": np.asarray(rng.standard_normal(a), np.float32),
            "b": np.asarray(1 + rng.random(b), np.float32),
        }
        for a, b in shapes
        for name in ("add", "sub", "mul", "div")
    ]


@primitive(examples=_broadcast_examples, returns=("y",))
def broadcast_binary(xp: Any, name: str, a: Any, b: Any) -> Any:
    """a (+ - * /) b with NumPy's broadcasting, C-contiguous."""
    function = {"add": xp.add, "sub": xp.subtract, "mul": xp.multiply, "div": xp.divide}[name]
    y = function(a, b)
    return y if y.flags.c_contiguous else y.copy(order="C")


def _unbroadcast_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [
        {"dy": rng.standard_normal((2, 3, 4)).astype(np.float32), "shape": s} for s in ((3, 4), (2, 1, 4), (1,), ())
    ]


@primitive(examples=_unbroadcast_examples, returns=("dx",))
def unbroadcast(xp: Any, dy: Any, shape: tuple[int, ...]) -> Any:
    """Sum dy over the axes along which an array of ``shape`` was repeated."""
    extra = dy.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(extra + i for i, n in enumerate(shape) if n == 1 and dy.shape[extra + i] != 1)
    return (dy.sum(axis=axes, keepdims=True) if axes else dy).reshape(shape)


# -- public ops -----------------------------------------------------------------------------------


def _operands(op: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors of one device and dtype; a Python number takes the other's."""
    if not isinstance(a, Tensor):
        assert isinstance(b, Tensor)
        a = tensor(np.asarray(a, b.dtype), device=b.device)
    if not isinstance(b, Tensor):
        b = tensor(np.asarray(b, a.dtype), device=a.device)
    same_device(where(op), a.device, b.device)
    if a.dtype != b.dtype:
        raise DTypeError(f"{where(op)}: expected one dtype; got {a.dtype} and {b.dtype}. Convert with .to(dtype).")
    try:
        np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise ShapeError(f"{where(op)}: shapes {a.shape} and {b.shape} do not broadcast together.") from None
    return a, b


def _aligned(x: Tensor, ndim: int) -> Any:
    """The physical array with leading axes of 1 so that physical axes of both operands correspond."""
    if x.ndim == ndim or ndim != 4:
        return x._physical
    return x.array.reshape((1,) * (ndim - x.ndim) + x.shape).transpose(0, 2, 3, 1)


def _binary(name: str, a: Any, b: Any, gradients: Any) -> Tensor:
    a, b = _operands(name, a, b)
    device, ndim = a.device, max(a.ndim, b.ndim)
    pa, pb = _aligned(a, ndim), _aligned(b, ndim)
    y = broadcast_binary(device, name, pa, pb)

    linear = name in ("add", "sub")  # whose gradients are dy itself, and need no operand
    saves = () if linear else (a, b)

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return tuple(
            _reduce_to(device, dx, operand, ndim) if need else None
            for need, dx, operand in zip(needs, gradients(device, dy, pa, pb, needs), (a, b), strict=True)
        )

    return record(name, y, device, (a, b), backward, saves=saves, passes_on=linear)


def _reduce_to(device: Device, dx: Any, operand: Tensor, ndim: int) -> Any:
    """A gradient of the broadcast shape, summed to the operand's, physical."""
    shape = operand.shape
    if operand.ndim == ndim:
        return unbroadcast(device, dx, physical_shape(shape))
    lead = (1,) * (ndim - operand.ndim)
    summed = unbroadcast(device, dx, physical_shape((*lead, *shape)))
    if ndim == 4:
        summed = device.xp.ascontiguousarray(summed.transpose(0, 3, 1, 2))
    return summed.reshape(shape)


def add(a: Any, b: Any) -> Tensor:
    """a + b with broadcasting.

    Parameters
    ----------
    a, b : Tensor or number
        One device, one dtype, shapes that broadcast.

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If they do not go together.
    """
    a, b = _operands("add", a, b)
    if a.shape == b.shape and a.dtype.kind == "f":
        y = add_same_shape(a.device, a._physical, b._physical)
        return record("add", y, a.device, (a, b), lambda dy, needs: (dy, dy), passes_on=True)
    return _binary("add", a, b, lambda device, dy, pa, pb, needs: (dy, dy))


def sub(a: Any, b: Any) -> Tensor:
    """a - b with broadcasting; see :func:`add`."""
    return _binary("sub", a, b, lambda device, dy, pa, pb, needs: (dy, scale(device, dy, -1.0) if needs[1] else None))


def mul(a: Any, b: Any) -> Tensor:
    """a * b with broadcasting; see :func:`add`."""

    def gradients(device: Device, dy: Any, pa: Any, pb: Any, needs: tuple[bool, ...]) -> tuple[Any, Any]:
        da = broadcast_binary(device, "mul", dy, pb) if needs[0] else None
        return da, broadcast_binary(device, "mul", dy, pa) if needs[1] else None

    return _binary("mul", a, b, gradients)


def div(a: Any, b: Any) -> Tensor:
    """a / b with broadcasting; see :func:`add`."""

    def gradients(device: Device, dy: Any, pa: Any, pb: Any, needs: tuple[bool, ...]) -> tuple[Any, Any]:
        da = broadcast_binary(device, "div", dy, pb)
        if not needs[1]:
            return da, None
        quotient = broadcast_binary(device, "div", pa, pb)
        return da, scale(device, broadcast_binary(device, "mul", da, quotient), -1.0)

    return _binary("div", a, b, gradients)
