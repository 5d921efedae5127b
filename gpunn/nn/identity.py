"""Identity: a layer that does nothing."""

from __future__ import annotations

from typing import Any

from gpunn._tensor import Tensor
from gpunn.nn.module import Module


class Identity(Module):
    """y = x: stands in where another layer could be, such as the shortcut of a residual block.

    Parameters
    ----------
    *args, **kwargs
        Accepted and ignored, so that it can replace any layer.

    Shape
    -----
    x : any;  y : x itself

    References
    ----------
    Lecture topic L8 (residual connection).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x
