"""Measurements of gpunn: the compile gate, comparisons with PyTorch, the report from a GPU."""
