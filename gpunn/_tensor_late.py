"""Tensor's methods that are made when they are first asked for: each is a function of ``gpunn`` with the tensor first.

So ``import gpunn`` does not grow with their number. They are descriptors; the first look at one replaces it by the
method. They stand before ``AbsentMethods``, which hides what is not there at all.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gpunn._in_place import rewrite
from gpunn._keywords import parameters, taking_keywords

# module -> the methods that are functions in it; one that changes the tensor ends in _ there too
_FROM = {
    "_tensor_asked": (
        "data_ptr get_device is_complex is_inference is_nonzero is_pinned is_same_size is_shared is_signed new "
        "pin_memory share_memory_"
    ),
    "composed.aliases": (
        "absolute arccos arccosh arcsin arcsinh arctan arctan2 arctanh divide greater greater_equal less "
        "less_equal moveaxis multiply negative not_equal subtract swapaxes swapdims true_divide"
    ),
    "composed.arithmetic": (
        "addcdiv addcmul copysign deg2rad dist exp2 fix float_power frac heaviside hypot logaddexp logaddexp2 "
        "logit rad2deg sgn signbit sinc trunc xlogy"
    ),
    "composed.histc": "histc",
    "composed.distances": "addbmm addr inner matrix_power vdot",
    "composed.joining": "dsplit hsplit kron tensor_split vsplit",
    "composed.ordered": "kthvalue median mode quantile",
    "composed.placing": "argwhere index_copy index_fill masked_scatter take tile",
    "composed.running": "cummax cummin cumprod diff",
    "composed.statistics": "aminmax nanmean nansum",
    "composed.turning": "diag_embed diagflat fliplr flipud rot90",
    "ops.addmm": "addmm addmv baddbmm",
    "ops.atan": "acos acosh asin asinh atan atan2 atanh",
    "ops.compare": "isclose",
    "ops.cross": "cross",
    "ops.cumsum": "cumsum",
    "ops.diagonal": "diag diagonal trace",
    "ops.dot": "dot ger mv outer",
    "ops.erfinv": "erfinv",
    "ops.fmod": "fmod",
    "ops.lerp": "lerp",
    "ops.logsumexp": "logsumexp",
    "ops.multinomial": "bernoulli bernoulli_ multinomial",
    "ops.nan_to_num": "nan_to_num",
    "ops.repeat_interleave": "repeat_interleave",
    "ops.roll": "roll",
    "ops.scatter": "index_add index_add_ scatter scatter_ scatter_add scatter_add_",
    "ops.sinh": "clamp_max clamp_min cosh log10 log2 sinh tan",
    "ops.sort": "argsort sort topk",
    "ops.unfold": "unfold",
    "ops.unique": "bincount count_nonzero unique",
}
# module -> functions in it of which there is a method ending in _ too: the tensor becomes the function's result
_IN_PLACE = {
    "composed.aliases": (
        "absolute arccos arccosh arcsin arcsinh arctan arctan2 arctanh greater greater_equal less less_equal not_equal"
    ),
    "composed.arithmetic": (
        "addcdiv addcmul copysign deg2rad exp2 fix float_power frac heaviside hypot logit rad2deg sgn sinc trunc xlogy"
    ),
    "composed.distances": "addbmm addr",
    "composed.placing": "index_copy index_fill masked_scatter",
    "composed.running": "cumprod",
    "ops.addmm": "addmm addmv baddbmm",
    "ops.atan": "acos acosh asin asinh atan atan2 atanh",
    "ops.compare": "eq ge gt le lt ne",
    "ops.cumsum": "cumsum",
    "ops.erfinv": "erfinv",
    "ops.fmod": "fmod",
    "ops.lerp": "lerp",
    "ops.nan_to_num": "nan_to_num",
    "ops.sinh": "clamp_max clamp_min cosh log10 log2 sinh tan",
}
# What is asked for without parentheses; functions in ``_tensor_asked``
_PROPERTIES = "H is_cpu is_meta is_mps is_nested is_quantized is_sparse is_xpu itemsize layout nbytes real retains_grad"


class _Late:
    """A method or a property that is not made yet."""

    __slots__ = ("make", "module", "name")
    module: str
    name: str
    make: Callable[[str, Any], Any]

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        module = importlib.import_module(f"gpunn.{self.module}")
        made = self.make(self.name, getattr(module, self.name, None) or getattr(module, self.name.rstrip("_")))
        setattr(LateMethods, self.name, made)
        return made.__get__(instance, owner)


def _in_place(name: str, function: Any) -> Any:
    """The method ``name`` that lets a tensor become what ``function`` makes of it."""

    def method(x: Any, *args: Any, **named: Any) -> Any:
        return rewrite(x, name, lambda x: function(x, *args, **named), *args, *named.values())

    method.__name__ = name
    method.__wrapped__ = function  # type: ignore[attr-defined]
    method.__doc__ = f":func:`gpunn.{name[:-1]}` in place; returns itself."
    return taking_keywords(name, method, parameters(function))


def _property(name: str, function: Any) -> Any:
    return property(function)


class LateMethods:
    """Mixed into :class:`gpunn.Tensor`."""

    __slots__ = ()

    if TYPE_CHECKING:
        from gpunn.composed import arithmetic as _arithmetic
        from gpunn.composed import distances as _distances
        from gpunn.composed import histc as _histc
        from gpunn.composed import joining as _joining
        from gpunn.composed import ordered as _ordered
        from gpunn.composed import placing as _placing
        from gpunn.composed import running as _running
        from gpunn.composed import statistics as _statistics
        from gpunn.composed import turning as _turning
        from gpunn.ops import addmm as _addmm
        from gpunn.ops import atan as _atan
        from gpunn.ops import compare as _compare
        from gpunn.ops import cross as _cross
        from gpunn.ops import cumsum as _cumsum
        from gpunn.ops import diagonal as _diagonal
        from gpunn.ops import dot as _dot
        from gpunn.ops import erfinv as _erfinv
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
        bernoulli = _multinomial.bernoulli
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
        bincount = _unique.bincount
        count_nonzero = _unique.count_nonzero
        unique = _unique.unique
        acos = _atan.acos
        acosh = _atan.acosh
        asin = _atan.asin
        asinh = _atan.asinh
        atan = _atan.atan
        atan2 = _atan.atan2
        atanh = _atan.atanh
        acos_ = _atan.acos
        acosh_ = _atan.acosh
        asin_ = _atan.asin
        asinh_ = _atan.asinh
        atan_ = _atan.atan
        atan2_ = _atan.atan2
        atanh_ = _atan.atanh
        erfinv = _erfinv.erfinv
        erfinv_ = _erfinv.erfinv
        eq_ = _compare.eq
        ge_ = _compare.ge
        gt_ = _compare.gt
        le_ = _compare.le
        lt_ = _compare.lt
        ne_ = _compare.ne
        absolute: Callable[..., Any]
        arccos: Callable[..., Any]
        arccosh: Callable[..., Any]
        arcsin: Callable[..., Any]
        arcsinh: Callable[..., Any]
        arctan: Callable[..., Any]
        arctan2: Callable[..., Any]
        arctanh: Callable[..., Any]
        divide: Callable[..., Any]
        true_divide: Callable[..., Any]
        greater: Callable[..., Any]
        greater_equal: Callable[..., Any]
        less: Callable[..., Any]
        less_equal: Callable[..., Any]
        not_equal: Callable[..., Any]
        moveaxis: Callable[..., Any]
        multiply: Callable[..., Any]
        negative: Callable[..., Any]
        subtract: Callable[..., Any]
        swapaxes: Callable[..., Any]
        swapdims: Callable[..., Any]
        absolute_: Callable[..., Any]
        arccos_: Callable[..., Any]
        arccosh_: Callable[..., Any]
        arcsin_: Callable[..., Any]
        arcsinh_: Callable[..., Any]
        arctan_: Callable[..., Any]
        arctan2_: Callable[..., Any]
        arctanh_: Callable[..., Any]
        greater_: Callable[..., Any]
        greater_equal_: Callable[..., Any]
        less_: Callable[..., Any]
        less_equal_: Callable[..., Any]
        not_equal_: Callable[..., Any]
        addcdiv = _arithmetic.addcdiv
        addcmul = _arithmetic.addcmul
        copysign = _arithmetic.copysign
        deg2rad = _arithmetic.deg2rad
        exp2 = _arithmetic.exp2
        fix = _arithmetic.fix
        float_power = _arithmetic.float_power
        frac = _arithmetic.frac
        heaviside = _arithmetic.heaviside
        hypot = _arithmetic.hypot
        logaddexp = _arithmetic.logaddexp
        logaddexp2 = _arithmetic.logaddexp2
        logit = _arithmetic.logit
        rad2deg = _arithmetic.rad2deg
        sgn = _arithmetic.sgn
        signbit = _arithmetic.signbit
        sinc = _arithmetic.sinc
        trunc = _arithmetic.trunc
        xlogy = _arithmetic.xlogy
        dist = _arithmetic.dist
        addcdiv_ = _arithmetic.addcdiv
        addcmul_ = _arithmetic.addcmul
        copysign_ = _arithmetic.copysign
        deg2rad_ = _arithmetic.deg2rad
        exp2_ = _arithmetic.exp2
        fix_ = _arithmetic.fix
        float_power_ = _arithmetic.float_power
        frac_ = _arithmetic.frac
        heaviside_ = _arithmetic.heaviside
        hypot_ = _arithmetic.hypot
        logit_ = _arithmetic.logit
        rad2deg_ = _arithmetic.rad2deg
        sgn_ = _arithmetic.sgn
        sinc_ = _arithmetic.sinc
        trunc_ = _arithmetic.trunc
        xlogy_ = _arithmetic.xlogy
        addmm_ = _addmm.addmm
        addmv_ = _addmm.addmv
        baddbmm_ = _addmm.baddbmm
        clamp_min_ = _sinh.clamp_min
        clamp_max_ = _sinh.clamp_max
        cosh_ = _sinh.cosh
        log10_ = _sinh.log10
        log2_ = _sinh.log2
        sinh_ = _sinh.sinh
        tan_ = _sinh.tan
        cumsum_ = _cumsum.cumsum
        fmod_ = _fmod.fmod
        nan_to_num_ = _nan_to_num.nan_to_num
        unfold = _unfold.unfold
        bernoulli_ = _multinomial.bernoulli_
        kron = _joining.kron
        tensor_split = _joining.tensor_split
        hsplit = _joining.hsplit
        vsplit = _joining.vsplit
        dsplit = _joining.dsplit
        fliplr = _turning.fliplr
        flipud = _turning.flipud
        rot90 = _turning.rot90
        diag_embed = _turning.diag_embed
        diagflat = _turning.diagflat
        argwhere = _placing.argwhere
        take = _placing.take
        tile = _placing.tile
        masked_scatter = _placing.masked_scatter
        index_fill = _placing.index_fill
        index_copy = _placing.index_copy
        masked_scatter_ = _placing.masked_scatter
        index_fill_ = _placing.index_fill
        index_copy_ = _placing.index_copy
        aminmax = _statistics.aminmax
        nansum = _statistics.nansum
        nanmean = _statistics.nanmean
        kthvalue = _ordered.kthvalue
        median = _ordered.median
        mode = _ordered.mode
        quantile = _ordered.quantile
        cumprod = _running.cumprod
        cummax = _running.cummax
        cummin = _running.cummin
        diff = _running.diff
        cumprod_ = _running.cumprod
        inner = _distances.inner
        vdot = _distances.vdot
        addr = _distances.addr
        addbmm = _distances.addbmm
        matrix_power = _distances.matrix_power
        addr_ = _distances.addr
        addbmm_ = _distances.addbmm
        histc = _histc.histc


def _promise(names: str, module: str, make: Callable[[str, Any], Any]) -> None:
    for name in names.split():
        late = _Late()
        late.module, late.name, late.make = module, name, make
        setattr(LateMethods, name, late)


for _module, _names in _FROM.items():
    _promise(_names, _module, taking_keywords)
for _module, _names in _IN_PLACE.items():
    _promise(" ".join(f"{name}_" for name in _names.split()), _module, _in_place)
_promise(_PROPERTIES, "_tensor_asked", _property)
