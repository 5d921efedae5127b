"""Four-dimensional tensors in logical order, on the CPU: what attention computes.

Images lie channels last. But (batch, heads, queries, keys) are matrices, and products, softmax and another order of the
axes want each matrix's rows one after the other. So on the CPU a tensor (N, C, H, W) that comes from such an op has its
elements in *rows*: a C-contiguous array (1, N, C, H, W), as a five-dimensional tensor has. It is a copied view of that
array (``_views``): what asks for its physical array gets a copy, made then. Ops that know of rows go on with them, and
gradients of such tensors travel in the same form (``tape.Node.rows``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gpunn._device import Device
from gpunn._layout import physical_shape, size_of
from gpunn._storage import Storage, incomplete
from gpunn._views import Step, Strides, View

if TYPE_CHECKING:
    from gpunn._tensor import Tensor


class _Lowered(Step):
    """The step from (1, N, C, H, W) to (N, C, H, W)."""

    op = "rows"

    def get(self, device: Device, array: Any) -> tuple[Any, bool]:
        """See Step."""
        return lowered(device, array), False

    def put(self, device: Device, target: Any, value: Any) -> None:
        """See Step."""
        device.fill(target, raised(device, value))

    def strided(self, array: Any) -> Any:
        """See Step."""
        return array[0]

    def strides(self, shape: tuple[int, ...], strides: Strides) -> tuple[tuple[int, ...], Strides | None]:
        """See Step."""
        return shape[1:], strides[1:]


_LOWERED = (_Lowered(),)


def raised(device: Device, array: Any) -> Any:
    """The physical array of an image as rows."""
    from gpunn.ops.permute import to_logical_order

    return to_logical_order(device, array)[None]


def lowered(device: Device, rows: Any) -> Any:
    """Rows as the physical array of an image."""
    from gpunn.ops.permute import to_physical_order

    return to_physical_order(device, rows[0])


def is_image(shape: tuple[int, ...]) -> bool:
    """Whether the order (N, H, W, C) of the elements is another than (N, C, H, W): several channels and pixels."""
    return len(shape) == 4 and shape[1] > 1 and shape[2] * shape[3] > 1


def rows_of(x: Tensor) -> Any:
    """x's elements in rows, or None where it does not have them like that."""
    view = x._view
    return None if view is None else view.rows


def stored(x: Tensor) -> tuple[Any, bool]:
    """x's array in the order in which it has it, and whether these are rows."""
    rows = rows_of(x)
    return (x._physical, False) if rows is None else (rows, True)


def axis_in(rows: bool, axis: int) -> int:
    """A physical axis of an image as the axis of rows, if these they are."""
    return (1, 3, 4, 2)[axis] if rows else axis


def together(*tensors: Tensor) -> bool:
    """Whether an op of these goes on in rows: most of the elements of its images are in rows already."""
    balance, found = 0, False
    for x in tensors:
        view = x._view
        if view is not None and view.rows is not None:
            found = True
            balance += view.rows.size
        elif x.ndim == 4:
            balance -= x._physical.size
    return found and balance >= 0


def operand(x: Any) -> Any:
    """A tensor's array with five axes, as an operand among rows; what is no tensor, as it is."""
    if not hasattr(x, "_view"):
        return x
    rows = rows_of(x)
    if rows is not None:
        return rows
    if x.ndim == 4:
        return raised(x.device, x._physical)
    return x._physical.reshape((1,) * (5 - x.ndim) + x.shape) if x.ndim else x._physical


def reduce_to(device: Device, dx: Any, shape: tuple[int, ...]) -> Any:
    """A gradient in rows, summed to an operand's logical shape: in rows if that has four axes, else physical."""
    from gpunn.ops.binary import unbroadcast

    full = (1,) * (5 - len(shape)) + shape
    summed = dx if dx.shape == full else unbroadcast(device, dx, full)
    return summed if len(shape) == 4 else summed.reshape(shape)


def tensor_in_rows(rows: np.ndarray, device: Device) -> Tensor:
    """A tensor (N, C, H, W) over rows (1, N, C, H, W) that an op has made."""
    from gpunn._tensor import Tensor

    x: Tensor = Tensor.__new__(incomplete(Tensor))
    x.device, x._shape, x.requires_grad = device, size_of(physical_shape(rows.shape[1:])), False
    x.grad = x._node = x._hooks = None
    x._storage = Storage()
    x._storage.shared().root = rows
    x._view = View(None, _LOWERED, True, True, rows)
    return x


def settle(x: Tensor) -> None:
    """Make a tensor in rows that has no views one with a physical array, whose memory is its own."""
    view = x._view
    if view is not None and view.steps is _LOWERED and x._storage.belongs_to(x):
        x._physical.flags.writeable = True
        x._storage.sharing, x._view = None, None


def in_form(device: Device, dx: Any, rows: bool, extent: tuple[int, ...]) -> Any:
    """A gradient in the form of the tensor that it is of, if it is in the other one."""
    if rows:
        return raised(device, dx) if dx.ndim == 4 else dx
    return lowered(device, dx) if dx.ndim == 5 and len(extent) == 4 else dx
