"""Tensor's methods that are made when they are first asked for: each is a function of ``gpunn`` with the tensor first.

So ``import gpunn`` does not grow with their number. They are descriptors; the first look at one replaces it by the
method. They stand before ``AbsentMethods``, which hides what is not there at all.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gpunn._keywords import taking_keywords

# module -> the methods that are functions in it; one that changes the tensor ends in _ there too
_FROM = {
    "addmm": "addmm addmv baddbmm",
    "compare": "isclose",
    "cross": "cross",
    "cumsum": "cumsum",
    "diagonal": "diag diagonal trace",
    "dot": "dot ger mv outer",
    "fmod": "fmod",
    "lerp": "lerp",
    "logsumexp": "logsumexp",
    "multinomial": "bernoulli bernoulli_ multinomial",
    "nan_to_num": "nan_to_num",
    "repeat_interleave": "repeat_interleave",
    "roll": "roll",
    "scatter": "index_add index_add_ scatter scatter_ scatter_add scatter_add_",
    "sinh": "clamp_max clamp_min cosh log10 log2 sinh tan",
    "sort": "argsort sort topk",
    "unfold": "unfold",
    "unique": "bincount count_nonzero unique",
}


class _Late:
    """A method that is not made yet."""

    __slots__ = ("module", "name")
    module: str
    name: str

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        function = getattr(importlib.import_module(f"gpunn.ops.{self.module}"), self.name)
        method = taking_keywords(self.name, function)
        setattr(LateMethods, self.name, method)
        return method if instance is None else method.__get__(instance, owner)


class LateMethods:
    """Mixed into :class:`gpunn.Tensor`."""

    __slots__ = ()

    if TYPE_CHECKING:
        from gpunn.ops import addmm as _addmm
        from gpunn.ops import compare as _compare
        from gpunn.ops import cross as _cross
        from gpunn.ops import cumsum as _cumsum
        from gpunn.ops import diagonal as _diagonal
        from gpunn.ops import dot as _dot
        from gpunn.ops import fmod as _fmod
        from gpunn.ops import lerp as _lerp
        from gpunn.ops import logsumexp as _logsumexp
        from gpunn.ops import multinomial as _multinomial
        from gpunn.ops import nan_to_num as _nan_to_num
        from gpunn.ops import repeat_interleave as _repeat_interleave
        from gpunn.ops import roll as _roll
        from gpunn.ops import scatter as _scatter
        from gpunn.ops import sinh as _sinh
        from gpunn.ops import sort as _sort
        from gpunn.ops import unfold as _unfold
        from gpunn.ops import unique as _unique

        addmm, addmv, baddbmm = _addmm.addmm, _addmm.addmv, _addmm.baddbmm
        isclose = _compare.isclose
        diag, diagonal, trace = _diagonal.diag, _diagonal.diagonal, _diagonal.trace
        dot, ger, mv, outer = _dot.dot, _dot.ger, _dot.mv, _dot.outer
        lerp = _lerp.lerp
        logsumexp = _logsumexp.logsumexp
        nan_to_num = _nan_to_num.nan_to_num
        repeat_interleave = _repeat_interleave.repeat_interleave
        roll = _roll.roll
        cross = _cross.cross
        cumsum = _cumsum.cumsum
        fmod = _fmod.fmod
        bernoulli, bernoulli_ = _multinomial.bernoulli, _multinomial.bernoulli_
        multinomial = _multinomial.multinomial
        index_add = _scatter.index_add
        index_add_ = _scatter.index_add_
        scatter = _scatter.scatter
        scatter_ = _scatter.scatter_
        scatter_add = _scatter.scatter_add
        scatter_add_ = _scatter.scatter_add_
        clamp_max = _sinh.clamp_max
        clamp_min = _sinh.clamp_min
        cosh = _sinh.cosh
        log10 = _sinh.log10
        log2 = _sinh.log2
        sinh = _sinh.sinh
        tan = _sinh.tan
        argsort = _sort.argsort
        sort = _sort.sort
        topk = _sort.topk
        unfold = _unfold.unfold
        bincount = _unique.bincount
        count_nonzero = _unique.count_nonzero
        unique = _unique.unique


for _module, _names in _FROM.items():
    for _name in _names.split():
        _late = _Late()
        _late.module, _late.name = _module, _name
        setattr(LateMethods, _name, _late)
