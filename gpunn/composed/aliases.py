"""Other names that PyTorch has for functions: one line each, the same function."""

from __future__ import annotations

from gpunn.ops.add import sub
from gpunn.ops.atan import acos, acosh, asin, asinh, atan, atan2, atanh
from gpunn.ops.compare import ge, gt, le, lt, ne
from gpunn.ops.div import div
from gpunn.ops.mul import mul, neg
from gpunn.ops.permute import movedim, transpose
from gpunn.ops.unary import abs_

absolute = abs_
arccos, arccosh, arcsin, arcsinh, arctan, arctan2, arctanh = acos, acosh, asin, asinh, atan, atan2, atanh
divide = true_divide = div
greater, greater_equal, less, less_equal, not_equal = gt, ge, lt, le, ne
moveaxis = movedim
multiply = mul
negative = neg
subtract = sub
swapaxes = swapdims = transpose
