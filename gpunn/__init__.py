"""gpunn: neural-network layers on NumPy and CuPy, with hand-written CUDA kernels.

Names and defaults are PyTorch's. ``gpunn.guide`` shows how to use them, from a first network to a kernel of one's own.

``gpunn.nn`` has layers and losses, ``gpunn.optim`` optimisers and schedules, ``gpunn.data`` datasets and the loader,
``gpunn.train`` what goes with ``gpunn.Trainer``, ``gpunn.models`` the lectures' networks, ``gpunn.arrays`` the same
arithmetic without tensors, ``gpunn.cuda`` this machine's GPUs, ``gpunn.emulator`` CUDA kernels on the CPU, checked.

All but tensors are imported when first used.
"""

from __future__ import annotations

import importlib
from math import e, inf, nan, pi
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunn import errors
from gpunn._calls import explains
from gpunn._creation import (
    empty,
    empty_like,
    eye,
    full,
    full_like,
    is_tensor,
    ones,
    ones_like,
    scalar_tensor,
    tensor,
    zeros,
    zeros_like,
)
from gpunn._creation_shared import as_tensor, asarray, from_dlpack, from_numpy
from gpunn._interop import notice_einops, takes_arrays
from gpunn._tensor import Tensor
from gpunn._version import __version__
from gpunn.cpu.threads import get_num_threads, set_num_threads
from gpunn.tape import enable_grad, is_grad_enabled, no_grad, set_grad_enabled

if TYPE_CHECKING:
    from gpunn import (  # noqa: I001 - several names a line
        accelerator, amp, arrays, autograd, backends, compiler, cuda, data, distributed, distributions, fx, hub, jit,
        models, nn, onnx, optim, train, utils, version, vision,
    )  # fmt: skip
    from gpunn._capture import capture
    from gpunn._constants import Size, layout, strided
    from gpunn._creation_counted import arange, linspace
    from gpunn._creation_random import rand, rand_like, randint, randint_like, randn, randn_like, randperm
    from gpunn._default_device import get_default_device, set_default_device
    from gpunn._device_type import device
    from gpunn._dtypes import (
        BoolTensor, ByteTensor, CharTensor, DoubleTensor, FloatTensor, IntTensor, LongTensor, ShortTensor, bfloat16,
        finfo, float16, get_default_dtype, half, iinfo, is_floating_point, numel,
        set_default_dtype, set_printoptions, typename,
    )  # fmt: skip
    from gpunn._function import Function
    from gpunn._gradcheck import gradcheck
    from gpunn._lockstep import lockstep
    from gpunn._memory_format import channels_last, channels_last_3d, contiguous_format, memory_format, preserve_format
    from gpunn._precision import (
        get_float32_matmul_precision, get_precision, set_float32_matmul_precision, set_precision,
    )  # fmt: skip
    from gpunn._result_types import can_cast, promote_types, result_type
    from gpunn._saving import load, save
    from gpunn._settings import _assert as _assert
    from gpunn._settings import (
        are_deterministic_algorithms_enabled, get_num_interop_threads, set_num_interop_threads,
        use_deterministic_algorithms,
    )  # fmt: skip
    from gpunn._tensor_asked import is_complex, is_nonzero
    from gpunn._winograd import is_winograd_enabled, set_winograd_enabled
    from gpunn.amp import (
        GradScaler, autocast, clear_autocast_cache, get_autocast_dtype, is_autocast_cache_enabled, is_autocast_enabled,
    )  # fmt: skip
    from gpunn.composed.aliases import (
        absolute, arccos, arccosh, arcsin, arcsinh, arctan, arctan2, arctanh, divide, greater, greater_equal, less,
        less_equal, moveaxis, multiply, negative, not_equal, subtract, swapaxes, swapdims, true_divide,
    )  # fmt: skip
    from gpunn.composed.arithmetic import (
        addcdiv, addcmul, copysign, deg2rad, dist, exp2, fix, float_power, frac, heaviside, hypot, logaddexp,
        logaddexp2, logit, rad2deg, rsub, sgn, signbit, sinc, trunc, xlogy,
    )  # fmt: skip
    from gpunn.composed.histc import histc
    from gpunn.composed.distances import addbmm, addr, cdist, chain_matmul, inner, matrix_power, tensordot, vdot
    from gpunn.composed.joining import (
        atleast_1d, atleast_2d, atleast_3d, block_diag, cartesian_prod, column_stack, combinations, dsplit, dstack,
        hsplit, hstack, kron, row_stack, tensor_split, vsplit, vstack,
    )  # fmt: skip
    from gpunn.composed.ordered import kthvalue, median, mode, quantile
    from gpunn.composed.placing import argwhere, index_copy, index_fill, masked_scatter, take, tile
    from gpunn.composed.running import cummax, cummin, cumprod, diff, trapezoid, trapz
    from gpunn.composed.statistics import aminmax, nanmean, nansum, std_mean, var_mean
    from gpunn.composed.turning import diag_embed, diagflat, fliplr, flipud, rot90, tril_indices, triu_indices, vander
    from gpunn.ops.add import add, sub
    from gpunn.ops.addmm import addmm, addmv, baddbmm
    from gpunn.ops.atan import acos, acosh, asin, asinh, atan, atan2, atanh
    from gpunn.ops.cat import cat, concat, concatenate, stack
    from gpunn.ops.clamp import clamp, clip
    from gpunn.ops.clone import clone
    from gpunn.ops.compare import all_ as all
    from gpunn.ops.compare import any_ as any
    from gpunn.ops.compare import (
        allclose, bitwise_and, bitwise_not, bitwise_or, bitwise_xor, eq, equal, ge, gt, isclose, isfinite, isinf, isnan,
        le, logical_and, logical_not, logical_or, logical_xor, lt, ne,
    )  # fmt: skip
    from gpunn.ops.cross import cross
    from gpunn.ops.cumsum import cumsum
    from gpunn.ops.diagonal import diag, diagonal, trace
    from gpunn.ops.div import div, floor_divide, remainder
    from gpunn.ops.dot import dot, ger, mv, outer
    from gpunn.ops.einsum import einsum
    from gpunn.ops.erf import erf
    from gpunn.ops.erfinv import erfinv
    from gpunn.ops.expand import broadcast_shapes, broadcast_tensors, broadcast_to
    from gpunn.ops.flip import flip
    from gpunn.ops.fmod import fmod
    from gpunn.ops.gather import gather, take_along_dim
    from gpunn.ops.getitem import index_select, narrow, select
    from gpunn.ops.lerp import lerp
    from gpunn.ops.log_softmax import log_softmax
    from gpunn.ops.logsumexp import logsumexp
    from gpunn.ops.matmul import bmm, matmul, mm
    from gpunn.ops.max import amax, amin, argmax, argmin
    from gpunn.ops.max import max_ as max
    from gpunn.ops.max import min_ as min
    from gpunn.ops.maximum import maximum, minimum
    from gpunn.ops.meshgrid import meshgrid
    from gpunn.ops.mul import mul, neg
    from gpunn.ops.multinomial import bernoulli, multinomial, normal
    from gpunn.ops.nan_to_num import nan_to_num
    from gpunn.ops.nonzero import masked_select, nonzero
    from gpunn.ops.norm import norm
    from gpunn.ops.permute import movedim, permute, t, transpose
    from gpunn.ops.pow import pow_ as pow
    from gpunn.ops.prod import prod
    from gpunn.ops.relu import relu
    from gpunn.ops.repeat_interleave import repeat_interleave
    from gpunn.ops.reshape import flatten, ravel, reshape, squeeze, unflatten, unsqueeze
    from gpunn.ops.roll import roll
    from gpunn.ops.searchsorted import bucketize, searchsorted
    from gpunn.ops.scatter import index_add, scatter, scatter_add
    from gpunn.ops.sigmoid import sigmoid
    from gpunn.ops.sinh import clamp_max, clamp_min, cosh, log10, log2, sinh, tan
    from gpunn.ops.softmax import softmax
    from gpunn.ops.sort import argsort, sort, topk
    from gpunn.ops.split import chunk, split, unbind
    from gpunn.ops.sum import mean
    from gpunn.ops.sum import sum_ as sum
    from gpunn.ops.tanh import tanh
    from gpunn.ops.tril import tril, triu
    from gpunn.ops.unary import abs_ as abs
    from gpunn.ops.unary import (
        ceil, cos, exp, expm1, floor, log, log1p, reciprocal, rsqrt, sign, sin, sqrt, square,
    )  # fmt: skip
    from gpunn.ops.unary import round_ as round
    from gpunn.ops.unique import bincount, count_nonzero, unique
    from gpunn.ops.var import std, var
    from gpunn.ops.where import masked_fill, where
    from gpunn.random import Generator, manual_seed
    from gpunn.serialize import load_file, save_file
    from gpunn.train import Trainer

float32 = np.dtype("float32")
float64 = np.dtype("float64")
int8 = np.dtype("int8")
int16 = np.dtype("int16")
int32 = np.dtype("int32")
int64 = np.dtype("int64")
uint8 = np.dtype("uint8")
dtype = np.dtype  # the class of all of them
newaxis = None
# PyTorch's other names, which are Python's types' too: only as gpunn.float and so on.
bool = np.dtype("bool")
double = float64
float = float32
int = int32
long = int64
short = int16

# module -> what comes from it when it is first asked for; a module that is called like the name is it
_FROM = {
    "gpunn._capture": "capture",
    "gpunn._constants": "Size layout strided",
    "gpunn._creation_counted": "arange linspace",
    "gpunn._creation_random": "rand rand_like randint randint_like randn randn_like randperm",
    "gpunn._device_type": "device",
    "gpunn._default_device": "get_default_device set_default_device",
    "gpunn._dtypes": (
        "BoolTensor ByteTensor CharTensor DoubleTensor FloatTensor IntTensor LongTensor ShortTensor bfloat16 "
        "finfo float16 get_default_dtype half iinfo is_floating_point numel "
        "set_default_dtype set_printoptions typename"
    ),
    "gpunn._function": "Function",
    "gpunn._grad_mode": "inference_mode",
    "gpunn._gradcheck": "gradcheck",
    "gpunn._lockstep": "lockstep",
    "gpunn._memory_format": "channels_last channels_last_3d contiguous_format memory_format preserve_format",
    "gpunn._precision": "get_float32_matmul_precision get_precision set_float32_matmul_precision set_precision",
    "gpunn._result_types": "can_cast promote_types result_type",
    "gpunn._rng_state": "get_rng_state initial_seed seed set_rng_state",
    "gpunn._saving": "load save",
    "gpunn._settings": (
        "_assert are_deterministic_algorithms_enabled get_num_interop_threads set_num_interop_threads "
        "use_deterministic_algorithms"
    ),
    "gpunn._tensor_asked": "is_complex is_nonzero",
    "gpunn._winograd": "is_winograd_enabled set_winograd_enabled",
    "gpunn.accelerator": "accelerator",
    "gpunn.amp": "GradScaler amp autocast clear_autocast_cache get_autocast_dtype is_autocast_cache_enabled "
    "is_autocast_enabled",
    "gpunn.arrays": "arrays",
    "gpunn.autograd": "autograd",
    "gpunn.backends": "backends",
    "gpunn.compiler": "compiler",
    "gpunn.composed.aliases": (
        "absolute arccos arccosh arcsin arcsinh arctan arctan2 arctanh divide greater greater_equal less "
        "less_equal moveaxis multiply negative not_equal subtract swapaxes swapdims true_divide"
    ),
    "gpunn.composed.arithmetic": (
        "addcdiv addcmul copysign deg2rad dist exp2 fix float_power frac heaviside hypot logaddexp logaddexp2 "
        "logit rad2deg rsub sgn signbit sinc trunc xlogy"
    ),
    "gpunn.composed.histc": "histc",
    "gpunn.composed.distances": "addbmm addr cdist chain_matmul inner matrix_power tensordot vdot",
    "gpunn.composed.joining": (
        "atleast_1d atleast_2d atleast_3d block_diag cartesian_prod column_stack combinations dsplit dstack "
        "hsplit hstack kron row_stack tensor_split vsplit vstack"
    ),
    "gpunn.composed.ordered": "kthvalue median mode quantile",
    "gpunn.composed.placing": "argwhere index_copy index_fill masked_scatter take tile",
    "gpunn.composed.running": "cummax cummin cumprod diff trapezoid trapz",
    "gpunn.composed.statistics": "aminmax nanmean nansum std_mean var_mean",
    "gpunn.composed.turning": "diag_embed diagflat fliplr flipud rot90 tril_indices triu_indices vander",
    "gpunn.cuda": "cuda",
    "gpunn.data": "data",
    "gpunn.distributed": "distributed",
    "gpunn.distributions": "distributions",
    "gpunn.fx": "fx",
    "gpunn.hub": "hub",
    "gpunn.jit": "compile jit",
    "gpunn.models": "models",
    "gpunn.nn": "nn",
    "gpunn.onnx": "onnx",
    "gpunn.ops.add": "add sub",
    "gpunn.ops.addmm": "addmm addmv baddbmm",
    "gpunn.ops.atan": "acos acosh asin asinh atan atan2 atanh",
    "gpunn.ops.cat": "cat concat concatenate stack",
    "gpunn.ops.clamp": "clamp clip",
    "gpunn.ops.clone": "clone",
    "gpunn.ops.compare": (
        "all allclose any bitwise_and bitwise_not bitwise_or bitwise_xor eq equal ge gt isclose isfinite isinf isnan "
        "le logical_and logical_not logical_or logical_xor lt ne"
    ),
    "gpunn.ops.cross": "cross",
    "gpunn.ops.cumsum": "cumsum",
    "gpunn.ops.diagonal": "diag diagonal trace",
    "gpunn.ops.div": "div floor_divide remainder",
    "gpunn.ops.dot": "dot ger mv outer",
    "gpunn.ops.einsum": "einsum",
    "gpunn.ops.erf": "erf",
    "gpunn.ops.erfinv": "erfinv",
    "gpunn.ops.expand": "broadcast_shapes broadcast_tensors broadcast_to",
    "gpunn.ops.flip": "flip",
    "gpunn.ops.fmod": "fmod",
    "gpunn.ops.gather": "gather take_along_dim",
    "gpunn.ops.getitem": "index_select narrow select",
    "gpunn.ops.lerp": "lerp",
    "gpunn.ops.log_softmax": "log_softmax",
    "gpunn.ops.logsumexp": "logsumexp",
    "gpunn.ops.matmul": "bmm matmul mm",
    "gpunn.ops.max": "amax amin argmax argmin max min",
    "gpunn.ops.maximum": "maximum minimum",
    "gpunn.ops.meshgrid": "meshgrid",
    "gpunn.ops.mul": "mul neg",
    "gpunn.ops.multinomial": "bernoulli multinomial normal",
    "gpunn.ops.nan_to_num": "nan_to_num",
    "gpunn.ops.nonzero": "masked_select nonzero",
    "gpunn.ops.norm": "norm",
    "gpunn.ops.permute": "movedim permute t transpose",
    "gpunn.ops.pow": "pow",
    "gpunn.ops.prod": "prod",
    "gpunn.ops.relu": "relu",
    "gpunn.ops.repeat_interleave": "repeat_interleave",
    "gpunn.ops.reshape": "flatten ravel reshape squeeze unflatten unsqueeze",
    "gpunn.ops.roll": "roll",
    "gpunn.ops.scatter": "index_add scatter scatter_add",
    "gpunn.ops.searchsorted": "bucketize searchsorted",
    "gpunn.ops.sigmoid": "sigmoid",
    "gpunn.ops.sinh": "clamp_max clamp_min cosh log10 log2 sinh tan",
    "gpunn.ops.softmax": "softmax",
    "gpunn.ops.sort": "argsort sort topk",
    "gpunn.ops.split": "chunk split unbind",
    "gpunn.ops.sum": "mean sum",
    "gpunn.ops.tanh": "tanh",
    "gpunn.ops.tril": "tril triu",
    "gpunn.ops.unary": "abs ceil cos exp expm1 floor log log1p reciprocal round rsqrt sign sin sqrt square",
    "gpunn.ops.unique": "bincount count_nonzero unique",
    "gpunn.ops.var": "std var",
    "gpunn.ops.where": "masked_fill where",
    "gpunn.optim": "optim",
    "gpunn.random": "Generator manual_seed random",
    "gpunn.serialize": "load_file save_file",
    "gpunn.train": "Trainer train",
    "gpunn.utils": "utils",
    "gpunn.version": "version",
    "gpunn.vision": "vision",
}
_LAZY = {name: module for module, names in _FROM.items() for name in names.split()}

__all__ = [
    "BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor", "Function", "Generator", "GradScaler",
    "IntTensor", "LongTensor", "ShortTensor", "Size", "Tensor", "Trainer", "__version__", "abs", "absolute",
    "accelerator", "acos", "acosh", "add", "addbmm", "addcdiv", "addcmul", "addmm", "addmv", "addr", "all", "allclose",
    "amax", "amin", "aminmax", "amp", "any", "arange", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2",
    "arctanh", "are_deterministic_algorithms_enabled", "argmax", "argmin", "argsort", "argwhere", "arrays", "as_tensor",
    "asarray", "asin", "asinh", "atan", "atan2", "atanh", "atleast_1d", "atleast_2d", "atleast_3d", "autocast",
    "autograd", "backends", "baddbmm", "bernoulli", "bfloat16", "bincount", "bitwise_and", "bitwise_not", "bitwise_or",
    "bitwise_xor", "block_diag", "bmm", "bool", "broadcast_shapes", "broadcast_tensors", "broadcast_to", "bucketize",
    "can_cast", "capture", "cartesian_prod", "cat", "cdist", "ceil", "chain_matmul", "channels_last",
    "channels_last_3d", "chunk", "clamp", "clamp_max", "clamp_min", "clear_autocast_cache", "clip", "clone",
    "column_stack", "combinations", "compile", "compiler", "concat", "concatenate", "contiguous_format", "copysign",
    "cos", "cosh", "count_nonzero", "cross", "cuda", "cummax", "cummin", "cumprod", "cumsum", "data", "deg2rad",
    "device", "diag", "diag_embed", "diagflat", "diagonal", "diff", "dist", "distributed", "distributions", "div",
    "divide", "dot", "double", "dsplit", "dstack", "dtype", "e", "einsum", "empty", "empty_like", "enable_grad", "eq",
    "equal", "erf", "erfinv", "errors", "exp", "exp2", "expm1", "eye", "finfo", "fix", "flatten", "flip", "fliplr",
    "flipud", "float", "float16", "float32", "float64", "float_power", "floor", "floor_divide", "fmod", "frac",
    "from_dlpack", "from_numpy", "full", "full_like", "fx", "gather", "ge", "ger", "get_autocast_dtype",
    "get_default_device", "get_default_dtype", "get_float32_matmul_precision", "get_num_interop_threads",
    "get_num_threads", "get_precision", "get_rng_state", "gradcheck", "greater", "greater_equal", "gt", "half",
    "heaviside", "histc", "hsplit", "hstack", "hub", "hypot", "iinfo", "index_add", "index_copy", "index_fill",
    "index_select", "inf", "inference_mode", "initial_seed", "inner", "int", "int16", "int32", "int64", "int8",
    "is_autocast_cache_enabled", "is_autocast_enabled", "is_complex", "is_floating_point", "is_grad_enabled",
    "is_nonzero", "is_tensor", "is_winograd_enabled", "isclose", "isfinite", "isinf", "isnan", "jit", "kron",
    "kthvalue", "layout", "le", "lerp", "less", "less_equal", "linspace", "load", "load_file", "lockstep", "log",
    "log10", "log1p", "log2", "log_softmax", "logaddexp", "logaddexp2", "logical_and", "logical_not", "logical_or",
    "logical_xor", "logit", "logsumexp", "long", "lt", "manual_seed", "masked_fill", "masked_scatter", "masked_select",
    "matmul", "matrix_power", "max", "maximum", "mean", "median", "memory_format", "meshgrid", "min", "minimum", "mm",
    "mode", "models", "moveaxis", "movedim", "mul", "multinomial", "multiply", "mv", "nan", "nan_to_num", "nanmean",
    "nansum", "narrow", "ne", "neg", "negative", "nn", "no_grad", "nonzero", "norm", "normal", "not_equal", "numel",
    "ones", "ones_like", "onnx", "optim", "outer", "permute", "pi", "pow", "preserve_format", "prod", "promote_types",
    "quantile", "rad2deg", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like", "random", "randperm",
    "ravel", "reciprocal", "relu", "remainder", "repeat_interleave", "reshape", "result_type", "roll", "rot90", "round",
    "row_stack", "rsqrt", "rsub", "save", "save_file", "scalar_tensor", "scatter", "scatter_add", "searchsorted",
    "seed", "select", "set_default_device", "set_default_dtype", "set_float32_matmul_precision", "set_grad_enabled",
    "set_num_interop_threads", "set_num_threads", "set_precision", "set_printoptions", "set_rng_state",
    "set_winograd_enabled", "sgn", "short", "sigmoid", "sign", "signbit", "sin", "sinc", "sinh", "softmax", "sort",
    "split", "sqrt", "square", "squeeze", "stack", "std", "std_mean", "strided", "sub", "subtract", "sum", "swapaxes",
    "swapdims", "t", "take", "take_along_dim", "tan", "tanh", "tensor", "tensor_split", "tensordot", "tile", "topk",
    "trace", "train", "transpose", "trapezoid", "trapz", "tril", "tril_indices", "triu", "triu_indices", "true_divide",
    "trunc", "typename", "uint8", "unbind", "unflatten",
    "unique", "unsqueeze", "use_deterministic_algorithms", "utils", "vander", "var", "var_mean", "vdot", "version",
    "vision", "vsplit", "vstack", "where", "xlogy", "zeros", "zeros_like",
]  # fmt: skip

# These are not lazy; internally they call one another as they are. Grad modes are seldom given anything wrong.
_EAGER = "as_tensor asarray empty empty_like eye from_dlpack from_numpy full full_like ones"
for _name in f"{_EAGER} ones_like scalar_tensor set_num_threads tensor zeros zeros_like".split():
    globals()[_name] = explains(globals()[_name])

notice_einops()


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        from gpunn._missing import no_such_name

        raise no_such_name("gpunn", name)
    module = importlib.import_module(_LAZY[name])
    if module.__name__ == f"gpunn.{name}":
        return module
    # A function called like one of Python's own, such as max, ends in _ where it is defined.
    found = getattr(module, name if hasattr(module, name) else f"{name}_")
    if isinstance(found, type) or not callable(found):
        return found
    return takes_arrays(found) if module.__name__.startswith(("gpunn.ops.", "gpunn.composed.")) else explains(found)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
