"""Atomics on integers do what CUDA's do; those on floating-point numbers do not compile."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gpunn.emulator import Argument, available, compile_module, schedule
from gpunn.errors import KernelError

pytestmark = [
    pytest.mark.emulator,
    pytest.mark.skipif(available() is not None, reason=str(available())),
]

TYPES = {"int": np.int32, "unsigned": np.uint32, "unsigned long long": np.uint64, "long long": np.int64}
Function = Callable[[int, int], int]
EVERYWHERE: dict[str, Function] = {
    "Add": lambda old, v: old + v,
    "Exch": lambda old, v: v,
    "Max": max,
    "Min": min,
    "And": lambda old, v: old & v,
    "Or": lambda old, v: old | v,
    "Xor": lambda old, v: old ^ v,
}
SOME: list[tuple[str, str, Function]] = [
    ("long long", "Max", max),
    ("long long", "Min", min),
    ("int", "Sub", lambda old, v: old - v),
    ("unsigned", "Sub", lambda old, v: old - v),
    ("unsigned", "Inc", lambda old, v: 0 if old >= v else old + 1),
    ("unsigned", "Dec", lambda old, v: v if old == 0 or old > v else old - 1),
]
CASES = [
    *((kind, name, f) for kind in ("int", "unsigned", "unsigned long long") for name, f in EVERYWHERE.items()),
    *SOME,
]
# One program for all of them: it takes as long to compile as one does.
SOURCE = """\
#define CHANGE(KERNEL, T, ATOMIC) \\
    extern "C" __global__ void KERNEL(T* y, T* before, const T* x) { \\
        before[threadIdx.x] = ATOMIC(&y[threadIdx.x % 2], x[threadIdx.x]); \\
    }
#define COUNT(KERNEL, T) \\
    extern "C" __global__ void KERNEL(T* y, T* before, const T* x) { \\
        before[threadIdx.x] = atomicCAS(&y[0], x[threadIdx.x], (T)(x[threadIdx.x] + 1)); \\
    }
""" + "".join(
    [f"CHANGE({name}_{kind.replace(' ', '_')}, {kind}, atomic{name})\n" for kind, name, _ in CASES]
    + [f"COUNT(count_{kind.replace(' ', '_')}, {kind})\n" for kind in TYPES if kind != "long long"]
)


def run(kernel: str, y: np.ndarray, before: np.ndarray, x: np.ndarray) -> None:
    arguments = [Argument(y, "inout"), Argument(before, "out"), Argument(x)]
    compile_module(SOURCE, "atomics.cu", {}).launch(kernel.replace(" ", "_"), (1, 1, 1), (64, 1, 1), arguments)


@pytest.mark.parametrize(("kind", "name", "function"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_result_and_old_value(kind: str, name: str, function: Function) -> None:
    dtype = np.dtype(TYPES[kind])
    bits = 8 * dtype.itemsize
    # Values near the ends of the type, so that sums wrap.
    x = np.random.default_rng(0).integers(0, 256, 64 * dtype.itemsize, np.uint8).view(dtype)
    if name in ("Inc", "Dec"):
        x = (x % 5).astype(dtype)
    y, before = x[:2].copy(), np.empty(64, dtype)
    run(f"{name}_{kind}", y, before, x)  # forward: one thread after the other
    state = [int(v) for v in x[:2]]
    for i, v in enumerate(x):
        assert int(before[i]) == state[i % 2]
        wrapped = function(state[i % 2], int(v)) % 2**bits
        state[i % 2] = wrapped - 2**bits if dtype.kind == "i" and wrapped >= 2 ** (bits - 1) else wrapped
    assert y.tolist() == state


@pytest.mark.parametrize("kind", ["int", "unsigned", "unsigned long long"])
def test_compare_and_swap(kind: str) -> None:
    x = np.arange(64, dtype=TYPES[kind])
    y, before = np.zeros(1, x.dtype), np.empty_like(x)
    run(f"count_{kind}", y, before, x)
    assert y[0] == 64  # thread i found i and made it i + 1
    np.testing.assert_array_equal(before, x)
    with schedule("reverse"):
        y[0] = 5
        run(f"count_{kind}", y, before, x)
    assert y[0] == 6  # only thread 5 found what it expected, and 6 had come before
    np.testing.assert_array_equal(before, np.where(x < 5, 6, 5))


@pytest.mark.parametrize("name", ["Add", "Exch", "Max", "Min"])
def test_floating_point_is_refused_at_compile_time(name: str) -> None:
    source = f"""\
extern "C" __global__ void f(float* f, double* d) {{
    atomic{name}(f, 1.0f);
    atomic{name}(d, 1.0);
}}
"""
    with pytest.raises(KernelError) as error:
        compile_module(source, "floats.cu", {})
    for line, kind in enumerate(("float", "double"), 2):
        message = f"no atomic{name} on {kind}: the result would depend on the order of the threads"
        assert message in str(error.value)
        assert f"floats.cu:{line}:" in str(error.value)
