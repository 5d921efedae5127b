"""Activation layers."""

from __future__ import annotations

from gpunn._tensor import Tensor
from gpunn.nn.module import Module
from gpunn.ops.relu import relu


class ReLU(Module):
    """max(x, 0), element by element.

    Parameters
    ----------
    inplace : bool
        Accepted so that PyTorch models build unchanged; the input is never written to. In a
        :class:`Sequential` a ReLU costs no memory of its own anyway where it is fused (``nn.fusion``).

    Shape
    -----
    x : any, float32 or float64;  y : as x

    References
    ----------
    Nair, Hinton 2010; lecture topic L4.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        return relu(x)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""
