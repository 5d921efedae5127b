"""Switches of PyTorch's libraries, which are not used: of what programs set, products' ``allow_tf32`` is real."""

from gpunn.backends import cuda, cudnn, mps

__all__ = ["cuda", "cudnn", "mps"]
