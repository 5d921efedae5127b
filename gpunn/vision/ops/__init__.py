"""Layers of torchvision's networks: blocks with norm and activation, squeeze and excitation, stochastic depth.

There are no ops for boxes and regions here.
"""

from gpunn._calls import explains_all
from gpunn.vision.ops.misc import MLP, Conv2dNormActivation, Permute, SqueezeExcitation
from gpunn.vision.ops.stochastic_depth import StochasticDepth, stochastic_depth

__all__ = ["MLP", "Conv2dNormActivation", "Permute", "SqueezeExcitation", "StochasticDepth", "stochastic_depth"]

explains_all(globals())
