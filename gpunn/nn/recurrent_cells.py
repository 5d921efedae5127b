"""Cells of recurrent layers, one step each: RNNCell, LSTMCell and GRUCell."""

from __future__ import annotations

import math
from typing import Any

from gpunn._autocast import casting
from gpunn._creation import zeros
from gpunn._device import Device, device_of
from gpunn._tensor import Tensor
from gpunn.composed.recurrent import State, Step, gru_step, lstm_step, relu_step, tanh_step
from gpunn.errors import ArgumentError, DTypeError, ShapeError, UsageError, here
from gpunn.nn import init
from gpunn.nn._arguments import new_parameter, truth, whole
from gpunn.nn.module import Module
from gpunn.nn.parameter import Parameter
from gpunn.ops.linear import linear


class RNNCellBase(Module):
    """What :class:`RNNCell`, :class:`LSTMCell` and :class:`GRUCell` share: parameters and shapes.

    Parameters
    ----------
    input_size, hidden_size, bias, device, dtype
        As of :class:`LSTMCell`.
    num_chunks : int
        Gates that the weights have rows for.

    Shape
    -----
    As of :class:`RNNCell`, or with two states :class:`LSTMCell`.

    Raises
    ------
    UsageError
        If an option is invalid.

    References
    ----------
    Those of the cells.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: Device | str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        op = type(self).__name__
        self.input_size = whole(op, "input_size", input_size)
        self.hidden_size = whole(op, "hidden_size", hidden_size)
        self.bias = truth(op, "bias", bias)
        rows = whole(op, "num_chunks", num_chunks) * self.hidden_size
        self.weight_ih = new_parameter((rows, self.input_size), device, dtype)
        self.weight_hh = new_parameter((rows, self.hidden_size), device, dtype)
        self.bias_ih: Parameter | None
        self.bias_hh: Parameter | None
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, new_parameter((rows,), device, dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters uniformly on ±1 / sqrt(hidden_size), as PyTorch does."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def _stepped(self, step: Step, x: Tensor, given: State | None, count: int = 1) -> State:
        """The next state; 0 is the one before if none is given."""
        op = type(self).__name__
        if x.ndim not in (1, 2) or x.shape[-1] != self.input_size:
            raise ShapeError(
                f"{here(op)}: expected x of shape (N, {self.input_size}) or ({self.input_size},) by input_size; got "
                f"{x.shape}."
            )
        if casting.on:
            x = casting.as_parameter(x, self.weight_ih)
            given = given and tuple(casting.as_parameter(one, x) for one in given)
        if x.dtype != self.weight_ih.dtype:
            raise DTypeError(
                f"{here(op)}: expected x in the weights' dtype {self.weight_ih.dtype}; got {x.dtype}. Convert x with "
                ".to(dtype) or the layer with .to(dtype)."
            )
        single = x.ndim == 1
        batch = x.unsqueeze(0) if single else x
        if given is None:
            device_of(op, (x, self.weight_ih))
            state: State = (zeros(batch.shape[0], self.hidden_size, dtype=x.dtype, device=x.device),) * count
        else:
            wanted = (*x.shape[:-1], self.hidden_size)
            for one in given:
                if one.shape != wanted or one.dtype != x.dtype:
                    raise ShapeError(
                        f"{here(op)}: hx: expected a state of shape {wanted} in {x.dtype} for x of shape {x.shape}; "
                        f"got {one.shape} in {one.dtype}."
                    )
            device_of(op, (x, *given))
            state = tuple(one.unsqueeze(0) for one in given) if single else given
        state = step(linear(batch, self.weight_ih, self.bias_ih), state, self.weight_hh, self.bias_hh)
        return tuple(one.squeeze(0) for one in state) if single else state

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class RNNCell(RNNCellBase):
    """One step of :class:`RNN`: h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or max(0, …) instead of tanh.

    Parameters
    ----------
    input_size : int
        D, features of the input.
    hidden_size : int
        H, features of the state.
    bias : bool
        Whether there are b_ih and b_hh.
    nonlinearity : str
        "tanh" or "relu".
    device : Device or str, optional
        ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.

    Attributes
    ----------
    weight_ih, weight_hh, bias_ih, bias_hh : Parameter
        (H, D), (H, H), (H,), (H,), initially uniform on ±1 / sqrt(H); biases may be None.

    Shape
    -----
    input : (N, D) or (D,);  hx, y : (N, H) or (H,); hx is 0 if not given

    Raises
    ------
    UsageError
        If an option is invalid.
    ShapeError, DTypeError, DeviceError
        If the inputs do not fit; the message names the layer.

    References
    ----------
    Elman 1990, "Finding structure in time".

    Examples
    --------
    >>> import gpunn
    >>> from gpunn import nn
    >>> nn.RNNCell(4, 6)(gpunn.zeros(3, 4)).shape
    (3, 6)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Device | str | None = None,
        dtype: Any = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise UsageError(f"RNNCell: nonlinearity: expected 'tanh' or 'relu'; got {nonlinearity!r}.")
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state."""
        step = tanh_step if self.nonlinearity == "tanh" else relu_step
        return self._stepped(step, input, None if hx is None else (hx,))[0]

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}")


class LSTMCell(RNNCellBase):
    """One step of :class:`LSTM`: the next h and c.

    Parameters
    ----------
    input_size : int
        D, features of the input.
    hidden_size : int
        H, features of the states.
    bias : bool
        Whether there are biases.
    device : Device or str, optional
        ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.

    Attributes
    ----------
    weight_ih, weight_hh, bias_ih, bias_hh : Parameter
        (4 H, D), (4 H, H), (4 H,), (4 H,), rows in the order i, f, g, o, initially uniform on ±1 / sqrt(H); biases may
        be None.

    Shape
    -----
    input : (N, D) or (D,);  h, c and the next ones : (N, H) or (H,); 0 if not given

    Raises
    ------
    UsageError
        If an option is invalid.
    ShapeError, DTypeError, DeviceError
        If the inputs do not fit; the message names the layer.

    References
    ----------
    Hochreiter, Schmidhuber 1997, "Long short-term memory".

    Examples
    --------
    >>> import gpunn
    >>> from gpunn import nn
    >>> cell = nn.LSTMCell(4, 6)
    >>> h, c = cell(gpunn.zeros(3, 4))
    >>> h, c = cell(gpunn.zeros(3, 4), (h, c))
    >>> h.shape, c.shape
    ((3, 6), (3, 6))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Device | str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """The next h and c."""
        if hx is not None and not (
            isinstance(hx, tuple | list) and len(hx) == 2 and all(isinstance(s, Tensor) for s in hx)
        ):
            raise ArgumentError(
                f"{here('LSTMCell')}: hx: expected a tuple of two Tensors (h, c) or None; got {type(hx).__name__}."
            )
        h, c = self._stepped(lstm_step, input, None if hx is None else tuple(hx), 2)
        return h, c


class GRUCell(RNNCellBase):
    """One step of :class:`GRU`.

    Parameters
    ----------
    input_size : int
        D, features of the input.
    hidden_size : int
        H, features of the state.
    bias : bool
        Whether there are biases.
    device : Device or str, optional
        ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.

    Attributes
    ----------
    weight_ih, weight_hh, bias_ih, bias_hh : Parameter
        (3 H, D), (3 H, H), (3 H,), (3 H,), rows in the order r, z, n, initially uniform on ±1 / sqrt(H); biases may be
        None.

    Shape
    -----
    input : (N, D) or (D,);  hx, y : (N, H) or (H,); hx is 0 if not given

    Raises
    ------
    UsageError
        If an option is invalid.
    ShapeError, DTypeError, DeviceError
        If the inputs do not fit; the message names the layer.

    References
    ----------
    Cho and others 2014, arXiv:1406.1078.

    Examples
    --------
    >>> import gpunn
    >>> from gpunn import nn
    >>> nn.GRUCell(4, 6)(gpunn.zeros(4)).shape
    (6,)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Device | str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state."""
        return self._stepped(gru_step, input, None if hx is None else (hx,))[0]
