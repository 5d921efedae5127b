"""What all binary operators share: dtypes, broadcasting, and gradients summed back to each operand's shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpunn._device import Device, device_of
from gpunn._half import FLOAT32, FLOATING, is_half
from gpunn._interop import constant, is_cupy, tensor_of
from gpunn._layout import physical_shape
from gpunn._promotion import category, common_dtype, default_float
from gpunn._rows import operand, tensor_in_rows
from gpunn._rows import reduce_to as rows_to
from gpunn._rows import together as in_rows
from gpunn._tensor import Tensor
from gpunn.cpu import memory
from gpunn.cpu.elementwise import broadcast_shape, quiet, widened
from gpunn.cpu.sums import sum_on_cpu
from gpunn.errors import DTypeError, ShapeError, here
from gpunn.gpu.broadcast import launch_binary
from gpunn.gpu.reduce import reduce_axes
from gpunn.gpu.strided_copy import copied
from gpunn.ops.permute import in_shape
from gpunn.primitive import primitive
from gpunn.tape import is_grad_enabled, record

_ARITHMETIC = {"add": "add", "sub": "subtract", "mul": "multiply", "div": "divide", "pow": "power"}
_COMPARISONS = {
    "eq": "equal",
    "ne": "not_equal",
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
}
_UFUNCS = _ARITHMETIC | _COMPARISONS | {"floordiv": "floor_divide", "remainder": "remainder"}
_BOOL = np.dtype(bool)
FEW_FACTORS = (3, 4)  # exponents whose powers the CPU makes of products
_UFUNCS |= {"maximum": "maximum", "minimum": "minimum", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor"}


# -- primitives -----------------------------------------------------------------------------------


@primitive(returns=("y",))
def broadcast_binary(xp: Any, name: str, a: Any, b: Any) -> Any:
    """y = the operator called ``name`` of a and b with NumPy's broadcasting, C-contiguous; either may be a number."""
    y = xp.empty(np.broadcast_shapes(a.shape, b.shape), bool if name in _COMPARISONS else a.dtype)
    with quiet():
        if name in _DIVISIONS and a.dtype.kind in FLOATING:
            y[...] = _DIVISIONS[name](xp, a, b)
        else:
            getattr(xp, _UFUNCS[name])(a, b, out=y)  # also C-contiguous where an operand is not
    return y


@broadcast_binary.numpy
def _(name: str, a: Any, b: Any) -> np.ndarray:
    y = memory.empty(broadcast_shape(a.shape, b.shape), _BOOL if name in _COMPARISONS else a.dtype)
    with quiet():
        if name == "pow" and b.shape == () and a.dtype.kind in FLOATING and b in FEW_FACTORS:
            np.multiply(a, a, out=y)
            np.multiply(y, a if b == 3 else y, out=y)  # NumPy's powers take a hundred times as long
        else:
            getattr(np, _UFUNCS[name])(*widened(a, b, y.shape), out=y)
    return y


def _remainder(xp: Any, a: Any, b: Any) -> Any:
    """a - b floor(a / b), exact, with b's sign, as NumPy has it; CuPy's is NaN where b is infinite."""
    rest = xp.fmod(a, b)
    return xp.where(_below(rest, b), rest + b, rest)


def _floor_quotient(xp: Any, a: Any, b: Any) -> Any:
    """floor(a / b) of the exact quotient, as NumPy has it; CuPy rounds the quotient first."""
    rest = xp.fmod(a, b)
    quotient = (a - rest) / b - _below(rest, b)
    whole = xp.floor(quotient)  # what the division above has rounded is a whole number nearby
    return xp.where(b == 0, a / b, xp.where(quotient - whole > 0.5, whole + 1, whole))


def _below(rest: Any, b: Any) -> Any:
    """Whether the quotient, rounded towards zero by fmod, has to be rounded down."""
    return (rest != 0) & ((rest < 0) != (b < 0))


_DIVISIONS = {"floordiv": _floor_quotient, "remainder": _remainder}


@broadcast_binary.kernel
def _(device: Device, name: str, a: Any, b: Any) -> Any:
    return launch_binary(device, name, a, b)


@primitive(returns=("dx",))
def unbroadcast(xp: Any, dy: Any, shape: tuple[int, ...]) -> Any:
    """Sum dy over the axes along which an array of ``shape`` was repeated."""
    axes = _repeated(dy.shape, shape)
    return (dy.sum(axis=axes, dtype=np.float64).astype(dy.dtype) if axes else dy).reshape(shape)


@unbroadcast.numpy
def _(dy: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    axes = _repeated(dy.shape, shape)
    return (sum_on_cpu(dy, axes) if axes else dy).reshape(shape)


@unbroadcast.kernel
def _(device: Device, dy: Any, shape: tuple[int, ...]) -> Any:
    axes = _repeated(dy.shape, shape)
    return (reduce_axes(device, dy, axes, "sum") if axes else dy).reshape(shape)


@primitive(returns=("y",), moves=True)
def repeat_to(xp: Any, x: Any, shape: tuple[int, ...]) -> Any:
    """x repeated along axes of length 1 to ``shape``, as a copy."""
    return xp.broadcast_to(x, shape).copy(order="C")


@repeat_to.kernel
def _(device: Device, x: Any, shape: tuple[int, ...]) -> Any:
    return copied(device, x, shape, device.xp.broadcast_to(x, shape).strides)


def _repeated(full: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    extra = len(full) - len(shape)
    return (*range(extra), *(extra + i for i, n in enumerate(shape) if n == 1 and full[extra + i] != 1))


_BOOLS_HAVE_NO_DIFFERENCE = (
    "the - of a bool is not defined. Two differ where a ^ b (logical_xor) holds; the opposite is ~a (logical_not); "
    "numbers come from .int() and .float()."
)

# -- operands -------------------------------------------------------------------------------------


def is_operand(value: Any) -> bool:
    """Whether an operator supports ``value``; where not, Python tries the other operand."""
    return isinstance(value, Tensor | bool | int | float | np.generic | np.ndarray) or is_cupy(value)


def operands(op: str, a: Any, b: Any, *, divides: bool = False) -> tuple[Any, Any]:
    """Two operands of one dtype and device: each a Tensor, or a NumPy scalar for a number.

    Parameters
    ----------
    op : str
        The name for errors.
    a, b : Tensor, number, numpy.ndarray or cupy.ndarray
        At least one a Tensor. A NumPy array is copied, to that one's device; a CuPy array belongs to it already, and is
        copied only where the op is recorded. The common dtype is PyTorch's (``_promotion``).
    divides : bool
        Whether integers become float32.

    Raises
    ------
    DTypeError, DeviceError, ShapeError
        If they are incompatible.
    """
    if type(a) is type(b) is Tensor and _alike(a, b):
        return a, b
    if not isinstance(a, Tensor) and isinstance(b, Tensor):
        a = _from_array(op, a, b)
    elif not isinstance(b, Tensor) and isinstance(a, Tensor):
        b = _from_array(op, b, a)
    tensors = [v for v in (a, b) if isinstance(v, Tensor)]
    if not tensors:
        raise DTypeError(f"{here(op)}: expected a tensor; got {type(a).__name__} and {type(b).__name__}.")
    device_of(op, tensors)
    if len(tensors) == 1:
        number = a if tensors[0] is b else b
        kind = category(number)
        if kind is None:
            raise DTypeError(f"{here(op)}: expected tensors or real numbers; got {type(number).__name__}.")
        dtype, bools = common_dtype(tensors, (kind,)), kind == 0 or tensors[0].dtype.kind == "b"
    elif a.dtype == b.dtype:
        dtype, bools = a.dtype, a.dtype.kind == "b"
    else:
        dtype, bools = _meeting(op, tensors), a.dtype.kind == "b" or b.dtype.kind == "b"
    if bools and op in ("sub", "sub_"):
        raise DTypeError(f"{here(op)}: {_BOOLS_HAVE_NO_DIFFERENCE}")
    if divides and dtype.kind not in FLOATING:
        dtype = default_float()
    if len(tensors) == 2 and a.shape != b.shape:
        try:
            np.broadcast_shapes(a.shape, b.shape)
        except ValueError:
            raise ShapeError(f"{here(op)}: shapes {a.shape} and {b.shape} do not broadcast together.") from None
    first, second = (
        number_of(op, v, dtype) if not isinstance(v, Tensor) else v if v.dtype == dtype else v.to(dtype) for v in (a, b)
    )
    return first, second


def _alike(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are operands as they are: of one floating dtype, device and shape, as most are."""
    return a.device is b.device and a.shape == b.shape and a.dtype.kind in FLOATING and a.dtype == b.dtype


def _meeting(op: str, tensors: Sequence[Tensor]) -> np.dtype:
    try:
        return common_dtype(tensors)
    except DTypeError as error:
        raise DTypeError(f"{here(op)}: {error}") from None


def together(op: str, tensors: Sequence[Tensor], categories: Sequence[int] = ()) -> list[Tensor]:
    """Tensors converted to the dtype in which they, and numbers of these categories, meet.

    Raises
    ------
    DTypeError
        If there is none.
    """
    dtype = _meeting(op, tensors) if not categories else common_dtype(tensors, categories)
    return [t if t.dtype == dtype else t.to(dtype) for t in tensors]


def _from_array(op: str, value: Any, tensor: Tensor) -> Any:
    """A number or tensor as it is; an array as a tensor, copied where a later change of it would spoil a gradient."""
    if isinstance(value, np.ndarray):
        return tensor_of(op, value, tensor.device, copy=True)
    if not is_cupy(value):
        return value
    return constant(op, value, tensor.device, copy=tensor.requires_grad and is_grad_enabled())


def number_of(op: str, value: Any, dtype: np.dtype) -> Any:
    """A number as a NumPy scalar of ``dtype``, of float32 where a result of 16 bits is computed with it.

    Raises
    ------
    DTypeError
        If it does not fit: an integer out of the dtype's range, a NaN or infinity among integers.
    """
    kind = FLOAT32 if is_half(dtype) and op not in _COMPARISONS else dtype  # rounded with the result, not before
    try:
        with quiet():
            return kind.type(value)
    except (OverflowError, ValueError):
        raise DTypeError(f"{here(op)}: {value} does not fit into {dtype}. Convert the tensor first.") from None


def aligned(x: Any, ndim: int) -> Any:
    """The physical array with leading axes of 1, so that the operands' axes line up; numbers are unchanged."""
    if not isinstance(x, Tensor) or x.ndim == ndim or x.ndim == 0:
        return x._physical if isinstance(x, Tensor) else x
    return in_shape(x.device, x._physical, (1,) * (ndim - x.ndim) + x.shape)


def reduce_to(device: Device, dx: Any, shape: tuple[int, ...]) -> Any:
    """A physical gradient of the broadcast shape, summed to an operand's shape, physical."""
    lead = dx.ndim - len(shape)
    if not lead and dx.shape == physical_shape(shape):
        return dx
    summed = unbroadcast(device, dx, physical_shape((*(1,) * lead, *shape)))
    return in_shape(device, summed, shape) if lead else summed


def binary(
    op: str,
    a: Any,
    b: Any,
    gradients: Callable[..., tuple[Any, Any]] | None,
    reads: tuple[str, str] = ("", ""),
    *,
    passes_on: bool = False,
    divides: bool = False,
) -> Tensor:
    """Apply the operator ``op`` with broadcasting and put it on the tape.

    Parameters
    ----------
    op : str
        Its name in :func:`broadcast_binary`.
    a, b : Tensor, number or numpy.ndarray
    gradients : callable or None
        ``gradients(device, dy, a, b, y, needs)`` returns both gradients, in the broadcast shape;
        None where there is no gradient.
    reads : (str, str)
        Which of "a", "b", "y" the gradient of a reads, and that of b: ("b", "a") for a product. The others are not
        kept; ``gradients`` is given None for them.
    passes_on : bool
        Whether it may return dy itself.
    divides : bool
        See :func:`operands`.
    """
    a, b = operands(op, a, b, divides=divides)
    inputs = tuple(v for v in (a, b) if isinstance(v, Tensor))
    device, ndim = inputs[0].device, max(t.ndim for t in inputs)
    rows = ndim == 4 and in_rows(*inputs)
    pa, pb = (operand(a), operand(b)) if rows else (aligned(a, ndim), aligned(b, ndim))
    y = broadcast_binary(device, op, pa, pb)
    if gradients is None or y.dtype.kind not in FLOATING:
        return tensor_in_rows(y, device) if rows else Tensor._of_physical(y, device)
    kept = "".join(read for read, v in zip(reads, (a, b), strict=True) if isinstance(v, Tensor) and v.requires_grad)
    saved = tuple(array if name in kept else None for name, array in zip("aby", (pa, pb, y), strict=True))
    saves = tuple(v for name, v in zip("ab", (a, b), strict=True) if isinstance(v, Tensor) and name in kept)
    shapes = tuple(v.shape if isinstance(v, Tensor) else None for v in (a, b))
    summed = rows_to if rows else reduce_to

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        asked = iter(needs)
        wanted = tuple(shape is not None and next(asked) for shape in shapes)
        found = gradients(device, dy, *saved, wanted)
        return tuple(
            summed(device, dx, shape) if need and dx is not None else None
            for dx, shape, need in zip(found, shapes, wanted, strict=True)
            if shape is not None
        )

    return record(op, y, device, inputs, backward, saves=saves, keeps="y" in kept, passes_on=passes_on, rows=rows)
