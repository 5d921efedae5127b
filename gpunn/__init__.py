"""gpunn: neural-network layers on NumPy and CuPy, with hand-written CUDA kernels.

Names and defaults are PyTorch's. ``gpunn.nn``, ``gpunn.optim``, ``gpunn.data``, ``gpunn.models`` and
``gpunn.Trainer`` are imported when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunn import errors
from gpunn._capture import capture
from gpunn._creation import arange, from_numpy, ones, rand, randn, tensor, zeros
from gpunn._device import device
from gpunn._gradcheck import gradcheck
from gpunn._tensor import Tensor
from gpunn._version import __version__
from gpunn.random import Generator, manual_seed
from gpunn.serialize import load_file, save_file
from gpunn.tape import no_grad

if TYPE_CHECKING:
    from gpunn import cuda, data, models, nn, optim, train
    from gpunn.train import Trainer

float32 = np.dtype("float32")
float64 = np.dtype("float64")
int64 = np.dtype("int64")

# name -> the module that has it, or is it
_LAZY = {
    "cuda": "gpunn.cuda",
    "data": "gpunn.data",
    "models": "gpunn.models",
    "nn": "gpunn.nn",
    "optim": "gpunn.optim",
    "train": "gpunn.train",
    "Trainer": "gpunn.train",
}

__all__ = [
    "Generator",
    "Tensor",
    "Trainer",
    "__version__",
    "arange",
    "capture",
    "cuda",
    "data",
    "device",
    "errors",
    "float32",
    "float64",
    "from_numpy",
    "gradcheck",
    "int64",
    "load_file",
    "manual_seed",
    "models",
    "nn",
    "no_grad",
    "ones",
    "optim",
    "rand",
    "randn",
    "save_file",
    "tensor",
    "train",
    "zeros",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'gpunn' has no attribute {name!r}")
    module = importlib.import_module(_LAZY[name])
    return module if module.__name__ == f"gpunn.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
