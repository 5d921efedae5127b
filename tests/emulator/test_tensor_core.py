"""The instructions of tensor_core.cuh: number formats, layouts, pipelines of copies, and what breaks them.

The layouts are written here as the PTX ISA writes them, from a lane's registers to the elements they hold; the
emulator goes from an element to the lane and register that hold it.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunn import emulator
from gpunn.emulator import Argument, EmulatorFinding, Module, available, compile_module, schedule
from gpunn.gpu.launcher import ARCHITECTURES, kernel_folder
from tests.emulator.sources import read_kernels, with_headers

pytestmark = [
    pytest.mark.emulator,
    pytest.mark.skipif(available() is not None, reason=str(available())),
]

FOLDER = Path(__file__).parent / "correct"
ORDERS = ("forward", "reverse", "shuffled:1")
LANE = np.arange(32)
G, T = LANE // 4, LANE % 4


def compile_text(text: str, name: str) -> Module:
    return compile_module(text, name, {"REAL": "float"})


@functools.cache
def source(name: str) -> str:
    return read_kernels(FOLDER / name)


def in_order(order: str) -> contextlib.AbstractContextManager[None]:
    name, _, seed = order.partition(":")
    return schedule(name, int(seed or 0))


@pytest.fixture(params=ORDERS)
def order(request: pytest.FixtureRequest) -> Iterator[None]:
    with in_order(request.param):
        yield


Value = np.ndarray | np.generic | tuple[str, np.ndarray]
Launch = tuple[str, str, tuple[int, int, int], tuple[int, int, int], tuple[Value, ...]]


def run(module: Module, kernel: str, grid: tuple[int, int, int], block: tuple[int, int, int], *values: Value) -> None:
    """Launch with values that are read, and (access, array) for the others."""
    pairs = [value if isinstance(value, tuple) else ("in", value) for value in values]
    module.launch(kernel, grid, block, [Argument(value, access, f"a{i}") for i, (access, value) in enumerate(pairs)])


def launch(name: str, *values: Value, threads: int = 32) -> None:
    file, _, kernel = name.rpartition(".")
    run(compile_text(source(f"{file}.cu"), f"{file}.cu"), kernel, (1, 1, 1), (threads, 1, 1), *values)


# -- number formats -------------------------------------------------------------------------------


def awkward_floats(n: int) -> np.ndarray:
    """Return float32 of all magnitudes, many of them halfway between two of the shorter format, or just below."""
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2**32, n, np.uint32)
    bits[: n // 4] = bits[: n // 4] & 0xFFFFE000 | 0x1000  # halfway for tf32
    bits[n // 4 : n // 2] = bits[n // 4 : n // 2] & 0xFFFF0000 | 0x8000  # and for bf16
    eighth = n // 8
    bits[4 * eighth : 5 * eighth] = bits[4 * eighth : 5 * eighth] & 0xFFFFE000 | 0xFFF  # just below halfway
    bits[5 * eighth : 6 * eighth] = bits[5 * eighth : 6 * eighth] & 0xFFFF0000 | 0x7FFF
    x = bits.view(np.float32)
    x[np.isnan(x)] = np.nan  # NumPy warns of signalling ones
    # NaN whose bits a rounding without a look at them would carry over into a zero.
    x[-12:-8] = np.array([0x7FFFFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF], np.uint32).view(np.float32)
    x[-8:] = [0.0, -0.0, np.inf, -np.inf, np.nan, 3.4028235e38, -3.4028235e38, 1e-45]
    return x


def rounded(x: np.ndarray, bits: int, ties_to_even: bool) -> np.ndarray:
    """Round to ``bits`` bits after the point by arithmetic in double; infinite where it overflows."""
    wide = x.astype(np.float64)
    exponent = np.maximum(np.frexp(np.where(np.isfinite(wide), wide, 1.0))[1] - 1, -126)
    unit = np.ldexp(1.0, exponent - bits)
    steps = np.where(np.isfinite(wide), wide, 0.0) / unit
    steps = np.rint(steps) if ties_to_even else np.sign(steps) * np.floor(np.abs(steps) + 0.5)
    value = np.where(np.isfinite(wide), steps * unit, wide)
    return np.where(np.abs(value) >= 2.0**128, np.copysign(np.inf, value), value)


def test_rounding_to_tf32_and_bf16() -> None:
    x = awkward_floats(2048)
    tf32, pairs, back = np.empty(1024, np.uint32), np.empty(1024, np.uint32), np.empty(2048, np.float32)
    launch("tensor_core.formats", ("out", tf32), ("out", pairs), ("out", back), x, threads=1024)
    np.testing.assert_array_equal(tf32.view(np.float32), rounded(x[::2], 10, ties_to_even=False))
    np.testing.assert_array_equal(back, rounded(x, 7, ties_to_even=True))
    assert not (tf32[~np.isnan(x[::2])] & 0x1FFF).any()
    np.testing.assert_array_equal(np.signbit(back[~np.isnan(x)]), np.signbit(x[~np.isnan(x)]))
    np.testing.assert_array_equal(pairs.view(np.uint16).astype(np.uint32) << 16, back.view(np.uint32))
    assert {int(b) for b in tf32[np.isnan(x[::2])]} == {0x7FFFFFFF}
    assert {int(b) for b in back.view(np.uint32)[np.isnan(x)]} == {0x7FFF0000}


@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
def test_rounding_to_float16() -> None:
    x = awkward_floats(2048)
    x[:1024:2] = np.ldexp(np.copysign(1 + np.abs(x[:1024:2]) % 1, x[:1024:2]), np.arange(512) % 48 - 30)  # in its range
    x[1:9] = [65504, 65519.996, 65520, -65520, 2.0**-25, 1.5 * 2.0**-25, 2.0**-24, -(2.0**-26)]
    pairs = np.empty(1024, np.uint32)
    launch("tensor_core.formats_f16", ("out", pairs), x, threads=1024)
    found, expected, number = pairs.view(np.float16), x.astype(np.float16), ~np.isnan(x)
    assert np.isnan(found[~number]).all()
    np.testing.assert_array_equal(found[number].view(np.uint16), expected[number].view(np.uint16))


# -- layouts --------------------------------------------------------------------------------------


def test_ldmatrix_distributes_as_documented(order: None) -> None:
    x = np.random.default_rng(2).integers(0, 2**16, (4, 8, 8), np.uint16)
    y = np.zeros((6, 32, 4), np.uint32)
    launch("tensor_core.matrices", ("inout", y), x)
    # "Each thread in a warp receives a fragment of a row": lane 4g + t elements 2t and 2t + 1 of row g; with .trans
    # the matrix is loaded in column-major format.
    expected = np.zeros_like(y)
    for transposed, first in ((False, 0), (True, 3)):
        for j in range(4):
            matrix = (x[j].T if transposed else x[j]).astype(np.uint32)
            register = matrix[G, 2 * T] | matrix[G, 2 * T + 1] << 16
            for variant, count in ((0, 1), (1, 2), (2, 4)):
                if j < count:
                    expected[first + variant, :, j] = register
    np.testing.assert_array_equal(y, expected)


def spread_tf32(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the registers of A (16, 8) and B (8, 8): PTX ISA, "Matrix Fragments for mma.m16n8k8", .tf32.

    A: row = g for a0 and a2, else g + 8; column = t for a0 and a1, else t + 4. B: row = t, t + 4; column = g.
    """
    left = [a[G + (i % 2) * 8, T + (i // 2) * 4] for i in range(4)]
    right = [b[T + 4 * i, G] for i in range(2)]
    return np.stack(left, 1).view(np.uint32), np.stack(right, 1).view(np.uint32)


def spread_bf16(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the registers of A (16, 16) and B (16, 8), uint16: "Matrix Fragments for mma.m16n8k16", .bf16 and .f16.

    A, i = 0..7: row = g where 0 <= i < 2 or 4 <= i < 6, else g + 8; column = 2 t + (i & 1), + 8 where i >= 4.
    B, i = 0..3: row = 2 t + (i & 1), + 8 where i >= 2; column = g. Two elements share a register.
    """
    left = [a[G if i < 2 or 4 <= i < 6 else G + 8, 2 * T + (i & 1) + (8 if i >= 4 else 0)] for i in range(8)]
    right = [b[2 * T + (i & 1) + (8 if i >= 2 else 0), G] for i in range(4)]
    registers = [np.ascontiguousarray(np.stack(pairs, 1)).view(np.uint32) for pairs in (left, right)]
    return registers[0], registers[1]


def spread_c(c: np.ndarray) -> np.ndarray:
    """Return the registers of C (16, 8). Row = g for c0 and c1, else g + 8; column = 2 t + (i & 1)."""
    return np.stack([c[G + i // 2 * 8, 2 * T + (i & 1)] for i in range(4)], 1)


def gather_c(registers: np.ndarray) -> np.ndarray:
    c = np.full((16, 8), np.nan, np.float32)
    for i in range(4):
        c[G + i // 2 * 8, 2 * T + (i & 1)] = registers[:, i]
    return c


def to_bf16(x: np.ndarray) -> np.ndarray:
    return (rounded(x, 7, ties_to_even=True).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def from_bf16(x: np.ndarray) -> np.ndarray:
    return (x.astype(np.uint32) << 16).view(np.float32)


def multiply(kind: str, registers: tuple[np.ndarray, np.ndarray], c: np.ndarray) -> np.ndarray:
    d = np.empty((32, 4), np.float32)
    launch(f"tensor_core.multiply_{kind}", ("out", d), registers[0], registers[1], spread_c(c))
    return gather_c(d)


@pytest.mark.parametrize("kind", ["tf32", "bf16", "f16"])
def test_mma_multiplies_as_documented(kind: str, order: None) -> None:
    rng = np.random.default_rng(3)
    depth = 8 if kind == "tf32" else 16
    draws: tuple[Callable[..., np.ndarray], ...] = (
        lambda *s: rng.integers(-9, 10, s),
        lambda *s: rng.standard_normal(s),
    )
    for draw in draws:
        a, b, c = (draw(*shape).astype(np.float32) for shape in ((16, depth), (depth, 8), (16, 8)))
        if kind == "tf32":
            a, b = (rounded(v, 10, ties_to_even=False).astype(np.float32) for v in (a, b))
            registers = spread_tf32(a, b)
        elif kind == "f16":
            a[0, :3] = [65504, 2.0**-24, 3 * 2.0**-20]  # the largest, and two that are subnormal
            a, b = a.astype(np.float16), b.astype(np.float16)
            registers = spread_bf16(a.view(np.uint16), b.view(np.uint16))
        else:
            registers = spread_bf16(to_bf16(a), to_bf16(b))
            a, b = from_bf16(to_bf16(a)), from_bf16(to_bf16(b))
        d = multiply(kind, registers, c)
        wide = a.astype(np.float64), b.astype(np.float64)
        exact = wide[0] @ wide[1] + c
        # The products are exact; every one of `depth` additions rounds once, to 24 bits.
        bound = depth * 2.0**-24 * (np.abs(wide[0]) @ np.abs(wide[1]) + np.abs(c))
        assert (np.abs(d - exact) <= bound).all()
        if kind != "f16" and np.array_equal(a, np.rint(a)):
            np.testing.assert_array_equal(d, exact)


def test_operands_that_were_not_rounded_are_cut_off() -> None:
    x = np.random.default_rng(4).standard_normal((16, 8)).astype(np.float32)
    identity, zero = np.eye(8, dtype=np.float32), np.zeros((16, 8), np.float32)
    d = multiply("tf32", spread_tf32(x, identity), zero)
    np.testing.assert_array_equal(d, (x.view(np.uint32) & 0xFFFFE000).view(np.float32))
    assert (np.abs(d) < np.abs(rounded(x, 10, ties_to_even=False))).any()


def test_infinities_and_nan_pass_through() -> None:
    a, b, c = np.ones((16, 8), np.float32), np.ones((8, 8), np.float32), np.zeros((16, 8), np.float32)
    a[0, 0], a[1, 1], a[2, 2], c[3, 3] = np.inf, np.nan, -np.inf, np.inf
    with np.errstate(invalid="ignore"):
        expected = a @ b + c
    np.testing.assert_array_equal(multiply("tf32", spread_tf32(a, b), c), expected)
    short = (np.repeat(v, 2, axis) for v, axis in ((a, 1), (b, 0)))
    registers = spread_bf16(*(v.astype(np.float16).view(np.uint16) for v in short))
    np.testing.assert_array_equal(multiply("f16", registers, c), expected * 2)


# -- pipelines ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kernel", "elements"), [("copy_16", 4), ("copy_8", 2), ("copy_4", 1)])
def test_copies_end_in_zeros(kernel: str, elements: int, order: None) -> None:
    for n in (1, 3, 4, 7, 32 * elements - 1, 32 * elements):
        x = np.arange(1, n + 1, dtype=np.float32)
        y = np.empty(32 * elements, np.float32)
        launch(f"async_copies.{kernel}", ("out", y), x, np.int32(n))
        np.testing.assert_array_equal(y, np.pad(x, (0, y.size - n)))


def test_groups_are_counted_from_the_latest(order: None) -> None:
    x, y = np.arange(96, dtype=np.float32), np.empty(96, np.float32)
    launch("async_copies.own_copies", ("out", y), x, np.int32(96))
    np.testing.assert_array_equal(y, x)


def integers(*shape: int) -> np.ndarray:
    """Return float32 integers, which are exact in bf16 and in every sum."""
    return np.random.default_rng(5).integers(-9, 10, shape).astype(np.float32)


def square_product(module: Module, kernel: str) -> None:
    for n in (1, 16, 40):
        a, b, c = integers(n, n), integers(n, n)[::-1].copy(), np.empty((n, n), np.float32)
        tiles = (n + 15) // 16
        run(module, kernel, (tiles, tiles, 1), (16, 16, 1), ("out", c), a, b, np.int32(n))
        np.testing.assert_array_equal(c, a @ b)


def bf16_product(module: Module, kernel: str) -> None:
    for depth in (8, 16, 40, 64):
        a, b, c = integers(32, depth), integers(depth, 8), np.empty((32, 8), np.float32)
        run(module, kernel, (1, 1, 1), (64, 1, 1), ("out", c), to_bf16(a), to_bf16(b), np.int32(depth))
        np.testing.assert_array_equal(c, a @ b)


def tf32_product(module: Module, kernel: str) -> None:
    a, b, c = integers(16, 24), integers(24, 8), np.empty((16, 8), np.float32)
    run(module, kernel, (1, 1, 1), (32, 1, 1), ("out", c), a, b, np.int32(24))
    np.testing.assert_array_equal(c, a @ b)


def tail_copies(module: Module, kernel: str) -> None:
    x, y = integers(50), np.empty(64, np.float32)
    run(module, kernel, (1, 1, 1), (32, 1, 1), ("out", y), x, np.int32(50))
    np.testing.assert_array_equal(y, np.pad(x, (0, 14)))


def sums_of_blocks(module: Module, kernel: str) -> None:
    x, y, parts, counter = (
        integers(5, 64),
        np.empty(64, np.float32),
        np.empty((5, 64), np.float32),
        np.zeros(1, np.uint32),
    )
    for _ in range(2):
        run(module, kernel, (5, 1, 1), (64, 1, 1), ("out", y), ("out", parts), ("inout", counter), x)
        np.testing.assert_array_equal(y, x.sum(0))


KERNELS: dict[tuple[str, str], Callable[[Module, str], None]] = {
    ("async_copies.cu", "copy_8"): tail_copies,
    ("async_copies.cu", "two_buffers"): square_product,
    ("async_copies.cu", "three_buffers"): square_product,
    ("async_copies.cu", "sum_of_blocks"): sums_of_blocks,
    ("tensor_core.cu", "product_bf16"): bf16_product,
    ("tensor_core.cu", "product_tf32"): tf32_product,
}  # fmt: skip
FUNCTION_OF = {"copy_8": "copy_with_tail", "sum_of_blocks": "last_block"}  # where its barriers stand
CALL = re.compile(r"\b(?:__syncthreads|__syncwarp|__threadfence|cp_async_commit|cp_async_wait<\d>)\(\);")


@pytest.mark.parametrize(("file", "kernel"), KERNELS, ids=lambda value: value)
def test_pipelines_are_correct(file: str, kernel: str, order: None) -> None:
    KERNELS[file, kernel](compile_text(source(file), file), kernel)


def edits() -> Iterator[tuple[str, str, str]]:
    """Yield (file, kernel, edited source): each wait, commit, barrier and fence taken out, each wait made too short."""
    for file, kernel in KERNELS:
        text = source(file)
        start = text.index(f" {FUNCTION_OF.get(kernel, kernel)}(")
        end = text.index("\n}\n", start)
        for match in CALL.finditer(text, start, end):
            yield file, kernel, text[: match.start()] + ";" + text[match.end() :]
            if "wait" in match[0]:
                groups = int(match[0][-5]) + 1
                yield file, kernel, f"{text[: match.start()]}cp_async_wait<{groups}>();{text[match.end() :]}"


EDITS = list(edits())


def name_of(edit: tuple[str, str, str]) -> str:
    before = source(edit[0]).splitlines()
    return next(f"{edit[1]}:{b.strip()}" for b, e in zip(before, edit[2].splitlines(), strict=True) if b != e)


@pytest.mark.parametrize("edit", EDITS, ids=name_of)
def test_every_wait_commit_barrier_and_fence_is_needed(edit: tuple[str, str, str]) -> None:
    file, kernel, text = edit
    module = compile_text(text, file)
    for order in ORDERS:
        with in_order(order), pytest.raises(EmulatorFinding) as caught:
            KERNELS[file, kernel](module, kernel)
        assert caught.value.kind in ("race", "unwritten-read", "undelivered", "unwaited"), str(caught.value)


def test_there_are_edits() -> None:
    assert len(EDITS) >= 20


# -- messages -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "async_without_wait",
            r"read of memory that an asynchronous copy has not delivered: thread \(0,0,0\) of block \(0,0,0\) reads "
            r"tile, byte 252, which thread \(63,0,0\) of block \(0,0,0\) copies to since async_without_wait.cu:6 and "
            r"has not waited for",
        ),
        ("async_destination_overwritten", r"write to memory that an asynchronous copy has not delivered: .* tile"),
        ("async_source_overwritten", r"write to the source of an asynchronous copy .* copies from since .*:6"),
        ("async_at_the_end", r"ends with 1 asynchronous copies that it has not waited for .* in a committed group"),
        ("async_misaligned", r"misaligned asynchronous copy: the source of thread \(1,0,0\) .*'s 16 bytes"),
        ("async_to_registers", r"the destination of the asynchronous copy of thread .* must be in shared memory"),
        ("async_past_end_of_tile", r"writes 16 bytes, 0 bytes past the end of tile|16 bytes past the end of tile"),
        ("ldmatrix_of_global", r"the row of a matrix of thread .* must be in shared memory"),
        ("mma_of_a_short_warp", r"mma needs a warp of 32 lanes in thread \(32,0,0\)"),
    ],
)  # fmt: skip
def test_message_says_what_is_in_flight(name: str, message: str) -> None:
    from tests.emulator.test_findings import broken, run_broken

    finding = run_broken(broken(name))
    assert re.search(message, finding.detail), finding.detail


def test_runtime_forgets_copies_of_an_abandoned_launch() -> None:
    from tests.emulator.test_findings import broken, run_broken

    for _ in range(2):
        assert run_broken(broken("async_without_wait")).kind == "undelivered"
        KERNELS["async_copies.cu", "two_buffers"](
            compile_text(source("async_copies.cu"), "async_copies.cu"), "two_buffers"
        )


# -- the GPU's side -------------------------------------------------------------------------------


@pytest.fixture
def gate() -> Any:
    gate = pytest.importorskip("benchmarks.compile_gate")
    try:
        gate.compiler_version()
    except gate.GateError as missing:
        pytest.skip(str(missing))
    return gate


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("file", ["async_copies.cu", "tensor_core.cu"])
def test_compiles_for_every_architecture(gate: Any, file: str, arch: int) -> None:
    log, _ = gate.compile_source(device_text(file), file, ["REAL=float"], arch)
    resources = gate.parse_log(log)
    assert ("product_bf16" in resources) == (file == "tensor_core.cu" and arch >= 80)
    for kernel, used in resources.items():
        assert used.stack == used.spill_stores == used.spill_loads == 0, kernel


def device_text(file: str) -> str:
    return with_headers((FOLDER / file).read_text(encoding="utf-8"), file)


def test_mma_on_an_architecture_without_it_says_so(gate: Any) -> None:
    text = device_text("tensor_core.cu").replace("__CUDA_ARCH__ >= 800\n\n// Registers", "1\n\n// Registers")
    with pytest.raises(gate.GateError, match="bf16 products need sm_80: declare architectures from 80 on"):
        gate.compile_source(text, "tensor_core.cu", [], 75)


def test_header_has_a_twin_for_every_function() -> None:
    """What a kernel may call on a GPU it may call on the emulator, and the other way round."""
    function = re.compile(r"(?:void|unsigned|float|short) (\w+)\((?=[^;]*\{)")
    device = (kernel_folder() / "tensor_core.cuh").read_text(encoding="utf-8").partition("#else\n\n// ---- async")[2]
    twins = (
        (Path(emulator.__file__).parent / "tensor_core.h").read_text(encoding="utf-8").rpartition("}  // namespace")[2]
    )
    defined = set(re.findall(r"^GPUNN_LDMATRIX\((\w+),", twins, re.MULTILINE)) | set(function.findall(twins)) - {"NAME"}
    assert set(function.findall(device)) - {"shared_address", "copy_now"} == defined
