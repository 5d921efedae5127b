"""Names that PyTorch programs call around their networks: switches, seeds, dtypes, wrappers."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import math
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import gpunn as typed
from gpunn import nn
from gpunn.errors import ArgumentError, DeviceError, DTypeError, ShapeError, TrainingError, UsageError

gpunn: Any = typed

# -- switches -------------------------------------------------------------------------------------


def test_switches_can_be_set_and_change_nothing() -> None:
    cudnn = importlib.import_module("gpunn.backends.cudnn")
    assert gpunn.backends.cudnn is cudnn
    for name in ("benchmark", "deterministic", "enabled"):
        before = getattr(cudnn, name)
        setattr(cudnn, name, not before)
        assert getattr(cudnn, name) is not before
        setattr(cudnn, name, before)
    assert gpunn.backends.cuda.is_built() in (True, False)
    assert not gpunn.backends.mps.is_available()
    assert not gpunn.backends.mps.is_built()
    assert not cudnn.is_available()
    assert cudnn.version() is None


def test_assert_is_a_function_too() -> None:
    gpunn._assert(True, "never told")
    gpunn._assert(gpunn.ones(2).sum() == 2, "never told")
    for condition in (False, gpunn.zeros(1), gpunn.tensor([1, 2]).sum() == 2):
        with pytest.raises(AssertionError, match=r"^sizes differ$"):
            gpunn._assert(condition, "sizes differ")


def test_the_device_that_a_program_chooses_works() -> None:
    accelerator = gpunn.accelerator
    device = accelerator.current_accelerator().type if accelerator.is_available() else "cpu"
    assert gpunn.ones(2).to(device).device.type == device
    assert accelerator.device_count() == gpunn.cuda.device_count()
    assert gpunn.ones(2).is_cuda is False


def test_cuda_seeds_the_one_generator() -> None:
    for seed in (gpunn.cuda.manual_seed, gpunn.cuda.manual_seed_all):
        gpunn.manual_seed(3)
        first = gpunn.rand(3).tolist()
        seed(3)
        assert gpunn.rand(3).tolist() == first
    assert gpunn.cuda.is_bf16_supported() == (importlib.util.find_spec("ml_dtypes") is not None)


# -- what compiles, converts or scales nothing says so --------------------------------------------


def test_compiling_returns_what_it_is_given_and_says_so() -> None:
    model = nn.Linear(2, 1)
    for name, call in (
        ("compile", gpunn.compile),
        ("jit.script", gpunn.jit.script),
        ("jit.trace", lambda m: gpunn.jit.trace(m, gpunn.ones(1, 2))),
    ):
        with pytest.warns(UserWarning, match=f"gpunn.{name} compiles nothing"):
            assert call(model) is model
    with pytest.warns(UserWarning, match="compiles nothing"):
        decorate = gpunn.compile(mode="max-autotune")
    assert decorate(model) is model
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert gpunn.compile(model, disable=True) is model
    assert gpunn.jit.ignore(len) is len
    assert gpunn.jit.ignore(drop=True)(len) is len
    assert gpunn.jit.unused(len) is len
    assert not gpunn.jit.is_scripting()
    assert not gpunn.jit.is_tracing()


def test_the_older_names_of_mixed_precision() -> None:
    """They mean GPUs: on a CPU nothing is converted, and scaling cancels out."""
    model = nn.Linear(2, 1)
    optimizer = gpunn.optim.SGD(model.parameters(), lr=0.5)
    before = model.bias.tolist()
    scaler = gpunn.cuda.amp.GradScaler(init_scale=4.0)
    with gpunn.cuda.amp.autocast():
        loss = model(gpunn.ones(1, 2)).sum()
        assert gpunn.is_autocast_enabled()
    assert loss.dtype == gpunn.float32
    scaler.scale(loss).backward()
    assert model.bias.grad is not None
    assert model.bias.grad.tolist() == [4.0]
    scaler.step(optimizer)
    scaler.update()
    assert model.bias.tolist() == [before[0] - 0.5]
    assert gpunn.GradScaler is gpunn.amp.GradScaler
    assert gpunn.autocast is gpunn.amp.autocast


@pytest.mark.parametrize("name", ["float16", "half", "bfloat16"])
def test_half_dtypes(name: str) -> None:
    if name == "bfloat16":
        pytest.importorskip("ml_dtypes")
    dtype = getattr(gpunn, name)
    assert gpunn.float32 != dtype
    assert pickle.loads(pickle.dumps(dtype)) == dtype
    assert dtype == (gpunn.bfloat16 if name == "bfloat16" else gpunn.float16)
    for made in (
        gpunn.ones(2, dtype=dtype),
        gpunn.ones(2).to(dtype),
        nn.Linear(2, 1).to(dtype).weight,
        nn.Linear(2, 1, dtype=dtype).bias,
    ):
        assert made.dtype == dtype
    assert gpunn.finfo(dtype).dtype == dtype.name
    method = {"float16": "half"}.get(dtype.name, dtype.name)
    assert getattr(gpunn.ones(2), method)().dtype == getattr(nn.Linear(2, 1), method)().weight.dtype == dtype


# -- gradients ------------------------------------------------------------------------------------


def test_variable_is_a_tensor() -> None:
    base = gpunn.ones(2, requires_grad=True)
    made = gpunn.autograd.Variable(base * 2, requires_grad=True)
    assert made.is_leaf
    assert made.requires_grad
    assert isinstance(base, gpunn.autograd.Variable)
    assert not isinstance(3, gpunn.autograd.Variable)
    plain = gpunn.zeros(2)
    gpunn.autograd.Variable(plain)[0] = 5.0
    assert plain.tolist() == [5.0, 0.0]
    assert not gpunn.autograd.Variable(base).requires_grad
    with pytest.raises(ArgumentError, match="Variable: data: expected a Tensor; got list"):
        gpunn.autograd.Variable([1.0])


class _Root(nn.Module):
    def forward(self, x: Any) -> Any:
        return x.sqrt() * 0


def test_anomalies_name_the_layer(kernels: str) -> None:
    model = nn.Sequential(nn.Identity(), _Root())

    def backward(value: float) -> list[float]:
        x = gpunn.tensor([value, 4.0], device=kernels, requires_grad=True)
        model(x).sum().backward()
        return x.grad.tolist()

    assert math.isnan(backward(0.0)[0])
    with gpunn.autograd.detect_anomaly():
        assert backward(1.0) == [0.0, 0.0]
        with pytest.raises(TrainingError, match=r"^1 \(_Root\): backward gave NaN for input 0"):
            backward(0.0)
    with gpunn.autograd.detect_anomaly(check_nan=False):
        backward(0.0)
    gpunn.autograd.set_detect_anomaly(True)
    with pytest.raises(TrainingError):
        backward(0.0)
    with gpunn.autograd.set_detect_anomaly(False):
        backward(0.0)
    with pytest.raises(TrainingError):
        backward(0.0)
    gpunn.autograd.set_detect_anomaly(False)
    backward(0.0)
    with pytest.raises(UsageError, match="set_detect_anomaly: mode: expected True or False"):
        gpunn.autograd.set_detect_anomaly(3)


def test_inference_mode_records_nothing() -> None:
    x = gpunn.ones(2, requires_grad=True)
    with gpunn.inference_mode():
        assert not (x * 2).requires_grad
    with gpunn.inference_mode(False):
        assert (x * 2).requires_grad

    @gpunn.inference_mode  # type: ignore[untyped-decorator]
    def bare(t: Any) -> Any:
        return t * 2

    @gpunn.inference_mode()  # type: ignore[untyped-decorator]
    def called(t: Any) -> Any:
        return t * 2

    assert not bare(x).requires_grad
    assert not called(x).requires_grad
    assert (x * 2).requires_grad
    with pytest.raises(UsageError, match="inference_mode: mode: expected True or False; got 3"):
        gpunn.inference_mode(3)


def test_data_parallel_on_one_device() -> None:
    inner = nn.Linear(3, 2)
    wrapped = nn.DataParallel(inner, device_ids=[0])
    assert list(wrapped.state_dict()) == ["module.weight", "module.bias"]
    x = gpunn.ones(4, 3)
    assert wrapped(x).tolist() == inner(x).tolist()
    with pytest.raises(UsageError, match=r"DataParallel: device_ids: expected one device; got 2"):
        nn.DataParallel(inner, device_ids=[0, 1])
    with pytest.raises(UsageError, match=r"DataParallel: module: expected an nn.Module; got list"):
        nn.DataParallel([inner])  # type: ignore[arg-type]


# -- the generator --------------------------------------------------------------------------------


def test_the_generators_state_is_a_tensor() -> None:
    assert gpunn.manual_seed(11) is gpunn.random.default_generator()
    assert gpunn.initial_seed() == 11
    state = gpunn.get_rng_state()
    assert state.dtype == gpunn.uint8
    first = gpunn.rand(5).tolist()
    gpunn.set_rng_state(state)
    assert gpunn.rand(5).tolist() == first
    chosen = gpunn.seed()
    assert gpunn.initial_seed() == chosen
    gpunn.manual_seed(chosen)
    for wrong in (gpunn.zeros(4), gpunn.zeros(4, dtype=gpunn.uint8)):
        with pytest.raises(UsageError, match=r"set_rng_state: new_state: expected what gpunn\.get_rng_state"):
            gpunn.set_rng_state(wrong)
    gpunn.manual_seed(0)


# -- dtypes ---------------------------------------------------------------------------------------


@pytest.mark.parity
def test_limits_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    for name in ("float32", "float64"):
        mine, theirs = gpunn.finfo(getattr(gpunn, name)), torch.finfo(getattr(torch, name))
        for field in ("bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution", "dtype"):
            assert getattr(mine, field) == getattr(theirs, field), field
        assert repr(mine) == repr(theirs)
    for name in ("uint8", "int8", "int16", "int32", "int64"):
        mine, theirs = gpunn.iinfo(getattr(gpunn, name)), torch.iinfo(getattr(torch, name))
        for field in ("bits", "max", "min", "dtype"):
            assert getattr(mine, field) == getattr(theirs, field), field
    assert repr(gpunn.iinfo(gpunn.uint8)) == "iinfo(min=0, max=255, dtype=uint8)"
    assert gpunn.finfo().bits == 32
    with pytest.raises(DTypeError, match=r"finfo: type: expected a floating dtype; got int64"):
        gpunn.finfo(gpunn.int64)
    with pytest.raises(DTypeError, match="iinfo: type: expected an integer dtype; got float32"):
        gpunn.iinfo(gpunn.float32)


@pytest.mark.parity
def test_the_default_dtype_is_followed_where_pytorch_follows_it() -> None:
    torch = pytest.importorskip("torch")

    def kinds(library: Any) -> list[str]:
        made = [
            library.tensor([0.5]),
            library.tensor(0.5),
            library.zeros(2),
            library.rand(2),
            library.full((2,), 0.5),
            library.arange(0.0, 2.0),
            library.linspace(0, 1, 3),
            library.tensor([1, 2]) / 2,
            library.tensor([1, 2]) * 0.5,
            library.tensor([1, 2]),
            library.ones(2, dtype=library.float32) * 0.5,
            *library.nn.Linear(2, 2).parameters(),
            *library.nn.BatchNorm1d(2).state_dict().values(),
        ]
        return [str(t.dtype).removeprefix("torch.") for t in made]

    before = kinds(gpunn)
    assert before == kinds(torch)
    for library in (gpunn, torch):
        library.set_default_dtype(library.float64)
    try:
        assert gpunn.get_default_dtype() == gpunn.float64
        assert kinds(gpunn) == kinds(torch)
        assert kinds(gpunn) != before
        assert repr(gpunn.tensor([0.5])) == repr(torch.tensor([0.5])).replace("0.5000", "0.5")
    finally:
        for library in (gpunn, torch):
            library.set_default_dtype(library.float32)
    assert kinds(gpunn) == before
    with pytest.raises(DTypeError, match=r"set_default_dtype: d: expected gpunn\.float32 or gpunn\.float64; got int64"):
        gpunn.set_default_dtype(gpunn.int64)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("FloatTensor", "float32"),
        ("DoubleTensor", "float64"),
        ("ByteTensor", "uint8"),
        ("ShortTensor", "int16"),
        ("CharTensor", "int8"),
        ("IntTensor", "int32"),
        ("LongTensor", "int64"),
        ("BoolTensor", "bool"),
    ],
)
def test_tensor_types(name: str, dtype: str) -> None:
    kind = getattr(gpunn, name)
    made = kind([[1, 0], [0, 1]])
    assert made.dtype == np.dtype(dtype)
    assert made.tolist() == [[1, 0], [0, 1]]
    assert kind(2, 3).shape == (2, 3)
    assert kind().shape == (0,)
    assert isinstance(made, kind)
    assert not isinstance(gpunn.ones(1, dtype=gpunn.float64 if dtype != "float64" else gpunn.float32), kind)
    assert gpunn.ones(2).type(kind).dtype == np.dtype(dtype)
    with pytest.raises(UsageError, match=f"{name}: expected data, or lengths one by one"):
        kind([1], [2])


def test_questions_about_a_tensor() -> None:
    x = gpunn.zeros(2, 3)
    assert gpunn.numel(x) == 6
    assert gpunn.is_floating_point(x)
    assert not gpunn.is_floating_point(gpunn.tensor([1]))
    assert x.element_size() == 4


def test_what_a_tensor_is_not() -> None:
    x = gpunn.zeros(2, 3, dtype=gpunn.float64)
    for name in ("is_sparse", "is_quantized", "is_mps", "is_xpu", "is_meta", "is_nested"):
        assert getattr(x, name) is False
    for name in ("is_complex", "is_inference", "is_pinned", "is_shared"):
        assert getattr(x, name)() is False
    assert not gpunn.is_complex(x)
    assert x.is_cpu
    assert x.is_signed()
    assert not gpunn.zeros(2, dtype=gpunn.uint8).is_signed()
    assert (x.nbytes, x.itemsize, x.get_device()) == (48, 8, -1)
    assert x.layout is gpunn.strided
    assert x.is_same_size(gpunn.ones(2, 3))
    assert not x.is_same_size(gpunn.ones(3, 2))
    assert x.real is x
    assert x.pin_memory() is x
    assert x.share_memory_() is x
    assert x.H.shape == (3, 2)
    assert x.data_ptr() == x.numpy().ctypes.data
    assert x[1].data_ptr() == x.data_ptr() + 24
    assert not gpunn.is_nonzero(gpunn.tensor([0.0]))
    with pytest.raises(UsageError, match="truth of a tensor with 6 elements is ambiguous"):
        x.is_nonzero()
    with pytest.raises(ShapeError, match="H: expected a matrix"):
        _ = gpunn.ones(2).H
    y = gpunn.ones(2, requires_grad=True) * 1
    assert not y.retains_grad
    y.retain_grad()
    assert y.retains_grad


def test_new_tensors_of_old_ways() -> None:
    x = gpunn.zeros(2, dtype=gpunn.float64)
    assert x.new([1, 2]).tolist() == [1.0, 2.0]
    assert x.new([1]).dtype == gpunn.float64
    assert x.new(2, 3).shape == (2, 3)
    assert x.new().shape == (0,)
    with pytest.raises(UsageError, match="new: expected data, or lengths one by one; got 2 arguments"):
        x.new([1], 2)
    made = gpunn.Tensor([[1, 2]])
    assert (made.dtype, made.tolist(), made.requires_grad) == (gpunn.float32, [[1.0, 2.0]], False)
    for lengths in ((), (2,), (2, 3), (2, 3, 4), (2, 3, 4, 5), (1, 2, 3, 4, 5)):
        made = gpunn.Tensor(*lengths)
        assert made.shape == (lengths or (0,))
        assert not made.requires_grad
    other = gpunn.Tensor(made)
    assert other.shape == made.shape
    assert other.data_ptr() != made.data_ptr()
    with pytest.raises(UsageError, match="Tensor: expected data, or lengths one by one; got 4 arguments"):
        gpunn.Tensor([1], "cpu", False, 3)
    with pytest.raises(UsageError, match="empty: shape: expected whole numbers"):
        gpunn.Tensor(2, 3.5)
    with pytest.raises(DTypeError, match="Tensor: expected a tensor of float32; got int64"):
        gpunn.Tensor(gpunn.tensor([1]))
    assert gpunn.ones(2).type("torch.DoubleTensor").dtype == gpunn.float64
    assert gpunn.ones(2).type("LongTensor").dtype == gpunn.int64
    with pytest.raises(DTypeError, match=r"type: dtype: expected one such as gpunn.float32.*; got 'torch.OddTensor'"):
        gpunn.ones(2).type("torch.OddTensor")


def test_shapes_count_their_elements(kernels: str) -> None:
    x = gpunn.zeros(2, 3, 4, 5, device=kernels)
    shapes: Any = (x.shape, x.size(), x[0].shape, x.permute(3, 0, 1, 2).shape, x.sum().shape, (x + 1).shape)
    for shape in shapes:
        assert isinstance(shape, gpunn.Size)
        assert shape.numel() == math.prod(shape)
        assert isinstance(shape, tuple)
    assert x.permute(3, 0, 1, 2).shape == (5, 2, 3, 4)
    assert repr(x.shape) == "(2, 3, 4, 5)"
    assert pickle.loads(pickle.dumps(x.shape)) == x.shape
    assert gpunn.Size([2, 3]) == gpunn.zeros(2, 3).shape
    file = io.BytesIO()
    gpunn.save({"shape": x.shape}, file)
    assert gpunn.load(io.BytesIO(file.getvalue()))["shape"] == (2, 3, 4, 5)


def test_many_shapes_do_not_grow_without_end() -> None:
    from gpunn import _layout

    for n in range(2 * _layout._MOST_SIZES):
        assert _layout.size_of((n, 1, 1, 7)) == (n, 7, 1, 1)
    assert len(_layout.SIZES) <= _layout._MOST_SIZES


# -- constants, classes, settings -----------------------------------------------------------------


def test_constants_and_classes() -> None:
    assert (gpunn.pi, gpunn.e, gpunn.inf) == (math.pi, math.e, math.inf)
    assert math.isnan(gpunn.nan)
    assert isinstance(gpunn.float32, gpunn.dtype)
    assert isinstance(gpunn.channels_last, gpunn.memory_format)
    assert isinstance(gpunn.strided, gpunn.layout)
    assert repr(gpunn.channels_last) == "gpunn.channels_last"
    assert pickle.loads(pickle.dumps(gpunn.strided)) is gpunn.strided
    assert nn.Conv2d(1, 1, 1).to(memory_format=gpunn.channels_last) is not None
    assert gpunn.zeros(2, layout=gpunn.strided).shape == (2,)


def test_devices_as_programs_name_them() -> None:
    cpu = gpunn.device("cpu")
    assert gpunn.device("cpu", 0) is cpu
    assert gpunn.device(type="cpu") is gpunn.device(cpu) is gpunn.device(name="cpu") is cpu
    assert isinstance(cpu, gpunn.device)
    assert not isinstance("cpu", gpunn.device)
    assert (cpu.index, cpu.type, str(cpu), repr(cpu)) == (None, "cpu", "cpu", "device(type='cpu')")
    assert (gpunn.device | None) is not None
    with pytest.raises(UsageError, match="device: index: expected a whole number of at least 0; got -1"):
        gpunn.device("cuda", -1)
    with pytest.raises(UsageError, match="device: 'cuda:1' has a number already, and index=0 is another"):
        gpunn.device("cuda:1", 0)
    with pytest.raises(ArgumentError, match="device: expected the name of a device"):
        gpunn.device(cpu, 0)
    with gpunn.cuda.device(None), gpunn.cuda.device(-1), gpunn.cuda.device_of(gpunn.ones(1)):
        pass


def test_blocks_that_leave_the_generator_alone() -> None:
    for block in (gpunn.random.fork_rng, lambda: gpunn.random.fork_rng(devices=[], enabled=True)):
        gpunn.manual_seed(4)
        first = gpunn.rand(3).tolist()
        gpunn.manual_seed(4)
        with contextlib.suppress(ValueError), block():
            gpunn.rand(5)
            raise ValueError("over")
        assert gpunn.rand(3).tolist() == first
    with gpunn.random.fork_rng(enabled=False):
        second = gpunn.rand(3).tolist()
    assert gpunn.rand(3).tolist() != second
    gpunn.manual_seed(4)
    state = gpunn.cuda.get_rng_state()
    assert gpunn.rand(3).tolist() == first
    gpunn.cuda.set_rng_state(state)
    assert gpunn.rand(3).tolist() == first
    gpunn.cuda.set_rng_state_all([state])
    assert gpunn.rand(3).tolist() == first
    assert len(gpunn.cuda.get_rng_state_all()) == gpunn.cuda.device_count()
    gpunn.manual_seed(0)


def test_settings_that_have_one_position() -> None:
    gpunn.use_deterministic_algorithms(True, warn_only=True)
    assert gpunn.are_deterministic_algorithms_enabled()
    with pytest.warns(UserWarning, match=r"use_deterministic_algorithms\(False\) changes nothing"):
        gpunn.use_deterministic_algorithms(False)
    assert gpunn.are_deterministic_algorithms_enabled()
    gpunn.set_num_interop_threads(3)
    assert gpunn.get_num_interop_threads() == 3
    with pytest.raises(UsageError, match="num: expected a whole number of at least 1; got 0"):
        gpunn.set_num_interop_threads(0)
    gpunn.set_num_interop_threads(1)


def test_print_options() -> None:
    x = gpunn.tensor([1.23456, 1e-5])
    before = repr(x)
    try:
        gpunn.set_printoptions(precision=2)
        assert repr(x) == "tensor([1.23e+00, 1.00e-05])"
        gpunn.set_printoptions(sci_mode=False)
        assert repr(x) == "tensor([1.23, 0.  ])"
        gpunn.set_printoptions(sci_mode=True, precision=1)
        assert repr(x) == "tensor([1.2e+00, 1.0e-05])"
        gpunn.set_printoptions(profile="short", sci_mode=False)
        assert repr(gpunn.zeros(2000)) == "tensor([0., 0., ..., 0., 0.])"
        gpunn.set_printoptions(profile="full")
        assert len(repr(gpunn.zeros(2000))) > 4000
        with pytest.raises(UsageError, match="set_printoptions: profile: expected one of"):
            gpunn.set_printoptions(profile="long")
        with pytest.raises(UsageError, match="set_printoptions: precision: expected a number of at least 0; got -1"):
            gpunn.set_printoptions(precision=-1)
    finally:
        typed.Tensor._print_options = {}
    assert repr(x) == before


# -- constants, layouts, paths --------------------------------------------------------------------


def test_constants_and_the_class_of_dtypes() -> None:
    assert (gpunn.pi, gpunn.e, gpunn.inf) == (math.pi, math.e, math.inf)
    assert math.isnan(gpunn.nan)
    assert gpunn.newaxis is None
    assert gpunn.ones(2)[gpunn.newaxis].shape == (1, 2)
    assert isinstance(gpunn.ones(2).dtype, gpunn.dtype)


def test_memory_layouts_change_nothing() -> None:
    x = gpunn.rand(2, 3, 4, 5)
    for layout in ("contiguous_format", "preserve_format", "channels_last", "channels_last_3d"):
        given = getattr(gpunn, layout)
        assert repr(given) == f"gpunn.{layout}"
        assert isinstance(given, gpunn.memory_format)
        assert x.to(memory_format=given).tolist() == x.contiguous(memory_format=given).tolist() == x.tolist()
        assert gpunn.empty_like(x, memory_format=given).shape == x.shape
    assert isinstance(nn.Conv2d(1, 1, 1).to(memory_format=gpunn.channels_last), nn.Conv2d)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("eq", [0, 1, 0]), ("ne", [1, 0, 1]), ("lt", [1, 0, 0]), ("le", [1, 1, 0]), ("gt", [0, 0, 1]), ("ge", [0, 1, 1])],
)
def test_comparisons_as_functions(name: str, expected: list[int]) -> None:
    x = gpunn.tensor([1.0, 2.0, 3.0])
    assert getattr(gpunn, name)(x, 2).tolist() == getattr(gpunn, name)(x, gpunn.full((3,), 2.0)).tolist()
    assert getattr(gpunn, name)(x, 2).tolist() == [bool(b) for b in expected]


def test_precisions_of_products_are_remembered() -> None:
    assert gpunn.get_float32_matmul_precision() == "highest"
    gpunn.set_float32_matmul_precision("high")
    assert gpunn.get_float32_matmul_precision() == "high"
    gpunn.set_float32_matmul_precision("highest")
    with pytest.raises(UsageError, match="highest, high, medium"):
        gpunn.set_float32_matmul_precision("low")


def test_versions_and_names_of_types() -> None:
    assert gpunn.version.__version__ == gpunn.__version__
    cuda = gpunn.version.cuda
    assert (cuda is None) is not gpunn.cuda.is_available()
    assert cuda is None or [int(part) >= 0 for part in cuda.split(".")] == [True, True]
    with pytest.raises(AttributeError, match="no attribute 'rocm'"):
        _ = gpunn.version.rocm
    assert gpunn.typename(nn.Linear(1, 1)) == gpunn.typename(nn.Linear) == "gpunn.nn.linear.Linear"
    assert gpunn.typename(3) == "int"


def test_annotations_for_the_compiler_mean_nothing() -> None:
    class Block(nn.Module):
        depth: gpunn.jit.Final[int]

    assert gpunn.jit.export(len) is gpunn.jit.script_if_tracing(len) is len
    assert gpunn.jit.interface(Block) is Block
    assert gpunn.jit.annotate(int, 3) == 3


def test_pytorchs_paths_to_layers() -> None:
    modules = importlib.import_module("gpunn.nn.modules")
    for path in ("batchnorm", "conv", "loss", "utils", "module", "activation", "container", "linear", "pooling"):
        part = importlib.import_module(f"gpunn.nn.modules.{path}")
        assert part.Linear is nn.Linear
        assert getattr(modules, path) is part
    batchnorm, conv = (importlib.import_module(f"gpunn.nn.modules.{path}") for path in ("batchnorm", "conv"))
    assert isinstance(nn.BatchNorm2d(1), batchnorm._BatchNorm)
    assert isinstance(nn.Conv1d(1, 1, 1), conv._ConvNd)
    assert isinstance(nn.ConvTranspose2d(1, 1, 1), modules.conv._ConvNd)
    assert not isinstance(nn.Linear(1, 1), conv._ConvNd)
    assert isinstance(nn.MSELoss(), modules.loss._Loss)
    repeat = importlib.import_module("gpunn.nn.modules.utils")
    assert (repeat._pair(3), repeat._triple("ab"), repeat._ntuple(4)([1, 2])) == ((3, 3), ("a", "b"), (1, 2))
    with pytest.raises(AttributeError, match=r"'gpunn\.nn' has no attribute 'Nothing'"):
        _ = modules.conv.Nothing


def test_the_loaders_module_has_pytorchs_name() -> None:
    module = importlib.import_module("gpunn.utils.data.dataloader")
    assert module.DataLoader is gpunn.utils.data.DataLoader
    assert module.default_collate is gpunn.utils.data.default_collate


_KINDS = ("bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64")


def test_dtypes_of_results_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    for first in _KINDS:
        for second in _KINDS:
            types = [getattr(library, first) for library in (gpunn, torch)]
            others = [getattr(library, second) for library in (gpunn, torch)]
            assert str(torch.promote_types(types[1], others[1])) == f"torch.{gpunn.promote_types(types[0], others[0])}"
            assert torch.can_cast(types[1], others[1]) == gpunn.can_cast(types[0], others[0]), (first, second)
            for shape in ((2,), ()):
                mine, its = gpunn.ones(shape, dtype=types[0]), torch.ones(shape, dtype=types[1])
                other, its_other = gpunn.ones(2, dtype=others[0]), torch.ones(2, dtype=others[1])
                assert str(torch.result_type(its, its_other)) == f"torch.{gpunn.result_type(mine, other)}"
                for number in (True, 2, 2.5):
                    assert str(torch.result_type(its, number)) == f"torch.{gpunn.result_type(mine, number)}"
    assert gpunn.short == gpunn.int16
    with pytest.raises(DTypeError, match="got Tensor, str"):
        gpunn.result_type(gpunn.ones(2), "x")


def test_nothing_is_being_compiled_or_exported() -> None:
    assert not gpunn.compiler.is_compiling()
    assert not gpunn.compiler.is_dynamo_compiling()
    assert gpunn.compiler.disable(len) is gpunn.compiler.disable(recursive=False)(len) is len
    assert gpunn.compiler.reset() is None
    assert gpunn.compiler.compile is gpunn.jit.compile_
    assert not gpunn.onnx.is_in_onnx_export()


def test_marks_for_tracing_change_nothing() -> None:
    assert gpunn.fx.wrap("name") == "name"

    def twice(x: Any) -> Any:
        return 2 * x

    assert gpunn.fx.wrap(twice) is twice
    with pytest.raises(UsageError, match=r"fx\.wrap: expected a function or the name of one; got int"):
        gpunn.fx.wrap(3)


def test_ways_to_compute_attention_change_nothing() -> None:
    from gpunn.nn.attention import SDPBackend, sdpa_kernel

    torch = pytest.importorskip("torch")
    theirs = torch.nn.attention.SDPBackend.__members__
    assert {b.name: b.value for b in SDPBackend} == {name: b.value for name, b in theirs.items()}
    x = gpunn.rand(2, 3, 4)
    plain = gpunn.nn.functional.scaled_dot_product_attention(x, x, x)
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.MATH], set_priority=True):
        assert (gpunn.nn.functional.scaled_dot_product_attention(x, x, x) == plain).all()
    with pytest.raises(UsageError, match="sdpa_kernel: backends: expected SDPBackend"), sdpa_kernel("math"):  # type: ignore[arg-type]
        pass


def test_a_program_that_was_started_alone_asks_and_goes_on() -> None:
    from gpunn.nn.parallel import DistributedDataParallel

    dist = gpunn.distributed
    assert dist.is_available() is dist.is_mpi_available() is (importlib.util.find_spec("mpi4py") is not None)
    assert not dist.is_initialized()
    assert not dist.is_torchelastic_launched()
    assert not isinstance(nn.Linear(2, 3), DistributedDataParallel)
    with pytest.raises(UsageError, match=r"^DistributedDataParallel: there is no group of processes"):
        DistributedDataParallel(nn.Linear(2, 3), device_ids=[0])


# -- where tensors are made -----------------------------------------------------------------------


def _made() -> list[Any]:
    layers = nn.Linear(2, 1).weight, nn.BatchNorm1d(2).running_mean, nn.LSTM(2, 2).weight_hh_l0
    tensors = gpunn.zeros(2), gpunn.tensor([1.0]), gpunn.tensor(np.ones(2)), gpunn.as_tensor(np.ones(2)), gpunn.rand(2)
    return [str(t.device) for t in (*layers, *tensors, gpunn.arange(3), nn.Parameter(gpunn.ones(2)))]


def test_a_device_is_chosen_for_all_that_is_made() -> None:
    assert {*_made()} == {"cpu"}
    gpunn.set_default_device("emulator")
    try:
        assert {*_made()} == {"emulator"}
        assert str(gpunn.get_default_device()) == "emulator"
        with gpunn.device("cpu"):
            assert {*_made()} == {"cpu"}
            with gpunn.device("emulator"):
                assert {*_made()} == {"emulator"}
        x = gpunn.zeros(2, device="cpu")
        assert str(gpunn.zeros_like(x).device) == str(x.new_ones(3).device) == "cpu"
        assert str(gpunn.from_numpy(np.ones(2)).device) == "cpu"
        with ThreadPoolExecutor(1) as pool, gpunn.device("cpu"):
            assert {*pool.submit(_made).result()} == {"emulator"}  # the block is this thread's alone
    finally:
        gpunn.set_default_device(None)
    assert {*_made()} == {"cpu"}
    with pytest.raises(DeviceError, match="unknown device 'tpu'"):
        gpunn.set_default_device("tpu")
    with pytest.raises(ZeroDivisionError), gpunn.device("emulator"):
        _ = 1 / 0
    assert {*_made()} == {"cpu"}
