"""Each broken kernel must be caught, by name and at its line.

A kernel in ``broken/`` describes itself: ``// Launch:`` gives the launch and the arrays' lengths, and
``// finding:`` marks the lines where it may be caught, with the kinds that may be reported there.
More than one place is marked where the order of the threads decides who comes second.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from gpunn.emulator import Argument, EmulatorFinding, Module, available, compile_module, schedule
from tests.emulator.sources import read_kernels

pytestmark = [
    pytest.mark.emulator,
    pytest.mark.skipif(available() is not None, reason=str(available())),
]

BROKEN = sorted((Path(__file__).parent / "broken").glob("*.cu"))
ORDERS = ["forward", "reverse", "shuffled"]


def compile_file(path: Path) -> Module:
    return compile_module(read_kernels(path), path.name, {})


def launch_line(text: str) -> dict[str, str]:
    """Return what the ``// Launch:`` line of a kernel says: ``{"grid": "1", "block": "64", ...}``."""
    match = re.search(r"// Launch: (.*)\.\n", text)
    assert match, "a broken kernel needs a line `// Launch: grid 1, block 64, x 64, y 64.`"
    words = match[1].replace(",", "").split()
    return dict(zip(words[::2], words[1::2], strict=True))


def marked_places(text: str) -> set[tuple[int, str]]:
    """Return (line, kind) for everything that the ``// finding:`` marks allow."""
    marks = [(i, line.partition("// finding: ")[2]) for i, line in enumerate(text.splitlines(), 1)]
    return {(i, kind) for i, kinds in marks for kind in kinds.split()}


def run_broken(path: Path) -> EmulatorFinding:
    spec = launch_line(path.read_text(encoding="utf-8"))
    x = None if spec["x"] == "null" else np.arange(int(spec["x"]), dtype=np.float32)
    y = np.zeros(int(spec["y"]), np.float32)
    arguments = [
        Argument(y, "out", "y"),
        Argument(x, "in", "x"),
        Argument(np.int32(spec.get("n", 64)), "in", "n"),
    ]
    if "counter" in spec:
        arguments.append(Argument(np.zeros(int(spec["counter"]), np.uint32), "inout", "counter"))
    grid, block = (int(spec["grid"]), 1, 1), (int(spec["block"]), 1, 1)
    with pytest.raises(EmulatorFinding) as caught:
        compile_file(path).launch("kernel", grid, block, arguments, int(spec.get("shared", 0)))
    return caught.value


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_broken_kernel_is_caught(path: Path, order: str) -> None:
    with schedule(order, seed=1):
        finding = run_broken(path)
    assert (finding.line, finding.kind) in marked_places(path.read_text(encoding="utf-8")), str(finding)
    assert finding.file == path.name
    assert finding.kernel == "kernel"
    assert str(finding) == f"{path.name}:{finding.line} in kernel: {finding.detail}"


def broken(name: str) -> Path:
    return Path(__file__).parent / "broken" / f"{name}.cu"


@pytest.mark.parametrize(
    ("name", "order", "message"),
    [
        (
            "missing_barrier_between_uses", "forward",
            r"race on shared memory: thread \(1,0,0\) of block \(0,0,0\) reads what thread \(0,0,0\) of block "
            r"\(0,0,0\) wrote with no barrier or __syncwarp between \(tile, byte 0\)",
        ),
        (
            "syncwarp_between_warps", "reverse",
            r"thread \(31,0,0\) of block \(0,0,0\) writes what thread \(63,0,0\) of block \(0,0,0\) read with "
            r"no barrier between \(tile, byte 124\)",
        ),
        (
            "early_return", "forward",
            r"thread \(0,0,0\) of block \(0,0,0\) waits in __syncthreads at early_return.cu:7, but thread "
            r"\(40,0,0\) of block \(0,0,0\) has returned",
        ),
        ("shuffle_missing_lane", "forward", r"with mask 0xffffffff at .*:5, but thread \(20,0,0\) .* has returned"),
        ("write_past_end", "forward", r"thread \(40,0,0\) .* writes 4 bytes, 0 bytes past the end of y \(160 bytes\)"),
        ("vector_past_end", "forward", r"reads 4 bytes, 0 bytes past the end of x \(504 bytes\)"),
        ("read_before_start", "forward", r"reads 4 bytes, 4 bytes before the start of x"),
        ("shared_neighbour_overrun", "forward", r"past the end of (first|second) \(128 bytes\)"),
        ("dynamic_shared_overrun", "forward", r"0 bytes past the end of dynamic shared memory \(128 bytes\)"),
        ("null_pointer", "forward", r"through a null pointer"),
        ("misaligned_float4", "forward", r"uses .*float4.* no multiple of 16"),
        ("shared_index_past_end", "forward", r"indexes 'float \[32\]' with 32"),
        ("two_threads_one_element", "forward", r"race on global memory: .* \(y, element 0\)"),
        ("two_blocks_one_element", "reverse", r"block \(2,0,0\) writes what thread \(31,0,0\) of block \(3"),
        ("last_block_without_fence", "forward", r"no __threadfence, atomic, __threadfence between"),
        ("failed_assert", "forward", r"assertion failed: blockDim.x == 64"),
    ],
)  # fmt: skip
def test_message_says_who_and_what(name: str, order: str, message: str) -> None:
    with schedule(order):
        finding = run_broken(broken(name))
    assert re.search(message, finding.detail), finding.detail


def test_finding_names_block_and_thread() -> None:
    finding = run_broken(broken("write_past_end"))
    assert (finding.block, finding.thread) == ((0, 0, 0), (40, 0, 0))


def test_fault_inside_an_included_header_names_it_and_the_caller() -> None:
    source = """\
#line 1 "common.cuh"
__device__ __forceinline__ float load(const float* p, int i) {
    return p[i];
}
#line 10 "caller.cu"
extern "C" __global__ void kernel(float* y, const float* x) {
    y[0] = load(x, 7);
}
"""
    arguments = [Argument(np.zeros(1, np.float32), "out", "y"), Argument(np.zeros(7, np.float32), "in", "x")]
    with pytest.raises(EmulatorFinding, match=r"^common.cuh:2 in kernel: .*called from caller.cu:11"):
        compile_module(source, "caller.cu", {}).launch("kernel", (1, 1, 1), (1, 1, 1), arguments)


def test_runtime_works_after_a_finding() -> None:
    module = compile_file(broken("missing_barrier_between_uses"))
    y = np.zeros(64, np.float32)
    arguments = [Argument(y, "out", "y"), Argument(np.ones(128, np.float32), "in", "x"), Argument(np.int32(64))]
    for _ in range(3):
        with pytest.raises(EmulatorFinding):
            module.launch("kernel", (1, 1, 1), (64, 1, 1), arguments)
    finding = run_broken(broken("shuffle_missing_lane"))
    assert finding.kind == "deadlock"


def test_struct_pointer_is_checked_like_an_argument() -> None:
    source = """\
struct Parameters { float* p; const float* g; float rate; int n; };
extern "C" __global__ void update(Parameters a, int shift) {
    const int i = threadIdx.x;
    a.p[i] -= a.rate * a.g[i + shift];
}
"""
    p, g = np.ones(32, np.float32), np.ones(32, np.float32)
    struct = np.zeros(1, np.dtype([("p", "u8"), ("g", "u8"), ("rate", "f4"), ("n", "i4")]))
    struct[0] = (p.ctypes.data, g.ctypes.data, 0.5, 32)
    extra = [Argument(p, "inout", "p"), Argument(g, "in", "g")]
    module = compile_module(source, "struct.cu", {})
    module.launch("update", (1, 1, 1), (32, 1, 1), [Argument(struct[0]), Argument(np.int32(0))], extra=extra)
    np.testing.assert_array_equal(p, np.full(32, 0.5, np.float32))
    with pytest.raises(EmulatorFinding, match="past the end of g"):
        module.launch("update", (1, 1, 1), (32, 1, 1), [Argument(struct[0]), Argument(np.int32(1))], extra=extra)
