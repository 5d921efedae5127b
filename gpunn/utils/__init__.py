"""What PyTorch keeps in ``torch.utils``: data, recomputation, weights from an address, logs for TensorBoard."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpunn.utils import checkpoint, data, model_zoo, tensorboard

__all__ = ["checkpoint", "data", "model_zoo", "tensorboard"]


if not TYPE_CHECKING:  # or a type checker would believe that every name is there

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module 'gpunn.utils' has no attribute {name!r}; it has {', '.join(__all__)}")
        return importlib.import_module(f"gpunn.utils.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
