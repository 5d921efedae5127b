"""The inverse of the error function, by which Gaussian numbers are made of uniform ones (``kernels/erf.cu``)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gpunn._autocast import casting
from gpunn._device import Device
from gpunn._half import FLOATING
from gpunn._tensor import Tensor
from gpunn.cpu.elementwise import quiet
from gpunn.errors import DTypeError, here
from gpunn.gpu.elementwise import launch_elementwise
from gpunn.ops.erf import SOURCE
from gpunn.primitive import primitive
from gpunn.tape import record

# M. J. Wichura 1988, "Algorithm AS 241: The percentage points of the normal distribution", Applied Statistics 37,
# 477-484, PPND16; highest power first. q is the probability minus 1/2, r the root of -log of the smaller tail.
_MIDDLE_TOP = (
    *(2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4),
    *(1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.3871328727963666080e0),
)
_MIDDLE_BOTTOM = (
    *(5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4, 2.1213794301586595867e4),
    *(5.3941960214247511077e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1.0),
)
_TAIL_TOP = (
    *(7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258e0),
    *(3.64784832476320460504e0, 5.76949722146069140550e0, 4.63033784615654529590e0, 1.42343711074968357734e0),
)
_TAIL_BOTTOM = (
    *(1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1),
    *(6.89767334985100004550e-1, 1.67638483018380384940e0, 2.05319162663775882187e0, 1.0),
)
_FAR_TOP = (
    *(2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3, 2.65321895265761230930e-2),
    *(2.96560571828504891230e-1, 1.78482653991729133580e0, 5.46378491116411436990e0, 6.65790464350110377720e0),
)
_FAR_BOTTOM = (
    *(2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5, 7.86869131145613259100e-4),
    *(1.48753612908506148525e-2, 1.36929880922735805310e-1, 5.99832206555887937690e-1, 1.0),
)

_HALF_ROOT_PI = 0.88622692545275801365  # sqrt(pi) / 2 from the doubles is one off


def _horner(coefficients: Sequence[float], x: Any) -> Any:
    y = x * 0 + coefficients[0]
    for c in coefficients[1:]:
        y = y * x + c
    return y


@primitive(returns=("y",))
def erfinv_forward(xp: Any, x: Any) -> Any:
    """y with erf(y) = x; infinite at 1 and -1, NaN beyond."""
    with quiet():
        wide = x.astype(xp.float64)  # the tails of float32 numbers too
        q = wide / 2
        square = 0.180625 - q * q
        middle = q * _horner(_MIDDLE_TOP, square) / _horner(_MIDDLE_BOTTOM, square)
        r = xp.sqrt(-xp.log((1 - xp.abs(wide)) / 2))
        near, far = r - 1.6, r - 5
        tail = xp.where(
            r <= 5,
            _horner(_TAIL_TOP, near) / _horner(_TAIL_BOTTOM, near),
            _horner(_FAR_TOP, far) / _horner(_FAR_BOTTOM, far),
        )
        tail = xp.where(xp.isinf(r), xp.inf, tail)
        y = xp.where(xp.abs(q) <= 0.425, middle, xp.copysign(tail, q)) / math.sqrt(2)
        return xp.where(xp.abs(wide) > 1, xp.nan, y).astype(x.dtype)


@erfinv_forward.kernel(stored=("x",))
def _(device: Device, x: Any) -> Any:
    y = device.empty(x.shape, x.dtype)
    launch_elementwise(SOURCE, "erfinv_forward", device, (y, x))
    return y


@primitive(returns=("dx",))
def erfinv_backward(xp: Any, dy: Any, y: Any) -> Any:
    """dx = dy sqrt(pi) / 2 exp(y^2)."""
    with quiet():
        return dy * y.dtype.type(_HALF_ROOT_PI) * xp.exp(y * y)


@erfinv_backward.kernel(stored=("dy", "y"))
def _(device: Device, dy: Any, y: Any) -> Any:
    dx = device.empty(dy.shape, dy.dtype)
    launch_elementwise(SOURCE, "erfinv_backward", device, (dx, dy, y))
    return dx


def erfinv(x: Tensor) -> Tensor:
    """The number whose error function is x.

    Parameters
    ----------
    x : Tensor
        float32 or float64; infinite at 1 and -1, NaN beyond.

    Raises
    ------
    DTypeError
        If x is not floating.

    References
    ----------
    Wichura 1988, "Algorithm AS 241: The percentage points of the normal distribution".

    Examples
    --------
    >>> import gpunn
    >>> round(erfinv(gpunn.tensor(0.5)).item(), 6)
    0.476936
    """
    if casting.on:
        (x,) = casting.inputs("erfinv", x)
    if x.dtype.kind not in FLOATING:
        raise DTypeError(f"{here('erfinv')}: expected a floating dtype; got {x.dtype}. Convert with .float().")
    device = x.device
    y = erfinv_forward(device, x._physical)
    return record("erfinv", y, device, (x,), lambda dy, needs: (erfinv_backward(device, dy, y),), saves=(), keeps=True)
