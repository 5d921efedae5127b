"""``torch.backends.cuda``: whether CUDA can be used from here, and switches of products; ``allow_tf32`` is real."""

from __future__ import annotations

import importlib.util

from gpunn._precision import chosen, set_precision


class _Products:
    """Switches of matrix products, which kernels of gpunn's own compute in float32 or float64."""

    allow_fp16_reduced_precision_reduction = False
    allow_bf16_reduced_precision_reduction = False

    @property
    def allow_tf32(self) -> bool:
        """Whether large products may round their operands: ``gpunn.set_precision`` was given "tf32" or "bf16"."""
        return chosen.name in ("tf32", "bf16")

    @allow_tf32.setter
    def allow_tf32(self, allowed: bool) -> None:
        set_precision("tf32" if allowed else "fp32")


matmul = _Products()


def is_built() -> bool:
    """Whether CuPy is installed, without which there is no ``cuda``; ``gpunn.cuda.is_available`` says if it works."""
    return importlib.util.find_spec("cupy") is not None
