"""Every public call with every argument spoilt in turn: what it raises is an exception of ours and names what is wrong.

The calls are in ``tests/calls.py``. What one mistake's message says is tested in ``tests/test_mistakes.py``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn, optim
from gpunn._tensor import Tensor
from gpunn.errors import ArgumentError, GpunnError
from tests.calls import CALLS, LAYERS, LOSSES, SCHEDULES, Call, constant


class Foreign:
    """Another library's array, as far as one can tell by its attributes."""

    shape = (2, 3)
    ndim = 2
    dtype = np.dtype("float32")
    device = "cpu"
    requires_grad = False

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0

    def __dlpack__(self, **options: Any) -> Any:
        raise BufferError("not to be exported")


# What nobody can mean as a tensor.
NO_TENSORS: dict[str, Callable[[], Any]] = {
    "a string": lambda: "text",
    "an object": object,
    "a class": lambda: nn.Linear,
    "a layer": lambda: nn.Linear(3, 2),
    "a module": lambda: np,
    "a function": lambda: lambda *given: None,
    "a generator": lambda: (number for number in (1, 2)),
    "a dict": lambda: {"a": 1},
    "a set": lambda: {1, 2},
    "bytes": lambda: b"ab",
    "another library's array": Foreign,
}
SPOILT: dict[str, Callable[[], Any]] = NO_TENSORS | {
    "None": lambda: None,
    "a list": lambda: [1.0, 2.0],
    "a ragged list": lambda: [[1], [2, 3]],
    "a list of strings": lambda: ["a"],
    "a tuple of None": lambda: (None,),
    "a long tuple": lambda: (1, 2, 3, 4, 5, 6, 7),
    "an empty tuple": lambda: (),
    "an empty dict": dict,
    "a number": lambda: 2.5,
    "a negative number": lambda: -7,
    "an axis that does not exist": lambda: 99,
    "NaN": lambda: float("nan"),
    "a complex number": lambda: 1j,
    "a truth": lambda: True,
    "an array": lambda: np.ones((2, 3), np.float32),
    "an array of objects": lambda: np.array([None, 1]),
    "an array of strings": lambda: np.array(["a"]),
    "a tensor of another shape": lambda: gpunn.ones(5, 7),
    "a tensor of integers": lambda: gpunn.tensor([[1, 2, 3], [4, 5, 6]]),
    "a tensor of truths": lambda: constant() > 0.5,
    "a tensor without axes": lambda: gpunn.tensor(1.0),
    "an empty tensor": lambda: gpunn.zeros(0),
}
# What is called with arguments of its own, and fails in Python's words: a class or layer in place of a function.
_CALLED = {("a class", "gpunn.gradcheck"), ("a class", "lr_scheduler.LambdaLR"), ("a class", "Module.apply")}
_CALLED |= {
    ("a class", "SGD.step"),
    ("a layer", "SGD.step"),
    ("a class", "lr_scheduler.MultiplicativeLR"),
    ("a layer", "train.evaluate"),
}
# A dict whose keys count from 0 is a dataset, and this one's do not: that is its own KeyError.
_CALLED |= {("a dict", "data.DataLoader"), ("a dict", "data.DeviceLoader")}
# A layer may take the name of a buffer; whatever has a shape can lend it.
_FITS = {("a layer", "setattr(buffer)")}
_FITS |= {("another library's array", f"Tensor.{name}_as") for name in ("expand", "reshape", "view")}


def _spoilt(call: Call, place: int, value: Any) -> BaseException | None:
    """What the call raises with one argument replaced; None if nothing."""
    arguments = list(call.arguments())
    arguments[place] = value
    try:
        call.function(*arguments)
    except Exception as error:
        return error
    return None


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of old names
@pytest.mark.parametrize("name", CALLS)
def test_the_calls_work(name: str) -> None:
    call = CALLS[name]
    call.function(*call.arguments())


@pytest.mark.filterwarnings("ignore")  # NumPy warns of the NaN and the infinities that some of this leads to
@pytest.mark.parametrize("name", CALLS)
def test_what_a_spoilt_call_raises_is_ours(name: str) -> None:
    call, theirs = CALLS[name], []
    for place in range(len(call.arguments())):
        for what, make in SPOILT.items():
            error = _spoilt(call, place, make())
            if error is not None and not isinstance(error, GpunnError) and (what, name) not in _CALLED:
                theirs.append(f"argument {place}: {what}: {type(error).__name__}: {error}")
    assert not theirs, "\n".join([name, *theirs])


def _tensor_places(name: str) -> list[int]:
    return [i for i, value in enumerate(CALLS[name].arguments()) if type(value) is Tensor]


@pytest.mark.parametrize("name", [n for n in CALLS if _tensor_places(n)])
def test_nothing_else_passes_for_a_tensor(name: str) -> None:
    passed = []
    for place in _tensor_places(name):
        for what, make in NO_TENSORS.items():
            if (what, name) not in _FITS and _spoilt(CALLS[name], place, make()) is None:
                passed.append(f"argument {place}: {what}")
    assert not passed, f"{name} took without a word: {passed}"


@pytest.mark.parametrize("what", ["None", "a list", "a string", "another library's array", "a layer"])
@pytest.mark.parametrize("layer", [*LAYERS, *LOSSES])
def test_a_layer_names_its_argument(layer: str, what: str) -> None:
    call = CALLS[f"nn.{layer}()()"]
    for place in range(len(call.arguments())):
        error = _spoilt(call, place, SPOILT[what]())
        assert isinstance(error, ArgumentError), f"argument {place}: {error!r}"
        for word in (f"{layer}: ", ("x: ", "input: ", "target: "), "expected a Tensor", "got "):
            assert any(each in str(error) for each in ((word,) if isinstance(word, str) else word)), str(error)


# -- the seam itself ------------------------------------------------------------------------------


def test_an_error_that_no_argument_explains_goes_on_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: Any) -> Any:
        raise AttributeError("a fault inside")

    monkeypatch.setattr("gpunn.ops.relu.relu_forward", broken)
    for call in (nn.functional.relu, nn.ReLU(), gpunn.Tensor.relu):
        with pytest.raises(AttributeError, match=r"^a fault inside$") as caught:
            call(constant())
        assert not isinstance(caught.value, GpunnError)


def test_a_users_own_exceptions_and_annotations_are_left_alone() -> None:
    class Net(nn.Module):
        def forward(self, given: int) -> int:
            if not isinstance(given, int):
                raise TypeError("mine")
            return given

    with pytest.raises(TypeError, match=r"^mine$") as caught:
        Net()("text")
    assert not isinstance(caught.value, GpunnError)
    with pytest.raises(ZeroDivisionError):
        nn.Linear(3, 2).apply(lambda module: 1 / 0)
    with pytest.raises(KeyError):
        optim.SGD([constant()], 0.1).step(lambda: {"a": 1}["loss"])


def test_where_an_error_comes_from_is_kept() -> None:
    with pytest.raises(ArgumentError) as caught:
        nn.functional.relu("text")  # type: ignore[arg-type]
    assert isinstance(caught.value.__cause__, AttributeError)
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, ValueError)


def test_signatures_and_names_are_kept() -> None:
    assert str(inspect.signature(nn.Linear)).startswith("(in_features: 'int', out_features: 'int'")
    assert nn.init.zeros_.__name__ == "zeros_"
    assert inspect.signature(optim.SGD.step).parameters["closure"].default is None
    assert getattr(optim.Optimizer.step, "__isabstractmethod__", False)


def test_operators_leave_other_classes_their_chance() -> None:
    class Other:
        def __radd__(self, other: Any) -> str:
            return "added"

        def __rmatmul__(self, other: Any) -> str:
            return "multiplied"

        def __gt__(self, other: Any) -> str:
            return "compared"

    assert constant() + Other() == "added"
    assert constant() @ Other() == "multiplied"
    assert (constant() < Other()) == "compared"
    assert (constant() == None) is False  # noqa: E711 - what == returns is the point
    assert (constant() != "text") is True


def test_every_public_name_has_a_call() -> None:
    """What is new in these modules and takes arguments has to appear in ``tests/calls.py``."""
    called = {name.split(".")[-1].split("(")[0] for name in CALLS}
    modules: list[ModuleType] = [nn, nn.functional, nn.init, nn.utils, nn.utils.rnn]
    modules += [optim, optim.lr_scheduler, optim.swa_utils]
    # Bases, and a tensor that is also a parameter.
    without = {"Module", "Parameter", "Optimizer", "LRScheduler", "Identity", "functional", "init", "utils"}
    without |= {"lr_scheduler", "rnn", "swa_utils", "Graph"}  # graph_of makes a Graph
    without |= {"get_swa_avg_fn", "get_swa_multi_avg_fn"}  # take nothing
    missing = {n for module in modules for n in module.__all__} - called - without
    assert not missing, f"no call of {sorted(missing)}"
    assert set(SCHEDULES) <= called
