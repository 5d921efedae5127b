"""What recurrent layers over whole sequences share."""

from __future__ import annotations

import math
import warnings
from typing import Any

from gpunn._autocast import casting
from gpunn._creation import zeros
from gpunn._device import Device, device_of
from gpunn._shared.losses import outside
from gpunn._shared.numbers import real_number
from gpunn._tensor import Tensor
from gpunn.composed.recurrent import State, over_sequence
from gpunn.errors import ArgumentError, DTypeError, ShapeError, UsageError, here
from gpunn.nn import init
from gpunn.nn._arguments import new_parameter, truth, whole
from gpunn.nn.module import Module
from gpunn.ops.cat import cat, stack
from gpunn.ops.dropout import dropout
from gpunn.ops.recurrent import KINDS
from gpunn.ops.split import unbind
from gpunn.random import default_generator


class RNNBase(Module):
    """What :class:`RNN`, :class:`LSTM` and :class:`GRU` share: parameters, layers, directions, shapes.

    Parameters
    ----------
    mode : str
        "RNN_TANH", "RNN_RELU", "LSTM" or "GRU".
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, device, dtype
        As of :class:`LSTM`.

    Shape
    -----
    As of :class:`RNN`, or with two states :class:`LSTM`.

    Raises
    ------
    UsageError
        If an option is invalid.

    References
    ----------
    Those of the layers.
    """

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Device | str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        op = type(self).__name__
        if not isinstance(mode, str) or mode not in KINDS:
            raise UsageError(f"{op}: mode: expected one of {', '.join(KINDS)}; got {mode!r}.")
        self.mode = mode
        self.input_size = whole(op, "input_size", input_size)
        self.hidden_size = whole(op, "hidden_size", hidden_size)
        self.num_layers = whole(op, "num_layers", num_layers)
        self.bias = truth(op, "bias", bias)
        self.batch_first = truth(op, "batch_first", batch_first)
        self.dropout = real_number(op, "dropout", dropout, 0, 1)
        if self.dropout and self.num_layers == 1:
            warnings.warn(
                f"{op}: dropout={dropout} is applied between layers, and num_layers=1 has nothing between.",
                stacklevel=outside(),
            )
        self.bidirectional = bool(bidirectional)
        self.proj_size = whole(op, "proj_size", proj_size, 0)
        if self.proj_size and mode != "LSTM":
            raise UsageError(f"{op}: proj_size: only LSTM has projections; got {proj_size}. Put a Linear behind it.")
        if self.proj_size >= self.hidden_size:
            raise UsageError(f"{op}: proj_size: expected less than hidden_size, {hidden_size}; got {proj_size}.")
        # Masks of the layer's own, as nn.Dropout's are.
        self.generator = default_generator().spawn(op)
        self._all_weights: list[list[str]] = []
        directions = ("", "_reverse") if self.bidirectional else ("",)
        rows, out = KINDS[mode].gates * self.hidden_size, self.proj_size or self.hidden_size
        for layer in range(self.num_layers):
            for direction in directions:
                columns = self.input_size if layer == 0 else out * len(directions)
                shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, columns), "weight_hh": (rows, out)}
                shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)} if self.bias else {}
                shapes |= {"weight_hr": (self.proj_size, self.hidden_size)} if self.proj_size else {}
                names = [f"{name}_l{layer}{direction}" for name in shapes]
                for name, shape in zip(names, shapes.values(), strict=True):
                    self.register_parameter(name, new_parameter(shape, device, dtype))
                self._all_weights.append(names)
        self.reset_parameters()

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The parameters of each layer and direction, in the order of their names in ``state_dict``."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def reset_parameters(self) -> None:
        """Draw all parameters uniformly on ±1 / sqrt(hidden_size), as PyTorch does."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def flatten_parameters(self) -> None:
        """Do nothing: the kernels read parameters where they are. In PyTorch it puts them one behind the other."""

    def forward(self, input: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        """The last layer's h of all steps, and each layer's last state."""
        op = type(self).__name__
        if input.ndim not in (2, 3):
            order = "(N, L, D)" if self.batch_first else "(L, N, D)"
            raise ShapeError(f"{here(op)}: expected x of shape {order} or (L, D); got {input.shape}.")
        x = input.unsqueeze(1) if input.ndim == 2 else input.transpose(0, 1) if self.batch_first else input
        if x.shape[2] != self.input_size:
            raise ShapeError(
                f"{here(op)}: expected {self.input_size} features on the last axis (input_size); got {input.shape}."
            )
        if not x.shape[0]:
            raise ShapeError(f"{here(op)}: expected a sequence of at least 1 element; got {input.shape}.")
        weight = getattr(self, self._all_weights[0][0])
        if casting.on:
            x = casting.as_parameter(x, weight)
        if x.dtype != weight.dtype:
            raise DTypeError(
                f"{here(op)}: expected x in the weights' dtype {weight.dtype}; got {x.dtype}. Convert x with "
                f".to(dtype) or the layer with .to(dtype)."
            )
        device_of(op, (x, weight))
        states = self._states(input, x, hx)
        y, last = self._layers(x, states)
        joined = [stack(of_each, 0) for of_each in zip(*last, strict=True)]
        if input.ndim == 2:
            y, joined = y.squeeze(1), [s.squeeze(1) for s in joined]
        elif self.batch_first:
            y = y.transpose(0, 1)
        return y, tuple(joined) if len(joined) > 1 else joined[0]

    def _layers(self, x: Tensor, states: list[State]) -> tuple[Tensor, list[State]]:
        """All layers on x (L, N, D): the last one's output, and the last state of each layer and direction."""
        last: list[State] = []
        directions = 1 + self.bidirectional
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                x = dropout(x, self.dropout, True, False, self.generator)
            outputs = []
            for place in range(layer * directions, (layer + 1) * directions):
                w_ih, w_hh, *rest = (getattr(self, name) for name in self._all_weights[place])
                projection = rest.pop() if self.proj_size else None
                b_ih, b_hh = rest or (None, None)
                reverse = place % directions == 1
                y, state = over_sequence(self.mode, x, states[place], (w_ih, w_hh, b_ih, b_hh), projection, reverse)
                outputs.append(y)
                last.append(state)
            x = cat(outputs, 2) if len(outputs) > 1 else outputs[0]
        return x, last

    def _states(self, input: Tensor, x: Tensor, hx: Any) -> list[State]:
        """The first state of each layer and direction."""
        op = type(self).__name__
        sizes = [self.proj_size or self.hidden_size, *([self.hidden_size] if self.mode == "LSTM" else [])]
        count = self.num_layers * (1 + self.bidirectional)
        if hx is None:
            zero = tuple(zeros(x.shape[1], n, dtype=x.dtype, device=x.device) for n in sizes)
            return [zero] * count
        given = tuple(hx) if isinstance(hx, tuple | list) else (hx,)
        if len(given) != len(sizes) or not all(isinstance(s, Tensor) for s in given):
            wanted = "a tuple of two Tensors (h_0, c_0)" if self.mode == "LSTM" else "a Tensor"
            got = [type(s).__name__ for s in given] if isinstance(hx, tuple | list) else type(hx).__name__
            raise ArgumentError(f"{here(op)}: hx: expected {wanted} or None; got {got}.")
        found = []
        for name, state, size in zip(("h_0", "c_0"), given, sizes, strict=False):
            shape = (count, x.shape[1], size) if input.ndim == 3 else (count, size)
            if state.shape != shape:
                raise ShapeError(
                    f"{here(op)}: hx: expected {name} of shape {shape}, a state for each layer and direction, for x of "
                    f"shape {input.shape}; got {state.shape}."
                )
            if casting.on:
                state = casting.as_parameter(state, x)
            if state.dtype != x.dtype:
                raise DTypeError(f"{here(op)}: hx: expected {name} in x's dtype {x.dtype}; got {state.dtype}.")
            device_of(op, (x, state))
            found.append(unbind(state if input.ndim == 3 else state.unsqueeze(1), 0))
        return list(zip(*found, strict=True))

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        for name, usual in (
            ("proj_size", 0),
            ("num_layers", 1),
            ("bias", True),
            ("batch_first", False),
            ("dropout", 0),
            ("bidirectional", False),
        ):
            value = getattr(self, name)
            if value != usual:
                text += f", {name}={value}"
        return text
