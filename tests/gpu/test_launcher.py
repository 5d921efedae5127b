"""The launcher: signatures read from the source, arguments checked before a launch."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpunn._device import Device
from gpunn.errors import DTypeError, KernelError, ShapeError, UsageError
from gpunn.gpu.launcher import DIVISOR, KernelSource, divisor, read_source, trace_launches
from gpunn.gpu.loaders import _ArgumentBlock, _in_float32
from gpunn.gpu.signatures import INT_MOST, parse_signatures
from gpunn.ops import max_pool2d

_TEXT = """
// extern "C" __global__ void not_this(int n)
extern "C" __global__ void __launch_bounds__(256)
step(real* __restrict__ y, INOUT real* state, const real* __restrict__ x, const unsigned char* mask,
     Shape shape, int n /* a comment, with a comma */, unsigned long long key, real eps)
{ }
"""


def test_signatures() -> None:
    step = parse_signatures(_TEXT, {"REAL": "double"})["step"]
    assert [(p.name, p.access, p.pointer) for p in step] == [
        ("y", "out", True),
        ("state", "inout", True),
        ("x", "in", True),
        ("mask", "in", True),
        ("shape", "in", False),
        ("n", "in", False),
        ("key", "in", False),
        ("eps", "in", False),
    ]
    f8, u1 = np.dtype(np.float64), np.dtype(np.uint8)
    assert [p.dtype for p in step] == [f8, f8, f8, u1, None, np.dtype(np.int32), np.dtype(np.uint64), f8]


def test_every_kernel_file_is_read() -> None:
    from gpunn.ops import import_all

    import_all()
    for source in KernelSource.registry.values():
        macros = source.specialisations()[0]
        assert parse_signatures(source.text, macros), source.file


def test_headers_are_inlined_once_with_line_numbers() -> None:
    text = read_source("gemm.cu")
    assert "#include" not in text
    assert text.count("struct Divisor {") == 1
    assert '#line 1 "common.cuh"' in text


@given(st.integers(1, 2**31 - 1), st.integers(0, 2**31 - 1))
def test_divisor_is_exact(d: int, n: int) -> None:
    value, magic, shift = divisor(d)
    assert value == d
    assert magic < 2**32
    for m in (n, d, d - 1, n - n % d, max(0, n - n % d - 1), 2**31 - 1):
        quotient = (((magic * m) >> 32) + m) >> shift
        assert quotient == m // d


class _Loader:
    """Takes any launch, runs none."""

    def __init__(self) -> None:
        self.launched: list = []  # the arguments of each

    def load(self, source, label, macros):
        return self

    def function(self, kernel, parameters):
        return self

    def run(self, grid, block, bound, shared, pointees) -> None:
        self.launched.append(bound)


@pytest.fixture
def relu(monkeypatch: pytest.MonkeyPatch):
    from gpunn.ops.relu import SOURCE

    device = Device("stand-in", np, _Loader())

    def launch(y=None, x=None, n=4, grid=(1, 1, 1), block=32, **macros: Any):
        array = np.zeros(4, np.float32)
        SOURCE.launch(
            device,
            "relu_forward",
            grid,
            block,
            (array if y is None else y, array if x is None else x, n),
            **{"REAL": "float", "VEC": 1, "STORED": 0, **macros},
        )
        return device.loader.launched

    return launch


def test_numbers_become_python_numbers(relu) -> None:
    n = relu(n=np.int64(4))[0][2]
    assert type(n) is int


def test_arguments_lie_where_cuda_wants_them() -> None:
    """Each aligned to its size, structs to 16 bytes; the driver copies as many bytes as the kernel declares."""
    kernel = 'extern "C" __global__ void k(unsigned char c, double d, float f, const float* p, Shape s, int i) {}'
    parameters = parse_signatures(kernel, {})["k"]
    values = [7, 0.1, 0.1, 0x1234567812345678, b"0123456789", -3]
    block = _ArgumentBlock(parameters, values)
    block.pack(block.memory, 0, *values)
    addresses = (ctypes.c_void_p * 6).from_address(block.table)
    start = ctypes.addressof(block.memory)
    assert [address - start for address in addresses] == [0, 8, 16, 24, 32, 44]
    raw = block.memory.raw
    assert raw[0] == 7
    assert np.frombuffer(raw[8:16], np.float64)[0] == 0.1
    assert np.frombuffer(raw[16:20], np.float32)[0] == np.float32(0.1)
    assert np.frombuffer(raw[24:32], np.uint64)[0] == 0x1234567812345678
    assert raw[32:42] == b"0123456789"
    assert np.frombuffer(raw[44:48], np.int32)[0] == -3


def test_numbers_beyond_float32_are_infinite() -> None:
    (parameter,) = parse_signatures('extern "C" __global__ void k(float f) {}', {})["k"]
    assert [_in_float32(parameter, v) for v in (1e39, -1e39, 1e38, float("inf"))] == [np.inf, -np.inf, 1e38, np.inf]
    assert np.isnan(_in_float32(parameter, np.nan))


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"x": np.zeros(4)}, DTypeError, "x: expected float32; got float64"),
        ({"x": np.zeros((4, 4), np.float32)[:, 0]}, ShapeError, "x: expected a contiguous array"),
        ({"x": [1.0]}, KernelError, "x: expected a numpy array"),
        ({"x": np.zeros(5, np.float32)[1:], "VEC": 4}, KernelError, "16-byte alignment"),
        ({"n": 2**63}, UsageError, "n = 9223372036854775808 does not fit int64"),
        ({"REAL": "half"}, KernelError, "REAL=half is not declared"),
        ({"TILE": 8}, KernelError, "TILE=8 is not declared"),
        ({"grid": (1, 65536, 1)}, UsageError, "exceeds CUDA's limits"),
        ({"block": 2048}, KernelError, "1 to 1024 threads"),
        ({"shared": 4}, KernelError, "relu_forward: 4 bytes of dynamic shared memory; relu.cu declares 0"),
    ],
)
def test_refuses(relu, wrong: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        relu(**wrong)


# -- sizes beyond 32 bits -------------------------------------------------------------------------


@pytest.fixture
def maxout():
    from gpunn.ops.maxout import SOURCE

    device, array = Device("stand-in", np, _Loader()), np.zeros(4, np.float32)

    def launch(threads: int):
        args = (array, np.zeros(4, np.uint8), array, np.zeros(1, DIVISOR), 2, 2, threads)
        SOURCE.launch(device, "maxout_forward", (1, 1, 1), 32, args, REAL="float", VEC=1)
        return device.loader.launched

    return launch


def test_a_count_in_an_int_leaves_room_for_a_tile_beyond_the_last_row(maxout) -> None:
    assert len(maxout(INT_MOST)) == 1
    with pytest.raises(UsageError, match=f"^maxout_forward: .*got threads = {INT_MOST + 1}.* split the batch"):
        maxout(INT_MOST + 1)
    assert len(maxout(4)) == 2


def test_an_image_has_no_more_pixels_than_an_int_counts() -> None:
    device, array = Device("stand-in", np, _Loader()), np.zeros(4, np.float32)
    shape = np.zeros(1, max_pool2d._SHAPE)

    def launch(**lengths: int):
        for name, length in lengths.items():
            shape[name] = length
        args = (array, np.zeros(4, np.uint8), array, shape, 4)
        macros: dict[str, Any] = {"REAL": "float", "STORED": 0, "VEC": 1, "CODE": "uint8"}
        max_pool2d.SOURCE.launch(device, "max_pool2d_forward", (1, 1, 1), 32, args, **macros)
        return device.loader.launched

    assert len(launch(H=2**15, W=2**15, P=2**15, Q=2**15)) == 1
    with pytest.raises(UsageError, match=f"got P x Q = {2**31}"):
        launch(P=2**16)
    with pytest.raises(UsageError, match=f"got H x W = {2**31}"):
        launch(W=2**16)


def test_a_divisor_fits_32_bits() -> None:
    assert divisor(2**32 - 1)[0] == 2**32 - 1
    with pytest.raises(UsageError, match=f"got {2**32}. Split the tensor"):
        divisor(2**32)


def test_empty_grid_is_no_launch(relu) -> None:
    """CUDA would run one block."""
    assert relu(grid=(0, 1, 1)) == []


def test_launches_are_traced(relu) -> None:
    with trace_launches() as outer:
        with trace_launches() as inner:
            relu()
        assert [launch.kernel for launch in inner] == ["relu_forward"]
        relu()
    assert len(outer) == 2
    assert len(inner) == 1
