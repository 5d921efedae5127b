"""A recurrent layer's way through a sequence, one direction: products with the state and gates, step by step.

One node on the tape. Made of primitives: in each step a product and one for the gates, and backward the same; the
gradients of weight and bias are one product over all steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from gpunn import tape
from gpunn._autocast import casting
from gpunn._device import Device, device_of
from gpunn._half import FLOATING
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, ShapeError, UsageError, here
from gpunn.ops.accumulate import accumulate, add_same_shape
from gpunn.ops.cat import join
from gpunn.ops.gru_gates import gru_gates_backward, gru_gates_forward
from gpunn.ops.linear import linear_backward
from gpunn.ops.lstm_gates import lstm_gates_backward, lstm_gates_forward
from gpunn.ops.matmul import gemm
from gpunn.ops.permute import batched_transpose
from gpunn.ops.relu import relu_backward, relu_forward
from gpunn.ops.tanh import tanh_backward, tanh_forward


class _Kind(NamedTuple):
    """How a state is made of both sums, and back.

    Attributes
    ----------
    gates : int
        How many times H there are sums.
    forward : callable
        (device, given, sums, h, c) to (h', c', what backward reads).
    backward : callable
        (device, dh', dc', what was kept) to the gradients of given, sums, h beside that through the product, and c.
    """

    gates: int
    forward: Callable[..., tuple[Any, Any, tuple[Any, ...]]]
    backward: Callable[..., tuple[Any, Any, Any, Any]]


def _lstm(device: Device, given: Any, sums: Any, h: Any, c: Any) -> tuple[Any, Any, tuple[Any, ...]]:
    y, c_next, gates = lstm_gates_forward(device, given, sums, c)
    return y, c_next, (gates, c, c_next)


def _lstm_back(device: Device, dh: Any, dc: Any, *kept: Any) -> tuple[Any, Any, Any, Any]:
    dz, dc = lstm_gates_backward(device, dh, dc, *kept)
    return dz, dz, None, dc


def _gru(device: Device, given: Any, sums: Any, h: Any, c: Any) -> tuple[Any, Any, tuple[Any, ...]]:
    y, gates = gru_gates_forward(device, given, sums, h)
    return y, None, (gates, sums, h)


def _gru_back(device: Device, dh: Any, dc: Any, *kept: Any) -> tuple[Any, Any, Any, Any]:
    return *gru_gates_backward(device, dh, *kept), None


def _plain(forward: Any, backward: Any) -> _Kind:
    """A state that is a function of the sum of both."""

    def step(device: Device, given: Any, sums: Any, h: Any, c: Any) -> tuple[Any, Any, tuple[Any, ...]]:
        y = forward(device, add_same_shape(device, given, sums))
        return y, None, (y,)

    def back(device: Device, dh: Any, dc: Any, y: Any) -> tuple[Any, Any, Any, Any]:
        dz = backward(device, dh, y)
        return dz, dz, None, None

    return _Kind(1, step, back)


KINDS = {
    "RNN_TANH": _plain(tanh_forward, tanh_backward),
    "RNN_RELU": _plain(relu_forward, relu_backward),
    "LSTM": _Kind(4, _lstm, _lstm_back),
    "GRU": _Kind(3, _gru, _gru_back),
}


def recurrent(
    kind: str,
    given: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    h: Tensor,
    c: Tensor | None = None,
    reverse: bool = False,
) -> tuple[Tensor, ...]:
    """All states of a recurrent layer in one direction.

    Parameters
    ----------
    kind : str
        "RNN_TANH", "RNN_RELU", "LSTM" or "GRU".
    given : Tensor, (L, N, G H)
        The products with the inputs, with their bias; of G gates: 1, 4 of LSTM, 3 of GRU.
    weight : Tensor, (G H, H)
        Of the products with h.
    bias : Tensor, (G H,), optional
    h : Tensor, (N, H)
        The first state.
    c : Tensor, (N, H), optional
        The first second state: of LSTM alone, which needs it.
    reverse : bool
        Go from the last element to the first. The states are in the order of ``given`` in any case.

    Returns
    -------
    y : Tensor, (L, N, H)
    h : Tensor, (N, H)
        The last one.
    c : Tensor, (N, H)
        Of LSTM alone.

    Raises
    ------
    UsageError
        If there is no such kind, or c is given or not where it should be otherwise.
    ShapeError, DTypeError, DeviceError
        If they do not fit each other.

    References
    ----------
    As of :class:`gpunn.nn.RNN`, :class:`gpunn.nn.LSTM` and :class:`gpunn.nn.GRU`.
    """
    op = "recurrent"
    if kind not in KINDS:
        raise UsageError(f"{here(op)}: kind: expected one of {', '.join(KINDS)}; got {kind!r}.")
    if (c is not None) != (kind == "LSTM"):
        raise UsageError(f"{here(op)}: c: {kind} {'needs a' if c is None else 'has no'} second state.")
    if casting.on:
        cast_as = "gru_gates" if kind == "GRU" else op
        given, weight, bias, h, c = casting.inputs(cast_as, given, weight, bias, h, c)
    inputs = tuple(t for t in (given, weight, h, bias, c) if t is not None)
    device = device_of(op, inputs)
    gates, forward, backward = KINDS[kind]
    rows = gates * h.shape[-1] if h.ndim == 2 else -1
    wanted = [(h.shape[0], rows), (rows, h.shape[-1]), (rows,), h.shape]
    got = [given.shape[1:], weight.shape, wanted[2] if bias is None else bias.shape, h.shape if c is None else c.shape]
    if given.ndim != 3 or not given.shape[0] or got != wanted:
        raise ShapeError(
            f"{here(op)}: expected given (L, N, {gates} H) of at least one step, weight ({gates} H, H), bias "
            f"({gates} H,) and states (N, H); got shapes {[t.shape for t in inputs]}."
        )
    if given.dtype.kind not in FLOATING or any(t.dtype != given.dtype for t in inputs):
        raise DTypeError(f"{here(op)}: expected one floating dtype; got {[str(t.dtype) for t in inputs]}.")
    order = range(given.shape[0])[:: -1 if reverse else 1]
    matrix, sums_of = weight._physical, None if bias is None else bias._physical
    before: list[Any] = [None] * len(order)  # the states that steps begin with, by place
    states, kept = list(before), list(before)
    # Without a bias the turned weight is as good, and the CPU's products with it take two thirds of the time.
    form, factor = ("nt", matrix) if bias is not None else ("nn", batched_transpose(device, matrix[None])[0])
    state, second = h._physical, None if c is None else c._physical
    for t in order:
        before[t] = state
        sums = gemm(device, state, factor, form, sums_of)
        state, second, kept[t] = forward(device, given._physical[t], sums, state, second)
        states[t] = state
    arrays = [
        join(device, states, 0).reshape(*given.shape[:2], h.shape[1]),
        state,
        *([] if second is None else [second]),
    ]
    made = tuple(Tensor._of_physical(array, device) for array in arrays)
    if not tape.is_grad_enabled() or not any(t.requires_grad for t in inputs):
        return made

    def back(parts: list[Any], needs: tuple[bool, ...]) -> tuple[Any, ...]:
        dy, dh, dc = parts[0], parts[1], parts[2] if len(parts) > 2 else None
        of_given, of_sums = [None] * len(order), [None] * len(order)
        if dy is not None:
            last = dy[order[-1]]
            dh = last if dh is None else add_same_shape(device, dh, last)
        for t in order[::-1]:
            of_given[t], of_sums[t], more, dc = backward(device, dh, dc, *kept[t])
            first = t == order[0]
            if dy is not None and not first:
                earlier = dy[t + 1 if reverse else t - 1]
                if more is None:
                    more = earlier
                else:
                    accumulate(device, more, earlier)
            if not first or needs[2]:
                dh = linear_backward(device, of_sums[t], None, before[t], matrix, (True, False, False), more)[0]
        dsums = join(device, of_sums, 0)
        dgiven = dsums if of_given[0] is of_sums[0] else join(device, of_given, 0) if needs[0] else None
        wants_bias = bias is not None and needs[3]
        dweight = dbias = None
        if needs[1] or wants_bias:
            wanted = (False, needs[1], wants_bias)
            _, dweight, dbias = linear_backward(device, dsums, None, join(device, before, 0), matrix, wanted)
        found = [None if dgiven is None else dgiven.reshape(given.shape), dweight, dh]
        return tuple(found + ([] if bias is None else [dbias]) + ([] if c is None else [dc]))

    saved = tape.saved_of((weight, *inputs[2:], *made[1:]))
    node = tape.Node(op, tape.parents_of(inputs), back, False, saved)
    for place, output in enumerate(made):
        output.requires_grad = True
        output._node = tape.Node(
            op, (node,), _unchanged, True, (), slot=(place, len(made)), extent=output._physical.shape
        )
    return made


def _unchanged(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
    return (dy,)
