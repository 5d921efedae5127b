"""What is said of a CuPy that cannot be used: what was found, what was expected, and the command that mends it."""

from __future__ import annotations

import types
from typing import Any

import pytest

from gpunn._device import Device
from gpunn.errors import DeviceError
from gpunn.gpu import diagnosis

# As CuPy 14.2 says it, which asks cuda-pathfinder.
_NVRTC = (
    'Failure finding "libnvrtc.so.13 or libnvrtc.so.12": No such file: libnvrtc.so.13 or libnvrtc.so.12, '
    "No such file: libnvrtc.so.13 or libnvrtc.so.12\n"
)
_CUBLAS = _NVRTC.replace("nvrtc", "cublasLt")
_FRAMED = "\n=====\nFailed to import CuPy.\n\nAdvice.\n\nOriginal error:\n  ImportError: libcuda.so.1: bad\n=====\n"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The packages that seem to be installed, by name: to be filled by the test."""
    found: dict[str, str] = {}
    monkeypatch.setattr(diagnosis, "_installed", found.get)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_PATH", raising=False)
    return found


def _said(error: BaseException) -> str:
    said = diagnosis.explain(error)
    assert said is not None
    return said


# -- libraries and headers ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wheel", "package", "extra"),
    [("cupy-cuda12x", "nvidia-cuda-nvrtc-cu12", "cuda12"), ("cupy-cuda13x", "nvidia-cuda-nvrtc", "cuda13")],
)
def test_a_missing_nvrtc(installed: dict[str, str], wheel: str, package: str, extra: str) -> None:
    installed[wheel] = "14.2.0"
    said = _said(RuntimeError(_NVRTC))
    assert said.startswith('NVRTC, which compiles the kernels, could not be loaded (Failure finding "libnvrtc.so.13')
    assert f"expected in the package {package}, which is not installed, " in said
    assert said.endswith(
        f"or in the toolkit that CUDA_PATH names (not set). Mend it with pip install 'gpunn[{extra}]'."
    )
    installed[package] = "12.9.86"
    said = _said(RuntimeError(_NVRTC))
    assert "of which 12.9.86 is installed but not whole" in said
    assert said.endswith(f"Mend it with pip install --force-reinstall {package}.")


def test_a_missing_cublas(installed: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    installed["cupy-cuda12x"] = "14.2.0"
    monkeypatch.setenv("CUDA_PATH", "/opt/cuda")
    said = _said(ImportError(_CUBLAS))
    assert said.startswith("cuBLAS, which CuPy's matrix products use, could not be loaded")
    assert "nvidia-cublas-cu12, which is not installed, or in the toolkit that CUDA_PATH names (/opt/cuda)" in said


@pytest.mark.parametrize(
    "text",
    [
        "CuPy failed to load libnvrtc.so.12: OSError: libnvrtc.so.12: cannot open shared object file",
        "CuPy failed to load nvrtc64_120_0.dll: FileNotFoundError: Could not find module 'nvrtc64_120_0.dll'",
        "libnvrtc.so.12: cannot open shared object file: No such file or directory",
    ],
)
def test_older_ways_to_say_it(installed: dict[str, str], text: str) -> None:
    assert _said(RuntimeError(text)).startswith("NVRTC, which compiles the kernels, could not be loaded")


def test_a_library_of_which_nothing_is_known(installed: dict[str, str]) -> None:
    said = _said(OSError("libfoo.so.3: cannot open shared object file: No such file or directory"))
    assert said.startswith("a CUDA library could not be loaded (libfoo.so.3: cannot open")
    assert said.endswith("Install it with pip install 'gpunn[cuda12]' or 'gpunn[cuda13]' to match your driver.")


@pytest.mark.parametrize("header", ["cuda_fp16.h", "cuda_runtime.h", "vector_types.h", "cub/block/block_reduce.cuh"])
def test_missing_headers(installed: dict[str, str], header: str) -> None:
    installed["cupy-cuda12x"] = "13.6.0"
    said = _said(ValueError(f'carray.cuh(9): catastrophic error: cannot open source file "{header}"'))
    assert said.startswith(f"the header {header} was not found; expected in the package nvidia-cuda-runtime-cu12, ")
    assert said.endswith("pip install 'gpunn[cuda12]'.")


def test_a_card_that_nvrtc_does_not_know(installed: dict[str, str]) -> None:
    installed["cupy-cuda12x"] = "14.2.0"
    said = _said(ValueError("nvrtc: error: invalid value for --gpu-architecture (-arch)"))
    assert "compute capability 7.5 or later" in said


@pytest.mark.parametrize("text", ["", "an illegal memory access", 'cannot open source file "mine.h"', "x.cu(3): error"])
def test_what_is_about_something_else_stays_as_it_is(installed: dict[str, str], text: str) -> None:
    assert diagnosis.explain(RuntimeError(text)) is None


def test_two_packages_at_once_are_the_likely_cause(installed: dict[str, str]) -> None:
    installed |= {"cupy-cuda12x": "14.2.0", "cupy-cuda13x": "14.2.0"}
    said = _said(RuntimeError(_NVRTC))
    assert "cupy-cuda12x 14.2.0 and cupy-cuda13x 14.2.0 are installed at once and overwrite each other's" in said
    assert "pip uninstall -y cupy-cuda12x cupy-cuda13x && pip install 'gpunn[cuda12]' or 'gpunn[cuda13]'" in said


def test_a_conda_or_source_build_is_mended_in_its_own_way(installed: dict[str, str]) -> None:
    installed["cupy"] = "14.2.0"
    assert "Mend it with conda install -c conda-forge cupy cuda-version=12" in _said(RuntimeError(_NVRTC))


def test_a_device_says_it_whatever_kind_of_error_cupy_makes_of_it(installed: dict[str, str]) -> None:
    class CompileException(Exception):
        pass

    runtime = types.SimpleNamespace(getDevice=lambda: 0)
    cupy: Any = types.SimpleNamespace(cuda=types.SimpleNamespace(runtime=runtime))
    gpu = Device("cuda-plain:0", cupy, None, 0)
    with pytest.raises(DeviceError, match=r"^CuPy: device 'cuda-plain:0': the header cuda_fp16.h"), gpu.active():
        raise CompileException('cannot open source file "cuda_fp16.h"')
    with pytest.raises(CompileException, match=r"^expected a ;"), gpu.active():
        raise CompileException("expected a ;")


# -- importing ------------------------------------------------------------------------------------


def test_without_cupy(installed: dict[str, str]) -> None:
    said = diagnosis.no_import("cuda", ModuleNotFoundError("No module named 'cupy'", name="cupy"))
    assert said == (
        "device 'cuda' needs CuPy, which is not installed (No module named 'cupy'). Install it with pip install "
        "'gpunn[cuda12]' or 'gpunn[cuda13]' to match your driver, or use device='cpu' (device='emulator' runs the "
        "kernels without a GPU)."
    )


def test_a_cupy_without_a_package_that_it_needs(installed: dict[str, str]) -> None:
    installed["cupy-cuda12x"] = "14.2.0"
    said = diagnosis.no_import("cuda", ModuleNotFoundError("No module named 'cuda'", name="cuda"))
    assert said.startswith("device 'cuda': cupy-cuda12x 14.2.0 is installed without the package 'cuda' that it needs. ")
    assert "Mend it with pip install --force-reinstall 'cupy-cuda12x[ctk]', or use device='cpu'" in said


def test_cupys_framed_message_becomes_one_line(installed: dict[str, str]) -> None:
    installed["cupy-cuda13x"] = "14.2.0"
    said = diagnosis.no_import("cuda-plain", ImportError(_FRAMED))
    assert "cupy-cuda13x 14.2.0 is installed but cannot be imported (ImportError: libcuda.so.1: bad). Mend" in said
    assert "\n" not in said


def test_a_cache_that_cannot_be_made_is_no_broken_installation(installed: dict[str, str]) -> None:
    installed["cupy-cuda12x"] = "14.2.0"
    said = diagnosis.no_import("cuda", PermissionError(13, "Permission denied", "/x/cache"))
    assert "cupy-cuda12x 14.2.0 cannot make /x/cache for its kernel cache (Permission denied). Set" in said
    assert "Set CUPY_CACHE_DIR to a folder that can be written, or use" in said


# -- drivers and GPUs -----------------------------------------------------------------------------


def _cupy(error: str = "", driver: int = 12090, runtime: int = 12090, count: int = 0) -> Any:
    def get_count() -> int:
        if error:
            raise RuntimeError(error)
        return count

    functions = types.SimpleNamespace(
        getDeviceCount=get_count, driverGetVersion=lambda: driver, runtimeGetVersion=lambda: runtime
    )
    cuda = types.SimpleNamespace(runtime=functions, is_available=lambda: False)
    return types.SimpleNamespace(__version__="14.2.0", cuda=cuda)


_OLD = "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version"
_NONE = "cudaErrorNoDevice: no CUDA-capable device is detected"


def test_no_driver_at_all(installed: dict[str, str]) -> None:
    said = diagnosis.no_gpu("cuda", _cupy(_OLD, driver=0, runtime=13000))
    assert said.startswith("device 'cuda': CuPy 14.2.0 finds no usable NVIDIA GPU or driver: there is no NVIDIA driver")
    assert "CuPy was built for CUDA 13.0, which needs driver 580 or later" in said
    assert "--gpus all" in said


def test_a_driver_that_an_older_cupy_fits(installed: dict[str, str]) -> None:
    installed["cupy-cuda13x"] = "14.2.0"
    said = diagnosis.no_gpu("cuda", _cupy(_OLD, driver=12020, runtime=13000))
    assert "the driver is too old: it knows CUDA 12.2, and CuPy was built for CUDA 13.0. " in said
    assert "pip uninstall -y cupy-cuda13x && pip install 'gpunn[cuda12]', or update the driver" in said


def test_a_driver_that_is_too_old_for_all(installed: dict[str, str]) -> None:
    said = diagnosis.no_gpu("cuda", _cupy(_OLD, driver=11040))
    assert "it knows CUDA 11.4, and CuPy was built for CUDA 12.9. Update the driver to 525 or later" in said


@pytest.mark.parametrize("hidden", ["", "-1", "7"])
def test_gpus_that_are_hidden(installed: dict[str, str], hidden: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    said = diagnosis.no_gpu("cuda", _cupy(_NONE))
    assert f"CUDA_VISIBLE_DEVICES='{hidden}' hides them all, or names none there is. Unset it, or use" in said


@pytest.mark.parametrize("error", [_NONE, ""])
def test_a_driver_that_sees_no_gpu(installed: dict[str, str], error: str) -> None:
    said = diagnosis.no_gpu("cuda", _cupy(error))
    assert "the driver (CUDA 12.9) sees none. Check nvidia-smi; a container needs" in said


def test_any_other_error_of_cudas_is_told(installed: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    said = diagnosis.no_gpu("cuda", _cupy("cudaErrorSystemNotReady: system not yet initialized"))
    assert "GPU or driver: cudaErrorSystemNotReady: system not yet initialized. Check nvidia-smi, or use" in said
