"""PyTorch's paths to single layers, such as ``torch.nn.modules.batchnorm``: the same names as ``gpunn.nn``.

All of those modules have all names, and the few with an underscore that programs ask for: ``_BatchNorm``, ``_ConvNd``,
``_Loss``, and the functions that repeat a number, such as ``_pair``.
"""

from __future__ import annotations

import itertools
import sys
import types
from collections.abc import Callable, Iterable
from typing import Any

from gpunn import nn
from gpunn.nn.batchnorm import _BatchNorm
from gpunn.nn.conv import _ConvNd
from gpunn.nn.instancenorm import _InstanceNorm
from gpunn.nn.loss import Loss

__path__: list[str] = []  # as of a package: its modules are made below, and found in sys.modules

_PARTS = (
    "activation batchnorm channelshuffle container conv distance dropout flatten fold instancenorm lazy linear loss "
    "module normalization padding pixelshuffle pooling rnn sparse transformer upsampling utils"
)


def _ntuple(n: int, name: str = "parse") -> Callable[[Any], tuple[Any, ...]]:
    """A function that repeats a number ``n`` times, and makes a tuple of anything that can be gone through."""

    def parse(x: Any) -> tuple[Any, ...]:
        return tuple(x) if isinstance(x, Iterable) else tuple(itertools.repeat(x, n))

    parse.__name__ = name
    return parse


_PRIVATE: dict[str, Any] = {
    "_BatchNorm": _BatchNorm,
    "_ConvNd": _ConvNd,
    "_InstanceNorm": _InstanceNorm,
    "_Loss": Loss,
    "_NormBase": _BatchNorm,
    "_WeightedLoss": Loss,
    "_ntuple": _ntuple,
    "_single": _ntuple(1, "_single"),
    "_pair": _ntuple(2, "_pair"),
    "_triple": _ntuple(3, "_triple"),
    "_quadruple": _ntuple(4, "_quadruple"),
}


def __getattr__(name: str) -> Any:
    return _PRIVATE[name] if name in _PRIVATE else getattr(nn, name)


class _Part(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        return __getattr__(name)


for _name in _PARTS.split():
    _part = _Part(f"{__name__}.{_name}", f"The names of ``gpunn.nn`` under PyTorch's path of {_name}.")
    globals()[_name] = sys.modules[_part.__name__] = _part
