"""Recurrent layers and cells: PyTorch's text, keys, numbers and gradients; captured; what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn import nn
from gpunn.errors import ArgumentError, DTypeError, GpunnError, ShapeError, UsageError
from tests.devices import EVERYWHERE

# Sums of some dozen products of numbers of order one, in a dozen steps one behind the other.
TOLERANCE = 1e-12


def _numbers(shape: tuple[int, ...], seed: int = 99) -> np.ndarray:
    return np.random.Generator(np.random.Philox(seed)).standard_normal(shape)


def _pair(parity: Any, name: str, *args: Any, **options: Any) -> tuple[Any, Any]:
    """The same layer in both libraries, in float64."""
    ours = getattr(nn, name)(*args, **options, dtype="float64")
    theirs = getattr(parity.torch.nn, name)(*args, **options, dtype=parity.torch.float64)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict({key: parity.torch.tensor(value.numpy()) for key, value in ours.state_dict().items()})
    return ours, theirs


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple):
        for one in value:
            yield from _flat(one)
    else:
        yield value


def _same(parity: Any, ours: Any, theirs: Any, x: np.ndarray, states: list[np.ndarray], where: str) -> None:
    """Outputs, last states, and the gradients of inputs, first states and parameters."""
    found = []
    for library, model, home in ((gpunn, ours.to(where), {"device": where}), (parity.torch, theirs, {})):
        leaves = [library.tensor(array, requires_grad=True, **home) for array in (x, *states)]
        hx = () if not states else (leaves[1],) if len(states) == 1 else (tuple(leaves[1:]),)
        outputs = list(_flat(model(leaves[0], *hx)))
        weights = [library.tensor(_numbers(tuple(y.shape), 5 + i), **home) for i, y in enumerate(outputs)]
        sum((y * w).sum() for y, w in zip(outputs, weights, strict=True)).backward()
        gradients = [leaf.grad for leaf in leaves]
        named = [parameter.grad for _, parameter in model.named_parameters()]
        found.append([y.detach() for y in outputs] + gradients + named)
        for parameter in model.parameters():
            parameter.grad = None
    for number, (mine, other) in enumerate(zip(*found, strict=True)):
        parity.close(f"result {number}", mine.numpy(), other.numpy(), TOLERANCE, 1)


KINDS: list[tuple[str, dict[str, Any]]] = [
    ("RNN", {}),
    ("RNN", {"nonlinearity": "relu", "bias": False, "num_layers": 2}),
    ("LSTM", {"num_layers": 2, "bidirectional": True}),
    ("LSTM", {"proj_size": 2, "bidirectional": True, "num_layers": 2, "batch_first": True}),
    ("LSTM", {"bias": False}),
    ("GRU", {"batch_first": True}),
    ("GRU", {"bias": False, "num_layers": 3, "bidirectional": True}),
]


def _states(layer: Any, n: int | None) -> list[np.ndarray]:
    count = layer.num_layers * (1 + layer.bidirectional)
    sizes = [layer.proj_size or layer.hidden_size] + [layer.hidden_size] * (layer.mode == "LSTM")
    return [_numbers((count, size) if n is None else (count, n, size), i) for i, size in enumerate(sizes)]


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize(("name", "options"), KINDS)
def test_matches_torch(where: str, name: str, options: dict[str, Any]) -> None:
    parity = pytest.importorskip("tests.parity")
    ours, theirs = _pair(parity, name, 3, 5, **options)
    x = _numbers((2, 4, 3))
    n = 2 if ours.batch_first else 4
    _same(parity, ours, theirs, x, _states(ours, n), where)
    _same(parity, ours, theirs, x, [], where)
    _same(parity, ours, theirs, x[0], _states(ours, None), where)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_shape_matches_torch(data: st.DataObject) -> None:
    parity = pytest.importorskip("tests.parity")
    sizes = st.integers(1, 4)
    name = data.draw(st.sampled_from(["RNN", "LSTM", "GRU"]))
    options: dict[str, Any] = {key: data.draw(st.booleans()) for key in ("bias", "batch_first", "bidirectional")}
    options["num_layers"] = data.draw(st.integers(1, 3))
    hidden = data.draw(sizes)
    if name == "LSTM" and hidden > 1:
        options["proj_size"] = data.draw(st.integers(0, hidden - 1))
    ours, theirs = _pair(parity, name, data.draw(sizes), hidden, **options)
    length, n = data.draw(sizes), data.draw(st.integers(0, 3))
    if not n and data.draw(st.booleans()):  # without a batch
        _same(parity, ours, theirs, _numbers((length, ours.input_size)), _states(ours, None), "cpu")
        return
    shape = (n, length, ours.input_size) if ours.batch_first else (length, n, ours.input_size)
    _same(parity, ours, theirs, _numbers(shape), _states(ours, n) if data.draw(st.booleans()) else [], "cpu")


CELLS: list[tuple[str, dict[str, Any]]] = [
    ("RNNCell", {}),
    ("RNNCell", {"bias": False, "nonlinearity": "relu"}),
    ("LSTMCell", {}),
    ("LSTMCell", {"bias": False}),
    ("GRUCell", {}),
    ("GRUCell", {"bias": False}),
]


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize(("name", "options"), CELLS)
def test_cells_match_torch(where: str, name: str, options: dict[str, Any]) -> None:
    parity = pytest.importorskip("tests.parity")
    ours, theirs = _pair(parity, name, 3, 5, **options)
    count = 1 + (name == "LSTMCell")
    _same(parity, ours, theirs, _numbers((4, 3)), [_numbers((4, 5), i) for i in range(count)], where)
    _same(parity, ours, theirs, _numbers((4, 3)), [], where)
    _same(parity, ours, theirs, _numbers((3,)), [_numbers((5,), i) for i in range(count)], where)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"])
def test_starts_uniform_by_the_size_of_the_state(name: str) -> None:
    layer = getattr(nn, name)(30, 64)
    for key, parameter in layer.named_parameters():
        values = parameter.detach().numpy()
        assert np.abs(values).max() <= 1 / 8, key
        assert 0.8 < values.std() * 8 * 3**0.5 < 1.2, key  # that of a uniform distribution
    before = [parameter.tolist() for parameter in layer.parameters()]
    layer.reset_parameters()
    assert all(parameter.tolist() != old for parameter, old in zip(layer.parameters(), before, strict=True))


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_cells_step_by_step_are_the_layer(name: str) -> None:
    layer: Any = getattr(nn, name)(3, 5, dtype="float64")
    cell: Any = getattr(nn, f"{name}Cell")(3, 5, dtype="float64")
    cell.load_state_dict({key.removesuffix("_l0"): value for key, value in layer.state_dict().items()})
    x, state = gpunn.tensor(_numbers((4, 2, 3))), None
    outputs, last = layer(x)
    with gpunn.no_grad():
        for one, expected in zip(x, outputs, strict=True):
            state = cell(one, state)
            np.testing.assert_allclose(next(_flat(state)).numpy(), expected.numpy(), rtol=0, atol=TOLERANCE)
        for mine, whole in zip(_flat(state), _flat(last), strict=True):
            np.testing.assert_allclose(mine.numpy(), whole[0].numpy(), rtol=0, atol=TOLERANCE)


def test_dropout_lies_between_layers_and_in_training_only() -> None:
    gpunn.manual_seed(4)
    one = nn.GRU(3, 40, 2, dropout=0.5)
    plain = nn.GRU(3, 40, 2)
    plain.load_state_dict(one.state_dict())
    x = gpunn.tensor(_numbers((3, 2, 3)).astype(np.float32))
    (first, states), (other, expected) = one(x), plain(x)
    assert states[0].tolist() == expected[0].tolist()
    assert states[1].tolist() != expected[1].tolist()
    assert (first != 0).all()  # nothing is dropped behind the last
    assert one(x)[0].tolist() != first.tolist()
    assert one.eval()(x)[0].tolist() == other.tolist()
    gpunn.manual_seed(4)
    assert nn.GRU(3, 40, 2, dropout=0.5)(x)[0].tolist() == first.tolist()
    with pytest.warns(UserWarning, match="LSTM: dropout=0.5 is applied between layers, and num_layers=1") as told:
        nn.LSTM(3, 4, dropout=0.5)
    assert told[0].filename == __file__


def test_names_of_weights_that_programs_ask_for() -> None:
    layer = nn.LSTM(3, 4, 2, bidirectional=True)
    assert [len(weights) for weights in layer.all_weights] == [4] * 4
    assert layer.all_weights[3][0] is layer.weight_ih_l1_reverse
    layer.flatten_parameters()
    assert isinstance(layer, nn.RNNBase)
    assert isinstance(nn.GRUCell(2, 2), nn.RNNCellBase)


def test_weights_may_be_computed() -> None:
    layer = nn.utils.weight_norm(nn.LSTM(3, 4), "weight_hh_l0")
    layer(gpunn.ones(2, 1, 3))[0].sum().backward()
    assert layer.weight_hh_l0_g.grad is not None


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_captured_steps_equal_eager_ones(kernels: str, name: str) -> None:
    losses = []
    for captured in (False, True):
        gpunn.manual_seed(3)
        layer = getattr(nn, name)(3, 5, 2, batch_first=True, bidirectional=True, dropout=0.25).to(kernels)
        optimizer = gpunn.optim.SGD(layer.parameters(), lr=0.5)

        def step(x: Any, layer: Any = layer, optimizer: Any = optimizer) -> Any:
            loss = layer(x)[0].square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        run = gpunn.capture(step) if captured else step
        batches = [gpunn.tensor(_numbers((2, 4, 3), i).astype(np.float32), device=kernels) for i in range(4)]
        losses.append([run(x).item() for x in batches])
    assert losses[0] == losses[1]
    assert len(set(losses[0])) == 4


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.LSTM(0, 3), UsageError, "^LSTM: input_size: expected a whole number of at least 1; got 0"),
        (lambda: nn.LSTM(3, 4, 2, 0.5), ArgumentError, "^LSTM: bias: expected a bool; got 0.5. Is an argument"),  # type: ignore[arg-type]
        (lambda: nn.GRU(3, 4, dropout=1.5), UsageError, "^GRU: dropout: expected a number from 0 to 1; got 1.5"),
        (lambda: nn.GRU(3, 4, proj_size=2), UsageError, "^GRU: proj_size: only LSTM has projections; got 2"),
        (lambda: nn.RNN(3, 4, proj_size=2), UsageError, "^RNN: proj_size: only LSTM has projections; got 2"),
        (lambda: nn.LSTM(3, 4, proj_size=4), UsageError, "^LSTM: proj_size: expected less than hidden_size, 4; got 4"),
        (lambda: nn.RNN(3, 4, nonlinearity="elu"), UsageError, "^RNN: nonlinearity: expected 'tanh' or 'relu'; got"),
        (lambda: nn.RNNCell(3, 4, nonlinearity="elu"), UsageError, "^RNNCell: nonlinearity: expected 'tanh' or"),
        (lambda: nn.RNNBase("elu", 3, 4), UsageError, "^RNNBase: mode: expected one of RNN_TANH, RNN_RELU, LSTM, GRU"),
        (lambda: nn.LSTM(3, 4)(gpunn.ones(3)), ShapeError, r"expected x of shape \(L, N, D\) or \(L, D\); got \(3,\)"),
        (lambda: nn.LSTM(3, 4)(gpunn.ones(2, 1, 4)), ShapeError, r"expected 3 features on the last axis \(input_size"),
        (lambda: nn.LSTM(3, 4)(gpunn.ones(0, 1, 3)), ShapeError, "expected a sequence of at least 1 element; got"),
        (
            lambda: nn.LSTM(3, 4)(gpunn.ones(2, 1, 3).double()),
            DTypeError,
            "x in the weights' dtype float32; got float6",
        ),
        (
            lambda: nn.LSTM(3, 4)(gpunn.ones(2, 1, 3), gpunn.ones(1, 1, 4)),
            ArgumentError,
            r"LSTM: hx: expected a tuple of two Tensors \(h_0, c_0\) or None; got Tensor",
        ),
        (
            lambda: nn.LSTM(3, 4)(gpunn.ones(2, 1, 3), (gpunn.ones(1, 1, 4), gpunn.ones(1, 1, 5))),
            ShapeError,
            r"hx: expected c_0 of shape \(1, 1, 4\), a state for each layer and direction, for x of shape \(2, 1, 3\)",
        ),
        (
            lambda: nn.GRU(3, 4)(gpunn.ones(2, 3), gpunn.ones(1, 1, 4)),
            ShapeError,
            r"hx: expected h_0 of shape \(1, 4\), a state for each layer and direction, for x of shape \(2, 3\); got",
        ),
        (
            lambda: nn.GRU(3, 4)(gpunn.ones(2, 3), gpunn.ones(1, 4).double()),
            DTypeError,
            "hx: expected h_0 in x's dtype float32; got float64",
        ),
        (lambda: nn.GRUCell(3, 4)(gpunn.ones(2, 4)), ShapeError, r"expected x of shape \(N, 3\) or \(3,\) by input_si"),
        (lambda: nn.GRUCell(3, 4)(gpunn.ones(3).double()), DTypeError, "x in the weights' dtype float32; got float64"),
        (
            lambda: nn.GRUCell(3, 4)(gpunn.ones(2, 3), gpunn.ones(4)),
            ShapeError,
            r"hx: expected a state of shape \(2, 4",
        ),
        (lambda: nn.LSTMCell(3, 4)(gpunn.ones(3), gpunn.ones(4)), ArgumentError, r"a tuple of two Tensors \(h, c\) or"),
    ],
)
def test_refuses(call: Any, error: type[GpunnError], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
