"""Why CuPy or a CUDA library does not work here: what was found, what was expected, and the command that mends it.

``_device`` and ``loaders`` ask this module when something has failed; where all is well, nothing here runs.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
from typing import Any

_WHEELS = {"cupy-cuda12x": "cuda12", "cupy-cuda13x": "cuda13"}
# Beside the two that gpunn installs: CuPy's other packages, which hold the same files.
_OTHERS = ("cupy", "cupy-cuda11x", "cupy-rocm-7-0", "cupy-rocm-7-1", "amd-cupy")
# The oldest drivers, by the CUDA version that a wheel is made for.
_DRIVERS = {12: "525", 13: "580"}

# How CuPy, cuda-pathfinder and the systems' loaders report a missing shared library.
_NOT_LOADED = re.compile(
    r"failed to load|Failure finding|cannot open shared object|DLL load failed|Could not find module"
)
_LIBRARY = re.compile(r"(nvrtc|cublasLt|cublas|cudart|curand|cusolver|cusparse|nvJitLink|cufft)\w*\.(?:so|dll|dylib)")
# CUDA's own headers: what else is missing is another's.
_HEADER = re.compile(r'(?:cannot|could not) open source file "((?:cu|nv|vector_|cooperative_|cub/|thrust/)[^"]*)"')
# library: what it is for, and NVIDIA's package that has it (with -cu12 behind it for CUDA 12)
_USES = {
    "nvrtc": ("NVRTC, which compiles the kernels,", "nvidia-cuda-nvrtc"),
    "cublas": ("cuBLAS, which CuPy's matrix products use,", "nvidia-cublas"),
    "cublasLt": ("cuBLAS, which CuPy's matrix products use,", "nvidia-cublas"),
    "cudart": ("the CUDA runtime", "nvidia-cuda-runtime"),
    "curand": ("cuRAND", "nvidia-curand"),
    "cusolver": ("cuSOLVER", "nvidia-cusolver"),
    "cusparse": ("cuSPARSE", "nvidia-cusparse"),
    "nvJitLink": ("nvJitLink", "nvidia-nvjitlink"),
    "cufft": ("cuFFT", "nvidia-cufft"),
}
_ELSE = "or use device='cpu' (device='emulator' runs the kernels without a GPU)."


def explain(error: BaseException) -> str | None:
    """What is missing, if ``error`` is about a library, header or architecture that CUDA lacks; else None."""
    said = str(error)
    header = _HEADER.search(said)
    if header is not None:
        return f"the header {header[1]} was not found; {_expected('nvidia-cuda-runtime')}"
    if "gpu-architecture" in said:
        return (
            "this NVRTC does not compile for this GPU: gpunn needs compute capability 7.5 or later, and for 12.0 an "
            f"NVRTC of CUDA 12.8 or later. {_install()}"
        )
    if not _NOT_LOADED.search(said):
        return None
    library = _LIBRARY.search(said)
    if library is None:
        return f"a CUDA library could not be loaded ({_line(said)}). {_install()}"
    what, package = _USES[library[1]]
    return f"{what} could not be loaded ({_line(said)}); {_expected(package)}"


def no_import(name: str, error: BaseException) -> str:
    """Why ``import cupy`` failed when device ``name`` was asked for."""
    installed = packages()
    if not installed and isinstance(error, ModuleNotFoundError):
        return f"device '{name}' needs CuPy, which is not installed ({error}). {_install()[:-1]}, {_ELSE}"
    found = listed(installed) or "CuPy"
    if isinstance(error, OSError) and error.filename is not None:  # which CuPy makes when it is imported
        return (
            f"device '{name}': {found} cannot make {error.filename} for its kernel cache ({error.strerror}). "
            f"Set CUPY_CACHE_DIR to a folder that can be written, {_ELSE}"
        )
    lacks = getattr(error, "name", None)
    if isinstance(error, ModuleNotFoundError) and lacks not in (None, "cupy"):
        why = f"is installed without the package {lacks!r} that it needs"
    else:
        why = f"is installed but cannot be imported ({_line(str(error))})"
    return f"device '{name}': {found} {why}. {_install(again=True)[:-1]}, {_ELSE}"


def no_gpu(name: str, cupy: Any) -> str:
    """Why CuPy, which could be imported, has no GPU to run on."""
    runtime = cupy.cuda.runtime
    try:
        cupy.cuda.is_available()
        runtime.getDeviceCount()
        said = ""
    except Exception as error:  # whichever of CUDA's errors it is: it is told
        said = str(error)
    start = (
        f"device '{name}': {listed(packages()) or f'CuPy {cupy.__version__}'} finds no usable NVIDIA GPU or driver: "
    )
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if "InsufficientDriver" in said:
        return start + _driver(runtime)
    if hidden is not None and (not said or "NoDevice" in said or "InvalidDevice" in said):
        return f"{start}CUDA_VISIBLE_DEVICES={hidden!r} hides them all, or names none there is. Unset it, {_ELSE}"
    if not said or "NoDevice" in said:
        return (
            f"{start}the driver (CUDA {_version(runtime.driverGetVersion())}) sees none. Check nvidia-smi; a container "
            f"needs to be given its GPUs (docker run --gpus all). Mend that, {_ELSE}"
        )
    return f"{start}{_line(said)}. Check nvidia-smi, {_ELSE}"


def packages() -> list[str]:
    """The names of all CuPy packages that are installed; more than one is a mistake."""
    return [name for name in (*_WHEELS, *_OTHERS) if _installed(name) is not None]


def listed(names: list[str]) -> str:
    """Packages with their versions, in words."""
    return " and ".join(f"{name} {_installed(name)}" for name in names)


def how_to_install() -> str:
    """The command that installs CuPy."""
    return f"pip install {_extra()}"


def how_to_mend(names: list[str]) -> str:
    """The command that replaces several CuPy packages by one."""
    return f"pip uninstall -y {' '.join(names)} && pip install {_extra()}"


def _driver(runtime: Any) -> str:
    """That the driver is missing, or too old for the runtime that CuPy was built with."""
    has, needs = int(runtime.driverGetVersion()), int(runtime.runtimeGetVersion())
    if not has:
        return (
            f"there is no NVIDIA driver (libcuda was not found); CuPy was built for CUDA {_version(needs)}, "
            f"which needs driver {_DRIVERS.get(needs // 1000, 'of that version')} or later. Install it, or give the "
            f"container its GPUs (docker run --gpus all), {_ELSE}"
        )
    text = f"the driver is too old: it knows CUDA {_version(has)}, and CuPy was built for CUDA {_version(needs)}. "
    if has // 1000 >= 12:
        remove = " ".join(name for name in packages() if name != "cupy-cuda12x") or "cupy"
        return f"{text}pip uninstall -y {remove} && pip install 'gpunn[cuda12]', or update the driver, {_ELSE}"
    return f"{text}Update the driver to {_DRIVERS[12]} or later, {_ELSE}"


def _install(again: bool = False) -> str:
    """The command that installs what is missing; the one that mends two CuPy packages in one environment, if so."""
    found = packages()
    if len(found) > 1:
        return f"{listed(found)} are installed at once and overwrite each other's files: {how_to_mend(found)}."
    if found and found[0] in _WHEELS:
        what = f"--force-reinstall '{found[0]}[ctk]'" if again else f"'gpunn[{_WHEELS[found[0]]}]'"
        return f"Mend it with pip install {what}."
    if found:  # built from source, or from conda
        wheel = f"pip uninstall -y {found[0]} && pip install {_extra()}"
        return f"Mend it with conda install -c conda-forge cupy cuda-version=12 (or 13), or {wheel}."
    return f"Install it with {how_to_install()}."


def _extra() -> str:
    return "'gpunn[cuda12]' or 'gpunn[cuda13]' to match your driver"


def _expected(package: str) -> str:
    """Where a part of CUDA was expected, whether that is there, and how to get it."""
    found = packages()
    toolkit = f"or in the toolkit that CUDA_PATH names ({os.environ.get('CUDA_PATH') or 'not set'})"
    if len(found) != 1 or found[0] not in _WHEELS:
        return f"expected in the package {package}-cu12 or {package}, {toolkit}. {_install()}"
    name = f"{package}-cu12" if found[0] == "cupy-cuda12x" else package
    has = _installed(name)
    if has is None:
        return f"expected in the package {name}, which is not installed, {toolkit}. {_install()}"
    again = f"Mend it with pip install --force-reinstall {name}."
    return f"expected in the package {name}, of which {has} is installed but not whole, {toolkit}. {again}"


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _version(number: int) -> str:
    """12090 as 12.9."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _line(text: str) -> str:
    """An error in one line: CuPy puts frames around some, and says others twice."""
    lines = [line.strip() for line in text.splitlines() if line.strip("= \t")]
    original = next((number for number, line in enumerate(lines) if line == "Original error:"), -1)
    return " ".join(lines[original + 1 :])[:300].rstrip(".")
