"""Rows of a table by index (``kernels/gather.cu``, ``scatter.cu``)."""

from __future__ import annotations

from typing import Any

from gpunn._device import Device, same_device
from gpunn._half import FLOATING
from gpunn._layout import logical
from gpunn._shared.index_keys import checked_index
from gpunn._tensor import Tensor
from gpunn.differences import refuse
from gpunn.errors import DTypeError, ShapeError, UsageError, here
from gpunn.gpu.strided_copy import fill
from gpunn.ops.take_at import add_at, take_at
from gpunn.primitive import primitive
from gpunn.tape import record


@primitive(returns=(), mutates=("target",), moves=True)
def clear(xp: Any, target: Any) -> None:
    """target = 0, in place."""
    target[...] = 0


@clear.kernel
def _(device: Device, target: Any) -> None:
    fill(device, target)


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """y[..., :] = weight[input[...], :].

    Parameters
    ----------
    input : Tensor
        Integers from 0 to V - 1, of any shape.
    weight : Tensor, (V, D)
        The table, float32 or float64.
    padding_idx : int, optional
        A row that gets no gradient, so its vector never changes. Negative counts from the end.
    max_norm, norm_type, scale_grad_by_freq, sparse
        Only PyTorch's defaults.

    Returns
    -------
    Tensor, (..., D)
        The gradient of a row is the sum over all its uses, always in the same order.

    Raises
    ------
    RangeError
        If an index is out of range. On devices that run kernels this is raised at the next read from the device;
        until then nothing is trained.
    DTypeError, ShapeError, DeviceError, UsageError
        If the arguments are invalid or incompatible.

    Examples
    --------
    >>> import gpunn
    >>> table = gpunn.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> embedding(gpunn.tensor([1, 0, 1]), table).tolist()
    [[3.0, 4.0], [1.0, 2.0], [3.0, 4.0]]

    References
    ----------
    Bengio, Ducharme, Vincent, Jauvin 2003, "A neural probabilistic language model"; lecture topic L17.
    """
    op = "embedding"
    refuse(op, max_norm=max_norm, scale_grad_by_freq=scale_grad_by_freq, sparse=sparse)
    if input.dtype.kind != "i":
        raise DTypeError(f"{here(op)}: input: expected a Tensor of integers; got {input.dtype}. Convert it to int64.")
    if weight.ndim != 2:
        raise ShapeError(f"{here(op)}: expected a table (V, D) as weight; got shape {weight.shape}.")
    if weight.dtype.kind not in FLOATING:
        raise DTypeError(f"{here(op)}: weight: expected a floating dtype; got {weight.dtype}.")
    device, rows = same_device(op, input.device, weight.device), weight.shape[0]
    if padding_idx is not None and not -rows <= padding_idx < rows:
        raise UsageError(f"{here(op)}: padding_idx: expected a row of the table, which has {rows}; got {padding_idx}.")
    index, shape = checked_index(op, device, input, 0, rows, negative=False), weight.shape
    y = take_at(device, weight._physical, [index], (0,), 0)

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        dweight = add_at(device, logical(dy), [index], (0,), 0, shape, False)
        if padding_idx is not None:
            clear(device, dweight[padding_idx])
        return (dweight,)

    return record(op, y, device, (weight,), backward, saves=(input,))
