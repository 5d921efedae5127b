"""Other names of arguments, and which functions have ``out``: tables of ``differences.py``."""

from __future__ import annotations

# PyTorch's name of a parameter, its documentation's, or NumPy's, which PyTorch takes too -> what we may call it.
NAMES: dict[str, tuple[str, ...]] = {
    "input": ("x", "a", "base"),
    "self": ("x", "a", "base", "input"),
    "tensor": ("x", "other"),
    "x": ("a", "base", "input"),
    "a": ("x", "base", "input"),
    "x1": ("x", "a", "base", "input"),
    "other": ("b", "source"),
    "x2": ("b", "other", "source"),
    "mat2": ("b", "other"),
    "tensor2": ("b", "other"),
    "value": ("other",),
    "src": ("source",),
    "obj": ("data",),
    "ext_tensor": ("data",),
    "ndarray": ("array",),
    "s": ("value",),
    "y": ("other",),
    "axis": ("dim", "dims"),
    "dimension": ("dim",),
    "axis0": ("dim0",),
    "indices": ("indices_or_sections",),
    "sections": ("indices_or_sections",),
    "tensor_indices_or_sections": ("indices_or_sections",),
    "axis1": ("dim1",),
    "keepdims": ("keepdim",),
    "size": ("shape",),
    "from": ("low",),
    "to": ("high",),
}
NAMES_OF = {
    ("max", "other"): "dim",  # one parameter for both, as by position
    ("min", "other"): "dim",
    ("max", "x2"): "dim",
    ("min", "x2"): "dim",
    ("where", "input"): "a",
}

# What a function takes as ``*shape``, ``*dims`` or the like may be given by any of these names.
LENGTHS = frozenset(("size", "sizes", "shape", "dims", "repeats"))

# Functions whose result can be written into ``out``.
_WITH_OUT = (
    "abs add all amax amin any argmax argmin bitwise_and bitwise_not bitwise_or bitwise_xor bmm cat ceil clamp cos div",
    "erf exp expm1 floor floor_divide gather index_select log log1p log_softmax logical_and logical_not logical_or",
    "logical_xor masked_select matmul max maximum mean min minimum mm mul neg nonzero norm normalize",
    "pow prod reciprocal remainder round rsqrt sigmoid sign sin softmax sqrt square stack std sub sum",
    "take_along_dim tanh tril triu var where",
    "argsort bernoulli clamp_max clamp_min cosh cross cumsum fmod index_add log10 log2 multinomial normal scatter",
    "scatter_add sinh sort tan topk",
    "eq ge gt le lt ne",
    "addmm addmv baddbmm diag dot ger hardshrink lerp logsumexp mv nan_to_num outer",
    "addbmm addr aminmax bucketize column_stack cummax cummin cumprod diff dstack histc hstack",
    "index_copy inner kron kthvalue matrix_power median mode nanmean nansum quantile row_stack searchsorted take",
    "tensordot vdot vstack",
    "acos acosh addcdiv addcmul asin asinh atan atan2 atanh copysign deg2rad eq erfinv exp2 fix float_power frac",
    "ge gt heaviside hypot le logaddexp logaddexp2 logit lt ne rad2deg sgn signbit sinc trunc xlogy",
)
OUT = frozenset(name for line in _WITH_OUT for name in line.split())
