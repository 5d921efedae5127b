"""Runs one PyTorch program with both libraries and compares all that a training step makes of the same numbers.

A program is a file of this folder that reads as one for PyTorch. It has

- ``build(toy=False)``: the network; ``toy`` makes one that a test can run in a fraction of a second.
- ``batch(draw, toy=False)``: a tuple of NumPy arrays from the generator ``draw``. Floating ones become leaves.
- ``loss(net, *batch)``: ``(loss, outputs)``; ``outputs`` is a tensor, or a tuple, list or dict of tensors.

It may draw by ``torch.rand``, ``randn``, ``rand_like``, ``randn_like``, ``F.dropout`` (called by these names) and
``Tensor.bernoulli_``: here both libraries are given the same numbers for them. Dropout layers are told to drop nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import gpunn
from tests.programs._with_gpunn import program

# Both libraries add the same float64 numbers in other orders: some 1e-14 of the largest entry, and batch norm over
# few numbers makes a hundred to a thousand times that of it in nets of this depth.
TOLERANCE = 1e-9


def assert_same(name: str, toy: bool = True, tolerance: float = TOLERANCE) -> None:
    """State, outputs, loss, gradients of inputs and parameters, and buffers afterwards, in float64.

    All but the keys and shapes of the state are compared within ``tolerance`` of the largest entry of each array.
    """
    torch = pytest.importorskip("torch")
    torch.manual_seed(1)
    torch.set_num_threads(1)  # in small steps PyTorch's threads wait for one another most of the time
    theirs, mine = program(name, ours=False), program(name, ours=True)
    with _seeded(torch):
        other = _ready(theirs.build(toy=toy), torch).double()
        net = _ready(mine.build(toy=toy), gpunn).double()
    state = {key: value.detach().numpy() for key, value in other.state_dict().items()}
    _same_layout(name, net.state_dict(), state)
    net.load_state_dict(state)
    arrays = theirs.batch(_draw(), toy=toy)
    expected, got = _step(theirs, other, arrays, torch), _step(mine, net, arrays, gpunn)
    assert list(got) == list(expected)
    of_parameters = [value for key, value in expected.items() if key.startswith("gradient of parameter")]
    # What is small beside the largest gradient has no scale of its own.
    least = 1e-6 * max((np.abs(value).max(initial=0) for value in of_parameters), default=1)
    assert least > 0, f"{name}: no gradient reached a parameter"
    for key, value in expected.items():
        where = f"{name}: {key}"
        assert got[key].shape == value.shape, f"{where}: shape {got[key].shape}, PyTorch {value.shape}"
        assert got[key].dtype == value.dtype, f"{where}: dtype {got[key].dtype}, PyTorch {value.dtype}"
        largest = np.abs(value).max(initial=0)
        # Zero but for rounding, as the gradient of a bias before a batch norm: how its thousands of terms cancel
        # depends on the machine, here to 1.7e-15 of the largest gradient.
        zero = key.startswith("gradient of parameter") and largest < 1e-7 * least
        scale = 10 * least if zero else max(largest, least)
        error = np.abs(np.subtract(got[key], value, dtype=np.float64)).max(initial=0) / scale
        assert error <= tolerance, f"{where}: error {error:.1e} of the largest entry"


def assert_captured_equals_eager(name: str, kernels: str) -> None:
    """Three float32 steps of SGD where kernels run, captured and not: the same losses and parameters, to the bit."""
    runs: list[Any] = []
    for captured in (False, True):
        mine = program(name, ours=True)
        gpunn.manual_seed(1)
        net = mine.build(toy=True).to(kernels)
        optimizer = gpunn.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

        def step(*batch: Any, mine: Any = mine, net: Any = net, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            loss, _ = mine.loss(net, *batch)
            loss.backward()
            optimizer.step()
            return loss

        run: Any = gpunn.capture(step) if captured else step
        arrays = mine.batch(_draw(), toy=True)
        batch = [gpunn.tensor(_cast(a, np.float32), device=kernels) for a in arrays]
        losses = [run(*batch).item() for _ in range(3)]  # as it is, captured, replayed
        assert len(set(losses)) == 3, f"{name}: a step changed nothing: {losses}"
        runs.append((losses, {key: value.numpy().tobytes() for key, value in net.state_dict().items()}))
        if captured:
            assert run.graphs == 1, f"{name}: {run.graphs} graphs"
    (losses, state), (again, captured_state) = runs
    assert again == losses
    different = [key for key in state if state[key] != captured_state[key]]
    assert not different, f"{name}: {different}"


def _draw() -> np.random.Generator:
    return np.random.Generator(np.random.Philox(7))


def _cast(array: np.ndarray, dtype: Any) -> np.ndarray:
    return array.astype(dtype) if array.dtype.kind == "f" else array


def _ready(net: Any, lib: Any) -> Any:
    for module in net.modules():
        if type(module).__name__.startswith("Dropout"):
            module.p = 0.0
    return net.train()


def _same_layout(name: str, ours: Any, theirs: dict[str, np.ndarray]) -> None:
    shapes = {key: tuple(value.shape) for key, value in ours.items()}
    assert shapes == {key: value.shape for key, value in theirs.items()}, name
    assert list(shapes) == list(theirs), f"{name}: the same keys in another order"


def _step(made: ModuleType, net: Any, arrays: tuple[np.ndarray, ...], lib: Any) -> dict[str, np.ndarray]:
    """All that one step gives, in the order in which a reader wants to hear of it."""
    cast = [_cast(a, np.float64) for a in arrays]
    batch = [lib.tensor(a, requires_grad=a.dtype.kind == "f") for a in cast]
    with _seeded(lib):
        loss, outputs = made.loss(net, *batch)
    loss.backward()
    found = {f"output{path}": value.detach().numpy() for path, value in _tensors("", outputs)}
    found["loss"] = loss.detach().numpy()
    for number, tensor in enumerate(batch):
        if tensor.grad is not None:
            found[f"gradient of input {number}"] = tensor.grad.numpy()
    for key, parameter in net.named_parameters():
        if parameter.grad is not None:
            found[f"gradient of parameter {key}"] = parameter.grad.numpy()
    found.update((f"buffer {key}", value.numpy()) for key, value in net.named_buffers())
    return found


def _tensors(path: str, outputs: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(outputs, dict):
        for key, value in outputs.items():
            yield from _tensors(f"{path}[{key!r}]", value)
    elif isinstance(outputs, list | tuple):
        for number, value in enumerate(outputs):
            yield from _tensors(f"{path}[{number}]", value)
    elif outputs is not None:
        yield path, outputs


@contextmanager
def _seeded(lib: Any) -> Iterator[None]:
    """The library's random functions draw from the same NumPy generator, from its beginning."""
    draw = np.random.Generator(np.random.Philox(5))
    F = lib.nn.functional

    def like(values: np.ndarray, dtype: Any) -> Any:
        return lib.tensor(values, dtype=dtype)

    def shape_of(sizes: tuple[Any, ...]) -> tuple[int, ...]:
        return tuple(sizes[0]) if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes

    def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
        if not training or p == 0:
            return input
        return input * like((draw.random(tuple(input.shape)) >= p) / (1 - p), input.dtype)

    stand_ins: dict[tuple[Any, str], Any] = {
        (lib, "rand"): lambda *sizes, dtype=lib.float64, device=None: like(draw.random(shape_of(sizes)), dtype),
        (lib, "randn"): lambda *sizes, dtype=lib.float64, device=None: like(
            draw.standard_normal(shape_of(sizes)), dtype
        ),
        (lib, "rand_like"): lambda x: like(draw.random(tuple(x.shape)), x.dtype),
        (lib, "randn_like"): lambda x: like(draw.standard_normal(tuple(x.shape)), x.dtype),
        (F, "dropout"): dropout,
        (lib.Tensor, "bernoulli_"): lambda x, p=0.5: x.copy_(like(draw.random(tuple(x.shape)) < p, x.dtype)),
    }
    with pytest.MonkeyPatch.context() as patch:
        for (place, name), stand_in in stand_ins.items():
            patch.setattr(place, name, stand_in)
        yield
