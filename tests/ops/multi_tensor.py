"""What the tests of multi-tensor primitives share: arrays around a chunk, copies of the same alignment, all bodies."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from gpunn.primitive import Primitive
from tests.devices import call

# Around a vector, a warp, a chunk of the kernels, and a block of the CPU.
SIZES = st.lists(st.sampled_from([0, 1, 3, 4, 63, 4095, 4096, 4097, 9000, 40_000]), min_size=1, max_size=4)
DTYPES = st.sampled_from([np.float32, np.float64])


def draw(rng: np.random.Generator, sizes: list[int], dtype: Any, shift: int, positive: bool = False) -> list[Any]:
    """Arrays that begin ``shift`` elements after an aligned address."""
    made = [rng.standard_normal(n + shift).astype(dtype)[shift:] for n in sizes]
    if positive:
        for a in made:
            np.multiply(a, a, out=a)
    return made


def twin(arguments: dict[str, Any]) -> dict[str, Any]:
    """As it is, with fresh copies of the same alignment."""

    def copy(a: Any) -> Any:
        if not isinstance(a, np.ndarray):
            return a
        offset = a.ctypes.data % 16 // a.itemsize
        fresh = np.empty(a.size + offset, a.dtype)[offset:]
        fresh[...] = a
        return fresh

    return {k: [copy(a) for a in v] if isinstance(v, list) else v for k, v in arguments.items()}


def check_bodies(primitive: Primitive, arguments: dict[str, Any], tolerance: dict[Any, float], kernels: str) -> None:
    """Every body changes the arrays as the plain one does; ``tolerance`` by dtype, of the largest magnitude or 1."""
    expected = twin(arguments)
    primitive.plain(np, **expected)
    bound = tolerance[arguments["scalars"].dtype.type]
    for where in ("cpu", kernels):
        got = twin(arguments)
        call(primitive, where, **got)
        for name in primitive.mutates:
            for a, b in zip(got[name], expected[name], strict=True):
                if b is not None:
                    limit = bound * max(1, np.abs(b).max(initial=0))
                    np.testing.assert_allclose(a, b, rtol=0, atol=limit, err_msg=f"{where}: {name}")


def check_nothing_is_written_after_bad_data(primitive: Primitive, arguments: dict[str, Any], where: str) -> None:
    """The device's error buffer stops every write."""
    before = twin(arguments)
    failed = {**arguments, "error": np.array([1, 0, 0, 0], np.int32)}
    call(primitive, where, **failed)
    for name in primitive.mutates:
        for a, b in zip(arguments[name], before[name], strict=True):
            np.testing.assert_array_equal(a, b)
