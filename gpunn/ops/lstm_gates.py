"""What an LSTM does behind its products: gates, the next c and h (``kernels/lstm_gates.cu``)."""

from __future__ import annotations

from typing import Any

from gpunn import tape
from gpunn._autocast import casting
from gpunn._device import Device, device_of
from gpunn._shared.recurrent import check_gates
from gpunn._tensor import Tensor
from gpunn.cpu import recurrent as fast
from gpunn.cpu.elementwise import quiet
from gpunn.gpu.launcher import KernelSource, c_type, ceil_div, divisor_struct, vector_width
from gpunn.primitive import primitive

SOURCE = KernelSource("lstm_gates.cu", REAL=("float", "double"), VEC=(1, 4))
_BLOCK = 256


@primitive(returns=("h", "c_next", "gates"), wide=("gates",))
def lstm_gates_forward(xp: Any, given: Any, hidden: Any, c: Any) -> tuple[Any, Any, Any]:
    """c' = f c + i g;  h = o tanh(c'), with i, f, o = 1 / (1 + exp(-z)) and g = tanh(z) of z = given + hidden.

    given, hidden, gates (N, 4 H): i, f, g, o one behind the other;  c, c', h (N, H)
    """
    z = given + hidden
    width = c.shape[1]
    with quiet():
        gates = 1 / (1 + xp.exp(-z))
    gates[:, 2 * width : 3 * width] = xp.tanh(z[:, 2 * width : 3 * width])
    i, f, g, o = (gates[:, k * width : (k + 1) * width] for k in range(4))
    c_next = f * c + i * g
    return o * xp.tanh(c_next), c_next, gates


lstm_gates_forward.numpy(fast.lstm_forward)


@lstm_gates_forward.kernel
def _(device: Device, given: Any, hidden: Any, c: Any) -> tuple[Any, Any, Any]:
    h, c_next, gates = (device.empty(a.shape, a.dtype) for a in (c, c, given))
    _launch(device, "lstm_gates_forward", c, h, c_next, gates, given, hidden, c)
    return h, c_next, gates


def _launch(device: Device, kernel: str, state: Any, *arrays: Any) -> None:
    width = state.shape[1]
    vec = vector_width(width, *arrays)
    args = (*arrays, divisor_struct(max(width // vec, 1)), width, state.size // vec)
    grid = (ceil_div(state.size // vec, _BLOCK), 1, 1)
    SOURCE.launch(device, kernel, grid, _BLOCK, args, REAL=c_type(state.dtype, "lstm_gates"), VEC=vec)


@primitive(returns=("dz", "dc"))
def lstm_gates_backward(xp: Any, dh: Any, dc_next: Any, gates: Any, c: Any, c_next: Any) -> tuple[Any, Any]:
    """The gradients of z, which are those of given and hidden, and of c; of dh and dc_next one may be None.

    dz, gates (N, 4 H);  dh, dc_next, c, c_next, dc (N, H)
    """
    width = c.shape[1]
    i, f, g, o = (gates[:, k * width : (k + 1) * width] for k in range(4))
    t = xp.tanh(c_next)
    dh = xp.zeros_like(c) if dh is None else dh
    d = dh * o * (1 - t * t)
    d = d if dc_next is None else dc_next + d
    parts = (d * g * i * (1 - i), d * c * f * (1 - f), d * i * (1 - g * g), dh * t * o * (1 - o))
    return xp.concatenate(parts, axis=1), d * f


lstm_gates_backward.numpy(fast.lstm_backward)


@lstm_gates_backward.kernel
def _(device: Device, dh: Any, dc_next: Any, gates: Any, c: Any, c_next: Any) -> tuple[Any, Any]:
    dz, dc = device.empty(gates.shape, gates.dtype), device.empty(c.shape, c.dtype)
    _launch(device, "lstm_gates_backward", c, dz, dc, dh, dc_next, gates, c, c_next)
    return dz, dc


def lstm_gates(given: Tensor, hidden: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """The next h and c of an LSTM.

    Parameters
    ----------
    given, hidden : Tensor, (N, 4 H)
        The products with the input and with h, of which the gates i, f, g, o are made; float32 or float64.
    c : Tensor, (N, H)

    Returns
    -------
    h, c : Tensor, (N, H)

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If they do not fit each other.

    References
    ----------
    Hochreiter, Schmidhuber 1997, "Long short-term memory"; Gers, Schmidhuber, Cummins 2000.
    """
    if casting.on:
        given, hidden, c = casting.inputs("lstm_gates", given, hidden, c)
    op = "lstm_gates"
    inputs = (given, hidden, c)
    device = device_of(op, inputs)
    check_gates(op, given, hidden, c, 4)
    before = c._physical
    h, c_next, gates = lstm_gates_forward(device, given._physical, hidden._physical, before)
    made = Tensor._of_physical(h, device), Tensor._of_physical(c_next, device)
    if tape.is_grad_enabled() and any(t.requires_grad for t in inputs):

        def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
            dz, dc = lstm_gates_backward(device, dy[0], dy[1], gates, before, c_next)
            return dz, dz, dc

        # One node for both outputs. Both summands get the same array, which therefore nobody may write to.
        both = tape.Node(op, tape.parents_of(inputs), backward, True, tape.saved_of((c, made[1])))
        for place, output in enumerate(made):
            output.requires_grad = True
            output._node = tape.Node(op, (both,), _unchanged, True, (), slot=(place, 2), extent=h.shape)
    return made


def _unchanged(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
    return (dy,)
