"""A forked child works, whatever locks other threads of its parent held."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.random import Generator, default_generator

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

PATIENCE = 60.0  # seconds until a child counts as stuck


def in_child(work: Callable[[], None]) -> None:
    """Call ``work`` in a forked child; fail if it raises, or does not end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12: that there are threads is the point here
        child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    until = time.monotonic() + PATIENCE
    ended, status = 0, 0
    while not ended and time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.005)
    if not ended:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert ended, "the child does not end"
    assert os.waitstatus_to_exitcode(status) == 0


@contextmanager
def held(lock: Any) -> Iterator[None]:
    """Have another thread hold a lock."""
    holding, done = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            holding.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    holding.wait()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_generators_in_a_child() -> None:
    """The default one, a copy and a child: each goes on as the parent's does."""
    import copy

    generators = [default_generator(), default_generator().spawn("x"), copy.deepcopy(Generator(3))]
    generators[0].integers(7, (3,))
    expected = [copy.deepcopy(generator).normal(0, 1, (5,)).tolist() for generator in generators]

    def draw() -> None:
        drawn = [generator.normal(0, 1, (5,)).tolist() for generator in generators]
        assert drawn == expected

    for generator in generators:
        with held(generator._host.bit_generator.lock):
            in_child(draw)


@pytest.mark.emulator
def test_the_emulator_in_a_child() -> None:
    from gpunn.emulator import launch

    x = gpunn.tensor([1.0, 2.0, 3.0], device="emulator")
    assert (x * 2).sum().item() == 12.0

    def compute() -> None:
        assert (x * 2).sum().item() == 12.0

    with held(launch._lock):
        in_child(compute)


@pytest.mark.emulator
@pytest.mark.parametrize("counted", [False, True])
def test_a_child_forked_during_a_launch(counted: bool) -> None:
    """The fork comes while another thread's kernel runs; the child resets what that was changing."""
    from gpunn.emulator import Argument, compile_module, counting

    source = """extern "C" __global__ void count(int* y, int n) {
    __shared__ int kept[32];
    for (int i = 0; i < n; ++i) {
        kept[threadIdx.x] = i;
        __syncthreads();
        y[threadIdx.x] = kept[31 - threadIdx.x];
        __syncthreads();
    }
}
"""
    module = compile_module(source, "count.cu", {})

    def launch(times: int) -> int:
        y = np.zeros(32, np.int32)
        with counting() if counted else contextlib.nullcontext():
            module.launch("count", (1, 1, 1), (32, 1, 1), [Argument(y, "out", "y"), Argument(np.int32(times))])
        return int(y[0])

    ends = threading.Event()

    def busy() -> None:
        while not ends.is_set():
            assert launch(2000) == 1999

    def compute() -> None:
        assert launch(10) == 9

    assert launch(3) == 2
    thread = threading.Thread(target=busy)
    thread.start()
    try:
        for _ in range(10):
            time.sleep(0.01)
            in_child(compute)
    finally:
        ends.set()
        thread.join()
    assert launch(3) == 2


def test_the_threads_of_the_cpu_in_a_child() -> None:
    """The pool's lock, BLAS's and that of the memory that is kept."""
    from gpunn.cpu import blas, memory, threads

    layer = nn.Conv2d(8, 8, 3)
    x = gpunn.rand(4, 8, 32, 32)
    expected = layer(x).detach().numpy()

    def compute() -> None:
        np.testing.assert_array_equal(layer(x).detach().numpy(), expected)

    for lock in (threads._pool._lock, blas.single_threaded_blas._lock, memory._pool._lock):
        with held(lock):
            in_child(compute)
