"""The wing of the CPU: NumPy fast paths, threads, memory, BLAS.

A primitive's plain body (``gpunn/ops``) is the readable truth; what stands here gives the same numbers faster, and
nothing outside depends on how. These modules import ``gpunn.errors``, ``gpunn._window`` and each other, no
other part of gpunn, so the whole wing can be read, measured and replaced by itself.
"""
