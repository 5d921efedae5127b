"""Convolution layers."""

from __future__ import annotations

from typing import Any

from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn._window import Padding, Pair, Window, pair, sides, single, triple
from gpunn.composed.conv3d import conv3d
from gpunn.errors import UsageError
from gpunn.nn import init
from gpunn.nn._arguments import new_parameter, whole
from gpunn.nn.module import Module
from gpunn.nn.parameter import Parameter
from gpunn.nn.pooling import MaxPool2d
from gpunn.ops.conv1d import conv1d, sequence_window
from gpunn.ops.conv2d import conv2d
from gpunn.ops.conv2d_max_pool2d import conv2d_max_pool2d
from gpunn.ops.pad import pad

_BORDERS = ("reflect", "replicate", "circular")


class _ConvNd(Module):
    """All convolutions, transposed ones too; programs ask for it with ``isinstance``."""


class _Conv(_ConvNd):
    """What convolutions over one to three axes share: arguments as tuples, parameters, the repr."""

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: Any  # one number per axis, or one pair where its sides differ; or "same", "valid"

    def _set_up(
        self,
        channels: tuple[int, int, int],
        padding: Padding | str,
        padding_mode: str,
        bias: bool,
        strict: bool,
        device: Device | str | None,
        dtype: Any,
    ) -> None:
        op = type(self).__name__
        in_channels, out_channels, groups = channels
        self.in_channels = whole(op, "in_channels", in_channels)
        self.out_channels = whole(op, "out_channels", out_channels)
        self.groups = whole(op, "groups", groups)
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise UsageError(
                f"{op}: groups: expected a divisor of in_channels ({in_channels}) and out_channels "
                f"({out_channels}); got {groups}."
            )
        each = sides(padding, op, self.kernel_size, self.stride, self.dilation)
        equal = all(before == after for before, after in each)
        self.padding = padding if isinstance(padding, str) else tuple(p[0] for p in each) if equal else each
        if padding_mode not in ("zeros", *_BORDERS):
            known = ", ".join(map(repr, _BORDERS))
            raise UsageError(f"{op}: padding_mode: expected 'zeros', {known}; got {padding_mode!r}.")
        self.padding_mode = padding_mode
        self._border = [n for pair_ in reversed(each) for n in pair_]  # as pad() takes it
        self.strict = strict
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        self.weight = new_parameter(shape, device, dtype)
        self.bias: Parameter | None
        self.register_parameter("bias", new_parameter((self.out_channels,), device, dtype) if bias else None)
        self.reset_parameters()

    def _padded(self, x: Tensor) -> tuple[Tensor, Any]:
        """x with its border, unless that is of zeros, and the padding that is left to the convolution."""
        if self.padding_mode == "zeros":
            return x, self.padding
        return pad(x, self._border, self.padding_mode), 0

    def reset_parameters(self) -> None:
        """Draw new initial values from the default generator."""
        init.default_(self.weight, self.bias)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0,) * len(self.kernel_size):
            text += f", padding={self.padding}"
        if self.dilation != (1,) * len(self.kernel_size):
            text += f", dilation={self.dilation}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text + (", strict=True" if self.strict else "")


class Conv1d(_Conv):
    """One-dimensional convolution of (N, C, L) sequences.

    y[i] = sum_j weight[j] x[i + j] at stride 1 and without padding; ``padding="same"`` centres it on i.

    Parameters
    ----------
    in_channels, out_channels : int
        C and K, multiples of ``groups``.
    kernel_size, stride, dilation : int
        In elements.
    padding : int, ((int, int),), "same" or "valid"
        Zeros on each side, or ((left, right),); "same" keeps the length at stride 1.
    groups : int
        Groups of channels, each convolved by itself.
    bias : bool
        Whether a number per output channel is added.
    padding_mode : str
        ``"zeros"``, or what :func:`gpunn.nn.functional.pad` puts around x first: ``"reflect"``, ``"replicate"`` or
        ``"circular"``.
    device : Device or str, optional
        Where the parameters are made; ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.
    strict : bool
        Raise if the stride leaves elements at the end unused.

    Attributes
    ----------
    weight : Parameter, (K, C / groups, S)
        Initially uniform on ±1 / sqrt(C / groups · S), PyTorch's default, and so is the bias.
    bias : Parameter, (K,), or None

    Shape
    -----
    x : (N, C, L) or (C, L), float32 or float64;  y : (N, K, Q) or (K, Q)

    Q = floor((L + left + right - dilation (S - 1) - 1) / stride) + 1.

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If x does not fit the weight or is shorter than the kernel; the message names the layer.

    References
    ----------
    Lecture topic L12.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Padding | str = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Device | str | None = None,
        dtype: Any = None,
        *,
        strict: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = (single(kernel_size, "Conv1d", "kernel_size", 1),)
        self.stride = (single(stride, "Conv1d", "stride", 1),)
        self.dilation = (single(dilation, "Conv1d", "dilation", 1),)
        self._set_up((in_channels, out_channels, groups), padding, padding_mode, bias, strict, device, dtype)

    def window(self, length: int) -> Window:
        """How the kernel slides over a sequence, an image of height 1; its Q is the output's length."""
        return sequence_window("Conv1d", length, self.kernel_size[0], self.stride, self.padding, self.dilation)

    def forward(self, x: Tensor, *, activation: str | None = None) -> Tensor:
        """Apply the layer, and ``activation`` ("relu") in the same pass."""
        x, padding = self._padded(x)
        return conv1d(
            x,
            self.weight,
            self.bias,
            self.stride,
            padding,
            self.dilation,
            self.groups,
            activation=activation,
            strict=self.strict,
        )


class Conv2d(_Conv):
    """Two-dimensional convolution of (N, C, H, W) images.

    Parameters
    ----------
    in_channels, out_channels : int
        C and K, multiples of ``groups``.
    kernel_size, stride, dilation : int or (int, int)
        Vertical, horizontal.
    padding : int, (int, int), ((int, int), (int, int)), "same" or "valid"
        Zeros on each side: for all, (vertical, horizontal), or ((top, bottom), (left, right)); "same" keeps
        the size at stride 1.
    groups : int
        Groups of channels, each convolved by itself.
    bias : bool
        Whether a number per output channel is added.
    padding_mode : str
        ``"zeros"``, or what :func:`gpunn.nn.functional.pad` puts around x first: ``"reflect"``, ``"replicate"`` or
        ``"circular"``.
    device : Device or str, optional
        Where the parameters are made; ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.
    strict : bool
        Raise if the stride leaves rows or columns at the border unused.

    Attributes
    ----------
    weight : Parameter, (K, C / groups, R, S)
        Initially uniform on ±1 / sqrt(C / groups · R · S), PyTorch's default, and so is the bias.
    bias : Parameter, (K,), or None

    Shape
    -----
    x : (N, C, H, W) or (C, H, W), float32 or float64;  y : (N, K, P, Q) or (K, P, Q)

    P = floor((H + top + bottom - dilation (R - 1) - 1) / stride) + 1, Q likewise.

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If x does not fit the weight or is smaller than the kernel; the message names the layer.

    References
    ----------
    LeCun, Bottou, Bengio, Haffner 1998; lecture topic L10.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Padding | str = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Device | str | None = None,
        dtype: Any = None,
        *,
        strict: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size: tuple[int, int] = pair(kernel_size, "Conv2d", "kernel_size", 1)
        self.stride: tuple[int, int] = pair(stride, "Conv2d", "stride", 1)
        self.dilation: tuple[int, int] = pair(dilation, "Conv2d", "dilation", 1)
        self._set_up((in_channels, out_channels, groups), padding, padding_mode, bias, strict, device, dtype)

    def window(self, height: int, width: int) -> Window:
        """How the kernel slides over an image of this size; its P and Q are the output's."""
        kernel, stride, dilation = self.kernel_size, self.stride, self.dilation
        (top, bottom), (left, right) = sides(self.padding, "Conv2d", kernel, stride, dilation)
        return Window(height, width, *kernel, stride, (top, left), dilation, False, (bottom, right))

    def forward(
        self, x: Tensor, *, activation: str | None = None, pool: MaxPool2d | None = None, flatten: bool = False
    ) -> Tensor:
        """Apply the layer, then ``activation`` ("relu"), ``pool`` and ``flatten``, in the same pass."""
        x, padding = self._padded(x)
        geometry = (self.stride, padding, self.dilation, self.groups)
        if pool is None:
            return conv2d(x, self.weight, self.bias, *geometry, activation=activation, strict=self.strict)
        return conv2d_max_pool2d(
            x,
            self.weight,
            self.bias,
            *geometry,
            pool,
            activation=activation,
            flatten=flatten,
            strict=self.strict,
        )


class Conv3d(_Conv):
    """Three-dimensional convolution of (N, C, D, H, W) volumes.

    Parameters
    ----------
    in_channels, out_channels : int
        C and K, multiples of ``groups``.
    kernel_size, stride, dilation : int or (int, int, int)
        Along depth, vertical, horizontal.
    padding : int, (int, int, int), three pairs, "same" or "valid"
        Zeros on each side: for all, (depth, vertical, horizontal), or ((front, back), (top, bottom), (left, right));
        "same" keeps the size at stride 1.
    groups : int
        Groups of channels, each convolved by itself.
    bias : bool
        Whether a number per output channel is added.
    padding_mode : str
        ``"zeros"``, or what :func:`gpunn.nn.functional.pad` puts around x first: ``"reflect"``, ``"replicate"`` or
        ``"circular"``.
    device : Device or str, optional
        Where the parameters are made; ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.

    Attributes
    ----------
    weight : Parameter, (K, C / groups, T, R, S)
        Initially uniform on ±1 / sqrt(C / groups · T · R · S), PyTorch's default, and so is the bias.
    bias : Parameter, (K,), or None

    Shape
    -----
    x : (N, C, D, H, W) or (C, D, H, W), float32 or float64;  y : (N, K, O, P, Q) or (K, O, P, Q)

    O = floor((D + front + back - dilation (T - 1) - 1) / stride) + 1, P and Q likewise.

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If x does not fit the weight or is smaller than the kernel; the message names the layer.

    References
    ----------
    Ji, Xu, Yang, Yu 2013, "3D convolutional neural networks for human action recognition".
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Padding | str = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Device | str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.kernel_size: tuple[int, int, int] = triple(kernel_size, "Conv3d", "kernel_size", 1)
        self.stride: tuple[int, int, int] = triple(stride, "Conv3d", "stride", 1)
        self.dilation: tuple[int, int, int] = triple(dilation, "Conv3d", "dilation", 1)
        self._set_up((in_channels, out_channels, groups), padding, padding_mode, bias, False, device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        x, padding = self._padded(x)
        return conv3d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)
