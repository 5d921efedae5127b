"""Launches repeated from a plan give what the kernel bodies give, for every primitive."""

from __future__ import annotations

import copy
import functools
import inspect
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn._device import Device, device
from gpunn.errors import LabelError, ShapeError
from gpunn.gpu.launcher import trace_launches
from gpunn.gpu.plans import Plans
from gpunn.ops import import_all
from gpunn.primitive import REGISTRY, Primitive
from tests.examples import examples_of
from tests.test_battery import assert_same

import_all()

pytestmark = pytest.mark.emulator
_PLANNED = sorted(name for name, primitive in REGISTRY.items() if primitive._plans is not None)


@pytest.mark.parametrize("name", _PLANNED)
def test_repeated_launches_give_what_the_body_gives(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    primitive = REGISTRY[name]
    assert primitive.kernel_body is not None
    monkeypatch.setattr(primitive, "_plans", Plans(primitive.kernel_body))
    for number, example in enumerate(examples_of(primitive)):
        images = any(isinstance(v, np.ndarray) and v.ndim == 4 and v.dtype.kind == "f" for v in example.values())
        for form in (example, *([_changed(example, _images)] if images else [])):
            _compare(primitive, form, _changed(form, _reversed), f"{name} example {number}")


def _compare(primitive: Primitive, example: dict, other: dict, what: str) -> None:
    """The first call makes the plan, the others repeat it; with somebody watching the launches, the body runs."""
    emulator = device("emulator")
    try:
        _run(primitive, emulator, example)
    except ShapeError:  # this one takes physical arrays only
        return
    with trace_launches():
        expected, expected_mutated = _run(primitive, emulator, other)
    got, mutated = _run(primitive, emulator, other)
    for label, g, e in zip(primitive.returns, got, expected, strict=True):
        assert_same(f"{what}: {label}", g, e, 0)
    for label in primitive.mutates:
        assert_same(f"{what}: {label}", mutated[label], expected_mutated[label], 0)


def _run(primitive: Primitive, where: Device, example: dict) -> tuple[tuple, dict]:
    """What is returned and mutated; arrays keep their memory order."""
    args = {key: value.copy(order="K") if isinstance(value, np.ndarray) else value for key, value in example.items()}
    args = {key: copy.deepcopy(value) if isinstance(value, list) else value for key, value in args.items()}
    names = list(inspect.signature(primitive.plain).parameters)[1:]
    result = primitive(where, *(args[name] for name in names if name in args))
    several = len(primitive.returns) > 1
    returned = result if several else (result,) if primitive.returns else ()
    return returned, {name: args[name] for name in primitive.mutates}


def _changed(example: dict, change: Callable[[np.ndarray], np.ndarray]) -> dict:
    return {k: change(v) if isinstance(v, np.ndarray) and v.dtype.kind == "f" else v for k, v in example.items()}


def _reversed(array: np.ndarray) -> np.ndarray:
    """Other values of the same geometry."""
    values = array.copy(order="K")
    values[...] = array.reshape(-1)[::-1].reshape(array.shape)
    return values


def _images(array: np.ndarray) -> np.ndarray:
    """Four axes as tensors have them: a view of channels that lie last."""
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) if array.ndim == 4 else array


def test_a_gradient_of_the_same_geometry_in_another_order_has_a_plan_of_its_own() -> None:
    x = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    for array in (x, _images(x), x, _images(x)):
        assert (
            REGISTRY["sum_axes"](device("emulator"), array, (1,), False, 1.0).reshape(-1).tolist()
            == x.sum(1).reshape(-1).tolist()
        )


def test_arrays_that_overlap_are_not_taken_for_each_other() -> None:
    emulator, add = device("emulator"), REGISTRY["add_same_shape"]
    x, y = (np.full(5, value, np.float32) for value in (1, 10))
    assert add(emulator, x, x).tolist() == [2] * 5
    assert add(emulator, x, y).tolist() == [11] * 5
    assert add(emulator, y, y).tolist() == [20] * 5


def test_an_update_by_an_array_that_overlaps_its_target_uses_the_old_values() -> None:
    add, emulator = REGISTRY["update"], device("emulator")
    for shift in (9, 1, 9):  # apart, so that there is a plan; overlapping; apart
        memory = np.arange(20, dtype=np.float32)
        target, other = memory[:8], memory[shift : shift + 8]
        expected = target + other
        add(emulator, "add", target, other)
        assert target.tolist() == expected.tolist()


def test_a_layer_is_named_by_the_call_and_not_by_the_plan() -> None:
    scores, labels = gpunn.zeros(2, 3, device="emulator"), gpunn.tensor([0, 7], device="emulator")
    for name in ("first", "second"):
        model = nn.Module()
        model.add_module(name, nn.CrossEntropyLoss())
        model.forward = functools.partial(nn.CrossEntropyLoss.__call__, getattr(model, name))
        with pytest.raises(LabelError, match=rf"{name} \(CrossEntropyLoss\)"):
            model(scores, labels).item()


def test_a_body_with_array_library_code_in_it_has_no_plan() -> None:
    def doubled(xp: Any, x: Any) -> Any:
        x *= 2
        return x

    def outer(xp: Any, x: Any) -> Any:
        return xp.abs(2 * x)

    inside, whole = Primitive(doubled, ("x",), ("x",), 0, ()), Primitive(outer, ("y",), (), 0, ())

    @whole.kernel
    def _(where: Device, x: Any) -> Any:
        y = REGISTRY["absolute_relu_forward"](where, x)
        inside(where, y)  # in place: no launch, and no array that a plan would miss
        return y

    for value in (1, -3, 5):
        x = np.full(4, value, np.float32)
        assert whole(device("emulator"), x).tolist() == [2 * abs(value)] * 4


def test_nothing_is_kept_alive_by_a_plan() -> None:
    x = np.ones(7, np.float32)
    alive = weakref.ref(x)
    for _ in range(2):
        REGISTRY["absolute_relu_forward"](device("emulator"), x)
    del x
    assert alive() is None
