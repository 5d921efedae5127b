"""Blocks of layers that torchvision's networks are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gpunn._tensor import Tensor
from gpunn.errors import UsageError
from gpunn.nn import AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Dropout, Linear, Module, ReLU, Sequential, Sigmoid
from gpunn.ops.permute import permute

Makes = Callable[..., Module]


class Conv2dNormActivation(Sequential):
    """A convolution, a norm and an activation.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, dilation : int or (int, int)
    padding : int, (int, int) or str, optional
        What keeps the size of images at stride 1 with an odd ``kernel_size``, if not given.
    groups : int
    norm_layer : callable, optional
        Makes the norm of so many channels; None leaves it out.
    activation_layer : callable, optional
        Makes the activation; None leaves it out.
    inplace : bool, optional
        Given to ``activation_layer``; None leaves it to that.
    bias : bool, optional
        Whether the convolution has one; where there is no norm, if not given.

    Shape
    -----
    x : (N, in_channels, H, W);  y : (N, out_channels, H', W')

    References
    ----------
    Of torchvision.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int] = 3,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str | None = None,
        groups: int = 1,
        norm_layer: Makes | None = BatchNorm2d,
        activation_layer: Makes | None = ReLU,
        dilation: int | tuple[int, int] = 1,
        inplace: bool | None = True,
        bias: bool | None = None,
    ) -> None:
        if padding is None:
            (kh, kw), (dh, dw) = _pair("kernel_size", kernel_size), _pair("dilation", dilation)
            padding = (kh - 1) // 2 * dh, (kw - 1) // 2 * dw
            padding = padding[0] if padding[0] == padding[1] else padding
        has_bias = norm_layer is None if bias is None else bias
        layers: list[Module] = [
            Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, has_bias)
        ]
        if norm_layer is not None:
            layers.append(norm_layer(out_channels))
        if activation_layer is not None:
            layers.append(activation_layer(**_in_place(inplace)))
        super().__init__(*layers)
        self.out_channels = out_channels


class SqueezeExcitation(Module):
    """Weights channels by what two convolutions make of their means.

    Parameters
    ----------
    input_channels : int
    squeeze_channels : int
        Between the two convolutions.
    activation, scale_activation : callable
        Make what stands behind the first and behind the second.

    Attributes
    ----------
    avgpool, fc1, fc2, activation, scale_activation : Module

    Shape
    -----
    x : (N, input_channels, H, W);  y : like x

    References
    ----------
    Hu, Shen, Sun 2018, arXiv:1709.01507.
    """

    def __init__(
        self,
        input_channels: int,
        squeeze_channels: int,
        activation: Makes = ReLU,
        scale_activation: Makes = Sigmoid,
    ) -> None:
        super().__init__()
        self.avgpool = AdaptiveAvgPool2d(1)
        self.fc1 = Conv2d(input_channels, squeeze_channels, 1)
        self.fc2 = Conv2d(squeeze_channels, input_channels, 1)
        self.activation = activation()
        self.scale_activation = scale_activation()

    def forward(self, input: Tensor) -> Tensor:
        """Weigh the channels.

        Parameters
        ----------
        input : Tensor, (N, input_channels, H, W)
        """
        return self._scale(input) * input

    def _scale(self, input: Tensor) -> Any:
        scale = self.activation(self.fc1(self.avgpool(input)))
        return self.scale_activation(self.fc2(scale))


class MLP(Sequential):
    """Linear layers with a norm, an activation and dropout behind each; behind the last there is only dropout.

    Parameters
    ----------
    in_channels : int
    hidden_channels : sequence of int
        How wide each layer is, the last one too.
    norm_layer : callable, optional
        Makes the norm of so many features; None leaves it out.
    activation_layer : callable
        Makes the activation.
    inplace : bool, optional
        Given to activation and dropout; None leaves it to them.
    bias : bool
        Whether the linear layers have one.
    dropout : float
        The probability.

    Shape
    -----
    x : (..., in_channels);  y : (..., hidden_channels[-1])

    References
    ----------
    Of torchvision.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: Sequence[int],
        norm_layer: Makes | None = None,
        activation_layer: Makes = ReLU,
        inplace: bool | None = None,
        bias: bool = True,
        dropout: float = 0.0,
    ) -> None:
        layers: list[Module] = []
        for number, width in enumerate(hidden_channels, 1):
            layers.append(Linear(in_channels, width, bias=bias))
            if number < len(hidden_channels):
                if norm_layer is not None:
                    layers.append(norm_layer(width))
                layers.append(activation_layer(**_in_place(inplace)))
            layers.append(Dropout(dropout, **_in_place(inplace)))
            in_channels = width
        super().__init__(*layers)


class Permute(Module):
    """The axes in another order.

    Parameters
    ----------
    dims : sequence of int
        As for :func:`gpunn.permute`.

    Shape
    -----
    x : any;  y : the lengths of x's axes ``dims``

    References
    ----------
    Of torchvision.
    """

    def __init__(self, dims: Sequence[int]) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        """Permute.

        Parameters
        ----------
        x : Tensor
        """
        return permute(x, self.dims)


def _in_place(inplace: bool | None) -> dict[str, bool]:
    return {} if inplace is None else {"inplace": inplace}


def _pair(name: str, value: Any) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2:
        raise UsageError(f"Conv2dNormActivation: {name}: expected a number or two; got {value!r}.")
    return pair
