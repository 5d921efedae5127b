"""What surrounds a kernel: compiling, the cache, checking arguments, the order of threads."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import gpunn.emulator
from gpunn.emulator import Argument, EmulatorFinding, Module, available, build, compile_module, only_blocks, schedule
from gpunn.emulator.findings import source_places
from gpunn.errors import DeviceError, KernelError

pytestmark = [
    pytest.mark.emulator,
    pytest.mark.skipif(available() is not None, reason=str(available())),
]

AXPY = """\
extern "C" __global__ void axpy(float* y, const float* x, float a, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] += a * x[i] + OFFSET;
}
#ifdef NEVER
extern "C" __global__ void left_out(float* y) {}
#endif
extern "C" __global__ void __launch_bounds__(64, 2)
on_its_own_line(float* y) { y[threadIdx.x] = 1.0f; }
"""
ORDER = """\
extern "C" __global__ void order(int* y, int* next) {
    y[atomicAdd(next, 1)] = blockIdx.x * blockDim.x + threadIdx.x;
}
"""


def axpy() -> Module:
    return compile_module(AXPY, "axpy.cu", {"OFFSET": "0"})


def floats(n: int) -> np.ndarray:
    return np.ones(n, np.float32)


def test_kernels_are_found() -> None:
    assert axpy().kernels == ("axpy", "on_its_own_line")


BOUNDED = """\
#define PAIR(a, b) a, b
enum { WARPS = 3 };
template <int n> struct Twice { enum { value = 2 * n }; };
extern "C" __global__ void __launch_bounds__(WARPS * 32) by_constants(float* y) { y[threadIdx.x] = 1; }
extern "C" __launch_bounds__(PAIR(SIZE, 2))
__global__ void by_macros(float* y) { y[threadIdx.x] = 1; }
extern "C" __global__ void __launch_bounds__((Twice<16>::value + (SIZE > 64 ? 32 : 0)), 1) nested(float* y) {
    y[threadIdx.x] = 1;
}
extern "C" __global__ void without(float* y) { y[threadIdx.x] = 1; }
"""


@pytest.mark.parametrize(
    ("kernel", "most"), [("by_constants", 96), ("by_macros", 128), ("nested", 64), ("without", 1024)]
)
def test_a_block_is_no_larger_than_a_kernel_is_compiled_for(kernel: str, most: int) -> None:
    module = compile_module(BOUNDED, "bounded.cu", {"SIZE": "128"})
    y = np.zeros(1024, np.float32)
    module.launch(kernel, (1, 1, 1), (most, 1, 1), [Argument(y, "inout")])
    assert y.sum() == most
    y[:] = 0
    with pytest.raises(KernelError, match=f"bounded.cu: {kernel}: expected at most {most} threads in a block"):
        module.launch(kernel, (1, 1, 1), (most, 2, 1), [Argument(y, "inout")])
    assert not y.any()


def test_defines_make_another_module() -> None:
    other = compile_module(AXPY, "axpy.cu", {"OFFSET": "5"})
    assert other is not axpy()
    assert axpy() is axpy()
    y = floats(4)
    arguments = [Argument(y, "inout"), Argument(floats(4)), Argument(np.float32(2)), Argument(np.int32(4))]
    other.launch("axpy", (1, 1, 1), (32, 1, 1), arguments)
    np.testing.assert_array_equal(y, 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([floats(4)], "axpy.cu: axpy: expected 4 arguments; got 1"),
        ([floats(4), floats(4), np.float64(2), np.int32(4)], r"argument 2 \(a\): expected 4 bytes; got float64 of 8"),
        ([floats(4), floats(4), np.float32(2), np.int64(4)], r"argument 3 \(n\): expected 4 bytes; got int64 of 8"),
        ([floats(4), floats(4), 2.0, np.int32(4)], r"argument 2 \(a\): .* got float"),
        ([floats(4), np.float32(2), np.float32(2), np.int32(4)], r"argument 1 \(x\): expected an array or None"),
        ([floats(4), floats(4), np.float32(2), None], r"argument 3 \(n\): expected a scalar of 4 bytes.* got None"),
        ([floats(8)[::2], floats(4), np.float32(2), np.int32(4)], "expected C-contiguous arrays; y has strides"),
    ],
)
def test_arguments_must_fit_the_signature(arguments: list[object], message: str) -> None:
    given = [
        Argument(value, "inout" if name == "y" else "in", name)  # type: ignore[arg-type]
        for value, name in zip(arguments, "yxan", strict=False)
    ]
    with pytest.raises(KernelError, match=message):
        axpy().launch("axpy", (1, 1, 1), (32, 1, 1), given)


def test_read_only_array_cannot_be_an_output() -> None:
    y = floats(64)
    y.flags.writeable = False
    with pytest.raises(KernelError, match="y is written to, but the array is read-only"):
        axpy().launch("on_its_own_line", (1, 1, 1), (64, 1, 1), [Argument(y, "out", "y")])


@pytest.mark.parametrize(
    ("grid", "block", "shared", "message"),
    [
        ((0, 1, 1), (32, 1, 1), 0, "expected a grid between"),
        ((1, 70000, 1), (32, 1, 1), 0, "expected a grid between"),
        ((1, 1, 1), (32, 64, 1), 0, "at most 1024 threads"),
        ((1, 1, 1), (1, 1, 65), 0, "expected a block between"),
        ((1, 1, 1), (32, 1, 1), 1 << 20, "0 bytes of static and 1048576 bytes of dynamic shared memory"),
    ],
)
def test_launch_shape_must_fit_a_gpu(
    grid: tuple[int, int, int], block: tuple[int, int, int], shared: int, message: str
) -> None:
    with pytest.raises(KernelError, match=message):
        axpy().launch("on_its_own_line", grid, block, [Argument(floats(64), "out")], shared)


# `plain` has no variables of its own; `direct` has 1 byte, `called` the same by two calls and 100 in a template that is
# not inlined, `much` 48 KB.
SHARED = """\
#define DYNAMIC_SHARED(type, name) type* name = reinterpret_cast<type*>(gpunn_emulator_dynamic_shared())
__device__ __forceinline__ bool first(int* y) {
    __shared__ bool is;
    __syncthreads();
    if (threadIdx.x == 0) is = *y > 0;
    __syncthreads();
    return is;
}
template <int N> __device__ __noinline__ void keep(int* y) {
    __shared__ int kept[N];
    kept[threadIdx.x] = *y;
    __syncthreads();
    *y = kept[24];
}
extern "C" __global__ void plain(int* y) {
    DYNAMIC_SHARED(int, tile);
    tile[threadIdx.x] = 1;
    *y = tile[threadIdx.x];
}
extern "C" __global__ void direct(int* y) {
    DYNAMIC_SHARED(int, tile);
    tile[threadIdx.x] = first(y);
    *y = tile[threadIdx.x];
}
extern "C" __global__ void called(int* y) {
    if (first(y) && first(y + 1)) keep<25>(y);
}
extern "C" __global__ void much(int* y) {
    __shared__ int all[48 * 256];
    all[threadIdx.x] = 1;
    *y = all[threadIdx.x];
}
"""


def test_static_shared_memory_is_that_of_the_kernel_and_what_it_calls() -> None:
    module = compile_module(SHARED, "shared.cu", {})
    assert [(name, module.static_shared(name)) for name in module.kernels] == [
        ("plain", 0),
        ("direct", 16),  # dynamic shared memory begins at a multiple of 16
        ("called", 112),
        ("much", 48 * 1024),
    ]


@pytest.mark.parametrize(
    ("kernel", "dynamic", "most"),
    [
        ("plain", 48 * 1024, None),
        ("direct", 48 * 1024 - 16, None),
        ("direct", 48 * 1024 - 12, 48),
        ("much", 0, None),
        ("much", 4, 48),
        # Who asks for more than 48 KB of dynamic shared memory gets it, as on the hardware.
        ("plain", 227 * 1024, None),
        ("plain", 227 * 1024 + 4, 227),
        ("direct", 227 * 1024 - 16, None),
        ("direct", 227 * 1024 - 12, 227),
    ],
)
def test_static_and_dynamic_shared_memory_must_fit_a_block_together(
    kernel: str, dynamic: int, most: int | None
) -> None:
    module, y = compile_module(SHARED, "shared.cu", {}), np.ones(2, np.int32)
    expected = contextlib.nullcontext() if most is None else pytest.raises(
        KernelError,
        match=f"shared.cu: {kernel}: expected at most {most * 1024} bytes of shared memory, static and dynamic; got "
        f"{module.static_shared(kernel)} bytes of static and {dynamic} bytes of dynamic shared memory",
    )  # fmt: skip
    with expected:
        module.launch(kernel, (1, 1, 1), (1, 1, 1), [Argument(y, "inout", "y")], dynamic)


def test_unknown_kernel_is_named_with_those_there_are() -> None:
    with pytest.raises(KernelError, match=r"axpy.cu has no kernel saxpy; it has axpy, on_its_own_line"):
        axpy().launch("saxpy", (1, 1, 1), (1, 1, 1), [])


def test_only_chosen_blocks_run_and_the_rest_stays_as_it_was() -> None:
    y, next_ = np.arange(12, dtype=np.int32) - 100, np.zeros(1, np.int32)
    before = y.copy()
    grids = []
    module = compile_module(ORDER, "order.cu", {})

    def choose(grid: tuple[int, int, int]) -> list[int]:
        grids.append(grid)
        return [2, 1]

    with only_blocks(choose):
        module.launch("order", (3, 1, 1), (4, 1, 1), [Argument(y, "out", "y"), Argument(next_, "inout")])
    assert grids == [(3, 1, 1)]
    np.testing.assert_array_equal(y, [8, 9, 10, 11, 4, 5, 6, 7, *before[8:]])
    with only_blocks(lambda grid: [3]), pytest.raises(KernelError, match=r"numbers of blocks below 3; got \[3\]"):
        module.launch("order", (3, 1, 1), (4, 1, 1), [Argument(y, "out", "y"), Argument(next_, "inout")])


def test_memory_that_no_one_touches_costs_nothing(tmp_path: Path) -> None:
    """The last block of a launch on 16 GB, twice: neither they nor what is remembered of them lie in memory."""
    source = """extern "C" __global__ void negate(float* y, const float* x) {
    const unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
    y[i] = -x[i];
}
"""
    x, y = (np.memmap(tmp_path / name, np.float32, "w+", shape=2**32).view(np.ndarray) for name in "xy")
    x[-32:] = range(32)
    with only_blocks(lambda grid: [grid[0] - 1]):
        compile_module(source, "negate.cu", {}).launch(
            "negate", (2**27, 1, 1), (32, 1, 1), [Argument(y, "out", "y"), Argument(x, "in", "x")]
        )
    np.testing.assert_array_equal(y[-40:], [*[0] * 8, *-np.arange(32.0)])


def test_output_starts_as_nan() -> None:
    y = floats(40)
    axpy().launch("on_its_own_line", (1, 1, 1), (32, 1, 1), [Argument(y, "out")])
    np.testing.assert_array_equal(y, np.r_[floats(32), np.full(8, np.nan, np.float32)])


def test_empty_arrays_have_no_element() -> None:
    with pytest.raises(EmulatorFinding, match="past the end of y"):
        axpy().launch("on_its_own_line", (1, 1, 1), (1, 1, 1), [Argument(floats(0), "out", "y")])


def test_compiler_message_names_file_and_line(capfd: pytest.CaptureFixture[str]) -> None:
    source = 'extern "C" __global__ void f(float* y) {\n    y[0] = missing;\n}\n'
    with pytest.raises(KernelError, match=r"bad.cu:2:12: error: 'missing' was not declared"):
        compile_module(source, "bad.cu", {})
    assert capfd.readouterr() == ("", "")


def test_source_without_kernels_is_refused() -> None:
    with pytest.raises(KernelError, match=r'none.cu: no kernel found; expected extern "C" __global__'):
        compile_module("__device__ int f() { return 1; }\n", "none.cu", {})


def test_huge_local_array_is_refused() -> None:
    source = """extern "C" __global__ void f(float* y, int i) {
    float big[40000];
    for (int k = 0; k < 40000; ++k) big[k] = k * y[k];
    y[i] = big[i];
}
"""
    with pytest.raises(KernelError, match="frame size"):
        compile_module(source, "huge.cu", {})


def launch_order(order: str, seed: int = 0) -> list[int]:
    y, counter = np.zeros(256, np.int32), np.zeros(1, np.int32)
    module = compile_module(ORDER, "order.cu", {})
    with schedule(order, seed):
        module.launch("order", (4, 1, 1), (64, 1, 1), [Argument(y, "inout"), Argument(counter, "inout")])
    return y.tolist()


def test_schedules() -> None:
    assert launch_order("forward") == list(range(256))
    assert launch_order("reverse") == list(range(255, -1, -1))
    shuffled = launch_order("shuffled", 1)
    assert shuffled == launch_order("shuffled", 1) != launch_order("shuffled", 2)
    assert sorted(shuffled) == list(range(256))
    # Blocks, and warps within them, stay together.
    assert all(len({i // 32 for i in shuffled[k : k + 32]}) == 1 for k in range(0, 256, 32))
    assert all(len({i // 64 for i in shuffled[k : k + 64]}) == 1 for k in range(0, 256, 64))


def test_schedule_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    module = compile_module(ORDER, "order.cu", {})
    y, counter = np.zeros(256, np.int32), np.zeros(1, np.int32)
    arguments = [Argument(y, "inout"), Argument(counter, "inout")]
    monkeypatch.setenv("GPUNN_EMULATOR_SCHEDULE", "shuffled:3")
    module.launch("order", (4, 1, 1), (64, 1, 1), arguments)
    assert y.tolist() == launch_order("shuffled", 3)
    for bad in ("sideways", "shuffled:x"):
        monkeypatch.setenv("GPUNN_EMULATOR_SCHEDULE", bad)
        with pytest.raises(KernelError, match="GPUNN_EMULATOR_SCHEDULE"):
            module.launch("order", (4, 1, 1), (64, 1, 1), arguments)


def test_threads_may_launch_at_once() -> None:
    module = axpy()
    results = [floats(1000) for _ in range(4)]

    def work(y: np.ndarray) -> None:
        arguments = [Argument(y, "inout"), Argument(floats(1000)), Argument(np.float32(1)), Argument(np.int32(1000))]
        for _ in range(20):
            module.launch("axpy", (8, 1, 1), (128, 1, 1), arguments)

    threads = [threading.Thread(target=work, args=(y,)) for y in results]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(results, np.full((4, 1000), 21, np.float32))


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("GPUNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(gpunn.emulator.launch, "_modules", {})
    build._runtime.cache_clear()
    yield tmp_path / "cache"
    build._runtime.cache_clear()


@pytest.fixture
def ready_cache(request: pytest.FixtureRequest) -> Path:
    """One that has all but the kernels."""
    made = build._runtime(), build._header()
    cache: Path = request.getfixturevalue("fresh_cache")
    cache.mkdir()
    for path in made:
        shutil.copy(path, cache)
    return cache


def test_cache_is_used_again_and_left_tidy(fresh_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = build.compile_kernels(AXPY, "axpy.cu", {"OFFSET": "0"})
    assert sorted(p.name.split("-")[0] for p in fresh_cache.iterdir()) == ["axpy", "cuda", "runtime"]
    monkeypatch.setattr(build, "run_compiler", None)  # nothing may be compiled now
    assert build.compile_kernels(AXPY, "axpy.cu", {"OFFSET": "0"}) == path


LAUNCH = (
    "from gpunn.emulator import *; import numpy as np;"
    f"m = compile_module({AXPY!r}, 'axpy.cu', {{'OFFSET': '0'}}); y = np.zeros(64, np.float32);"
    "m.launch('on_its_own_line', (1, 1, 1), (64, 1, 1), [Argument(y, 'out')]); assert (y == 1).all()"
)


def other_process(folder: Path, compiler: str) -> subprocess.Popen[bytes]:
    """One that builds in ``folder``/cache by a g++ that is this shell script; ``$REAL`` is the usual one."""
    script = folder / "bin" / "g++"
    script.parent.mkdir(exist_ok=True)
    script.write_text(f"#!/bin/sh\n{compiler}\n")
    script.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{script.parent}{os.pathsep}{os.environ['PATH']}",
        "REAL": str(shutil.which("g++")),
        "GPUNN_CACHE": str(folder / "cache"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    return subprocess.Popen([sys.executable, "-c", LAUNCH], env=environment, start_new_session=True)


def test_what_three_processes_want_is_built_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    running = [other_process(tmp_path, f'echo "$*" >> {log}; exec "$REAL" "$@"') for _ in range(3)]
    assert [process.wait(timeout=120) for process in running] == [0, 0, 0]
    calls = log.read_text().splitlines()
    for step in ("switch.cpp", "c++-header", "-E ", "-S ", "kernels.s"):  # the last names no other step's files
        assert sum(step in call for call in calls) == 1, step
    assert sorted(p.name.split("-")[0] for p in (tmp_path / "cache").iterdir()) == ["axpy", "cuda", "runtime"]


def test_whoever_is_killed_while_building_keeps_nobody_waiting(ready_cache: Path, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    slow = f'[ "$1" = --version ] && exec "$REAL" "$@"; echo $$ > {begun}; exec sleep 600'
    stuck = other_process(tmp_path, slow)
    try:
        while not (begun.exists() and begun.read_text().strip()):
            assert stuck.poll() is None
            time.sleep(0.01)
        (lock,) = ready_cache.glob("*.lock")
        stuck.kill()  # its compiler lives on
        stuck.wait()
        build.compile_kernels(AXPY, "axpy.cu", {"OFFSET": "0"})
        assert not lock.exists()
    finally:
        stuck.kill()
        os.killpg(int(begun.read_text()), signal.SIGKILL)


def test_nobody_waits_for_ever(ready_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = build.compile_kernels(AXPY, "axpy.cu", {"OFFSET": "0"})
    path.unlink()
    monkeypatch.setattr(build, "_PATIENCE", 0.1)
    with build._alone(path):  # as if another built it and did not end
        assert build.compile_kernels(AXPY, "axpy.cu", {"OFFSET": "0"}) == path
        assert path.exists()
        assert len([*ready_cache.glob("*.lock")]) == 1  # which belongs to the other


def test_a_compiled_header_that_cannot_be_used_is_not(ready_cache: Path) -> None:
    (header,) = ready_cache.glob("cuda-*.gch")
    os.truncate(header, header.stat().st_size // 2)
    assert build.compile_kernels(AXPY, "axpy.cu", {"OFFSET": "1"}).exists()


def test_cache_that_cannot_be_written(fresh_cache: Path) -> None:
    fresh_cache.write_text("a file where the folder should be")
    with pytest.raises(KernelError, match=f"cache {fresh_cache}: .*; set GPUNN_CACHE to a folder"):
        compile_module(AXPY, "axpy.cu", {"OFFSET": "0"})


def test_without_compiler(fresh_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(fresh_cache))
    assert "apt install g++" in str(available())
    with pytest.raises(DeviceError, match=r"needs g[+][+]"):
        compile_module(AXPY, "axpy.cu", {"OFFSET": "0"})


def test_without_addr2line_the_file_is_still_named(monkeypatch: pytest.MonkeyPatch) -> None:
    module = axpy()
    source_places.cache_clear()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EmulatorFinding, match=r"^axpy.cu in on_its_own_line: out of bounds") as caught:
        module.launch("on_its_own_line", (1, 1, 1), (64, 1, 1), [Argument(floats(32), "out", "y")])
    assert caught.value.line is None
    source_places.cache_clear()  # which has learned nothing


def test_import_runs_no_program() -> None:
    program = (
        "import subprocess, ctypes\n"
        "subprocess.Popen = ctypes.CDLL = None\n"
        "import gpunn.emulator\n"
    )  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
