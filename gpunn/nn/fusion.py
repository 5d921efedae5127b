"""The one pass that fuses layers: a ReLU into the layer before it, inside a Sequential.

Convolutions, Linear and batch normalisation can apply a ReLU while they write their output, which
saves reading and writing it once more in forward and in backward. :class:`Sequential` runs such
pairs as one call of the fused op (``activation="relu"``); the numbers are the same. Nothing is
fused behind code that calls layers itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from gpunn.nn.activation import ReLU
from gpunn.nn.batchnorm import BatchNorm1d, BatchNorm2d
from gpunn.nn.conv import Conv1d, Conv2d
from gpunn.nn.linear import Linear
from gpunn.nn.module import Module

_FIRST = (Conv1d, Conv2d, Linear, BatchNorm1d, BatchNorm2d)


def plan(modules: Sequence[Module]) -> Iterator[tuple[Module, str | None]]:
    """What to call in order: (module, None), or (module, "relu") for it and the ReLU after it."""
    number = 0
    while number < len(modules):
        module = modules[number]
        fused = number + 1 < len(modules) and _fuses(module, modules[number + 1])
        yield module, "relu" if fused else None
        number += 2 if fused else 1


def fused_pairs(sequential: Iterable[Module]) -> list[tuple[Module, ReLU]]:
    """The pairs of neighbours in ``sequential``, modules in order, that a :class:`Sequential` runs as one op."""
    modules = list(sequential)
    return [(a, b) for a, b in itertools.pairwise(modules) if isinstance(b, ReLU) and _fuses(a, b)]


def _fuses(first: Module, second: Module) -> bool:
    # A subclass or a replaced forward may do anything, and a hook on either wants to see what that
    # layer alone gives.
    return type(first) in _FIRST and type(second) is ReLU and _is_plain(first) and _is_plain(second)


def _is_plain(module: Module) -> bool:
    hooked = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks
    return not hooked and "forward" not in module.__dict__
