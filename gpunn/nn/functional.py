"""The ops under the names of ``torch.nn.functional``."""

from gpunn.ops.batch_norm import batch_norm
from gpunn.ops.conv2d import conv2d
from gpunn.ops.dropout import dropout
from gpunn.ops.linear import linear
from gpunn.ops.max_pool2d import max_pool2d
from gpunn.ops.relu import relu
from gpunn.ops.shape import flatten
from gpunn.ops.softmax_cross_entropy import cross_entropy

__all__ = ["batch_norm", "conv2d", "cross_entropy", "dropout", "flatten", "linear", "max_pool2d", "relu"]
