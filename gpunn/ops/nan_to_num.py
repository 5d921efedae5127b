"""Numbers in place of NaN and infinities, composed of ops that have kernels."""

from __future__ import annotations

from gpunn._half import FLOAT32, FLOATING, limits
from gpunn._shared.numbers import real_number
from gpunn._tensor import Tensor
from gpunn.ops.compare import compare, isnan
from gpunn.ops.where import where


def nan_to_num(x: Tensor, nan: float | None = 0.0, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    """x with numbers in place of NaN and infinities; no gradient flows where they stand.

    Parameters
    ----------
    x : Tensor
        Integers and bools are copied.
    nan : float, optional
        In place of NaN; 0 if None.
    posinf, neginf : float, optional
        In place of infinity and minus infinity; the largest and the smallest number of x's dtype if None.

    Examples
    --------
    >>> import gpunn
    >>> nan_to_num(gpunn.tensor([1.0, float("nan")])).tolist()
    [1.0, 0.0]
    """
    op = "nan_to_num"
    ends = limits(x.dtype if x.dtype.kind in FLOATING else FLOAT32)
    given = {"nan": (nan, 0.0), "posinf": (posinf, float(ends.max)), "neginf": (neginf, float(ends.min))}
    numbers = {
        name: otherwise if value is None else real_number(op, name, value, finite=False)
        for name, (value, otherwise) in given.items()
    }
    if x.dtype.kind not in FLOATING:
        return x.clone()
    y = where(isnan(x), numbers["nan"], x)
    y = where(compare("eq", x, float("inf")), numbers["posinf"], y)
    return where(compare("eq", x, float("-inf")), numbers["neginf"], y)
