"""BLAS runs in one thread within every primitive on the CPU, and as the user set it everywhere else."""

from __future__ import annotations

import numpy as np
import pytest

from gpunn._device import device
from gpunn.cpu.blas import single_threaded_blas
from gpunn.ops import import_all
from gpunn.primitive import REGISTRY, primitive

import_all()  # registers every primitive


@pytest.fixture
def numbers() -> list[int]:
    """How many threads BLAS had in the plain and in the fast body."""
    seen: list[int] = []

    def ask() -> None:
        assert single_threaded_blas.libraries is not None
        seen.extend(library.ask() for library in single_threaded_blas.libraries)

    @primitive(returns=("y",))
    def asks_plainly(xp: object, x: np.ndarray) -> np.ndarray:
        ask()
        return x

    @primitive(returns=("y",))
    def asks_fast(xp: object, x: np.ndarray) -> np.ndarray:
        return x

    @asks_fast.numpy
    def _(x: np.ndarray) -> np.ndarray:
        ask()
        return x

    try:
        asks_plainly(device("cpu"), np.ones(3))
        asks_fast(device("cpu"), np.ones(3))
    finally:
        for name in ("asks_plainly", "asks_fast"):
            del REGISTRY[name]
    return seen


def test_one_thread_within_a_primitive(numbers: list[int]) -> None:
    assert numbers
    assert set(numbers) == {1}


def test_as_it_was_afterwards(numbers: list[int]) -> None:
    libraries = single_threaded_blas.libraries
    assert libraries
    before = [library.ask() for library in libraries]
    for library in libraries:
        library.change(2)
    try:
        REGISTRY["gemm"](device("cpu"), np.ones((3, 3)), np.ones((3, 3)), "nn")
        assert [library.ask() for library in libraries] == [2] * len(libraries)
    finally:
        for library, number in zip(libraries, before, strict=True):
            library.change(number)
