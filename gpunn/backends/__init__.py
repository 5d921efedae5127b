"""Switches of PyTorch's libraries, which are not used: of what programs set, only how float32 rounds is real."""

from gpunn.backends import cuda, cudnn, mps

__all__ = ["cuda", "cudnn", "mps"]
