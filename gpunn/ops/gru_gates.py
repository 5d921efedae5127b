"""What gated recurrent units do behind their products: gates, and the next state (``kernels/gru_gates.cu``)."""

from __future__ import annotations

from typing import Any

from gpunn._autocast import casting
from gpunn._device import Device, device_of
from gpunn._shared.recurrent import check_gates
from gpunn._tensor import Tensor
from gpunn.cpu import recurrent as fast
from gpunn.cpu.elementwise import quiet
from gpunn.gpu.launcher import KernelSource, c_type, ceil_div, divisor_struct, vector_width
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("gru_gates.cu", REAL=("float", "double"), VEC=(1, 4))
_BLOCK = 256


@primitive(returns=("y", "gates"), wide=("gates",))
def gru_gates_forward(xp: Any, given: Any, hidden: Any, h: Any) -> tuple[Any, Any]:
    """y = n + z (h - n), with r, z = 1 / (1 + exp(-(given + hidden))) and n = tanh(given + r hidden).

    given, hidden, gates (N, 3 H): r, z, n one behind the other;  h, y (N, H)
    """
    width = h.shape[1]
    with quiet():
        gates = 1 / (1 + xp.exp(-(given + hidden)))
    r, z = gates[:, :width], gates[:, width : 2 * width]
    n = xp.tanh(given[:, 2 * width :] + r * hidden[:, 2 * width :])
    gates[:, 2 * width :] = n
    return n + z * (h - n), gates


gru_gates_forward.numpy(fast.gru_forward)


@gru_gates_forward.kernel
def _(device: Device, given: Any, hidden: Any, h: Any) -> tuple[Any, Any]:
    y, gates = device.empty(h.shape, h.dtype), device.empty(given.shape, given.dtype)
    _launch(device, "gru_gates_forward", h, y, gates, given, hidden, h)
    return y, gates


def _launch(device: Device, kernel: str, state: Any, *arrays: Any) -> None:
    width = state.shape[1]
    vec = vector_width(width, *arrays)
    args = (*arrays, divisor_struct(max(width // vec, 1)), width, state.size // vec)
    grid = (ceil_div(state.size // vec, _BLOCK), 1, 1)
    SOURCE.launch(device, kernel, grid, _BLOCK, args, REAL=c_type(state.dtype, "gru_gates"), VEC=vec)


@primitive(returns=("dgiven", "dhidden", "dh"))
def gru_gates_backward(xp: Any, dy: Any, gates: Any, hidden: Any, h: Any) -> tuple[Any, Any, Any]:
    """The gradients of given, hidden and h.

    gates, hidden, dgiven, dhidden (N, 3 H);  dy, h, dh (N, H)
    """
    width = h.shape[1]
    r, z, n = (gates[:, k * width : (k + 1) * width] for k in range(3))
    dn = dy * (1 - z) * (1 - n * n)
    dr = dn * hidden[:, 2 * width :] * r * (1 - r)
    dz = dy * (h - n) * z * (1 - z)
    return xp.concatenate((dr, dz, dn), axis=1), xp.concatenate((dr, dz, dn * r), axis=1), dy * z


gru_gates_backward.numpy(fast.gru_backward)


@gru_gates_backward.kernel
def _(device: Device, dy: Any, gates: Any, hidden: Any, h: Any) -> tuple[Any, Any, Any]:
    dgiven, dhidden, dh = (device.empty(a.shape, a.dtype) for a in (gates, gates, h))
    _launch(device, "gru_gates_backward", h, dgiven, dhidden, dh, dy, gates, hidden, h)
    return dgiven, dhidden, dh


def gru_gates(given: Tensor, hidden: Tensor, h: Tensor) -> Tensor:
    """The next state of gated recurrent units.

    Parameters
    ----------
    given, hidden : Tensor, (N, 3 H)
        The products with the input and with h, of which r, z and n are made; float32 or float64.
    h : Tensor, (N, H)

    Returns
    -------
    Tensor, (N, H)

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If they do not fit each other.

    References
    ----------
    Cho and others 2014, arXiv:1406.1078.
    """
    if casting.on:
        given, hidden, h = casting.inputs("gru_gates", given, hidden, h)
    op = "gru_gates"
    inputs = (given, hidden, h)
    device = device_of(op, inputs)
    check_gates(op, given, hidden, h, 3)
    sums, before = hidden._physical, h._physical
    y, gates = gru_gates_forward(device, given._physical, sums, before)

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return gru_gates_backward(device, dy, gates, sums, before)

    return record(op, y, device, inputs, backward, saves=(hidden, h))
