"""Layers' arithmetic on NumPy and CuPy arrays: arrays in, arrays out, no tensors and no tape.

For programs that had convolutions and the like from CuPy's cuDNN module, which CuPy 14 dropped, and for those that
compute their gradients themselves. Each function checks its arguments and runs the same primitives as the layers: NumPy
arrays on ``cpu``, CuPy arrays on the kernels of their GPU. It returns arrays of the kind that it was given, on the same
device. A result may be a view of channels-last memory.
"""

from gpunn.arrays._activation import (
    gelu,
    gelu_backward,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    tanh,
    tanh_backward,
)
from gpunn.arrays._batch_norm import batch_norm, batch_norm_backward, batch_norm_training
from gpunn.arrays._calling import on_own_gpu
from gpunn.arrays._conv import conv1d, conv1d_backward, conv2d, conv2d_backward
from gpunn.arrays._linear import linear, linear_backward
from gpunn.arrays._loss import cross_entropy, cross_entropy_backward
from gpunn.arrays._norm import group_norm, group_norm_backward, layer_norm, layer_norm_backward
from gpunn.arrays._pool import avg_pool2d, avg_pool2d_backward, max_pool2d, max_pool2d_backward
from gpunn.arrays._softmax import log_softmax, log_softmax_backward, softmax, softmax_backward

__all__ = [
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_training",
    "conv1d",
    "conv1d_backward",
    "conv2d",
    "conv2d_backward",
    "cross_entropy",
    "cross_entropy_backward",
    "gelu",
    "gelu_backward",
    "group_norm",
    "group_norm_backward",
    "layer_norm",
    "layer_norm_backward",
    "linear",
    "linear_backward",
    "log_softmax",
    "log_softmax_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "relu",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "softmax",
    "softmax_backward",
    "tanh",
    "tanh_backward",
]

for _name in __all__:
    globals()[_name] = on_own_gpu(globals()[_name])
