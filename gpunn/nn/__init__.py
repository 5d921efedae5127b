"""Layers, containers and losses, under PyTorch's names."""

from gpunn.nn import functional, init
from gpunn.nn.activation import ReLU
from gpunn.nn.batchnorm import BatchNorm1d, BatchNorm2d
from gpunn.nn.containers import ModuleList, Sequential
from gpunn.nn.conv import Conv2d
from gpunn.nn.dropout import Dropout
from gpunn.nn.flatten import Flatten
from gpunn.nn.fusion import fused_pairs
from gpunn.nn.linear import Linear
from gpunn.nn.loss import CrossEntropyLoss
from gpunn.nn.module import Module
from gpunn.nn.parameter import Parameter
from gpunn.nn.pooling import MaxPool2d
from gpunn.nn.summary import summarize

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "Linear",
    "MaxPool2d",
    "Module",
    "ModuleList",
    "Parameter",
    "ReLU",
    "Sequential",
    "functional",
    "fused_pairs",
    "init",
    "summarize",
]
