"""Locally connected layers: windows like a convolution's, with separate weights at every position."""

from __future__ import annotations

import math
from typing import Any

from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn._window import Padding, Pair, Window, pair, sides, single
from gpunn.nn import init
from gpunn.nn._arguments import new_parameter, whole
from gpunn.nn.module import Module
from gpunn.nn.parameter import Parameter
from gpunn.ops.conv1d import check_sequence, sequence_window
from gpunn.ops.locally_connected1d import locally_connected1d
from gpunn.ops.locally_connected2d import locally_connected2d


class _Local(Module):
    """What the layers over one and two axes share: parameters, initial values, the repr."""

    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    input_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Any
    dilation: tuple[int, ...]
    strict: bool

    def _make(self, positions: tuple[int, ...], bias: bool, device: Device | str | None, dtype: Any) -> None:
        shape = (*positions, self.out_channels, self.in_channels, *self.kernel_size)
        self.weight = new_parameter(shape, device, dtype)
        self.bias: Parameter | None
        whole_bias = new_parameter((self.out_channels, *positions), device, dtype) if bias else None
        self.register_parameter("bias", whole_bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values from the default generator."""
        bound = 1 / math.sqrt(self.in_channels * math.prod(self.kernel_size))
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        text += f", input_size={self.input_size}, stride={self.stride}"
        if self.padding != 0:
            text += f", padding={self.padding!r}"
        if self.dilation != (1,) * len(self.kernel_size):
            text += f", dilation={self.dilation}"
        if self.bias is None:
            text += ", bias=False"
        return text + (", strict=True" if self.strict else "")


class LocallyConnected1d(_Local):
    """A convolution of (N, C, L) sequences with separate filters at every output position.

    y[q] = bias[q] + sum_j weight[q, j] x[q + j] at stride 1 and without padding: S weights per output.

    Parameters
    ----------
    in_channels, out_channels : int
        C and K.
    kernel_size : int
        S.
    input_size : int
        L, which determines how many weights there are.
    stride, dilation : int
        In elements.
    padding : int, ((int, int),), "same" or "valid"
        Zeros on each side, or ((left, right),); "same" is the form centred on q. Weights that would read
        only padding get no gradient and change nothing: the summary counts them.
    bias : bool
        Whether a number per output is added.
    device : Device or str, optional
        Where the parameters are made; ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.
    strict : bool
        Refuse an ``input_size`` whose end is in no window.

    Attributes
    ----------
    weight : Parameter, (Q, K, C, S)
        ``weight[q]`` is shaped like Conv1d's. Initially uniform on ±1 / sqrt(C · S), and so is the bias.
    bias : Parameter, (K, Q), or None

    Shape
    -----
    x : (N, C, L) float32 or float64;  y : (N, K, Q)

    Q = floor((L + left + right - dilation (S - 1) - 1) / stride) + 1.

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If x does not fit the weight; the message names the layer.

    References
    ----------
    Lecture topic L14.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        input_size: Pair,
        stride: Pair = 1,
        padding: Padding | str = 0,
        dilation: Pair = 1,
        bias: bool = True,
        device: Device | str | None = None,
        dtype: Any = None,
        *,
        strict: bool = False,
    ) -> None:
        super().__init__()
        op = "LocallyConnected1d"
        self.in_channels = whole(op, "in_channels", in_channels)
        self.out_channels = whole(op, "out_channels", out_channels)
        self.kernel_size = (single(kernel_size, op, "kernel_size", 1),)
        self.input_size = (single(input_size, op, "input_size", 1),)
        self.stride = (single(stride, op, "stride", 1),)
        self.dilation = (single(dilation, op, "dilation", 1),)
        self.padding = padding
        self.strict = strict
        window = self.window(*self.input_size)
        check_sequence(op, window, strict)
        self._make((window.Q,), bias, device, dtype)

    def window(self, length: int) -> Window:
        """How the windows are placed over a sequence, an image of height 1; its Q is the output's length."""
        op = "LocallyConnected1d"
        return sequence_window(op, length, self.kernel_size[0], self.stride, self.padding, self.dilation)

    def forward(self, x: Tensor) -> Tensor:
        return locally_connected1d(x, self.weight, self.bias, self.stride, self.padding, self.dilation)


class LocallyConnected2d(_Local):
    """A convolution of (N, C, H, W) images with separate filters at every output position.

    Parameters
    ----------
    in_channels, out_channels : int
        C and K.
    kernel_size : int or (int, int)
        R, S.
    input_size : int or (int, int)
        H, W, which determine how many weights there are.
    stride, dilation : int or (int, int)
        Vertical, horizontal.
    padding : int, (int, int), ((int, int), (int, int)), "same" or "valid"
        Zeros on each side, as in Conv2d. Weights that would read only padding get no gradient and
        change nothing: the summary counts them.
    bias : bool
        Whether a number per output is added.
    device : Device or str, optional
        Where the parameters are made; ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.
    strict : bool
        Refuse an ``input_size`` with a border that is in no window.

    Attributes
    ----------
    weight : Parameter, (P, Q, K, C, R, S)
        ``weight[p, q]`` is shaped like Conv2d's. Initially uniform on ±1 / sqrt(C · R · S), and so is the bias.
    bias : Parameter, (K, P, Q), or None

    Shape
    -----
    x : (N, C, H, W) float32 or float64;  y : (N, K, P, Q)

    P = floor((H + top + bottom - dilation (R - 1) - 1) / stride) + 1, Q likewise.

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If x does not fit the weight; the message names the layer.

    References
    ----------
    Lecture topic L14.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        input_size: Pair,
        stride: Pair = 1,
        padding: Padding | str = 0,
        dilation: Pair = 1,
        bias: bool = True,
        device: Device | str | None = None,
        dtype: Any = None,
        *,
        strict: bool = False,
    ) -> None:
        super().__init__()
        op = "LocallyConnected2d"
        self.in_channels = whole(op, "in_channels", in_channels)
        self.out_channels = whole(op, "out_channels", out_channels)
        self.kernel_size: tuple[int, int] = pair(kernel_size, op, "kernel_size", 1)
        self.input_size: tuple[int, int] = pair(input_size, op, "input_size", 1)
        self.stride: tuple[int, int] = pair(stride, op, "stride", 1)
        self.dilation: tuple[int, int] = pair(dilation, op, "dilation", 1)
        self.padding = padding
        self.strict = strict
        window = self.window(*self.input_size)
        window.check(op)
        if strict:
            window.refuse_unused(op)
        self._make((window.P, window.Q), bias, device, dtype)

    def window(self, height: int, width: int) -> Window:
        """How the windows are placed over an image of this size; its P and Q are the output's."""
        kernel, stride, dilation = self.kernel_size, self.stride, self.dilation
        (top, bottom), (left, right) = sides(self.padding, "LocallyConnected2d", kernel, stride, dilation)
        return Window(height, width, *kernel, stride, (top, left), dilation, False, (bottom, right))

    def forward(self, x: Tensor) -> Tensor:
        return locally_connected2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation)
