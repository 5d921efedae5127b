"""Transposed convolution layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunn._device import Device
from gpunn._shared.numbers import as_int
from gpunn._tensor import Tensor
from gpunn._window import Pair, pair, single, triple
from gpunn.composed.conv3d import conv_transpose3d
from gpunn.errors import ShapeError, UsageError, here
from gpunn.nn import init
from gpunn.nn._arguments import new_parameter, whole
from gpunn.nn.conv import _ConvNd
from gpunn.nn.parameter import Parameter
from gpunn.ops.conv_transpose2d import conv_transpose1d, conv_transpose2d


class _ConvTranspose(_ConvNd):
    """What transposed convolutions over one to three axes share: arguments as tuples, parameters, the repr."""

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    output_padding: tuple[int, ...]
    dilation: tuple[int, ...]

    def _set_up(
        self,
        channels: tuple[int, int, int],
        padding_mode: str,
        bias: bool,
        device: Device | str | None,
        dtype: Any,
    ) -> None:
        op = type(self).__name__
        names = ("in_channels", "out_channels", "groups")
        self.in_channels, self.out_channels, self.groups = map(whole, (op,) * 3, names, channels)
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise UsageError(
                f"{op}: groups: expected a divisor of in_channels ({self.in_channels}) and out_channels "
                f"({self.out_channels}); got {self.groups}."
            )
        if padding_mode != "zeros":
            raise UsageError(f"{op}: padding_mode: expected 'zeros', all that PyTorch has here; got {padding_mode!r}.")
        self.padding_mode = padding_mode
        for extra, step, spread in zip(self.output_padding, self.stride, self.dilation, strict=True):
            if extra >= max(step, spread):
                raise UsageError(
                    f"{op}: output_padding: expected less than stride {step} or dilation {spread}; got {extra}."
                )
        self.weight = new_parameter(
            (self.in_channels, self.out_channels // self.groups, *self.kernel_size), device, dtype
        )
        self.bias: Parameter | None
        self.register_parameter("bias", new_parameter((self.out_channels,), device, dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values from the default generator."""
        init.default_(self.weight, self.bias)

    def _more(self, x: Tensor, output_size: Sequence[int] | None) -> tuple[int, ...]:
        """The output padding that leads to ``output_size``."""
        if output_size is None:
            return self.output_padding
        axes = len(self.kernel_size)
        wanted = tuple(as_int(n, n) for n in output_size)[-axes:]
        if x.ndim not in (axes + 1, axes + 2):
            return self.output_padding  # the op says what is wrong with x
        geometry = zip(x.shape[-axes:], self.kernel_size, self.stride, self.padding, self.dilation, strict=True)
        least = [(n - 1) * step - 2 * cut + spread * (k - 1) + 1 for n, k, step, cut, spread in geometry]
        most = [n + step - 1 for n, step in zip(least, self.stride, strict=True)]
        if len(output_size) not in (axes, x.ndim) or not all(
            isinstance(n, int) and a <= n <= b for n, a, b in zip(wanted, least, most, strict=True)
        ):
            raise ShapeError(
                f"{here(type(self).__name__)}: output_size: expected {axes} or {x.ndim} numbers, from {tuple(least)} "
                f"to {tuple(most)} for x of shape {x.shape}; got {tuple(output_size)}."
            )
        return tuple(n - a for n, a in zip(wanted, least, strict=True))

    def extra_repr(self) -> str:
        axes = len(self.kernel_size)
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0,) * axes:
            text += f", padding={self.padding}"
        if self.dilation != (1,) * axes:
            text += f", dilation={self.dilation}"
        if self.output_padding != (0,) * axes:
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        return text if self.bias is not None else f"{text}, bias=False"


class ConvTranspose1d(_ConvTranspose):
    """One-dimensional transposed convolution of (N, C, L) sequences.

    Parameters
    ----------
    in_channels, out_channels : int
        C and K, multiples of ``groups``.
    kernel_size, stride, dilation : int
        In elements of the output.
    padding : int
        Elements that the output loses on each side.
    output_padding : int
        Elements that it gains at the end; less than stride or dilation.
    groups : int
        Groups of channels, each convolved by itself.
    bias : bool
        Whether a number per output channel is added.
    padding_mode : str
        ``"zeros"``.
    device : Device or str, optional
        Where the parameters are made; ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.

    Attributes
    ----------
    weight : Parameter, (C, K / groups, S)
        Initially uniform on ±1 / sqrt(K / groups · S), PyTorch's default, and so is the bias.
    bias : Parameter, (K,), or None

    Shape
    -----
    x : (N, C, L) or (C, L), float32 or float64;  y : (N, K, Q) or (K, Q)

    Q = (L - 1) stride - 2 padding + dilation (S - 1) + output_padding + 1.

    Raises
    ------
    UsageError
        If an option is invalid.
    ShapeError, DTypeError, DeviceError
        If x does not fit the weight, or nothing would be left of the output; the message names the layer.

    References
    ----------
    Dumoulin, Visin 2016, arXiv:1603.07285, chapter 4.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        output_padding: Pair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Pair = 1,
        padding_mode: str = "zeros",
        device: Device | str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        op = "ConvTranspose1d"
        self.kernel_size = (single(kernel_size, op, "kernel_size", 1),)
        self.stride = (single(stride, op, "stride", 1),)
        self.padding = (single(padding, op, "padding", 0),)
        self.output_padding = (single(output_padding, op, "output_padding", 0),)
        self.dilation = (single(dilation, op, "dilation", 1),)
        self._set_up((in_channels, out_channels, groups), padding_mode, bias, device, dtype)

    def forward(self, x: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Apply the layer; ``output_size`` takes the place of ``output_padding``."""
        more = self._more(x, output_size)
        return conv_transpose1d(x, self.weight, self.bias, self.stride, self.padding, more, self.groups, self.dilation)


class ConvTranspose2d(_ConvTranspose):
    """Two-dimensional transposed convolution of (N, C, H, W) images.

    Parameters
    ----------
    in_channels, out_channels : int
        C and K, multiples of ``groups``.
    kernel_size, stride, dilation : int or (int, int)
        Vertical, horizontal, in pixels of the output.
    padding : int or (int, int)
        Rows and columns that the output loses on each side.
    output_padding : int or (int, int)
        Rows and columns that it gains at the bottom and right; less than stride or dilation.
    groups : int
        Groups of channels, each convolved by itself.
    bias : bool
        Whether a number per output channel is added.
    padding_mode : str
        ``"zeros"``.
    device : Device or str, optional
        Where the parameters are made; ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.

    Attributes
    ----------
    weight : Parameter, (C, K / groups, R, S)
        Initially uniform on ±1 / sqrt(K / groups · R · S), PyTorch's default, and so is the bias.
    bias : Parameter, (K,), or None

    Shape
    -----
    x : (N, C, H, W) or (C, H, W), float32 or float64;  y : (N, K, P, Q) or (K, P, Q)

    P = (H - 1) stride - 2 padding + dilation (R - 1) + output_padding + 1, Q likewise.

    Raises
    ------
    UsageError
        If an option is invalid.
    ShapeError, DTypeError, DeviceError
        If x does not fit the weight, or nothing would be left of the output; the message names the layer.

    References
    ----------
    Dumoulin, Visin 2016, arXiv:1603.07285, chapter 4.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        output_padding: Pair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Pair = 1,
        padding_mode: str = "zeros",
        device: Device | str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        op = "ConvTranspose2d"
        self.kernel_size: tuple[int, int] = pair(kernel_size, op, "kernel_size", 1)
        self.stride: tuple[int, int] = pair(stride, op, "stride", 1)
        self.padding: tuple[int, int] = pair(padding, op, "padding", 0)
        self.output_padding: tuple[int, int] = pair(output_padding, op, "output_padding", 0)
        self.dilation: tuple[int, int] = pair(dilation, op, "dilation", 1)
        self._set_up((in_channels, out_channels, groups), padding_mode, bias, device, dtype)

    def forward(self, x: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Apply the layer; ``output_size`` takes the place of ``output_padding``."""
        more = self._more(x, output_size)
        return conv_transpose2d(x, self.weight, self.bias, self.stride, self.padding, more, self.groups, self.dilation)


class ConvTranspose3d(_ConvTranspose):
    """Three-dimensional transposed convolution of (N, C, D, H, W) volumes.

    Parameters
    ----------
    in_channels, out_channels : int
        C and K, multiples of ``groups``.
    kernel_size, stride, dilation : int or (int, int, int)
        Along depth, vertical, horizontal, in elements of the output.
    padding : int or (int, int, int)
        Slices, rows and columns that the output loses on each side.
    output_padding : int or (int, int, int)
        What it gains at the back, bottom and right; less than stride or dilation.
    groups : int
        Groups of channels, each convolved by itself.
    bias : bool
        Whether a number per output channel is added.
    padding_mode : str
        ``"zeros"``.
    device : Device or str, optional
        Where the parameters are made; ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.

    Attributes
    ----------
    weight : Parameter, (C, K / groups, T, R, S)
        Initially uniform on ±1 / sqrt(K / groups · T · R · S), PyTorch's default, and so is the bias.
    bias : Parameter, (K,), or None

    Shape
    -----
    x : (N, C, D, H, W) or (C, D, H, W), float32 or float64;  y : (N, K, O, P, Q) or (K, O, P, Q)

    O = (D - 1) stride - 2 padding + dilation (T - 1) + output_padding + 1, P and Q likewise.

    Raises
    ------
    UsageError
        If an option is invalid.
    ShapeError, DTypeError, DeviceError
        If x does not fit the weight, or nothing would be left of the output; the message names the layer.

    References
    ----------
    Dumoulin, Visin 2016, arXiv:1603.07285, chapter 4.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        output_padding: Pair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Pair = 1,
        padding_mode: str = "zeros",
        device: Device | str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        op = "ConvTranspose3d"
        self.kernel_size: tuple[int, int, int] = triple(kernel_size, op, "kernel_size", 1)
        self.stride: tuple[int, int, int] = triple(stride, op, "stride", 1)
        self.padding: tuple[int, int, int] = triple(padding, op, "padding", 0)
        self.output_padding: tuple[int, int, int] = triple(output_padding, op, "output_padding", 0)
        self.dilation: tuple[int, int, int] = triple(dilation, op, "dilation", 1)
        self._set_up((in_channels, out_channels, groups), padding_mode, bias, device, dtype)

    def forward(self, x: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Apply the layer; ``output_size`` takes the place of ``output_padding``."""
        more = self._more(x, output_size)
        return conv_transpose3d(x, self.weight, self.bias, self.stride, self.padding, more, self.groups, self.dilation)
