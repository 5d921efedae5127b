"""CuPy arrays in and out: what shares memory, what is copied on the device, what is refused, and in which order."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import _device, nn
from gpunn.errors import CaptureError, DeviceError, DTypeError, ExportError, UsageError
from gpunn.nn import functional

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not _device.cuda_is_available(), reason="needs CuPy and a CUDA GPU"),
]
two_gpus = pytest.mark.skipif(gpunn.cuda.device_count() < 2, reason="needs two CUDA GPUs")
F: Any = functional  # annotated for tensors alone


@pytest.fixture
def cupy() -> Any:
    return gpunn.device("cuda").xp


def numbers(cupy: Any, *shape: int, dtype: Any = np.float32) -> Any:
    return cupy.arange(int(np.prod(shape)), dtype=dtype).reshape(shape)


def memory_of(array: Any) -> tuple[int, int]:
    """The first and last byte of an array's memory."""
    ends = [n * s for n, s in zip([n - 1 for n in array.shape], array.strides, strict=True)]
    start = int(array.data.ptr)
    return start + sum(e for e in ends if e < 0), start + sum(e for e in ends if e > 0)


def shares(a: Any, b: Any) -> bool:
    return bool(a.data.ptr == b.data.ptr)


@contextlib.contextmanager
def allocations(cupy: Any) -> Iterator[list[int]]:
    """The sizes of all that CuPy allocates in the block. A copy on the device needs an array to copy to."""
    sizes: list[int] = []
    inner = cupy.cuda.get_allocator()

    def counting(size: int) -> Any:
        sizes.append(size)
        return inner(size)

    with cupy.cuda.using_allocator(counting):
        yield sizes


def _on_an_odd_address(cupy: Any) -> Any:
    raw = cupy.zeros(4 * 12 + 1, np.uint8)[1:].view(np.float32).reshape(3, 4)
    assert raw.data.ptr % 4
    return raw


# name -> a CuPy array, and whether a tensor shares its memory
LAYOUTS: dict[str, tuple[Callable[[Any], Any], bool]] = {
    "vector": (lambda cp: numbers(cp, 5), True),
    "matrix": (lambda cp: numbers(cp, 3, 4), True),
    "channels last": (lambda cp: numbers(cp, 2, 4, 5, 3).transpose(0, 3, 1, 2), True),
    "channels first": (lambda cp: numbers(cp, 2, 3, 4, 5), False),
    "one channel": (lambda cp: numbers(cp, 2, 1, 4, 5), True),
    "odd start": (lambda cp: numbers(cp, 13)[1:], True),
    "odd start of images": (lambda cp: numbers(cp, 121)[1:].reshape(2, 4, 5, 3).transpose(0, 3, 1, 2), True),
    "strided": (lambda cp: numbers(cp, 6, 4)[::2, 1:3], False),
    "reversed": (lambda cp: numbers(cp, 6, 4)[::-1, ::-1], False),
    "Fortran": (lambda cp: numbers(cp, 4, 3).T, False),
    "Fortran images": (lambda cp: numbers(cp, 5, 4, 3, 2).T, False),
    "broadcast": (lambda cp: cp.broadcast_to(numbers(cp, 4), (3, 4)), False),
    "overlapping windows": (lambda cp: cp.lib.stride_tricks.as_strided(numbers(cp, 6), (3, 4), (4, 4)), False),
    "empty": (lambda cp: numbers(cp, 0, 3), True),
    "empty images": (lambda cp: numbers(cp, 0, 3, 4, 4), True),
    "without axes": (lambda cp: cp.array(7, np.float32), True),
    "on an odd address": (_on_an_odd_address, False),
    "booleans": (lambda cp: numbers(cp, 3, 4) > 5, True),
    "uint8 images": (lambda cp: numbers(cp, 2, 4, 5, 3, dtype=np.uint8).transpose(0, 3, 1, 2), True),
}


# -- in -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", [None, "cuda", "cuda-plain", "cpu"])
@pytest.mark.parametrize("maker", ["as_tensor", "asarray", "tensor"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(cupy: Any, layout: str, maker: str, device: str | None) -> None:
    make, shared = LAYOUTS[layout]
    array = make(cupy)
    expected = cupy.asnumpy(array if array.data.ptr % array.itemsize == 0 else array.view(np.uint8)).view(array.dtype)
    with allocations(cupy) as sizes:
        made = getattr(gpunn, maker)(array, device=device)
    assert made.device.name == {None: "cuda:0", "cuda": "cuda:0", "cuda-plain": "cuda-plain:0", "cpu": "cpu"}[device]
    assert (made.shape, made.dtype) == (array.shape, array.dtype)
    np.testing.assert_array_equal(made.numpy(), expected)
    if device == "cpu":
        return
    shared = shared and maker != "tensor"
    assert shared == (not sizes), "a copy is an allocation"
    if array.size:
        assert shares(made.array, array) == shared
    if array.dtype.kind == "f":  # kernels read it where it is
        np.testing.assert_array_equal((made + made).numpy(), 2 * expected)
        np.testing.assert_array_equal(F.relu(made).numpy(), expected)


def test_dtypes_convert_on_the_device(cupy: Any) -> None:
    x = numbers(cupy, 2, 3, 4, 5)
    made = gpunn.as_tensor(x, np.float64)
    assert (made.device.name, made.dtype) == ("cuda:0", np.float64)
    np.testing.assert_array_equal(made.numpy(), cupy.asnumpy(x))
    assert gpunn.tensor(x.astype(np.float16), dtype=np.float32).device.name == "cuda:0"


@pytest.mark.parametrize("maker", ["tensor", "as_tensor", "asarray", "from_dlpack"])
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128, np.dtype([("a", "f4")])])
def test_refused(cupy: Any, dtype: Any, maker: str) -> None:
    with pytest.raises(DTypeError, match=rf"{maker}: .* is not supported; expected numbers or bool\. \w+"):
        getattr(gpunn, maker)(cupy.zeros(2, dtype))


def test_refused_byte_order_and_addresses(cupy: Any) -> None:
    with pytest.raises(DTypeError, match="as_tensor: CuPy cannot convert a byte-swapped dtype, >f4; convert"):
        gpunn.as_tensor(numbers(cupy, 3).view(">f4"))
    records = cupy.lib.stride_tricks.as_strided(numbers(cupy, 9), (5,), (6,))
    for apart in (_on_an_odd_address(cupy)[:, ::2], records):
        with pytest.raises(UsageError, match="addresses that are no multiples of their size, 4, and are strided"):
            gpunn.as_tensor(apart)
    with pytest.raises(DTypeError, match=r"from_numpy\(\): .* got cupy.ndarray. Use gpunn.as_tensor\(array\)"):
        gpunn.from_numpy(numbers(cupy, 3))
    with pytest.raises(DTypeError, match=r"CuPy arrays among the numbers\. Join them with cupy.stack first"):
        gpunn.tensor([numbers(cupy, 3)])
    with pytest.raises(UsageError, match="copy=False: this needs a copy"):
        gpunn.asarray(numbers(cupy, 3), device="cpu", copy=False)


def test_subclasses_and_foreign_memory(cupy: Any) -> None:
    class Array(cupy.ndarray):
        pass

    x = numbers(cupy, 2, 3)
    made = gpunn.as_tensor(x.view(Array))
    assert type(made.array) is cupy.ndarray
    assert shares(made.array, x)
    memory = cupy.cuda.UnownedMemory(x.data.ptr, x.nbytes, x)
    unowned = cupy.ndarray((2, 3), np.float32, cupy.cuda.MemoryPointer(memory, 0))
    assert shares(gpunn.as_tensor(unowned).array, x)

    class Foreign:
        __cuda_array_interface__ = x.__cuda_array_interface__

    for maker in (gpunn.as_tensor, gpunn.asarray, gpunn.from_dlpack):
        assert shares(maker(Foreign()).array, x)
    assert not shares(gpunn.tensor(Foreign()).array, x)


def test_host_arrays_are_uploaded() -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)[:, ::-1]
    made = gpunn.as_tensor(x, device="cuda")
    assert made.device.name == "cuda:0"
    np.testing.assert_array_equal(made.numpy(), x)


@two_gpus
@pytest.mark.parametrize("shape", [(6, 5), (2, 3, 4, 5), (0, 3), ()])
def test_other_gpus(cupy: Any, shape: tuple[int, ...]) -> None:
    with cupy.cuda.Device(1):
        x = numbers(cupy, *shape) * 2
    expected = 2 * np.arange(x.size).reshape(shape)
    assert gpunn.as_tensor(x).device.name == "cuda:1"
    assert gpunn.as_tensor(x, device="cuda-plain").device.name == "cuda-plain:1"
    assert gpunn.as_tensor(x, device="cpu").device.name == "cpu"
    for maker in (gpunn.as_tensor, gpunn.tensor):
        moved = maker(x, device="cuda:0")
        assert (moved.device.name, moved.array.device.id) == ("cuda:0", 0)
        with cupy.cuda.Device(1):
            x += 1  # ordered after the copy
        np.testing.assert_array_equal(moved.numpy(), expected)
        expected = expected + 1
    cupy.cuda.Device(1).synchronize()  # CuPy frees x on the current GPU's stream, which does not wait for this one's
    layer = nn.Linear(5, 2)
    if shape == (6, 5):
        assert layer.to("cuda:1")(x).array.device.id == 1
        with pytest.raises(DeviceError, match=r"cuda:0 and cuda:1; move .*as_tensor\(array, device='cuda:0'\)"):
            layer.to("cuda:0")(x)


# -- arrays where tensors are expected ------------------------------------------------------------


@pytest.mark.parametrize("device", ["cuda", "cuda-plain"])
def test_layers_and_losses(cupy: Any, device: str) -> None:
    x, labels = numbers(cupy, 4, 3), cupy.asarray([0, 1, 1, 0])
    layer = nn.Linear(3, 2).to(device)
    loss = nn.CrossEntropyLoss()(layer(x), labels)
    assert loss.device is layer.weight.device
    loss.backward()
    again = nn.CrossEntropyLoss()(layer(gpunn.tensor(x, device=device)), gpunn.tensor(labels, device=device))
    assert loss.item() == again.item()
    assert F.linear(x, layer.weight).device is layer.weight.device
    assert nn.ReLU()(x).device.name == "cuda:0"
    with pytest.raises(DeviceError, match=r"Linear: .*devices, cpu and cuda:0; move the array with"):
        nn.Linear(3, 2)(x)
    with pytest.raises(DeviceError, match=r"Linear: .*cuda\S*:0 and cpu; move the array with"):
        layer(np.ones((2, 3), np.float32))


def test_operators(cupy: Any) -> None:
    t, y = gpunn.tensor([[1.0, 2.0]], device="cuda", requires_grad=True), cupy.asarray([[3.0, 5.0]], np.float32)
    for made, expected in (
        (t + y, [[4, 7]]),
        (y - t, [[2, 3]]),
        (t * y, [[3, 10]]),
        (y / t, [[3, 2.5]]),
        (t @ y.T, [[13]]),
        (y @ t.T, [[13]]),
        (t == y, [[False, False]]),
        (t.detach()[:, cupy.asarray([1, 0])], [[2, 1]]),
    ):
        assert isinstance(made, gpunn.Tensor)
        assert made.tolist() == expected
    constant = y.copy()
    loss = (t * constant).sum()
    constant.fill(0)  # a recorded operator has copied it
    loss.backward()
    assert t.grad.tolist() == [[3.0, 5.0]]
    with allocations(cupy) as sizes:
        t.detach() + y
    assert sizes == [y.nbytes], "the result; nothing is recorded, and so nothing copied"
    x = t.detach()
    x += y
    x[0, 0] = y[0, 1]
    assert x.tolist() == [[5.0, 7.0]]
    assert x.copy_(y).tolist() == [[3.0, 5.0]]
    with pytest.raises(DeviceError, match=r"add: .*cpu and cuda:0; move .*gpunn.as_tensor\(array, device="):
        gpunn.ones(2) + y


def test_parameters_and_state(cupy: Any) -> None:
    weight = numbers(cupy, 2, 3)
    parameter = nn.Parameter(weight)
    assert shares(parameter.array, weight)
    layer = nn.Linear(3, 2).to("cuda")
    layer.load_state_dict({"weight": weight, "bias": cupy.ones(2)})
    np.testing.assert_array_equal(layer.weight.detach().numpy(), cupy.asnumpy(weight))


def test_capture_reads_a_shared_array_and_refuses_a_copy(cupy: Any) -> None:
    scale, wrong = cupy.full(3, 2.0, np.float32), cupy.ones((3, 2), np.float32)
    step = gpunn.capture(lambda x: x * scale)
    x = gpunn.ones(3, device="cuda")
    for n in (2.0, 2.0, 5.0):
        scale.fill(n)
        assert step(x).tolist() == [n] * 3
    for other, what in ((wrong[:, 0], "a CuPy array"), (np.ones(3, np.float32), "an array to 'cuda:0'")):
        refused = gpunn.capture(lambda x, other=other: x * other)
        refused(x)
        with pytest.raises(CaptureError, match=f"mul: copying {what} inside a captured step"):
            refused(x)


def test_the_readmes_example(cupy: Any) -> None:
    code = (Path(__file__).parent.parent / "README.md").read_text().split("```python\nimport cupy\n")[1].split("```")[0]
    names: dict[str, Any] = {"cupy": cupy}
    with allocations(cupy) as sizes:
        exec(code, names)
    assert names["features"].shape == (8, 16, 30, 30)
    assert names["dx"].shape == names["images"].shape
    # A layer's result is allocated once, and nothing as large as the images but themselves and dx.
    assert sizes.count(names["features"].nbytes) == 3, "features, y, ones_like(y)"
    assert sizes.count(names["images"].nbytes) == 2, "pixels, dx"


@pytest.mark.parametrize("channels", [1, 3, 8])
def test_every_kernel_reads_shared_arrays_at_any_element(cupy: Any, channels: int) -> None:
    """A view may start at any element of its buffer, where 16 bytes cannot be read at once."""

    def placed(x: Any, at: int) -> Any:
        buffer = cupy.zeros(x.size + at, x.dtype)
        buffer[at:] = x.reshape(-1)
        return buffer[at:].reshape(x.shape)

    layers = [
        nn.Conv2d(channels, 8, 3),
        nn.Conv2d(channels, 8, 1),
        nn.Conv2d(channels, channels, 3, groups=channels),
        nn.MaxPool2d(2),
        nn.AvgPool2d(2),
        nn.BatchNorm2d(channels),
        nn.GroupNorm(1, channels),
        nn.LayerNorm((channels, 6, 8)),
        nn.LeakyReLU(),
        nn.Softmax(1),
        nn.ZeroPad2d(1),
        nn.AdaptiveAvgPool2d(2),
        nn.Sequential(nn.Flatten(), nn.Linear(channels * 48, 4)),
    ]
    x = numbers(cupy, 2, 6, 8, channels) % 11
    for layer in layers:
        layer.to("cuda")
        made = []
        for at in (0, 1):
            leaf = gpunn.as_tensor(placed(x, at).transpose(0, 3, 1, 2)).requires_grad_()
            assert at == 0 or leaf.array.data.ptr % 16
            y = layer(leaf)
            dy = placed(numbers(cupy, *_physical(y.shape)) % 7, at)
            y.backward(gpunn.as_tensor(dy.transpose(0, 3, 1, 2) if dy.ndim == 4 else dy))
            made.append((y.detach().numpy(), leaf.grad.numpy()))
        for aligned, shifted in zip(*made, strict=True):
            # Another width of loads adds in another order: some roundings of sums of a few hundred terms.
            np.testing.assert_allclose(
                shifted, aligned, rtol=1e-5, atol=1e-5 * np.abs(aligned).max(), err_msg=repr(layer)
            )


def _physical(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[0], *shape[2:], shape[1]) if len(shape) == 4 else shape


# -- out ------------------------------------------------------------------------------------------


def test_a_round_trip_copies_nothing(cupy: Any) -> None:
    buffer = numbers(cupy, 2, 6, 5, 8)
    x = buffer.transpose(0, 3, 1, 2)
    model = nn.Sequential(nn.Conv2d(8, 4, 3), nn.ReLU()).to("cuda")
    with gpunn.no_grad():
        model(x)  # compiles
        with allocations(cupy) as with_tensors:
            y = model(gpunn.Tensor(x, "cuda"))
        with allocations(cupy) as with_arrays:
            t = gpunn.as_tensor(x)
            y = model(x)
            out = y.cupy()
    assert shares(t.array, buffer)
    assert shares(out, y.array)
    assert out.shape == (2, 4, 4, 3)
    assert with_arrays == with_tensors == [2 * 4 * 3 * 4 * 4], "the layer's result, and nothing else"
    first, last = memory_of(out)
    assert last - first == out.nbytes - out.itemsize


@pytest.mark.parametrize("device", ["cuda", "cuda-plain"])
def test_out(cupy: Any, device: str) -> None:
    t = gpunn.tensor(np.arange(6, dtype=np.float32).reshape(2, 3), device=device)
    for out in (t.cupy(), cupy.asarray(t), cupy.from_dlpack(t)):
        assert shares(out, t.array)
        assert type(out) is cupy.ndarray
    assert t.__dlpack_device__() == (2, 0)
    host = np.from_dlpack(_Handed(t.__dlpack__(dl_device=(1, 0)), (1, 0)))
    assert host.tolist() == t.tolist()
    copied = cupy.from_dlpack(_Handed(t.__dlpack__(copy=True), (2, 0)))
    assert not shares(copied, t.array)
    np.testing.assert_array_equal(cupy.asnumpy(copied), t.numpy())
    for how, message in (
        ({"dl_device": (1, 0), "copy": False}, "host memory for a tensor on a GPU needs a copy"),
        ({"dl_device": (2, 7)}, r"cannot go to DLPack's device \(2, 7\)"),
    ):
        with pytest.raises(BufferError, match=message):
            t.__dlpack__(**how)
    leaf = gpunn.ones(2, device=device, requires_grad=True)
    for export, kind in ((leaf.cupy, UsageError), (leaf.__dlpack__, ExportError)):
        with pytest.raises(kind, match=r"requires a gradient; use \.detach"):
            export()
    with pytest.raises(UsageError, match="requires a gradient"):
        cupy.asarray(leaf)
    with gpunn.no_grad():
        assert shares(leaf.cupy(), leaf.array)


class _Handed:
    def __init__(self, capsule: Any, device: tuple[int, int]) -> None:
        self.capsule, self.device = capsule, device

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device

    def __dlpack__(self, **how: Any) -> Any:
        return self.capsule


def test_a_consumers_stream_waits(cupy: Any) -> None:
    ours, theirs = (cupy.cuda.Stream(non_blocking=True) for _ in range(2))
    x = cupy.full(1000, 3.0, np.float32)
    cupy.cuda.Device().synchronize()
    with ours:
        t = gpunn.as_tensor(x) * 2
        capsule = t.__dlpack__(stream=theirs.ptr)
    with theirs:
        y = cupy.from_dlpack(_Handed(capsule, (2, 0))) + 1
        assert cupy.asnumpy(y).tolist() == [7.0] * 1000


def test_tensors_of_dlpack_wait_for_the_producer(cupy: Any) -> None:
    theirs, ours = (cupy.cuda.Stream(non_blocking=True) for _ in range(2))

    class Producer:
        def __init__(self, array: Any) -> None:
            self.array = array

        def __dlpack_device__(self) -> tuple[int, int]:
            return 2, 0

        def __dlpack__(self, **how: Any) -> Any:
            with theirs:
                return self.array.__dlpack__(**how)

    with theirs:
        producer = Producer(cupy.full(1000, 3.0, np.float32) * 2)
    with ours:
        assert (gpunn.from_dlpack(producer) + 1).tolist() == [7.0] * 1000
