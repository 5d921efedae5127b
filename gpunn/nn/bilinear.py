"""A layer of two inputs: linear in each."""

from __future__ import annotations

import math
from typing import Any

from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn.composed.bilinear import bilinear
from gpunn.nn import init
from gpunn.nn._arguments import new_parameter, whole
from gpunn.nn.module import Module
from gpunn.nn.parameter import Parameter


class Bilinear(Module):
    """y_k = sum over i and j of input1_i weight_kij input2_j, plus the bias.

    Parameters
    ----------
    in1_features, in2_features, out_features : int
        I, J and K.
    bias : bool
        Whether a number per output is added.
    device : Device or str, optional
        Where the parameters are made; ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.

    Attributes
    ----------
    weight : Parameter, (K, I, J)
        Initially uniform on ±1 / sqrt(I), PyTorch's default, and so is the bias.
    bias : Parameter, (K,), or None

    Shape
    -----
    input1 : (*, I), input2 : (*, J), float32 or float64;  y : (*, K)

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If the inputs do not fit the weight or one another; the message names the layer.

    References
    ----------
    Tenenbaum, Freeman 2000, "Separating style and content with bilinear models".
    """

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Device | str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in1_features = whole("Bilinear", "in1_features", in1_features)
        self.in2_features = whole("Bilinear", "in2_features", in2_features)
        self.out_features = whole("Bilinear", "out_features", out_features)
        self.weight = new_parameter((self.out_features, self.in1_features, self.in2_features), device, dtype)
        self.bias: Parameter | None
        self.register_parameter("bias", new_parameter((self.out_features,), device, dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values from the default generator."""
        bound = 1 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        return bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )
