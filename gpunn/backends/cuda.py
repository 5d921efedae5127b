"""``torch.backends.cuda``: whether CUDA can be used from here, and switches of cuBLAS, which change nothing."""

from __future__ import annotations

import importlib.util


class _Products:
    """Switches of matrix products, which kernels of gpunn's own compute in float32 or float64."""

    allow_tf32 = False
    allow_fp16_reduced_precision_reduction = False
    allow_bf16_reduced_precision_reduction = False


matmul = _Products()


def is_built() -> bool:
    """Whether CuPy is installed, without which there is no ``cuda``; ``gpunn.cuda.is_available`` says if it works."""
    return importlib.util.find_spec("cupy") is not None
