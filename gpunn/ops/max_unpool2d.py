"""The reverse of max pooling: numbers put where their maxima were, zeros elsewhere. Over one to three axes alike.

Forward is the gradient of ``gather`` and backward ``gather`` itself: their bodies and kernels do the work.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gpunn._layout import physical
from gpunn._shared.activations import check_floating
from gpunn._shared.numbers import as_int
from gpunn._shared.volumes import handed_over
from gpunn._tensor import Tensor
from gpunn._window import Pair, pair, single, triple
from gpunn.errors import ShapeError, UsageError, here
from gpunn.ops.gather import gather_along, gather_along_backward
from gpunn.ops.getitem import _index_tensor
from gpunn.tape import record

Size = Sequence[int] | None


def max_unpool1d(
    x: Tensor,
    indices: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    output_size: Size = None,
) -> Tensor:
    """Sequences of zeros, but for x's elements at the ``indices`` that a max pooling returned.

    Parameters
    ----------
    x : Tensor, (N, C, P) or (C, P)
        float32 or float64.
    indices : Tensor
        Like x, of int64: places in the sequence.
    kernel_size, stride, padding : int
        Of the pooling. The stride is the kernel size if not given.
    output_size : sequence of int, optional
        Of the pooling's input, of whose lengths several have one number of windows: (L,), or all its lengths.

    Returns
    -------
    Tensor, (N, C, L) or (C, L)
        L = (P - 1) stride - 2 padding + kernel, if not given. Where windows overlap and several elements have one
        place, their mean: one of them in PyTorch, and they are equal if they come from a pooling.

    Raises
    ------
    ShapeError, RangeError
        If the shapes do not go together, or an index is outside the sequence.
    UsageError, DTypeError, DeviceError
        If an argument is invalid, or dtypes or devices do not fit.

    Examples
    --------
    >>> import gpunn
    >>> y, places = gpunn.nn.functional.max_pool1d(gpunn.tensor([[1.0, 5, 2, 4]]), 2, return_indices=True)
    >>> max_unpool1d(y, places, 2).tolist()
    [[0.0, 5.0, 0.0, 4.0]]

    References
    ----------
    Zeiler, Fergus 2013, arXiv:1311.2901, 2.1.
    """
    return _unpooled("max_unpool1d", 1, x, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    x: Tensor,
    indices: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    output_size: Size = None,
) -> Tensor:
    """Images of zeros, but for x's elements at the ``indices`` that a max pooling returned.

    Parameters
    ----------
    x : Tensor, (N, C, P, Q) or (C, P, Q)
        float32 or float64.
    indices : Tensor
        Like x, of int64: places in the image, h W + w.
    kernel_size, stride, padding : int or (int, int)
        Of the pooling. The stride is the kernel size if not given.
    output_size : sequence of int, optional
        Of the pooling's input, of whose lengths several have one number of windows: (H, W), or all its lengths.

    Returns
    -------
    Tensor, (N, C, H, W) or (C, H, W)
        H = (P - 1) stride - 2 padding + kernel, if not given, W likewise. Where windows overlap and several elements
        have one place, their mean: one of them in PyTorch, and they are equal if they come from a pooling.

    Raises
    ------
    ShapeError, RangeError
        If the shapes do not go together, or an index is outside the image.
    UsageError, DTypeError, DeviceError
        If an argument is invalid, or dtypes or devices do not fit.

    References
    ----------
    Zeiler, Fergus 2013, arXiv:1311.2901, 2.1.
    """
    return _unpooled("max_unpool2d", 2, x, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    x: Tensor,
    indices: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    output_size: Size = None,
) -> Tensor:
    """Volumes of zeros, but for x's elements at the ``indices`` that a max pooling returned.

    Parameters
    ----------
    x : Tensor, (N, C, O, P, Q) or (C, O, P, Q)
        float32 or float64.
    indices : Tensor
        Like x, of int64: places in the volume, (d H + h) W + w.
    kernel_size, stride, padding : int or (int, int, int)
        Of the pooling. The stride is the kernel size if not given.
    output_size : sequence of int, optional
        Of the pooling's input, of whose lengths several have one number of windows: (D, H, W), or all its lengths.

    Returns
    -------
    Tensor, (N, C, D, H, W) or (C, D, H, W)
        D = (O - 1) stride - 2 padding + kernel, if not given, H and W likewise. Where windows overlap and several
        elements have one place, their mean: one of them in PyTorch, and they are equal if they come from a pooling.

    Raises
    ------
    ShapeError, RangeError
        If the shapes do not go together, or an index is outside the volume.
    UsageError, DTypeError, DeviceError
        If an argument is invalid, or dtypes or devices do not fit.

    References
    ----------
    Zeiler, Fergus 2013, arXiv:1311.2901, 2.1.
    """
    return _unpooled("max_unpool3d", 3, x, indices, kernel_size, stride, padding, output_size)


def spans(op: str, axes: int, kernel: Pair, stride: Pair | None, padding: Pair) -> tuple[tuple[int, ...], ...]:
    """Kernel, stride and padding as one number for each axis, checked."""
    given = (("kernel_size", kernel, 1), ("stride", kernel if stride is None else stride, 1), ("padding", padding, 0))
    if axes == 1:
        return tuple((single(value, op, name, least),) for name, value, least in given)
    return tuple((pair if axes == 2 else triple)(value, op, name, least) for name, value, least in given)


def _unpooled(
    op: str, axes: int, x: Tensor, indices: Tensor, kernel: Pair, stride: Pair | None, padding: Pair, size: Size
) -> Tensor:
    check_floating(op, x)
    if x.ndim not in (axes + 1, axes + 2) or 0 in x.shape[-axes - 1 :] or indices.shape != x.shape:
        raise ShapeError(
            f"{here(op)}: expected x with {axes + 1} or {axes + 2} axes, none of 0 but N, and indices of the same "
            f"shape; got {x.shape} and {indices.shape}."
        )
    sizes = spans(op, axes, kernel, stride, padding)
    goal = _goal(op, x.shape[-axes:], sizes, size)
    before, length = x.shape[:-axes], math.prod(goal)
    rows = x.reshape(math.prod(before), math.prod(x.shape[-axes:]))
    index = indices.reshape(rows.shape)
    device, places = x.device, physical(_index_tensor(op, x, index, 1, length))

    def put(values: Any) -> Any:
        return gather_along_backward(device, values, places, (rows.shape[0], length), 1)

    y = put(rows._physical)
    if any(k > s for k, s in zip(sizes[0], sizes[1], strict=True)):  # only then may places come twice
        counts = put((rows.detach() * 0 + 1)._physical)
        y = (Tensor._of_physical(y, device) / Tensor._of_physical(counts, device).clamp(min=1))._physical

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (gather_along(device, dy, places, 1),)

    return handed_over(op, record(op, y, device, (rows,), backward, saves=(index,)), (*before, *goal))


def _goal(op: str, size: tuple[int, ...], sizes: tuple[tuple[int, ...], ...], wanted: Any) -> tuple[int, ...]:
    """The lengths of the result."""
    kernel, stride, padding = sizes
    usual = [(n - 1) * s + k - 2 * p for n, k, s, p in zip(size, kernel, stride, padding, strict=True)]
    if wanted is None:
        if min(usual) < 1:
            raise UsageError(f"{here(op)}: padding: the result would have the lengths {tuple(usual)}. Use less of it.")
        return tuple(usual)
    given = tuple(as_int(n, n) for n in wanted)
    given = given[2:] if len(given) == len(size) + 2 else given
    if len(given) != len(size) or not all(
        type(n) is int and max(0, u - s) < n < u + s for n, u, s in zip(given, usual, stride, strict=True)
    ):
        ranges = ", ".join(f"{max(1, u - s + 1)} to {u + s - 1}" for u, s in zip(usual, stride, strict=True))
        raise UsageError(
            f"{here(op)}: output_size: expected {len(size)} numbers, or {len(size) + 2} with N and C, from {ranges}; "
            f"got {wanted!r}."
        )
    return given
