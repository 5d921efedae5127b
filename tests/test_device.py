"""The device registry, and what it says about devices this machine does not have."""

from __future__ import annotations

import contextlib
import copy
import errno
import os
import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn._device import Device, cuda_is_available, device, same_device
from gpunn.errors import DeviceError, KernelError
from gpunn.gpu.launcher import KernelSource
from gpunn.gpu.loaders import NvrtcLoader
from gpunn.primitive import REGISTRY


def test_one_object_for_one_name() -> None:
    cpu = device("cpu")
    assert device("cpu") is cpu
    assert device(cpu) is cpu
    assert copy.deepcopy(cpu) is cpu
    assert pickle.loads(pickle.dumps(cpu)) is cpu


@pytest.mark.parametrize("name", ["gpu", "cpu:1", "cuda:x", "", "emulator:0"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(DeviceError, match="expected one of cpu, cuda, cuda-plain, emulator, auto"):
        device(name)


@pytest.mark.skipif(cuda_is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("name", ["cuda", "cuda:1", "cuda-plain"])
def test_cuda_without_a_gpu_says_what_is_missing_and_the_fix(name: str) -> None:
    with pytest.raises(DeviceError, match=r"pip install 'gpunn\[cuda12\]'|finds no usable NVIDIA GPU"):
        device(name)


@pytest.mark.skipif(cuda_is_available(), reason="this machine has a GPU")
def test_auto_without_a_gpu_is_cpu() -> None:
    assert device("auto") is device("cpu")
    assert not gpunn.cuda.is_available()


def test_emulator_without_a_compiler_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from gpunn import emulator
    from gpunn.gpu.emulated import EmulatorLoader

    monkeypatch.setattr(emulator, "available", lambda: "needs g++: apt install g++")
    with pytest.raises(DeviceError, match="apt install g"):
        EmulatorLoader()


def test_mixing_devices_names_the_op_and_both() -> None:
    fake = Device("fake", np)
    with pytest.raises(DeviceError, match="add: inputs are on different devices, cpu and fake"):
        same_device("add", device("cpu"), fake)


def test_reported_bad_data_is_raised_once_and_cleared() -> None:
    cpu = device("cpu")
    cpu.error_buffer[:] = [1, cpu.layer_id("loss"), 7, 12]
    with pytest.raises(gpunn.errors.LabelError, match="loss: label 12 at position 7"):
        cpu.synchronize()
    cpu.synchronize()


# -- what CuPy lacks, on stand-ins ----------------------------------------------------------------

_NO_CUBLAS = "CuPy failed to load libcublas.so.12: OSError: libcublas.so.12: cannot open shared object file"
_NO_NVRTC = "CuPy failed to load libnvrtc.so.12: OSError: libnvrtc.so.12: cannot open shared object file"
_NO_HEADER = 'catastrophic error: cannot open source file "cuda_fp16.h"'


class _CompileException(Exception):
    """As CuPy's."""


class _RawModule:
    """CuPy's, with something wrong: ``problem`` is raised until it is mended."""

    problem: Exception | None = None
    ran: list[str]

    def __init__(self, **how: Any) -> None:
        pass

    def compile(self) -> None:
        if self.problem is not None:
            raise self.problem

    def get_function(self, name: str) -> Any:
        return types.SimpleNamespace(kernel=types.SimpleNamespace(ptr=name))


class _Array(np.ndarray):
    """NumPy's, with what CuPy's has."""

    data = property(lambda self: types.SimpleNamespace(ptr=self.ctypes.data))
    _c_contiguous = property(lambda self: self.flags.c_contiguous)


def _cupy(available: Callable[[], bool] = lambda: True) -> Any:
    """NumPy with the names of CuPy that devices and loaders ask for."""
    module: Any = types.ModuleType("cupy")
    module.__dict__.update({k: v for k, v in np.__dict__.items() if not k.startswith("__")})
    module.__version__ = "14.2"
    module.ndarray = _Array
    module.RawModule = type("RawModule", (_RawModule,), {"ran": []})
    module.cuda = types.SimpleNamespace(
        is_available=available,
        Device=lambda ordinal: contextlib.nullcontext(),
        compiler=types.SimpleNamespace(CompileException=_CompileException),
        runtime=types.SimpleNamespace(
            getDeviceCount=lambda: 1,
            getDevice=lambda: 0,
            driverGetVersion=lambda: 12020,
            runtimeGetVersion=lambda: 13000,
        ),
        driver=types.SimpleNamespace(
            CUDADriverError=RuntimeError, launchKernel=lambda function, *how: module.RawModule.ran.append(function)
        ),
        get_current_stream=lambda: types.SimpleNamespace(ptr=0),
    )
    return module


def _fails(error: Exception) -> Callable[..., Any]:
    def raises(*args: Any, **how: Any) -> Any:
        raise error

    return raises


def test_without_cupy_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr("gpunn.gpu.diagnosis._installed", lambda name: None)
    with pytest.raises(DeviceError, match=r"'cuda' needs CuPy, which is not installed .*gpunn\[cuda12\]"):
        device("cuda:7")


@pytest.mark.parametrize("error", ["ImportError", "RuntimeError"])
def test_a_cupy_that_cannot_be_imported_is_not_called_missing(
    error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cupy.py").write_text(f"raise {error}('libcudart.so.12: cannot open shared object file')")
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DeviceError, match=r"installed but cannot be imported \(libcudart.*pip install"):
        device("cuda:7")


@pytest.mark.parametrize(
    ("available", "said"),
    [
        (lambda: False, "the driver (CUDA 12.2) sees none. Check nvidia-smi"),
        (_fails(RuntimeError("cudaErrorInsufficientDriver")), "knows CUDA 12.2, and CuPy was built for CUDA 13.0"),
    ],
)
def test_without_a_driver_says_so(available: Callable[[], bool], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", _cupy(available))
    with pytest.raises(DeviceError, match="finds no usable NVIDIA GPU or driver") as caught:
        device("cuda:7")
    assert said in str(caught.value)


def test_a_number_beyond_the_last_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", _cupy())
    with pytest.raises(DeviceError, match=r"'cuda:7': this machine has 1 GPU\(s\)"):
        device("cuda:7")


def _unwritable() -> list[Exception]:
    kinds = ((errno.EACCES, PermissionError), (errno.ENOTDIR, NotADirectoryError), (errno.EROFS, OSError))
    return [kind(code, os.strerror(code), "/x/cache") for code, kind in kinds]


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (RuntimeError(_NO_NVRTC), r"NVRTC, .*could not be loaded \(CuPy failed to load libnvrtc.*pip install"),
        (ImportError(_NO_NVRTC), r"NVRTC, .*could not be loaded .*pip install"),
        (RuntimeError("odd"), r"NVRTC, which compiles the kernels, could not be used \(odd\)"),
        (_CompileException(_NO_HEADER), r"the header cuda_fp16.h was not found; expected in .*nvidia-cuda-runtime"),
        (_CompileException("relu.cu(3): error: expected a ;"), r"does not compile with .*'REAL'.*\n.*expected a ;"),
        *((error, "kernel cache /x/cache .*Set CUPY_CACHE_DIR to a folder") for error in _unwritable()),
    ],
)
def test_what_keeps_kernels_from_compiling_is_named_with_the_layer(
    problem: Exception, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUPY_CACHE_DIR", "/x/cache")
    cupy = _cupy()
    cupy.RawModule.problem = problem
    gpu = Device("cuda:0", cupy, NvrtcLoader(cupy), 0)
    model = gpunn.nn.Sequential(gpunn.nn.Identity(), gpunn.nn.ReLU())
    x = gpunn.Tensor(np.ones(4, np.float32).view(_Array), gpu)
    with pytest.raises(KernelError, match=message) as caught:
        model(x)
    assert str(caught.value).startswith("1 (ReLU): relu.cu")
    cupy.RawModule.problem = None
    model(x)  # mended, the next launch compiles and runs
    assert cupy.RawModule.ran == ["relu_forward"]


def test_a_missing_cublas_is_named_and_the_device_goes_on() -> None:
    cupy = _cupy()
    plain = Device("cuda-plain:0", cupy, None, 0)
    layer = gpunn.nn.Linear(3, 2, bias=False)
    layer.weight = gpunn.nn.Parameter(gpunn.Tensor(np.ones((2, 3), np.float32).view(_Array), plain))
    x = gpunn.Tensor(np.ones((1, 3), np.float32).view(_Array), plain)
    cupy.matmul = _fails(RuntimeError(_NO_CUBLAS))
    with pytest.raises(DeviceError, match=r"^Linear: device 'cuda-plain:0': cuBLAS, .*libcublas.*pip install"):
        layer(x)
    assert gpunn.relu(x).tolist() == [[1, 1, 1]]
    cupy.matmul = _fails(RuntimeError("an illegal memory access was encountered"))
    with pytest.raises(RuntimeError, match=r"^an illegal memory access"):  # not about a library: as it is
        layer(x)
    cupy.matmul = _fails(KernelError(_NO_NVRTC))
    with pytest.raises(KernelError, match=r"^CuPy failed to load libnvrtc"):  # said already
        layer(x)
    cupy.matmul = np.matmul
    assert layer(x).tolist() == [[3, 3]]


# -- what the emulator lacks ----------------------------------------------------------------------


@pytest.mark.emulator
def test_an_unwritable_cache_of_the_emulator_is_named_and_the_device_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpunn.emulator import build, launch

    monkeypatch.setattr(launch, "_modules", {})
    monkeypatch.setattr(KernelSource.registry["relu.cu"], "_entries", {})
    monkeypatch.setattr(REGISTRY["relu_forward"], "_plans", None)
    usual = build.cache_folder()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GPUNN_CACHE", str(tmp_path / "file" / "below"))
    build._runtime.cache_clear()
    x = gpunn.ones(3, device="emulator")
    message = r"^1 \(ReLU\): cannot write the emulator's build cache .*below: .*set GPUNN_CACHE"
    with pytest.raises(KernelError, match=message):
        gpunn.nn.Sequential(gpunn.nn.Identity(), gpunn.nn.ReLU())(x)
    monkeypatch.setenv("GPUNN_CACHE", str(usual))
    assert gpunn.relu(x).tolist() == [1, 1, 1]


def test_every_primitive_tells_of_a_length_that_its_structs_cannot_hold() -> None:
    short = REGISTRY["relu_forward"]
    stuck = type(short)(short.plain, ("y",), (), 0, ())
    stuck.kernel(_fails(OverflowError("Python integer 2147483648 out of bounds for int32")))
    with pytest.raises(gpunn.errors.UsageError, match=r"^relu_forward: a length .* 32 bits .*2147483648.*split"):
        stuck(Device("stand-in", np, types.SimpleNamespace(facts=lambda args: args)), np.ones(3))
