"""Convolutions of arrays and their gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gpunn._device import Device
from gpunn._layout import logical
from gpunn._window import Padding, Pair, Window
from gpunn.arrays._calling import bilinear, enter, like, merged, physical_of, require_shape
from gpunn.errors import ShapeError, here
from gpunn.ops.conv1d import check_sequence, sequence_window
from gpunn.ops.conv2d import check_arguments, check_operands, conv2d_forward
from gpunn.ops.conv2d import conv2d_backward as gradients_of

_Needs = tuple[bool, bool, bool]


@dataclass
class _Job:
    """A convolution of images (B, C, H, W), and how its result gets the axes that the caller's has."""

    op: str
    home: Device
    x: Any
    weight: Any
    lead: tuple[int, ...]
    planes: bool  # a kernel without channels, for each plane
    axes: int
    window: Window
    groups: int

    def forward(self, x: Any, weight: Any, bias: Any = None) -> Any:
        """y of real arrays."""
        arrays = (physical_of(self.op, a, self.home) for a in (x, weight, bias))
        image, filters, shift = arrays
        return logical(conv2d_forward(self.home, image, filters, self.window, self.groups, shift, False))

    def backward(self, dy: Any, x: Any, weight: Any, needs: _Needs) -> tuple[Any, ...]:
        """The gradients of real arrays."""
        given, image, filters = (physical_of(self.op, a, self.home) for a in (dy, x, weight))
        found = gradients_of(self.home, given, None, image, filters, self.window, self.groups, needs)
        return tuple(None if d is None else logical(d) for d in found)

    @property
    def shape(self) -> tuple[int, ...]:
        """The caller's shape of y."""
        sizes = (self.window.P, self.window.Q)[-self.axes :]
        return (*self.lead, *(() if self.planes else (self.weight.shape[0],)), *sizes)

    def as_images(self, y: Any) -> Any:
        """An array of y's shape as (B, K, P, Q)."""
        return _four(y[_channel(self.axes)] if self.planes else y, self.axes)


def _channel(axes: int) -> tuple[Any, ...]:
    """An index that adds an axis in front of the last ``axes``."""
    return (..., None, *(slice(None),) * axes)


def _four(x: Any, axes: int) -> Any:
    """(..., C, H, W) or (..., C, L) as (B, C, H, W)."""
    x = merged(x[None] if x.ndim == axes + 1 else x, axes + 1)
    return x[:, :, None] if axes == 1 else x


def _job(
    op: str,
    x: Any,
    weight: Any,
    bias: Any,
    stride: Pair,
    padding: Padding | str,
    dilation: Pair,
    groups: int,
    axes: int,
    **more: Any,
) -> _Job:
    home = enter(op, complexes=True, x=x, weight=weight, bias=bias, **more)
    planes = weight.ndim == axes
    if x.ndim < axes or weight.ndim not in (axes, axes + 2):
        sizes, kernel = ("H, W", "R, S") if axes == 2 else ("L", "S")
        raise ShapeError(
            f"{here(op)}: expected x ({sizes}) or (..., C, {sizes}) and weight (K, C/groups, {kernel}), or "
            f"x (..., {sizes}) and weight ({kernel}); got {x.shape} and {weight.shape}."
        )
    if planes or x.ndim == axes:
        x = x[_channel(axes)]
    lead = x.shape[: -axes - 1]
    x, weight = _four(x, axes), _four(weight[None, None] if planes else weight, axes)
    # Of these the checks read shapes and the precision only.
    rx, rw, rb = x.real, weight.real, None if bias is None else bias.real
    if axes == 2:
        window = check_arguments(op, rx, rw, rb, stride, padding, dilation, groups, strict=False)
    else:
        check_operands(op, rx, rw, rb, groups)
        window = sequence_window(op, x.shape[3], weight.shape[3], stride, padding, dilation)
        check_sequence(op, window, False)
    return _Job(op, home, x, weight, lead, planes, axes, window, groups)


def _forward(job: _Job, bias: Any) -> Any:
    x, weight = job.x, job.weight
    if "c" in (x.dtype.kind, weight.dtype.kind, "" if bias is None else bias.dtype.kind):
        y = bilinear(job.forward, x, weight)
        y = y if bias is None else y + bias[:, None, None]
    else:
        y = job.forward(x, weight, bias)
    return y.reshape(job.shape)


def _backward(job: _Job, dy: Any, x: Any, weight: Any, needs: _Needs) -> tuple[Any, Any, Any]:
    require_shape(job.op, "dy", dy, job.shape)
    given = job.as_images(dy)
    if "c" not in (dy.dtype.kind, x.dtype.kind, weight.dtype.kind):
        dx, dweight, dbias = job.backward(given, job.x, job.weight, needs)
    else:
        image, filters = job.x.real, job.weight.real  # where only the shape counts

        def of_x(d: Any, w: Any) -> Any:
            return job.backward(d, image, w, (True, False, False))[0]

        def of_weight(d: Any, a: Any) -> Any:
            return job.backward(d, a, filters, (False, True, False))[1]

        dx = like(bilinear(of_x, given, job.weight.conj()), x) if needs[0] else None
        dweight = like(bilinear(of_weight, given, job.x.conj()), weight) if needs[1] else None
        dbias = given.sum(axis=(0, 2, 3)) if needs[2] else None
    return (
        None if dx is None else dx.reshape(x.shape),
        None if dweight is None else dweight.reshape(weight.shape),
        dbias,
    )


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Pair = 1,
    padding: Padding | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Any:
    """Two-dimensional cross-correlation of NumPy or CuPy arrays; for a convolution flip the kernel's last two axes.

    Parameters
    ----------
    x : array, (..., C, H, W), or (H, W) for one channel
        float32, float64, complex64 or complex128. With a weight (R, S) x is (..., H, W), and each plane is filtered. A
        channels-last view (``buffer.transpose(0, 3, 1, 2)``) is read where it is, anything else is reordered once.
    weight : array, (K, C / groups, R, S) or (R, S)
    bias : array, (K,), optional
    stride, dilation : int or (int, int)
        Vertical, horizontal.
    padding : int, (int, int), ((int, int), (int, int)), "same" or "valid"
        Zeros on each side; see :func:`gpunn.nn.functional.conv2d`.
    groups : int
        Groups of channels, each convolved by itself; groups = C is depthwise.

    Returns
    -------
    array, (..., K, P, Q), or (..., P, Q) for a weight (R, S)
        On x's device, a view of channels-last memory; complex if an input is.

    Raises
    ------
    ShapeError, UsageError, DTypeError, DeviceError
        If arguments do not match, are invalid, not floating, of two precisions, or on two devices.

    References
    ----------
    LeCun, Bottou, Bengio, Haffner 1998; lecture topic L10.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn import arrays
    >>> image = np.arange(12.0).reshape(3, 4)
    >>> arrays.conv2d(image, np.array([[-1.0, 1.0]])).tolist()
    [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """
    return _forward(_job("conv2d", x, weight, bias, stride, padding, dilation, groups, 2), bias)


def conv2d_backward(
    dy: Any,
    x: Any,
    weight: Any,
    stride: Pair = 1,
    padding: Padding | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
    needs: _Needs = (True, True, True),
) -> tuple[Any, Any, Any]:
    """The gradients of a loss with respect to the arguments of :func:`conv2d`, given that of its result.

    Of complex arrays the gradient is d loss / d real + i d loss / d imag, as in PyTorch.

    Parameters
    ----------
    dy : array
        Of the shape of conv2d's result.
    x, weight, stride, padding, dilation, groups
        As for :func:`conv2d`.
    needs : (bool, bool, bool)
        Which gradients to compute: of x (a transposed convolution of dy), weight, bias.

    Returns
    -------
    dx, dweight, dbias : array or None
        Like x, like weight, and (K,).

    Raises
    ------
    ShapeError, UsageError, DTypeError, DeviceError
        As by :func:`conv2d`.

    References
    ----------
    Dumoulin, Visin 2016, arXiv:1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn import arrays
    >>> x, weight = np.ones((1, 3, 3)), np.ones((1, 1, 2, 2))
    >>> dx, dweight, dbias = arrays.conv2d_backward(np.ones((1, 2, 2)), x, weight)
    >>> dx.tolist(), dbias.tolist()
    ([[[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]], [4.0])
    """
    job = _job("conv2d_backward", x, weight, None, stride, padding, dilation, groups, 2, dy=dy)
    return _backward(job, dy, x, weight, needs)


def conv1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Pair = 1,
    padding: Padding | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Any:
    """One-dimensional cross-correlation of NumPy or CuPy arrays; for a convolution flip the kernel's last axis.

    Parameters
    ----------
    x : array, (..., C, L), or (L,) for one channel
        As for :func:`conv2d`. With a weight (S,) x is (..., L), and each signal is filtered. A view of a channels-last
        buffer (``buffer.transpose(0, 2, 1)``) is read where it is.
    weight : array, (K, C / groups, S) or (S,)
    bias : array, (K,), optional
    stride, dilation : int
    padding : int, ((int, int),), "same" or "valid"
        Zeros on each side, or ((left, right),).
    groups : int
        Groups of channels, each convolved by itself.

    Returns
    -------
    array, (..., K, Q), or (..., Q) for a weight (S,)

    Raises
    ------
    ShapeError, UsageError, DTypeError, DeviceError
        As by :func:`conv2d`.

    References
    ----------
    Lecture topic L12.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn import arrays
    >>> arrays.conv1d(np.array([1j, 2, 3]), np.array([1.0, 1j])).tolist()
    [3j, (2+3j)]
    """
    return _forward(_job("conv1d", x, weight, bias, stride, padding, dilation, groups, 1), bias)


def conv1d_backward(
    dy: Any,
    x: Any,
    weight: Any,
    stride: Pair = 1,
    padding: Padding | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
    needs: _Needs = (True, True, True),
) -> tuple[Any, Any, Any]:
    """The gradients of a loss with respect to the arguments of :func:`conv1d`, given that of its result.

    Parameters
    ----------
    dy : array
        Of the shape of conv1d's result.
    x, weight, stride, padding, dilation, groups
        As for :func:`conv1d`.
    needs : (bool, bool, bool)
        Which gradients to compute: of x, weight, bias.

    Returns
    -------
    dx, dweight, dbias : array or None
        Like x, like weight, and (K,).

    Raises
    ------
    ShapeError, UsageError, DTypeError, DeviceError
        As by :func:`conv2d`.

    References
    ----------
    Dumoulin, Visin 2016, arXiv:1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn import arrays
    >>> dx, dweight, dbias = arrays.conv1d_backward(np.ones(2), np.array([1.0, 2, 3]), np.array([1.0, -1]))
    >>> dx.tolist(), dweight.tolist(), dbias.tolist()
    ([1.0, 0.0, -1.0], [3.0, 5.0], [2.0])
    """
    job = _job("conv1d_backward", x, weight, None, stride, padding, dilation, groups, 1, dy=dy)
    return _backward(job, dy, x, weight, needs)
