"""Steps of recurrent layers, and a layer over a whole sequence, made of other ops."""

from __future__ import annotations

from collections.abc import Callable

from gpunn._tensor import Tensor
from gpunn.ops.cat import stack
from gpunn.ops.gru_gates import gru_gates
from gpunn.ops.linear import linear
from gpunn.ops.lstm_gates import lstm_gates
from gpunn.ops.recurrent import recurrent
from gpunn.ops.relu import relu
from gpunn.ops.split import unbind
from gpunn.ops.tanh import tanh

State = tuple[Tensor, ...]  # (h,), or (h, c) of an LSTM
# The next state from the input's part of all gates (N, G), the state, and the weight and bias of the state's part.
Step = Callable[[Tensor, State, Tensor, "Tensor | None"], State]


def tanh_step(given: Tensor, state: State, weight: Tensor, bias: Tensor | None) -> State:
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh)."""
    return (tanh(linear(state[0], weight, bias) + given),)


def relu_step(given: Tensor, state: State, weight: Tensor, bias: Tensor | None) -> State:
    """h' = max(0, W_ih x + b_ih + W_hh h + b_hh)."""
    return (relu(linear(state[0], weight, bias) + given),)


def lstm_step(given: Tensor, state: State, weight: Tensor, bias: Tensor | None) -> State:
    """c' = f c + i g;  h' = o tanh(c'), with the gates i, f, o behind a sigmoid and g behind tanh.

    The rows of the weights are those of i, f, g, o in this order.
    """
    return lstm_gates(given, linear(state[0], weight, bias), state[1])


def gru_step(given: Tensor, state: State, weight: Tensor, bias: Tensor | None) -> State:
    """h' = (1 - z) n + z h with n = tanh(W_in x + b_in + r (W_hn h + b_hn)), and the gates r, z behind a sigmoid.

    The rows of the weights are those of r, z, n in this order. Cho and others put r before W_hn; PyTorch and cuDNN do
    as here.
    """
    return (gru_gates(given, linear(state[0], weight, bias), state[0]),)


STEPS: dict[str, Step] = {"RNN_TANH": tanh_step, "RNN_RELU": relu_step, "LSTM": lstm_step, "GRU": gru_step}


def over_sequence(
    kind: str,
    x: Tensor,
    state: State,
    weights: tuple[Tensor, Tensor, Tensor | None, Tensor | None],
    projection: Tensor | None = None,
    reverse: bool = False,
) -> tuple[Tensor, State]:
    """One layer in one direction: all h (L, N, H), and the last state.

    Parameters
    ----------
    kind : str
        A key of ``STEPS``.
    x : Tensor, (L, N, D)
    state : tuple of Tensor, (N, H)
        The first.
    weights : W_ih, W_hh, b_ih, b_hh
        Biases may be None.
    projection : Tensor, (P, H), optional
        Makes (N, P) of each h.
    reverse : bool
        Go from the last element to the first; what comes out is in the input's order.
    """
    w_ih, w_hh, b_ih, b_hh = weights
    if b_ih is not None and b_hh is not None and kind != "GRU":  # whose r comes between the second bias and the sum
        b_ih, b_hh = b_ih + b_hh, None
    # One product for all elements: only the state's part has to wait for the step before.
    given = linear(x, w_ih, b_ih)
    if projection is None:
        y, *last = recurrent(kind, given, w_hh, b_hh, state[0], state[1] if len(state) > 1 else None, reverse)
        return y, tuple(last)
    parts, found = unbind(given, 0), []
    for one in parts[::-1] if reverse else parts:
        state = STEPS[kind](one, state, w_hh, b_hh)
        state = linear(state[0], projection), *state[1:]
        found.append(state[0])
    return stack(found[::-1] if reverse else found, 0), state
