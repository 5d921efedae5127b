"""Which devices tests run on, and how NumPy arrays come there and back.

A test that wants kernels has an argument ``kernels``, the name of a device: ``"emulator"``, and ``"cuda"`` where CuPy
finds a GPU (``tests/conftest.py``). One that also runs on NumPy has ``@pytest.mark.parametrize("where", EVERYWHERE)``.
Where there is no GPU, the variants for one are not collected: a suite that skips thousands hides what else it skips.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import os
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gpunn._device import Device, cuda_is_available, device
from gpunn.errors import DeviceError
from gpunn.primitive import Primitive

# Another GPU than the first: GPUNN_TEST_DEVICE=cuda:1 pytest -m gpu
GPU = os.environ.get("GPUNN_TEST_DEVICE") or "cuda"
HAS_GPU = cuda_is_available()


def refuse_to_run_without(expression: str) -> None:
    """A usage error where the GPU's tests alone (``pytest -m gpu``) or a GPU by name are wanted and there is none."""
    if not (_selects_only_gpu(expression) or os.environ.get("GPUNN_TEST_DEVICE")):
        return
    if not re.fullmatch(r"cuda(:\d+)?", GPU):
        raise pytest.UsageError(f"GPUNN_TEST_DEVICE: expected 'cuda' or a numbered GPU such as 'cuda:1'; got {GPU!r}")
    try:
        device(GPU)
    except DeviceError as error:
        raise pytest.UsageError(f"the tests marked gpu cannot run: {error}") from None


def _selects_only_gpu(expression: str) -> bool:
    """Whether ``-m expression`` selects nothing that is not marked ``gpu``."""
    words = set(re.findall(r"\w+", expression)) - {"and", "or", "not"}
    if "gpu" not in words or re.search(r"[^\w\s()]", expression):  # arguments of marks, of which we have none
        return False
    others = sorted(words - {"gpu"})
    rows = [dict(zip(others, row, strict=True)) for row in itertools.product((False, True), repeat=len(others))]
    try:
        return not any(eval(expression, {"__builtins__": {}}, {**row, "gpu": False}) for row in rows)
    except SyntaxError:  # of which pytest tells
        return False


def on_gpu(*values: Any) -> list[Any]:
    """A row of ``parametrize`` that needs the GPU: marked ``gpu``, and only there where CuPy finds one."""
    return [pytest.param(*values, marks=pytest.mark.gpu)] if HAS_GPU else []


KERNELS = [pytest.param("emulator", marks=pytest.mark.emulator), *on_gpu(GPU)]  # where kernels run
EVERYWHERE = ["cpu", *KERNELS]  # NumPy's paths, and the kernels


def upload(value: Any, target: Device) -> Any:
    """A copy of an argument of a primitive: arrays, and lists of them, on the device."""
    if isinstance(value, list | tuple):
        return type(value)(upload(v, target) for v in value)
    if not isinstance(value, np.ndarray) or value.dtype.names is not None:  # structs are passed by value
        return value
    # Kernels choose by alignment how they read, so an array that begins in the middle of a vector does so there too.
    skipped = value.ctypes.data % 16 // value.itemsize if value.flags.c_contiguous else 0
    made = target.empty((value.size + skipped,), value.dtype)[skipped:].reshape(value.shape)
    with target.active():
        made[...] = target.array(np.asarray(value, order="C"))
    return made


def host(value: Any) -> Any:
    """What a primitive returned, in NumPy arrays."""
    if isinstance(value, list | tuple):
        return type(value)(host(v) for v in value)
    return value.get() if hasattr(value, "get") and hasattr(value, "dtype") else value


def call(primitive: Primitive, where: str, *args: Any, kernel: dict[str, Any] | None = None, **kwargs: Any) -> Any:
    """Run a primitive on NumPy arrays, on any device.

    What it returns are NumPy arrays, and what it ``mutates`` is changed in the arrays that were given; what else it
    was given must be as it was. ``kernel`` has arguments of its own for the body that launches kernels, such as a
    smaller block.
    """
    target = device(where)
    run: Callable[..., Any] = primitive if kernel is None else functools.partial(_body(primitive), **kernel)
    if target.xp is np:
        return run(target, *args, **kwargs)  # shares the host's memory
    bound = inspect.signature(primitive.plain).bind(None, *args, **kwargs)
    given = dict(bound.arguments)
    there = bound.arguments
    there.update((k, v if k in primitive.host_arguments else upload(v, target)) for k, v in given.items())
    with contextlib.nullcontext() if kernel is None else target.active():  # else the primitive sees to it
        # By position, as the ops do: then launches of the same geometry are repeated from a plan.
        result = host(run(target, *bound.args[1:], **bound.kwargs))
    target.synchronize()
    for name, here in given.items():
        if name in primitive.mutates:
            _copy_back(here, there[name])
        else:
            _assert_unchanged(f"{primitive.name}: {name}", here, there[name])
    return result


def _body(primitive: Primitive) -> Callable[..., Any]:
    assert primitive.kernel_body is not None, f"{primitive.name} has no kernel"
    return primitive.kernel_body


def in_order(where: str, order: str, seed: int = 0) -> contextlib.AbstractContextManager[Any]:
    """On the emulator warps and blocks run in this order; a GPU has an order of its own each time."""
    from gpunn.emulator import schedule

    return schedule(order, seed) if where == "emulator" else contextlib.nullcontext()


def _copy_back(here: Any, there: Any) -> None:
    if isinstance(here, list | tuple):
        for a, b in zip(here, there, strict=True):
            _copy_back(a, b)
    elif here is not None:
        here[...] = there.get()


def _assert_unchanged(where: str, here: Any, there: Any) -> None:
    if isinstance(here, list | tuple):
        for a, b in zip(here, there, strict=True):
            _assert_unchanged(where, a, b)
    elif isinstance(here, np.ndarray) and here is not there:
        assert there.get().tobytes() == here.tobytes(), f"{where} was written to"
