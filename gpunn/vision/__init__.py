"""What programs import from torchvision: transforms, datasets, models, their layers, and grids of images, on Pillow.

``import torchvision`` becomes ``from gpunn import vision as torchvision``, and ``from torchvision import transforms``
becomes ``from gpunn.vision import transforms``. Images are Pillow's, and need ``pip install 'gpunn[vision]'``.
For transforms of whole batches on a device see :mod:`gpunn.data.transforms`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpunn.vision import datasets, models, ops, transforms, utils

__all__ = ["datasets", "models", "ops", "transforms", "utils"]

if not TYPE_CHECKING:  # or a type checker would believe that every name is there

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module 'gpunn.vision' has no attribute {name!r}; it has {', '.join(__all__)}")
        return importlib.import_module(f"gpunn.vision.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
