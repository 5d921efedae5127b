"""The one pass that fuses layers: a ReLU or a Flatten into a neighbouring layer, inside a Sequential.

Convolutions, Linear and batch normalisation can apply a ReLU while they write their output, and MaxPool2d can
write it in the order that Flatten gives, which saves reading and writing it once more in forward and in
backward. A ReLU before a MaxPool2d goes into the pooling, whose output is smaller: the largest of rectified numbers is
the largest of the numbers, rectified. :class:`Sequential` runs such neighbours as one call of the fused op
(``activation="relu"``, ``flatten=True``); the numbers are the same. Nothing is fused behind code that calls layers
itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from gpunn.nn.activation import ReLU
from gpunn.nn.batchnorm import BatchNorm1d, BatchNorm2d
from gpunn.nn.conv import Conv1d, Conv2d
from gpunn.nn.flatten import Flatten
from gpunn.nn.linear import Linear
from gpunn.nn.module import Module
from gpunn.nn.pooling import MaxPool2d

_RECTIFYING = (Conv1d, Conv2d, Linear, BatchNorm1d, BatchNorm2d)


def plan(modules: Sequence[Module]) -> Iterator[tuple[Module, dict[str, Any]]]:
    """What to call in order: each module, with the keywords that make it do its neighbours' work too."""
    for module, keywords, _ in _calls(modules):
        yield module, keywords


def fused_pairs(sequential: Iterable[Module]) -> list[tuple[Module, Module]]:
    """The neighbours in ``sequential``, modules in order, that a :class:`Sequential` runs as one op.

    Each pair is the layer that is called, and the one whose work it does too.
    """
    return [(module, other) for module, _, others in _calls(list(sequential)) for other in others]


def _calls(modules: Sequence[Module]) -> Iterator[tuple[Module, dict[str, Any], list[Module]]]:
    """Each module to call, with what keywords, and the neighbours whose work that is."""
    # Beyond both ends nothing can be fused.
    padded = [*modules, None, None]
    number = 0
    while number < len(modules):
        module, keywords, others = modules[number], {}, []
        if _pools_rectified(module, padded[number + 1]):
            others.append(module)
            number += 1
            module, keywords = modules[number], {"activation": "relu"}
        following = padded[number + 1]
        more = _fused(module, following)
        if following is not None and more and not _pools_rectified(following, padded[number + 2]):
            keywords |= more
            others.append(following)
            number += 1
        yield module, keywords, others
        number += 1


def _pools_rectified(first: Module | None, second: Module | None) -> bool:
    """Whether a ReLU is followed by a max pooling that can rectify its own output instead."""
    return (
        type(first) is ReLU
        and type(second) is MaxPool2d
        and second.rectifies
        and _is_plain(first)
        and _is_plain(second)
    )


def _fused(first: Module, second: Module | None) -> dict[str, Any]:
    """The keywords with which ``first`` does what ``second`` would do after it; empty if it cannot."""
    if second is None or not (_is_plain(first) and _is_plain(second)):
        return {}
    if type(first) in _RECTIFYING and type(second) is ReLU:
        return {"activation": "relu"}
    if type(first) is MaxPool2d and type(second) is Flatten and not first.return_indices:
        return {"flatten": True} if (second.start_dim, second.end_dim) in ((1, -1), (1, 3)) else {}
    return {}


def _is_plain(module: Module) -> bool:
    # A subclass or a replaced forward may do anything, and a hook wants to see what its layer alone takes and gives.
    hooked = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks
    return not hooked and "forward" not in module.__dict__
