"""Steps of recurrent layers, and a layer over a whole sequence, made of other ops."""

from __future__ import annotations

from collections.abc import Callable

from gpunn._tensor import Tensor
from gpunn.ops.cat import stack
from gpunn.ops.linear import linear
from gpunn.ops.relu import relu
from gpunn.ops.split import chunk, unbind
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
    i, f, g, o = chunk(linear(state[0], weight, bias) + given, 4, 1)
    c = f.sigmoid() * state[1] + i.sigmoid() * tanh(g)
    return o.sigmoid() * tanh(c), c


def gru_step(given: Tensor, state: State, weight: Tensor, bias: Tensor | None) -> State:
    """h' = (1 - z) n + z h with n = tanh(W_in x + b_in + r (W_hn h + b_hn)), and the gates r, z behind a sigmoid.

    The rows of the weights are those of r, z, n in this order. Cho and others put r before W_hn; PyTorch and cuDNN do
    as here.
    """
    (h,) = state
    r_given, z_given, n_given = chunk(given, 3, 1)
    r, z, n = chunk(linear(h, weight, bias), 3, 1)
    r, z = (r + r_given).sigmoid(), (z + z_given).sigmoid()
    n = tanh(n_given + r * n)
    return (n + z * (h - n),)


def over_sequence(
    step: Step,
    x: Tensor,
    state: State,
    weights: tuple[Tensor, Tensor, Tensor | None, Tensor | None],
    projection: Tensor | None = None,
    reverse: bool = False,
) -> tuple[Tensor, State]:
    """One layer in one direction: all h (L, N, H), and the last state.

    Parameters
    ----------
    step : Step
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
    # One product for all elements: only the state's part has to wait for the step before.
    given = unbind(linear(x, w_ih, b_ih), 0)
    found = []
    for one in given[::-1] if reverse else given:
        state = step(one, state, w_hh, b_hh)
        if projection is not None:
            state = linear(state[0], projection), *state[1:]
        found.append(state[0])
    return stack(found[::-1] if reverse else found, 0), state
