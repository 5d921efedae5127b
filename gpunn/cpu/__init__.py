"""The CPU wing: NumPy fast paths, threads, memory, BLAS.

A primitive's plain body (``gpunn/ops``) is the readable reference. The code here computes the same numbers faster, and
nothing outside depends on how. These modules import only ``gpunn.errors``, ``gpunn._window`` and each other,
so the whole wing can be read, measured and replaced by itself.
"""
