"""Every body of every registered primitive gives the same arrays on its examples.

The plain body on NumPy is the reference. It is compared with the fast NumPy path and with the
kernels on the emulator, under three schedules of warps and blocks; on a machine with a GPU also with
the plain body and the kernels on CuPy (``pytest tests/test_battery.py -m gpu``). Values, mutated arguments,
dtypes, shapes and layouts must agree.
"""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy as np
import pytest

from gpunn._device import Device, device
from gpunn.ops import import_all
from gpunn.primitive import REGISTRY, Primitive
from tests.devices import GPU, host, in_order, on_gpu
from tests.examples import examples_of

import_all()  # registers every primitive


def _bodies() -> list[Any]:
    made: list[Any] = []
    for name, primitive in sorted(REGISTRY.items()):
        made.append((name, "cpu", "forward"))  # also without a fast body: the layout of what is returned is checked
        if primitive.kernel_body is not None:
            made += [
                pytest.param(name, "emulator", order, marks=pytest.mark.emulator)
                for order in ("forward", "reverse", "shuffled")
            ]
            made += on_gpu(name, GPU, "forward")
        made += on_gpu(name, GPU.replace("cuda", "cuda-plain"), "forward")
    return made


def _upload(value: object, target: Device) -> object:
    if isinstance(value, np.ndarray) and value.dtype.names is None:
        value = np.array(value, order="C")
        return value if target.xp is np else target.array(value)
    if isinstance(value, list):
        return [_upload(v, target) for v in value]
    return copy.deepcopy(value)


def run_body(primitive: Primitive, target: Device | None, example: dict) -> tuple[tuple, dict]:
    """(returned arrays, arguments after the call), on the host; target None is the plain body on NumPy."""
    home = target or device("cpu")
    args = {k: v if k in primitive.host_arguments else _upload(v, home) for k, v in example.items()}
    with np.errstate(all="ignore"):
        if target is None:
            result = primitive.plain(np, **args)
        else:
            bound = inspect.signature(primitive.plain).bind(None, **args)
            result = primitive(target, *bound.args[1:], **bound.kwargs)  # by position, as the ops do
    if len(primitive.returns) == 0:
        assert result is None
        result = ()
    elif len(primitive.returns) == 1:
        # Called directly, a plain body may give a NumPy scalar; the primitive must not.
        result = (np.asarray(result) if target is None else result,)
    assert len(result) == len(primitive.returns), f"{primitive.name} returns {len(result)} values"
    for name, array in zip(primitive.returns, result, strict=True):
        if array is not None:
            assert isinstance(array, home.xp.ndarray), f"{name} is {type(array)}"
            assert array.flags.c_contiguous, f"{name} is not contiguous: strides {array.strides}"
    mutated = {name: args[name] for name in primitive.mutates}
    return host(tuple(result)), {k: host(v) for k, v in mutated.items()}


def assert_same(name: str, got: Any, expected: Any, tolerance: float) -> None:
    if expected is None or got is None:
        assert (got, expected) == (None, None), name
        return
    if isinstance(expected, list):
        for i, (g, e) in enumerate(zip(got, expected, strict=True)):
            assert_same(f"{name}[{i}]", g, e, tolerance)
        return
    assert got.dtype == expected.dtype, f"{name}: {got.dtype} for {expected.dtype}"
    assert got.shape == expected.shape, f"{name}: {got.shape} for {expected.shape}"
    if got.dtype.kind != "f":
        np.testing.assert_array_equal(got, expected, err_msg=name)
        return
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(np.where(finite, 0, got), np.where(finite, 0, expected), err_msg=name)
    scale = np.abs(expected[finite]).max(initial=1e-30)
    # float64 sums differ by as many roundings, each 2^29 times smaller.
    bound = tolerance if got.dtype == np.float32 else tolerance * 2.0**-29
    error = np.abs(got[finite] - expected[finite]).max(initial=0) / scale
    assert error <= bound, f"{name}: relative error {error:.2e} > {bound:.2e}"


@pytest.mark.parametrize(("name", "where", "order"), _bodies())
def test_bodies_agree(name: str, where: str, order: str) -> None:
    primitive = REGISTRY[name]
    target = device(where)
    examples = examples_of(primitive)
    assert examples, f"{name} declares no examples"
    for number, example in enumerate(examples):
        expected, expected_mutated = run_body(primitive, None, example)
        for _ in range(2 if where == GPU else 1):  # the second time launches are repeated from a plan
            with in_order(where, order, seed=number):
                got, mutated = run_body(primitive, target, example)
            for label, g, e in zip(primitive.returns, got, expected, strict=True):
                assert_same(f"{name} example {number}: {label}", g, e, primitive.tolerance)
            for label in primitive.mutates:
                assert_same(
                    f"{name} example {number}: {label}", mutated[label], expected_mutated[label], primitive.tolerance
                )


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_primitive_has_examples(name: str) -> None:
    assert examples_of(REGISTRY[name])


def test_a_primitive_without_examples_is_told_where_they_belong() -> None:
    def forgotten(xp: object, x: object) -> object:
        return x

    with pytest.raises(LookupError, match=r"forgotten has no examples.*tests/examples/test_battery\.py"):
        examples_of(Primitive(forgotten, ("y",), (), 0, ()))
