"""What PyTorch keeps in ``torch.utils``: :mod:`gpunn.utils.data`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpunn.utils import data

__all__ = ["data"]


if not TYPE_CHECKING:  # or a type checker would believe that every name is there

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module 'gpunn.utils' has no attribute {name!r}; it has {', '.join(__all__)}")
        return importlib.import_module(f"gpunn.utils.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
