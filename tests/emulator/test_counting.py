"""What the emulator counts, on kernels whose counts are known by hand."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from gpunn.emulator import (
    Argument,
    EmulatorFinding,
    KernelCount,
    LineCount,
    Module,
    available,
    compile_module,
    counting,
    only_blocks,
)
from gpunn.emulator.build import count_in_kernels_alone
from gpunn.errors import UsageError
from tests.emulator.sources import with_headers

pytestmark = [
    pytest.mark.emulator,
    pytest.mark.skipif(available() is not None, reason=str(available())),
    pytest.mark.skipif(shutil.which("addr2line") is None, reason="lines need addr2line: apt install binutils"),
]

SOURCE = """\
#include "common.cuh"
template <class T> __device__ void gather(T* y, const T* x, const int* at) {
    y[threadIdx.x] = x[at[threadIdx.x]];  // gather
}
extern "C" __global__ void gather1(char* y, const char* x, const int* at) { gather(y, x, at); }
extern "C" __global__ void gather4(float* y, const float* x, const int* at) { gather(y, x, at); }
extern "C" __global__ void gather8(double* y, const double* x, const int* at) { gather(y, x, at); }
extern "C" __global__ void gather16(float4* y, const float4* x, const int* at) { gather(y, x, at); }

extern "C" __global__ void vectors(float* y, const float* x) {
    Vector<float, 4> u = load<4>(x + 4 * threadIdx.x);  // load
    for (int j = 0; j < 4; ++j) u.v[j] = u.v[j] < 0 ? 0 : 2 * u.v[j];
    store(y + 4 * threadIdx.x, u);  // store
}
extern "C" __global__ void pairs(float* y, const float* x) {
    y[threadIdx.x] = x[2 * threadIdx.x] + x[2 * threadIdx.x + 1];  // two loads
}

template <class T> __device__ void shared(T* y, const int* at) {
    __shared__ T tile[1056];
    tile[at[threadIdx.x]] = T();  // put
    __syncthreads();  // barrier
    y[threadIdx.x] = tile[at[threadIdx.x]];  // take
}
extern "C" __global__ void wanted(float* y, const int* at) {
    __shared__ float tile[64];
    for (int i = 0; i < 2; ++i) tile[threadIdx.x + 32 * i] = 1;
    __syncthreads();
    y[threadIdx.x] = tile[at[threadIdx.x]];  // read
}
extern "C" __global__ void shared4(float* y, const int* at) { shared(y, at); }
extern "C" __global__ void shared8(double* y, const int* at) { shared(y, at); }
extern "C" __global__ void shared16(float4* y, const int* at) { shared(y, at); }

template <int Width> __device__ void transpose(float* y, const float* x) {
    __shared__ float tile[32][Width];
    for (int i = 0; i < 32; ++i) tile[i][threadIdx.x] = x[32 * i + threadIdx.x];  // rows
    __syncthreads();
    for (int i = 0; i < 32; ++i) y[32 * i + threadIdx.x] = tile[threadIdx.x][i];  // columns
}
extern "C" __global__ void transpose32(float* y, const float* x) { transpose<32>(y, x); }
extern "C" __global__ void transpose33(float* y, const float* x) { transpose<33>(y, x); }

extern "C" __global__ void sides(float* y, const float* x, const int* way) {
    float sum = 0;
    for (int i = 0; i < 4; ++i) {
        if (way[threadIdx.x] == i)  // side
            sum += 2 * x[threadIdx.x];  // then
        else
            sum -= x[threadIdx.x + 32];  // otherwise
        sum += x[threadIdx.x + 64];  // both
    }
    y[threadIdx.x] = sum;
}
extern "C" __global__ void trips(float* y, const float* x, const int* n) {
    float sum = 0;
    for (int i = 0; i < n[threadIdx.x]; ++i)  // trip
        sum += x[i];  // inside
    y[threadIdx.x] = sum;  // behind
}
// As a window at an image's border: some lanes leave elements out, and not the last ones.
extern "C" __global__ void window(float* y, const float* x, int skip) {
    float sum = 0;
    for (int i = 0; i < 3; ++i) {
        const int at = int(threadIdx.x) + 32 * i - skip;
        if (at >= 0)  // border
            sum += x[at];  // element
    }
    y[threadIdx.x] = sum;
}
extern "C" __global__ void early(float* y, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;  // guard
    y[i] = 1;
}
extern "C" __global__ void nested(float* y, const float* x) {
    float sum = 0;
    for (int i = 0; i < 3; ++i) {
        for (int j = 0; j <= int(threadIdx.x) % 2; ++j) sum += x[32 * j + threadIdx.x];  // inner
        sum += x[64 + threadIdx.x];  // outer
    }
    y[threadIdx.x] = sum;
}
__noinline__ __device__ float half_of(const float* x, int i) {
    if (i < 16) return 2 * x[i];  // callee
    return 3 * x[i];
}
extern "C" __global__ void calls(float* y, const float* x) {
    y[threadIdx.x] = half_of(x, threadIdx.x) + half_of(x, 31 - threadIdx.x);  // caller
}
__noinline__ __device__ float third_of(const float* x, int i) { return x[i] / 3; }
__noinline__ __device__ float maybe_third_of(const float* x, int i) {
    float third = 0;
    if (i % 2) third = third_of(x, i);
    return third + x[i];  // met
}
extern "C" __global__ void inner_calls(float* y, const float* x) {
    y[threadIdx.x] = third_of(x, threadIdx.x) + maybe_third_of(x, threadIdx.x);
}
extern "C" __global__ void rounds(float* y, const float* x) {
    float u = 1;
    int i = 0;
top:
    u += __shfl_xor_sync(FULL_MASK, u, 1);  // round
    if (++i == 3) goto done;
    if (threadIdx.x % 2) goto top;
    u += x[i * 32 + threadIdx.x];
    goto top;
done:
    y[threadIdx.x] = u;
}
extern "C" __global__ void votes(float* y, const float* x) {
    const unsigned up = __ballot_sync(FULL_MASK, x[threadIdx.x] > 0), down = __ballot_sync(FULL_MASK, x[0] < 0);
    y[threadIdx.x] = up + down;
}
extern "C" __global__ void sums(float* y, const float* x) {
    float u = x[threadIdx.x];
    for (int i = 16; i > 0; i /= 2) u += __shfl_xor_sync(FULL_MASK, u, i);  // shuffle
    if (threadIdx.x % 32 == 0) y[threadIdx.x / 32] = u;  // leader
}
extern "C" __global__ void tickets(INOUT int* y) {
    atomicAdd(y + threadIdx.x % 2, 1);  // atomic
}
extern "C" __global__ void endless(INOUT int* y) {
    for (int i = 0; i < 1 << 20; ++i) y[threadIdx.x] += i;  // too many
}
"""
LINES = {text.rpartition("  // ")[2]: n for n, text in enumerate(SOURCE.splitlines(), 1) if "  // " in text}


@pytest.fixture(scope="module")
def module() -> Module:
    return compile_module(with_headers(SOURCE, "known.cu"), "known.cu", {"REAL": "float"})


def aligned(n: int, dtype: type = np.float32, offset: int = 0) -> np.ndarray:
    """Zeros that begin ``offset`` bytes after a multiple of 64."""
    raw = np.zeros(n * np.dtype(dtype).itemsize + 128, np.uint8)
    start = -raw.ctypes.data % 64 + offset
    return raw[start : start + n * np.dtype(dtype).itemsize].view(dtype)


def count(module: Module, kernel: str, *arrays: object, threads: int = 32, blocks: int = 1) -> KernelCount:
    """Launch the kernel on y, x, at and the like and count."""
    names = ("y", "x", "at") if len(arrays) > 2 else ("y", "x")
    arguments = [
        Argument(a, "inout" if name == "y" else "in", name)  # type: ignore[arg-type]
        for a, name in zip(arrays, names, strict=False)
    ]
    with counting() as counts:
        module.launch(kernel, (blocks, 1, 1), (threads, 1, 1), arguments)
    return counts.kernels[kernel]


def line(found: KernelCount, what: str, kind: str, array: str | None = None) -> LineCount:
    """The one count of this kind of the line with this comment."""
    (one,) = [c for c in found.lines if c.line == LINES[what] and c.kind == kind and array in (None, c.array)]
    assert one.file == "known.cu"
    return one


def numbers(one: LineCount) -> tuple[int, int, int, int]:
    return one.executions, one.lanes, one.asked, one.least


LANES = np.arange(32, dtype=np.int32)
RANDOM = np.random.default_rng(0).permutation(32).astype(np.int32) * 8  # one in each of 32 sectors of floats


@pytest.mark.parametrize(
    ("size", "at", "asked", "least"),
    [
        (4, LANES, 4, 4),
        (4, LANES[::-1], 4, 4),
        (4, 2 * LANES, 8, 4),
        (4, 3 * LANES, 12, 4),
        (4, 8 * LANES, 32, 4),
        (4, RANDOM, 32, 4),
        (4, LANES + 1, 5, 4),
        (4, LANES + 8, 4, 4),
        (4, 0 * LANES, 1, 1),
        (4, LANES // 2, 2, 2),
        (1, LANES, 1, 1),
        (1, LANES + 1, 2, 1),
        (8, LANES, 8, 8),
        (8, 2 * LANES, 16, 8),
        (16, LANES, 16, 16),
        (16, LANES + 1, 17, 16),
        (16, 2 * LANES, 32, 16),
    ],
)
def test_sectors(module: Module, size: int, at: np.ndarray, asked: int, least: int) -> None:
    dtype: type = {1: np.int8, 4: np.float32, 8: np.float64, 16: np.complex128}[size]
    found = count(module, f"gather{size}", aligned(32, dtype), aligned(300, dtype), np.ascontiguousarray(at))
    assert numbers(line(found, "gather", "global load", "x")) == (1, 32, asked, least)
    assert numbers(line(found, "gather", "global store", "y")) == (1, 32, size, size)
    assert numbers(line(found, "gather", "global load", "at")) == (1, 32, 4, 4)
    assert found.sector_efficiency == (least + size + 4) / (asked + size + 4)


@pytest.mark.parametrize(("offset", "asked"), [(0, 4), (4, 5), (16, 4), (20, 5), (32, 4)])
def test_where_numpy_puts_an_array_does_not_count_and_where_a_view_begins_does(
    module: Module, offset: int, asked: int
) -> None:
    found = count(module, "gather4", aligned(32), aligned(32, offset=offset), LANES)
    assert line(found, "gather", "global load", "x").asked == asked


def test_lanes_that_are_not_there_ask_for_nothing(module: Module) -> None:
    found = count(module, "gather4", aligned(40), aligned(40), np.arange(40, dtype=np.int32), threads=40)
    assert numbers(line(found, "gather", "global load", "x")) == (2, 40, 5, 5)


def test_a_vector_is_one_access_and_elements_side_by_side_are_several(module: Module) -> None:
    found = count(module, "vectors", aligned(128), aligned(128))
    assert numbers(line(found, "load", "global load")) == (1, 32, 16, 16)
    assert numbers(line(found, "store", "global store")) == (1, 32, 16, 16)
    found = count(module, "pairs", aligned(32), aligned(64))
    assert numbers(line(found, "two loads", "global load")) == (2, 64, 16, 8)


@pytest.mark.parametrize(
    ("size", "at", "passes", "least"),
    [
        (4, LANES, 1, 1),
        (4, LANES[::-1], 1, 1),
        (4, 2 * LANES, 2, 1),
        (4, 3 * LANES, 1, 1),
        (4, 4 * LANES, 4, 1),
        (4, 32 * LANES, 32, 1),
        (4, 33 * LANES, 1, 1),
        (8, LANES, 2, 2),
        (8, 2 * LANES, 4, 2),
        (8, 16 * LANES, 32, 2),
        (8, 17 * LANES, 2, 2),
        (16, LANES, 4, 4),
        (16, 2 * LANES, 8, 4),
        (16, 8 * LANES, 32, 4),
        (16, 9 * LANES, 4, 4),
    ],
)
def test_bank_conflicts(module: Module, size: int, at: np.ndarray, passes: int, least: int) -> None:
    dtype: type = {4: np.float32, 8: np.float64, 16: np.complex128}[size]
    found = count(module, f"shared{size}", aligned(32, dtype), np.ascontiguousarray(at))
    assert numbers(line(found, "take", "shared load")) == (1, 32, passes, least)
    assert numbers(line(found, "put", "shared store")) == (1, 32, passes, least)
    assert found.bank_conflicts == 2 * (passes - least)
    assert numbers(line(found, "barrier", "barrier")) == (1, 32, 0, 0)


@pytest.mark.parametrize(
    ("at", "passes"),
    [(0 * LANES, 1), (LANES // 8, 1), (32 * (LANES % 2), 2), (31 + LANES % 2, 1), (LANES // 16 * 32 + LANES % 16, 2)],
)
def test_a_word_is_given_to_all_lanes_that_want_it(module: Module, at: np.ndarray, passes: int) -> None:
    found = count(module, "wanted", aligned(32), np.ascontiguousarray(at))
    assert numbers(line(found, "read", "shared load")) == (1, 32, passes, 1)


@pytest.mark.parametrize("size", [4, 8, 16])
def test_groups_of_lanes_that_are_not_there_need_no_pass(module: Module, size: int) -> None:
    dtype: type = {4: np.float32, 8: np.float64, 16: np.complex128}[size]
    found = count(module, f"shared{size}", aligned(1, dtype), np.zeros(1, np.int32), threads=1)
    assert numbers(line(found, "take", "shared load")) == (1, 1, 1, 1)


@pytest.mark.parametrize(("width", "passes"), [(32, 32), (33, 1)])
def test_padding_of_a_tile(module: Module, width: int, passes: int) -> None:
    found = count(module, f"transpose{width}", aligned(1024), aligned(1024))
    assert numbers(line(found, "rows", "shared store")) == (32, 1024, 32, 32)
    assert numbers(line(found, "columns", "shared load")) == (32, 1024, 32 * passes, 32)
    assert found.bank_conflicts == 32 * (passes - 1)
    assert found.sector_efficiency == 1


def test_sides_of_a_branch_are_apart_and_meet_behind_it(module: Module) -> None:
    way = (LANES % 2).astype(np.int32)  # even lanes take the first side in round 0, odd ones in round 1
    found = count(module, "sides", aligned(32), aligned(96), way)
    assert numbers(line(found, "side", "branch")) == (4, 128, 2, 0)
    # Each side's 16 lanes ask for half of each sector; in two rounds all lanes take the second side.
    assert numbers(line(found, "then", "global load")) == (2, 32, 8, 4)
    assert numbers(line(found, "otherwise", "global load")) == (4, 96, 16, 12)
    assert numbers(line(found, "both", "global load")) == (4, 128, 16, 16)
    assert found.branches.asked == 2


def test_a_branch_that_a_warp_takes_together_does_not_diverge(module: Module) -> None:
    way = np.full(32, 2, np.int32)
    found = count(module, "sides", aligned(32), aligned(96), way)
    assert numbers(line(found, "side", "branch")) == (4, 128, 0, 0)
    assert numbers(line(found, "then", "global load")) == (1, 32, 4, 4)
    assert numbers(line(found, "otherwise", "global load")) == (3, 96, 12, 12)


def test_a_loop_runs_until_the_last_lane_has_left_it(module: Module) -> None:
    found = count(module, "trips", aligned(32), aligned(32), LANES)
    # Before each round the lanes ask whether to go on; after round k those leave that wanted k, but for the last one.
    assert numbers(line(found, "trip", "branch")) == (32, sum(range(33)), 31, 0)
    assert numbers(line(found, "inside", "global load")) == (31, sum(range(32)), 31, 31)
    assert numbers(line(found, "behind", "global store")) == (1, 32, 4, 4)
    found = count(module, "trips", aligned(32), aligned(32), np.full(32, 5, np.int32))
    assert line(found, "trip", "branch").asked == 0
    assert numbers(line(found, "inside", "global load")) == (5, 160, 5, 5)


def test_lanes_that_leave_an_element_out_stay_beside_the_others(module: Module) -> None:
    found = count(module, "window", aligned(32), aligned(96), np.int32(8))
    # Had the first 8 lanes' second element been put beside the others' first, both would ask for one sector more.
    assert numbers(line(found, "element", "global load")) == (3, 24 + 32 + 32, 3 + 4 + 4, 3 + 4 + 4)
    assert numbers(line(found, "border", "branch")) == (3, 96, 1, 0)


def test_an_early_return_diverges_in_the_warp_where_the_end_lies(module: Module) -> None:
    found = count(module, "early", aligned(80), np.int32(72), threads=32, blocks=3)
    assert numbers(line(found, "guard", "branch")) == (3, 96, 1, 0)
    assert found.global_memory.lanes == 72
    assert (found.blocks, found.counted_blocks, found.launches) == (3, 3, 1)


def test_lanes_wait_behind_an_inner_loop(module: Module) -> None:
    found = count(module, "nested", aligned(32), aligned(96))
    # In each of three rounds all lanes, then the odd ones alone.
    assert numbers(line(found, "inner", "global load")) == (6, 3 * 48, 3 * 8, 3 * 6)
    assert numbers(line(found, "outer", "global load")) == (3, 96, 12, 12)


def test_lanes_meet_behind_a_call(module: Module) -> None:
    found = count(module, "calls", aligned(32), aligned(32))
    assert numbers(line(found, "callee", "branch")) == (2, 64, 2, 0)
    assert numbers(line(found, "callee", "global load")) == (2, 32, 4, 4)
    assert numbers(line(found, "caller", "global store")) == (1, 32, 4, 4)


def test_lanes_that_do_not_call_wait_for_those_that_do(module: Module) -> None:
    found = count(module, "inner_calls", aligned(32), aligned(32))
    assert numbers(line(found, "met", "global load")) == (1, 32, 4, 4)


def test_a_collective_waits_for_its_lanes(module: Module) -> None:
    found = count(module, "rounds", aligned(32), aligned(96))
    assert numbers(line(found, "round", "collective")) == (3, 96, 0, 0)


def test_what_a_collective_does_inside_is_no_branch_of_the_kernel(module: Module) -> None:
    found = count(module, "votes", aligned(32), np.arange(32, dtype=np.float32))
    assert sorted(one.kind for one in found.lines) == ["collective", "global load", "global store"]


def test_collectives_and_atomics(module: Module) -> None:
    found = count(module, "sums", aligned(2), aligned(64), threads=64)
    assert numbers(line(found, "shuffle", "collective")) == (10, 320, 0, 0)
    assert numbers(line(found, "leader", "global store")) == (2, 2, 2, 2)
    assert numbers(line(found, "leader", "branch")) == (2, 64, 2, 0)
    found = count(module, "tickets", aligned(2, np.int32))
    assert numbers(line(found, "atomic", "global atomic", "y")) == (1, 32, 1, 1)
    assert [one.kind for one in found.lines] == ["global atomic"]


COPY = """\
#include "common.cuh"
#include "tensor_core.cuh"
extern "C" __global__ void bring(float* y, const float* x) {
    __shared__ __align__(16) float tile[32 * 20];
    cp_async_16(tile + 20 * threadIdx.x, x + 4 * threadIdx.x);
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
    unsigned r[4];
    ldmatrix_x4(r, tile + 20 * threadIdx.x);
    y[threadIdx.x] = __uint_as_float(r[0] ^ r[1] ^ r[2] ^ r[3]);
}
"""


def test_asynchronous_copies_and_rows_of_matrices() -> None:
    module = compile_module(with_headers(COPY, "bring.cu"), "bring.cu", {"REAL": "float"})
    found = count(module, "bring", aligned(32), aligned(128))
    got = {(c.line, c.kind): (c.executions, c.lanes, c.asked, c.least) for c in found.lines}
    assert got[5, "global load"] == (1, 32, 16, 16)
    # Rows 80 bytes apart: eight of them lie in all 32 banks.
    assert got[5, "shared store"] == got[10, "shared load"] == (1, 32, 4, 4)


@pytest.mark.parametrize("order", ["reverse", "shuffled:3"])
def test_the_order_of_lanes_makes_no_difference(module: Module, order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = aligned(32), aligned(96), (LANES % 3).astype(np.int32)
    before = count(module, "sides", *arrays)
    monkeypatch.setenv("GPUNN_EMULATOR_SCHEDULE", order)
    after = count(module, "sides", *arrays)

    def listed(found: KernelCount) -> list[tuple[object, ...]]:
        return sorted((c.line or 0, c.kind, c.array, *numbers(c)) for c in found.lines)

    assert listed(after) == listed(before)


def test_results_are_those_without_counting(module: Module) -> None:
    x = np.random.default_rng(1).standard_normal(128).astype(np.float32)
    plain, counted = np.zeros(128, np.float32), np.zeros(128, np.float32)
    module.launch("vectors", (1, 1, 1), (32, 1, 1), [Argument(plain, "out", "y"), Argument(x, "in", "x")])
    count(module, "vectors", counted, x)
    np.testing.assert_array_equal(counted, plain)


def test_launches_are_added_up_and_only_inside_the_block(module: Module) -> None:
    arguments = [Argument(aligned(32), "out", "y"), Argument(np.int32(32))]
    with counting() as outer:
        module.launch("early", (1, 1, 1), (32, 1, 1), arguments)
        with counting() as inner:
            module.launch("early", (1, 1, 1), (32, 1, 1), arguments)
        module.launch("early", (1, 1, 1), (32, 1, 1), arguments)
    module.launch("early", (1, 1, 1), (32, 1, 1), arguments)
    assert inner.kernels["early"].launches == 1
    assert outer.kernels["early"].launches == 2
    assert outer.kernels["early"].global_memory.executions == 2


@pytest.mark.parametrize(("most", "run"), [(1, [0]), (2, [0, 9]), (4, [0, 3, 6, 9]), (10, list(range(10)))])
def test_some_blocks_spread_over_the_grid(module: Module, most: int, run: list[int]) -> None:
    y = aligned(320)
    with counting(blocks=most) as counts:
        module.launch("early", (10, 1, 1), (32, 1, 1), [Argument(y, "out", "y"), Argument(np.int32(320))])
    found = counts.kernels["early"]
    assert (found.blocks, found.counted_blocks) == (10, len(run))
    assert [b for b in range(10) if y[32 * b] == 1] == run
    assert found.global_memory.executions == len(run)


def test_tickets_are_put_back_where_some_blocks_ran(module: Module) -> None:
    y = aligned(2, np.int32)
    with counting(blocks=2):
        module.launch("tickets", (3, 1, 1), (32, 1, 1), [Argument(y, "inout", "y")])
    assert y.tolist() == [0, 0]
    with counting(blocks=3):
        module.launch("tickets", (3, 1, 1), (32, 1, 1), [Argument(y, "inout", "y")])
    assert y.tolist() == [48, 48]


def test_blocks_that_a_test_chose_are_the_ones(module: Module) -> None:
    with counting(blocks=2) as counts, only_blocks(lambda grid: [3, 4, 5]):
        module.launch("early", (10, 1, 1), (32, 1, 1), [Argument(aligned(320), "out", "y"), Argument(np.int32(320))])
    assert counts.kernels["early"].counted_blocks == 3


def test_no_blocks_are_refused() -> None:
    with pytest.raises(UsageError, match="expected at least 1 block of each launch; got blocks=0"), counting(blocks=0):
        pass


def test_faults_are_found_while_counting(module: Module) -> None:
    with pytest.raises(EmulatorFinding, match="past the end of x") as error:
        count(module, "gather4", aligned(32), aligned(8), LANES)
    assert error.value.line == LINES["gather"]
    # And the launch after it counts from nothing.
    assert numbers(count(module, "early", aligned(32), np.int32(32)).global_memory) == (1, 32, 4, 4)


def test_what_is_too_long_to_count_is_told(module: Module) -> None:
    with pytest.raises(EmulatorFinding, match="too many to count; use fewer elements or blocks") as error:
        count(module, "endless", aligned(32, np.int32))
    assert (error.value.kind, error.value.line) == ("limit", LINES["too many"])


def test_the_worst_lines_come_first(module: Module) -> None:
    found = count(module, "gather4", aligned(32), aligned(300), np.ascontiguousarray(8 * LANES))
    assert [(one.kind, one.wasted) for one in found.worst()] == [("global load", 28)]
    assert found.worst(0) == []


def test_what_is_not_counted_in_functions_of_the_header() -> None:
    def function(name: str, *calls: str) -> str:
        body = "".join(f"\tcall\t{call}@PLT\n" for call in calls)
        return f"\t.type\t{name}, @function\n{name}:\n{body}\t.size\t{name}, .-{name}\n"

    cover = "__sanitizer_cov_trace_pc"
    seen, unseen = function("k", "__tsan_func_entry", cover), function("take", cover, "memcpy")
    assert count_in_kernels_alone(seen + unseen + seen) == seen + function("take", "memcpy") + seen
