"""Switches of PyTorch's libraries: programs may set them, and nothing changes, as these libraries are not used here."""

from gpunn.backends import cuda, cudnn, mps

__all__ = ["cuda", "cudnn", "mps"]
