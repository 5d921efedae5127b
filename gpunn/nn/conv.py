"""Convolution layers."""

from __future__ import annotations

from typing import Any

from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn.errors import UsageError
from gpunn.nn import init
from gpunn.nn._arguments import new_parameter, refuse_unused, whole
from gpunn.nn.module import Module
from gpunn.nn.parameter import Parameter
from gpunn.ops.conv2d import conv2d
from gpunn.ops.geometry import Pair, Window, pair


class Conv2d(Module):
    """Two-dimensional convolution of (N, C, H, W) images.

    Parameters
    ----------
    in_channels, out_channels : int
        C and K, multiples of ``groups``.
    kernel_size, stride, dilation : int or (int, int)
        Vertical, horizontal.
    padding : int, (int, int), "same" or "valid"
        Zeros on each side; "same" keeps the size at stride 1.
    groups : int
        Parts of the channels that do not see each other.
    bias : bool
        Whether a number per output channel is added.
    padding_mode : str
        Only ``"zeros"``.
    device : Device or str, optional
        Where the parameters are made; ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.
    strict : bool
        Raise if the stride leaves rows or columns at the border unused.

    Attributes
    ----------
    weight : Parameter, (K, C / groups, R, S)
        Uniform on ±1 / sqrt(C / groups · R · S) at first, PyTorch's default, and so is the bias.
    bias : Parameter, (K,), or None

    Shape
    -----
    x : (N, C, H, W) float32 or float64;  y : (N, K, P, Q)

    P = floor((H + 2 padding - dilation (R - 1) - 1) / stride) + 1, Q likewise.

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
        padding: Pair | str = 0,
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
        op = "Conv2d"
        self.in_channels = whole(op, "in_channels", in_channels)
        self.out_channels = whole(op, "out_channels", out_channels)
        self.groups = whole(op, "groups", groups)
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise UsageError(
                f"{op}: groups: expected a divisor of in_channels ({in_channels}) and out_channels "
                f"({out_channels}); got {groups}."
            )
        self.kernel_size = pair(kernel_size, op, "kernel_size", 1)
        self.stride = pair(stride, op, "stride", 1)
        self.dilation = pair(dilation, op, "dilation", 1)
        self.padding = _padding(op, padding, self.kernel_size, self.stride, self.dilation)
        if padding_mode != "zeros":
            raise UsageError(f"{op}: padding_mode: expected 'zeros', the only one there is; got {padding_mode!r}.")
        self.padding_mode = padding_mode
        self.strict = strict
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        self.weight = new_parameter(shape, device, dtype)
        self.bias: Parameter | None
        self.register_parameter("bias", new_parameter((self.out_channels,), device, dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values from the default generator."""
        init.default_(self.weight, self.bias)

    def window(self, height: int, width: int) -> Window:
        """How the kernel slides over an image of this size; its P and Q are the output's."""
        kernel, pads = self.kernel_size, self.padding
        if isinstance(pads, str):
            same = pads == "same"
            pads = (
                self.dilation[0] * (kernel[0] - 1) // 2 if same else 0,
                self.dilation[1] * (kernel[1] - 1) // 2 if same else 0,
            )
        return Window(height, width, *kernel, self.stride, pads, self.dilation)

    def forward(self, x: Tensor, *, activation: str | None = None) -> Tensor:
        """Apply the layer, and ``activation`` ("relu") in the same pass."""
        y = conv2d(
            x,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            activation=activation,
        )
        if self.strict:
            refuse_unused("conv2d", self.window(*x.shape[2:]))
        return y

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0, 0):
            text += f", padding={self.padding}"
        if self.dilation != (1, 1):
            text += f", dilation={self.dilation}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        return text + (", strict=True" if self.strict else "")


def _padding(
    op: str, padding: Pair | str, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int] | str:
    if not isinstance(padding, str):
        return pair(padding, op, "padding", 0)
    if padding not in ("same", "valid"):
        raise UsageError(f"{op}: padding: expected numbers, 'same' or 'valid'; got {padding!r}.")
    uneven = any(d * (k - 1) % 2 for d, k in zip(dilation, kernel, strict=True))
    if padding == "same" and (stride != (1, 1) or uneven):
        raise UsageError(
            f"{op}: padding='same' needs stride 1 and an odd window extent; got stride {stride}, "
            f"kernel {kernel}, dilation {dilation}. Give the padding as numbers."
        )
    return padding
