"""The one pass that fuses layers: ReLU, MaxPool2d and Flatten into the layer before them, inside a Sequential.

Convolutions, Linear and batch normalisation can apply a ReLU while they write their output, which saves reading and
writing it once more in forward and in backward. A Conv2d can pool its output before it leaves the cache, and never
materialises all of it. MaxPool2d can write in the order of Flatten. A ReLU between them is applied to the smaller,
pooled array: the largest of rectified numbers is the largest of the numbers, rectified. :class:`Sequential` runs such
neighbours as one call (``activation="relu"``, ``pool=...``, ``flatten=True``); the numbers are the same. Code that
calls layers itself fuses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from gpunn.errors import ArgumentError
from gpunn.nn.activation import ReLU
from gpunn.nn.batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from gpunn.nn.conv import Conv1d, Conv2d
from gpunn.nn.flatten import Flatten
from gpunn.nn.linear import Linear
from gpunn.nn.module import Module
from gpunn.nn.pooling import MaxPool2d
from gpunn.nn.syncbatchnorm import SyncBatchNorm

_RECTIFYING = (Conv1d, Conv2d, Linear, BatchNorm1d, BatchNorm2d, BatchNorm3d, SyncBatchNorm)


def plan(modules: Sequence[Module]) -> Iterator[tuple[Module, dict[str, Any]]]:
    """The calls to make in order: each module, with the keywords that make it do its neighbours' work too."""
    for module, keywords, _ in _calls(modules):
        yield module, keywords


def fused_pairs(sequential: Iterable[Module]) -> list[tuple[Module, Module]]:
    """The neighbours in ``sequential``, modules in order, that a :class:`Sequential` runs as one op.

    Each pair is the layer that is called, and one whose work it does too.
    """
    modules = list(sequential)
    for module in modules:
        if not isinstance(module, Module):
            raise ArgumentError(f"fused_pairs: expected modules in order; got {type(module).__name__} among them.")
    return [(module, other) for module, _, others in _calls(modules) for other in others]


def fused_groups(modules: Sequence[Module]) -> Iterator[tuple[Module, dict[str, Any], range]]:
    """The neighbours that a :class:`Sequential` runs as one op: the module to call, its keywords, and their numbers."""
    number = 0
    for module, keywords, others in _calls(modules):
        count = len(others) + 1
        if others:
            yield module, keywords, range(number, number + count)
        number += count


def _calls(modules: Sequence[Module]) -> Iterator[tuple[Module, dict[str, Any], list[Module]]]:
    """Each module to call, its keywords, and the neighbours whose work those do."""
    number = 0
    while number < len(modules):
        host, keywords, count = _call(modules[number : number + 4])
        group = modules[number : number + count]
        yield host, keywords, [module for module in group if module is not host]
        number += count


def _call(modules: Sequence[Module]) -> tuple[Module, dict[str, Any], int]:
    """For the next modules: which one to call, its keywords, and how many modules the call covers."""
    # Only exactly these classes: a subclass may do anything.
    kinds = [type(module) if _is_plain(module) else None for module in modules] + [None] * 3
    rectified = kinds.index(ReLU) if ReLU in kinds[:2] else None
    pooled = 1 if rectified is None else rectified + 1
    flattened = kinds[pooled + 1] is Flatten and _flattens(modules[pooled + 1])
    # A ReLU in place changes its input, which is seen where it comes first.
    changes_input = kinds[0] is ReLU and modules[0].inplace
    if kinds[0] in (ReLU, Conv2d) and not changes_input and kinds[pooled] is MaxPool2d:
        pool = modules[pooled]
        assert isinstance(pool, MaxPool2d)
        keywords: dict[str, Any] = {} if rectified is None else {"activation": "relu"}
        if flattened:
            keywords["flatten"] = True
        if kinds[0] is ReLU and pool.rectifies:
            return pool, keywords, 2 + flattened
        if kinds[0] is Conv2d and pool.rectifies and not pool.strict:
            return modules[0], {**keywords, "pool": pool}, pooled + 1 + flattened
    if kinds[0] in _RECTIFYING and kinds[1] is ReLU and not (kinds[2] is MaxPool2d and modules[2].rectifies):
        return modules[0], {"activation": "relu"}, 2
    if kinds[0] is MaxPool2d and kinds[1] is Flatten and _flattens(modules[1]) and not modules[0].return_indices:
        return modules[0], {"flatten": True}, 2
    return modules[0], {}, 1


def _flattens(module: Module) -> bool:
    """Whether a Flatten merges all axes of images but the batch's."""
    return (module.start_dim, module.end_dim) in ((1, -1), (1, 3))


def _is_plain(module: Module) -> bool:
    # A replaced forward may do anything, and a hook must see the inputs and outputs of its layer alone.
    hooked = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks
    return not hooked and "forward" not in module.__dict__
