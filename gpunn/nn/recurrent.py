"""Recurrent layers over whole sequences: RNN, LSTM and GRU."""

from __future__ import annotations

from typing import Any

from gpunn._device import Device
from gpunn.errors import UsageError
from gpunn.nn._recurrent import RNNBase


class RNN(RNNBase):
    """A recurrent layer: h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), or max(0, …) instead of tanh.

    Parameters
    ----------
    input_size : int
        D, features of the input.
    hidden_size : int
        H, features of the state.
    num_layers : int
        Each layer above the first has the states of the one below as its input.
    nonlinearity : str
        "tanh" or "relu".
    bias : bool
        Whether there are b_ih and b_hh.
    batch_first : bool
        Whether batches are (N, L, D), not (L, N, D). States are (layers, N, H) in any case.
    dropout : float
        Probability of dropping, in training, what goes from one layer to the next.
    bidirectional : bool
        Whether a second direction reads the sequence from its end. Its h stands behind the first one's.
    device : Device or str, optional
        ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.
    proj_size : int
        Only 0: projections are an LSTM's.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, weight_ih_l0_reverse, weight_ih_l1, … : Parameter
        (H, D) or (H, directions · H) in layers above the first; (H, H); (H,); (H,). Initially uniform on
        ±1 / sqrt(H).

    Shape
    -----
    input : (L, N, D), with ``batch_first`` (N, L, D), or (L, D);  y : the same with directions · H features
    h_0, h_n : (layers · directions, N, H), without the N of an input without a batch; h_0 is 0 if not given

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
    >>> y, h = nn.RNN(4, 6)(gpunn.zeros(5, 3, 4))
    >>> y.shape, h.shape
    ((5, 3, 6), (1, 3, 6))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Device | str | None = None,
        dtype: Any = None,
        *,
        proj_size: int = 0,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise UsageError(f"RNN: nonlinearity: expected 'tanh' or 'relu'; got {nonlinearity!r}.")
        options = (num_layers, bias, batch_first, dropout, bidirectional, proj_size, device, dtype)
        super().__init__(f"RNN_{nonlinearity.upper()}", input_size, hidden_size, *options)
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Long short-term memory: a recurrent layer whose second state c is changed by gates alone.

    i, f, o = sigmoid(W x_t + b + V h_{t-1} + d) and g = tanh(…), each with rows of the weights of its own;
    c_t = f c_{t-1} + i g;  h_t = o tanh(c_t)

    Parameters
    ----------
    input_size : int
        D, features of the input.
    hidden_size : int
        H, features of the states.
    num_layers : int
        Each layer above the first has the h of the one below as its input.
    bias : bool
        Whether there are biases.
    batch_first : bool
        Whether batches are (N, L, D), not (L, N, D). States are (layers, N, H) in any case.
    dropout : float
        Probability of dropping, in training, what goes from one layer to the next.
    bidirectional : bool
        Whether a second direction reads the sequence from its end. Its h stands behind the first one's.
    proj_size : int
        P: each h is projected to so many features, fewer than H; 0 for none.
    device : Device or str, optional
        ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, weight_ih_l0_reverse, weight_ih_l1, … : Parameter
        (4 H, D) or (4 H, directions · H) in layers above the first; (4 H, H); (4 H,); (4 H,), rows in the order i, f,
        g, o. With ``proj_size`` P in the place of H in columns, and weight_hr_l0 (P, H). Initially uniform on
        ±1 / sqrt(H).

    Shape
    -----
    input : (L, N, D), with ``batch_first`` (N, L, D), or (L, D);  y : the same with directions · H features (P for H)
    (h_0, c_0), (h_n, c_n) : (layers · directions, N, H), h with P for H, without the N of an input without a batch;
    0 if not given

    Raises
    ------
    UsageError
        If an option is invalid.
    ShapeError, DTypeError, DeviceError
        If the inputs do not fit; the message names the layer.

    References
    ----------
    Hochreiter, Schmidhuber 1997, "Long short-term memory"; forget gates: Gers, Schmidhuber, Cummins 2000; projections:
    Sak, Senior, Beaufays 2014, arXiv:1402.1128.

    Examples
    --------
    >>> import gpunn
    >>> from gpunn import nn
    >>> y, (h, c) = nn.LSTM(4, 6, num_layers=2, batch_first=True)(gpunn.zeros(3, 5, 4))
    >>> y.shape, h.shape, c.shape
    ((3, 5, 6), (2, 3, 6), (2, 3, 6))
    """

    def __init__(
        self,
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
        options = (num_layers, bias, batch_first, dropout, bidirectional, proj_size, device, dtype)
        super().__init__("LSTM", input_size, hidden_size, *options)


class GRU(RNNBase):
    """Gated recurrent units: a recurrent layer whose state is a mean, by a gate z, of the old one and a new one.

    r, z = sigmoid(W x_t + b + V h_{t-1} + d), each with rows of the weights of its own;
    n = tanh(W_n x_t + b_n + r (V_n h_{t-1} + d_n));  h_t = (1 - z) n + z h_{t-1}

    Parameters
    ----------
    input_size : int
        D, features of the input.
    hidden_size : int
        H, features of the state.
    num_layers : int
        Each layer above the first has the states of the one below as its input.
    bias : bool
        Whether there are biases.
    batch_first : bool
        Whether batches are (N, L, D), not (L, N, D). States are (layers, N, H) in any case.
    dropout : float
        Probability of dropping, in training, what goes from one layer to the next.
    bidirectional : bool
        Whether a second direction reads the sequence from its end. Its h stands behind the first one's.
    device : Device or str, optional
        ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.
    proj_size : int
        Only 0: projections are an LSTM's.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, weight_ih_l0_reverse, weight_ih_l1, … : Parameter
        (3 H, D) or (3 H, directions · H) in layers above the first; (3 H, H); (3 H,); (3 H,), rows in the order r, z,
        n. Initially uniform on ±1 / sqrt(H).

    Shape
    -----
    input : (L, N, D), with ``batch_first`` (N, L, D), or (L, D);  y : the same with directions · H features
    h_0, h_n : (layers · directions, N, H), without the N of an input without a batch; h_0 is 0 if not given

    Raises
    ------
    UsageError
        If an option is invalid.
    ShapeError, DTypeError, DeviceError
        If the inputs do not fit; the message names the layer.

    References
    ----------
    Cho and others 2014, arXiv:1406.1078, but for the place of r: see arXiv:1412.3555.

    Examples
    --------
    >>> import gpunn
    >>> from gpunn import nn
    >>> y, h = nn.GRU(4, 6, bidirectional=True)(gpunn.zeros(5, 3, 4))
    >>> y.shape, h.shape
    ((5, 3, 12), (2, 3, 6))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Device | str | None = None,
        dtype: Any = None,
        *,
        proj_size: int = 0,
    ) -> None:
        options = (num_layers, bias, batch_first, dropout, bidirectional, proj_size, device, dtype)
        super().__init__("GRU", input_size, hidden_size, *options)
