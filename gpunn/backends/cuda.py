"""``torch.backends.cuda``: whether CUDA can be used from here, and switches of products; how they round is real."""

from __future__ import annotations

import importlib.util

from gpunn._precision import choose_products, chosen, ieee_of, of_ieee


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
        choose_products("tf32" if allowed else "fp32")

    @property
    def fp32_precision(self) -> str:
        """The same in words: "ieee" (also "none" when it is set), "tf32" or "bf16"."""
        return ieee_of(chosen.name)

    @fp32_precision.setter
    def fp32_precision(self, precision: str) -> None:
        choose_products(of_ieee("backends.cuda.matmul.fp32_precision", precision))


matmul = _Products()


def is_built() -> bool:
    """Whether CuPy is installed, without which there is no ``cuda``; ``gpunn.cuda.is_available`` says if it works."""
    return importlib.util.find_spec("cupy") is not None
