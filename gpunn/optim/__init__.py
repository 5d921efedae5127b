"""Optimisers, with PyTorch's names and defaults."""

from gpunn.optim.optimizer import Optimizer
from gpunn.optim.sgd import SGD

__all__ = ["SGD", "Optimizer"]
