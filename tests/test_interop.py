"""Arrays in and out on the host: what shares memory, what is copied, what is refused; arrays in place of tensors."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn._device import cuda_is_available
from gpunn.errors import CaptureError, DeviceError, DTypeError, ExportError, UsageError
from gpunn.nn import functional

F: Any = functional  # annotated for tensors alone, as the next
OPS: Any = gpunn
ROOT = Path(__file__).parent.parent
MAKERS: dict[str, Callable[..., gpunn.Tensor]] = {
    "as_tensor": gpunn.as_tensor,
    "asarray": gpunn.asarray,
    "from_dlpack": gpunn.from_dlpack,
    "from_numpy": gpunn.from_numpy,
}


def numbers(*shape: int, dtype: Any = np.float32) -> Any:
    return np.arange(np.prod(shape, dtype=int), dtype=dtype).reshape(shape)


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def unaligned(shape: tuple[int, ...]) -> np.ndarray:
    raw = np.zeros(4 * int(np.prod(shape)) + 1, np.uint8)[1:].view(np.float32).reshape(shape)
    raw[...] = numbers(*shape)
    assert not raw.flags.aligned
    return raw


# name -> an array, and whether a tensor shares its memory
LAYOUTS: dict[str, tuple[Callable[[], np.ndarray], bool]] = {
    "vector": (lambda: numbers(5), True),
    "matrix": (lambda: numbers(3, 4), True),
    "five axes": (lambda: numbers(2, 3, 2, 2, 2), True),
    "channels last": (lambda: numbers(2, 4, 5, 3).transpose(0, 3, 1, 2), True),
    "channels first": (lambda: numbers(2, 3, 4, 5), True),
    "one channel": (lambda: numbers(2, 1, 4, 5), True),
    "part of a buffer": (lambda: numbers(6, 4)[2:5], True),
    "strided": (lambda: numbers(6, 4)[::2, 1:3], True),
    "reversed": (lambda: numbers(6, 4)[::-1, ::-1], True),
    "Fortran": (lambda: np.asfortranarray(numbers(3, 4)), True),
    "Fortran images": (lambda: np.asfortranarray(numbers(2, 3, 4, 5)), True),
    "broadcast": (lambda: np.broadcast_to(numbers(4), (3, 4)), False),
    "zero strides, writable": (lambda: np.lib.stride_tricks.as_strided(numbers(4), (3, 4), (0, 4)), True),
    "overlapping windows": (lambda: np.lib.stride_tricks.as_strided(numbers(6), (3, 4), (4, 4)), True),
    "empty": (lambda: numbers(0, 3), True),
    "empty images": (lambda: numbers(0, 3, 4, 4), True),
    "without axes": (lambda: np.array(7, np.float32), True),
    "read-only": (lambda: read_only(numbers(3, 4)), False),
    "byte-swapped": (lambda: numbers(3, 4).astype(">f4" if sys.byteorder == "little" else "<f4"), False),
    "unaligned": (lambda: unaligned((3, 4)), False),
    "np.matrix": (lambda: np.matrix(numbers(3, 4)), True),
    "a record's field": (lambda: np.zeros(3, [("a", "i1"), ("b", "f4")])["b"], False),
    "booleans": (lambda: numbers(3, 4) > 5, True),
    "uint8 images": (lambda: numbers(2, 4, 5, 3, dtype=np.uint8).transpose(0, 3, 1, 2), True),
    "uint16": (lambda: numbers(3, dtype=np.uint16), True),
}


# -- in: layouts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("maker", [*MAKERS, "tensor"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_layouts(layout: str, maker: str) -> None:
    make, shares = LAYOUTS[layout]
    array = make()
    expected = np.array(array, array.dtype.newbyteorder("="), subok=False)
    made = gpunn.tensor(array) if maker == "tensor" else MAKERS[maker](array)
    assert (made.device.name, made.shape, made.dtype) == ("cpu", array.shape, expected.dtype)
    assert type(made.array) is np.ndarray
    assert made.dtype.isnative
    np.testing.assert_array_equal(made.numpy(), expected)
    if array.size:
        assert np.shares_memory(made.numpy(), array) == (shares and maker != "tensor")
    if maker != "tensor" and layout in ("zero strides, writable", "overlapping windows"):
        with pytest.raises(UsageError, match="are one element in memory"):
            made.fill_(1)
        return
    made.fill_(1)  # a shared read-only array would raise here, or change under its owner
    np.testing.assert_array_equal(np.asarray(array), 1 if np.shares_memory(made.numpy(), array) else expected)


@pytest.mark.parametrize(
    "device",
    [
        pytest.param("emulator", marks=pytest.mark.emulator),
        pytest.param(
            "cuda",
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(not cuda_is_available(), reason="needs CuPy and a CUDA GPU"),
            ],
        ),
    ],
)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_layouts_where_kernels_run(layout: str, device: str) -> None:
    make, shares = LAYOUTS[layout]
    array = make()
    made = gpunn.as_tensor(array, device=device)
    assert made.device is gpunn.device(device)
    expected = np.array(array, array.dtype.newbyteorder("="), subok=False)
    np.testing.assert_array_equal(made.numpy(), expected)
    assert made.dtype == expected.dtype
    if array.size and device == "emulator":
        assert np.shares_memory(made.numpy(), array) == shares
    if array.dtype.kind == "f":
        np.testing.assert_array_equal((made + made).numpy(), 2 * expected)


def test_memmaps(tmp_path: Path) -> None:
    numbers(2, 3).tofile(tmp_path / "x")
    shared = gpunn.as_tensor(np.memmap(tmp_path / "x", np.float32, "r+", shape=(2, 3)))
    shared.fill_(4)
    assert np.fromfile(tmp_path / "x", np.float32).tolist() == [4.0] * 6
    copied = gpunn.as_tensor(np.memmap(tmp_path / "x", np.float32, "r", shape=(2, 3)))
    copied.fill_(5)
    assert np.fromfile(tmp_path / "x", np.float32).tolist() == [4.0] * 6


def test_other_dtype_copies() -> None:
    array = numbers(2, 3)
    for made in (gpunn.as_tensor(array, np.float64), gpunn.tensor(array, np.int64)):
        assert made.dtype in (np.float64, np.int64)
        assert not np.shares_memory(made.array, array)
        np.testing.assert_array_equal(made.numpy(), array)
    assert gpunn.tensor(array.astype(np.float16), dtype=np.float32).dtype == np.float32
    assert gpunn.as_tensor(np.array(["1.5"]), dtype=np.float32).tolist() == [1.5]


def test_asarray_says_whether_it_copies() -> None:
    array = numbers(2, 3)
    assert np.shares_memory(gpunn.asarray(array, copy=False).array, array)
    assert not np.shares_memory(gpunn.asarray(array, copy=True).array, array)
    for other, dtype in ((array, np.float64), (read_only(numbers(2)), None), ([1.0], None)):
        with pytest.raises(UsageError, match="copy=False: this needs a copy"):
            gpunn.asarray(other, dtype, copy=False)
    assert np.shares_memory(gpunn.asarray(array.T, copy=False).numpy(), array)
    assert gpunn.asarray(np.zeros((0, 3), np.float32).T, copy=False).shape == (3, 0)
    leaf = gpunn.ones(2, requires_grad=True)
    same = gpunn.asarray(leaf)
    assert not same.requires_grad
    assert np.shares_memory(same.array, leaf.array)
    assert gpunn.asarray([1.0], requires_grad=True).requires_grad
    constant = gpunn.ones(2)
    assert gpunn.asarray(constant, requires_grad=True).requires_grad
    assert not constant.requires_grad
    assert gpunn.from_dlpack(array, copy=True).tolist() == array.tolist()


@pytest.mark.emulator
def test_tensor_keeps_a_tensors_device() -> None:
    x = gpunn.ones(2, device="emulator")
    assert gpunn.tensor(x).device is gpunn.asarray(x, copy=True).device is x.device
    assert not np.shares_memory(gpunn.tensor(x).array, x.array)


# -- in: refusals ---------------------------------------------------------------------------------


def _float8() -> Any:
    return pytest.importorskip("ml_dtypes").float8_e5m2


def _refused() -> dict[str, tuple[Any, str]]:
    return {
        "complex64": (np.zeros(2, np.complex64), r"complex64 is not supported.*\.real and \.imag"),
        "float8": (np.zeros(2, _float8()), r"float8_e5m2 is not supported.*astype\('float32'\)"),
        "longdouble": (np.zeros(2, np.longdouble), r"(longdouble|float\d+) is not supported"),
        "objects": (np.array([1, None]), "an array of objects is not supported"),
        "text": (np.array(["a"]), r"str.* is not supported.*if it holds numbers"),
        "bytes": (np.array([b"a"]), r"bytes.* is not supported.*if it holds numbers"),
        "dates": (np.array(["2020-01-01"], "M8[D]"), r"datetime64\[D\] is not supported.*astype\('int64'\)"),
        "durations": (np.array([1], "m8[s]"), r"timedelta64\[s\] is not supported.*astype\('int64'\)"),
        "structures": (np.zeros(2, [("a", "f4")]), r"a structured dtype is not supported.*array\['name'\]"),
        "masked": (np.ma.masked_array([1.0, 2.0], [False, True]), r"a masked array is not supported.*filled\(value\)"),
    }


@pytest.mark.parametrize("maker", [*MAKERS, "tensor"])
@pytest.mark.parametrize("what", _refused())
def test_refused_dtypes(what: str, maker: str) -> None:
    array, message = _refused()[what]
    if what == "longdouble" and array.dtype == np.float64:
        pytest.skip("long double is double on this platform")
    with pytest.raises(DTypeError, match=f"(?s){maker}: {message}"):
        (gpunn.tensor if maker == "tensor" else MAKERS[maker])(array)


def test_bfloat16_arrays() -> None:
    array = np.zeros(2, pytest.importorskip("ml_dtypes").bfloat16)
    shared = gpunn.as_tensor(array)
    array[1] = 1.5
    assert (shared.dtype, shared.tolist()) == (gpunn.bfloat16, [0.0, 1.5])
    assert gpunn.as_tensor(array, dtype=np.float32).tolist() == [0.0, 1.5]


def test_refused_values() -> None:
    for data, message in (
        (None, "cannot make an array of numbers from NoneType"),
        ("text", "cannot make an array of numbers from the text 'text'"),
        (1j, "cannot make an array of numbers from the complex number 1j"),
        (np.complex64(1j), "complex64 is not supported"),
    ):
        with pytest.raises(DTypeError, match=message):
            gpunn.tensor(data)
    with pytest.raises(DTypeError, match="does not convert to float32"):
        gpunn.tensor(np.array(["a"]), dtype=np.float32)
    with pytest.raises(DTypeError, match="complex64 is not supported"):
        gpunn.tensor(np.zeros(2, np.complex64), dtype=np.float32)
    with pytest.raises(DTypeError, match="complex64 is not supported"):
        gpunn.tensor([1.0], dtype=np.complex64)
    with pytest.raises(DTypeError, match=r"expected a NumPy array; got builtins.list. Use gpunn.tensor"):
        gpunn.from_numpy([1.0])  # type: ignore[arg-type]
    with pytest.raises(DTypeError, match=r"from_dlpack\(\): expected an array with __dlpack__ .*; got list"):
        gpunn.from_dlpack([1.0])


# -- in: other libraries --------------------------------------------------------------------------


class Exporter:
    """An array of a library that speaks DLPack."""

    def __init__(self, array: np.ndarray, device: tuple[int, int] = (1, 0)) -> None:
        self.array, self.device = array, device

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device

    def __dlpack__(self, **how: Any) -> Any:
        if self.array.dtype == object:
            raise BufferError("it requires a gradient")
        return self.array.__dlpack__(**how)


def test_dlpack_from_others() -> None:
    array = numbers(2, 4, 5, 3)
    for maker in ("as_tensor", "asarray", "from_dlpack"):
        made = MAKERS[maker](Exporter(array.transpose(0, 3, 1, 2)))
        # NumPy before 2.1 marks all that comes by DLPack read-only.
        assert np.shares_memory(made.array, array) or np.lib.NumpyVersion(np.__version__) < "2.1.0"
        assert made.shape == (2, 3, 4, 5)
    assert not np.shares_memory(gpunn.tensor(Exporter(array)).array, array)
    assert gpunn.as_tensor(Exporter(numbers(2)), dtype=np.float64).dtype == np.float64
    with pytest.raises(DTypeError, match=r"got tests.*Exporter. Use gpunn.as_tensor"):
        gpunn.from_numpy(Exporter(array))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"Exporter does not hand out its memory \(it requires a gradient\). Detach"):
        gpunn.from_dlpack(Exporter(np.array([None])))
    with pytest.raises(DeviceError, match="is on device type 8 of DLPack; expected host or CUDA memory"):
        gpunn.from_dlpack(Exporter(array, (8, 0)))


def test_numbers_in_lists_are_not_asked_for_dlpack() -> None:
    assert gpunn.as_tensor(np.float64(2)).dtype == np.float64
    assert gpunn.as_tensor([np.float64(2)]).dtype == np.float64  # as PyTorch: Python's are float32
    assert gpunn.as_tensor(3).dtype == np.int64


def test_cupy_is_not_imported() -> None:
    code = (
        "import sys, numpy as np, gpunn\nfrom gpunn import nn\n"
        "x = gpunn.as_tensor(np.ones((2, 3), 'f4')); nn.Linear(3, 2)(np.ones((2, 3), 'f4')); x + np.ones(3, 'f4')\n"
        "gpunn.from_dlpack(np.ones(3)); hasattr(x, '__cuda_array_interface__'); np.from_dlpack(x)\n"
        "gpunn.arrays.conv2d(np.ones((4, 4)), np.ones((2, 2)))\nprint('cupy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("False", "")


# -- arrays where tensors are expected ------------------------------------------------------------


def test_layers_take_arrays() -> None:
    layer = nn.Conv2d(3, 2, 3)
    x = numbers(2, 4, 5, 3).transpose(0, 3, 1, 2)
    seen: list[Any] = []
    layer.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    y = layer(x)
    assert np.shares_memory(seen[0].array, x)
    np.testing.assert_array_equal(y.detach().numpy(), layer(gpunn.tensor(x)).detach().numpy())
    y.sum().backward()
    assert layer.weight.grad is not None
    assert nn.Sequential(nn.Flatten(), nn.Linear(60, 2))(x).shape == (2, 2)
    assert nn.ReLU()(np.array([-1, 2], np.float32)).tolist() == [0.0, 2.0]
    scores, labels = gpunn.zeros(2, 3, requires_grad=True), np.array([0, 2])
    np.testing.assert_allclose(nn.CrossEntropyLoss()(scores, labels).item(), np.log(3), rtol=1e-6)
    nn.MSELoss()(scores, target=np.ones((2, 3), np.float32)).backward()
    np.testing.assert_allclose(scores.grad.numpy(), -1 / 3, rtol=1e-6)  # one rounding of float32


def test_modules_of_users_get_tensors() -> None:
    class Net(nn.Module):
        def forward(self, pair: list, x: Any, flag: bool = True) -> Any:
            assert isinstance(x, gpunn.Tensor)
            return x.flatten(1)

    assert Net()([1], numbers(2, 3, 2)).shape == (2, 6)
    assert Net()([1], x=numbers(2, 3, 2)).shape == (2, 6)


@pytest.mark.emulator
def test_arrays_go_to_the_layers_device() -> None:
    layer = nn.Linear(3, 2).to("emulator")
    assert layer(numbers(2, 3)).device.name == "emulator"
    assert nn.MSELoss()(layer(numbers(2, 3)), numbers(2, 2)).device.name == "emulator"
    assert F.relu(numbers(3)).device.name == "cpu"


@pytest.mark.emulator
def test_captured_steps_share_arrays_and_refuse_copies() -> None:
    bias, x = numbers(3), gpunn.ones(2, 3, device="emulator")
    layer = nn.Linear(3, 3).to("emulator")
    shared = gpunn.capture(lambda x: F.linear(x, layer.weight.detach(), bias))
    for first in (0.0, 0.0, 5.0):
        bias[0] = first
        np.testing.assert_array_equal(shared(x).numpy(), F.linear(x, layer.weight.detach(), bias).numpy())
    for copies in (lambda x: x * bias, lambda x: F.linear(x, layer.weight.detach(), bias[::-1])):
        step = gpunn.capture(copies)
        step(x)
        with pytest.raises(CaptureError, match="copying an array inside a captured step: its result would be frozen"):
            step(x)


def test_functionals_take_arrays() -> None:
    x, weight = numbers(1, 3, 4, 5), gpunn.tensor(numbers(2, 3, 2, 2), requires_grad=True)
    y = F.conv2d(x, weight)
    np.testing.assert_array_equal(y.detach().numpy(), F.conv2d(gpunn.tensor(x), weight).detach().numpy())
    assert F.conv2d(x, weight.detach().numpy(), bias=np.zeros(2, np.float32)).shape == (1, 2, 3, 4)
    assert gpunn.cat([gpunn.ones(2), numbers(2)]).tolist() == [1.0, 1.0, 0.0, 1.0]
    assert OPS.where(np.array([True, False]), gpunn.ones(2), gpunn.zeros(2)).tolist() == [1.0, 0.0]
    assert OPS.exp(np.zeros(2)).dtype == np.float64
    with pytest.raises(DTypeError, match="a masked array is not supported"):
        F.relu(np.ma.masked_array([1.0], [True]))
    assert OPS.relu is F.relu


def test_operators_take_arrays() -> None:
    x, y = gpunn.tensor([[1.0, 2.0]], requires_grad=True), np.array([[3, 5]], np.float32)
    for made, expected in (
        (x + y, [[4, 7]]),
        (y - x, [[2, 3]]),
        (x * y, [[3, 10]]),
        (y / x, [[3, 2.5]]),
        (x @ y.T, [[13]]),
        (y @ x.T, [[13]]),
    ):
        assert isinstance(made, gpunn.Tensor)
        assert made.tolist() == expected
    constant = y.copy()
    loss = (x * constant).sum()
    constant[...] = 0  # an operator has copied it
    loss.backward()
    assert x.grad.tolist() == y.tolist()
    assert (x == y).tolist() == [[False, False]]
    assert ((x > 1) & np.array([True])).tolist() == [[False, True]]
    with pytest.raises(DTypeError, match="and: expected bools or integers; got a floating operand"):
        (x > 1) & y
    assert x.detach()[:, np.array([1, 0])].tolist() == [[2.0, 1.0]]


def test_wrong_devices_say_the_fix() -> None:
    class Elsewhere:
        """A device whose memory is not NumPy's."""

        name, ordinal, xp = "cuda:0", 0, None

        def __str__(self) -> str:
            return self.name

    from gpunn._interop import constant

    with pytest.raises(
        DeviceError, match=r"op: .*devices, cuda:0 and cpu; move .*gpunn.as_tensor\(array, device='cuda:0'\)"
    ):
        constant("op", numbers(2), Elsewhere())  # type: ignore[arg-type]


# -- out ------------------------------------------------------------------------------------------


def test_out_by_dlpack() -> None:
    x = gpunn.as_tensor(numbers(2, 4, 5, 3).transpose(0, 3, 1, 2))
    assert x.__dlpack_device__() == (1, 0)
    seen = np.from_dlpack(x)
    assert np.shares_memory(seen, x.array)
    np.testing.assert_array_equal(seen, x.array)
    assert not np.shares_memory(np.from_dlpack(_With(lambda: x.__dlpack__(copy=True))), x.array)
    assert np.shares_memory(np.from_dlpack(_With(lambda: x.__dlpack__(dl_device=(1, 0), copy=False))), x.array)
    assert np.shares_memory(np.from_dlpack(_With(lambda: x.__dlpack__(max_version=(1, 0)))), x.array)
    leaf = gpunn.ones(2, requires_grad=True)
    for how, message in (
        ({"dl_device": (2, 0)}, r"cannot go to DLPack's device \(2, 0\)"),
        ({"stream": 1}, "expected no stream"),
    ):
        with pytest.raises(BufferError, match=message):
            x.__dlpack__(**how)
    with pytest.raises(ExportError, match=r"requires a gradient; use .detach\(\)"):
        np.from_dlpack(leaf)
    with gpunn.no_grad():
        assert np.from_dlpack(leaf).tolist() == [1.0, 1.0]


class _With:
    """Hands out what a function returns."""

    def __init__(self, export: Callable[[], Any]) -> None:
        self.export = export

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0

    def __dlpack__(self, **how: Any) -> Any:
        return self.export()


def test_out_to_numpy() -> None:
    x = gpunn.as_tensor(numbers(2, 3))
    assert np.shares_memory(x.numpy(), x.array)
    assert np.shares_memory(np.asarray(x), x.array)
    given = numbers(2, 3, 4, 5)
    images = gpunn.as_tensor(given)
    assert np.shares_memory(images.numpy(), given)
    assert np.shares_memory(images.__array__(copy=False), given)
    with pytest.raises(ValueError, match="needs a copy"):
        x.__array__(np.float64, copy=False)
    with pytest.raises(UsageError, match="requires a gradient"):
        gpunn.ones(2, requires_grad=True).__array__(copy=False)


@pytest.mark.parametrize("device", ["cpu", pytest.param("emulator", marks=pytest.mark.emulator)])
def test_host_tensors_are_no_cuda_arrays(device: str) -> None:
    x = gpunn.ones(2, device=device)
    assert not hasattr(x, "__cuda_array_interface__")
    assert x.__dlpack_device__() == (1, 0)
    with pytest.raises(UsageError, match=rf"cupy\(\): this tensor is on '{device}'; use .cuda\(\).cupy\(\)"):
        x.cupy()
