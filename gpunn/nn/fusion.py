"""The one pass that fuses layers: a ReLU or a Flatten into the layer before it, inside a Sequential.

Convolutions, Linear and batch normalisation can apply a ReLU while they write their output, and MaxPool2d can
write it in the order that Flatten gives, which saves reading and writing it once more in forward and in
backward. :class:`Sequential` runs such pairs as one call of the fused op (``activation="relu"``,
``flatten=True``); the numbers are the same. Nothing is fused behind code that calls layers itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from gpunn.nn.activation import ReLU
from gpunn.nn.batchnorm import BatchNorm1d, BatchNorm2d
from gpunn.nn.conv import Conv1d, Conv2d
from gpunn.nn.flatten import Flatten
from gpunn.nn.linear import Linear
from gpunn.nn.module import Module
from gpunn.nn.pooling import MaxPool2d

_FIRST = (Conv1d, Conv2d, Linear, BatchNorm1d, BatchNorm2d)


def plan(modules: Sequence[Module]) -> Iterator[tuple[Module, dict[str, Any]]]:
    """What to call in order: each module, with the keywords that make it do the work of the one after it too."""
    number = 0
    while number < len(modules):
        module = modules[number]
        keywords = _fused(module, modules[number + 1]) if number + 1 < len(modules) else {}
        yield module, keywords
        number += 2 if keywords else 1


def fused_pairs(sequential: Iterable[Module]) -> list[tuple[Module, Module]]:
    """The pairs of neighbours in ``sequential``, modules in order, that a :class:`Sequential` runs as one op."""
    return [(a, b) for a, b in itertools.pairwise(sequential) if _fused(a, b)]


def _fused(first: Module, second: Module) -> dict[str, Any]:
    """The keywords with which ``first`` does what ``second`` would do; empty if it cannot."""
    # A subclass or a replaced forward may do anything, and a hook on either wants to see what that
    # layer alone gives.
    if not (_is_plain(first) and _is_plain(second)):
        return {}
    if type(first) in _FIRST and type(second) is ReLU:
        return {"activation": "relu"}
    if type(first) is MaxPool2d and type(second) is Flatten and not first.return_indices:
        return {"flatten": True} if (second.start_dim, second.end_dim) in ((1, -1), (1, 3)) else {}
    return {}


def _is_plain(module: Module) -> bool:
    hooked = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks
    return not hooked and "forward" not in module.__dict__
