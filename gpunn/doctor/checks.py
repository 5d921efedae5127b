"""All checks, in the order in which they are told."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gpunn._version import __version__
from gpunn.doctor.apart import absent, apart, end_all
from gpunn.doctor.findings import BROKEN, CUDA, EMULATOR, EVERYWHERE, OK, SEVERAL, Examination, Finding
from gpunn.gpu import diagnosis

# Package, module, what it is for.
_PACKAGES = (
    ("safetensors", "safetensors", "weights cannot be saved or loaded without it"),
    ("rich", "rich", "tables on terminals are made with it"),
    ("scikit-learn", "sklearn", "it has the digits that gpunn train uses by default"),
    ("pillow", "PIL", "images are read with it"),
    ("matplotlib", "matplotlib", "gpunn plot and gpunn demo draw with it"),
    ("tensorboard", "tensorboard", "only for --tensorboard"),
    ("optuna", "optuna", "only for gpunn sweep"),
    ("onnx", "onnx", "only for gpunn export"),
    ("pdoc", "pdoc", "only for gpunn guide"),
)
_REQUIRED = ("safetensors", "rich")
_AT_ONCE = 4


def examine(device: str = "auto", limit: float = 90.0, told: Callable[[Finding], None] | None = None) -> Examination:
    """Look at everything that ``device`` needs, or at everything.

    Parameters
    ----------
    device : str
        ``auto``, or the device that has to work: ``cpu``, ``emulator``, ``cuda``, ``cuda:1``, ``cuda-plain``.
    limit : float
        Seconds for each check that runs in a process of its own.
    told : callable, optional
        Called with each finding, in order.
    """
    kind = device.split(":")[0]
    groups = [EVERYWHERE]
    groups += [EMULATOR] * (kind in ("auto", "emulator")) + [CUDA] * (kind in ("auto", "cuda", "cuda-plain"))
    groups += [SEVERAL] * (kind in ("auto", "cuda"))
    findings: list[Finding] = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            for finding in _all(pool, groups, device, limit):
                findings.append(finding)
                if told is not None:
                    told(finding)
        except BaseException:  # Ctrl-C, or nobody to tell any more
            pool.shutdown(wait=False, cancel_futures=True)
            end_all()
            raise
    works = {f.name.removeprefix("step on "): f.status == OK for f in findings if f.name.startswith("step on ")}
    return Examination(device, tuple(findings), works)


def _all(pool: ThreadPoolExecutor, groups: list[str], device: str, limit: float) -> Iterator[Finding]:
    def start(*what: str, needed: bool = False, **arguments: str) -> Callable[[], Finding]:
        name, probe, group = what
        return pool.submit(apart, name, probe, limit, group, needed, **arguments).result

    waiting = [
        start("numpy", "numpy", EVERYWHERE, needed=True),
        *(
            start(name, "package", EVERYWHERE, needed=name in _REQUIRED, distribution=name, module=module, use=use)
            for name, module, use in _PACKAGES
        ),
        start("step on cpu", "smoke", EVERYWHERE, needed=True, device="cpu"),
    ]
    compiler = start("g++", "gxx", EMULATOR, needed=True) if EMULATOR in groups else None
    driver = start("driver", "driver", CUDA, needed=True) if CUDA in groups else None
    yield Finding("gpunn", OK, f"gpunn {__version__}, Python {platform.python_version()} on {platform.platform()}")
    for result in waiting:
        yield result()
    if compiler is not None:
        found = compiler()
        yield found
        yield from _emulator(start, found)
    if driver is not None:
        found = driver()
        yield found
        yield from _cuda(start, found, device)
    if SEVERAL in groups:
        yield start("MPI", "mpi", SEVERAL)()


_Start = Callable[..., Callable[[], Finding]]


def _emulator(start: _Start, compiler: Finding) -> Iterator[Finding]:
    from gpunn.emulator.build import cache_folder

    cache = _cache("emulator's cache", cache_folder, "GPUNN_CACHE", EMULATOR)
    yield cache
    if compiler.status != OK or cache.status != OK:
        yield absent("step on emulator", f"not tried: {_why(compiler, cache)}", EMULATOR, needed=True)
        return
    yield start("step on emulator", "smoke", EMULATOR, needed=True, device="emulator")()


def _cuda(start: _Start, driver: Finding, device: str) -> Iterator[Finding]:
    packages = diagnosis.packages()
    name = device if device.startswith("cuda") else "cuda"
    if not packages:
        yield absent("CuPy packages", "CuPy is not installed", CUDA, diagnosis.how_to_install(), needed=True)
        return
    several = len(packages) > 1
    yield Finding(
        "CuPy packages",
        BROKEN if several else OK,
        diagnosis.listed(packages) + " at once: they overwrite each other's files" * several,
        diagnosis.how_to_mend(packages) if several else "",
        CUDA,
        True,
    )
    if driver.status == BROKEN:  # it would hang or crash again
        yield absent("CuPy", "not tried: the driver does not work", CUDA, needed=True)
        return
    cupy = start("CuPy", "cupy", CUDA, needed=True)()
    yield cupy
    if cupy.status == BROKEN:
        return
    yield _cache("CuPy's cache", _cupy_cache, "CUPY_CACHE_DIR", CUDA)
    yield start("NVRTC", "nvrtc", CUDA, needed=True)()
    if cupy.status == OK:
        waiting = [start("CUDA headers", "headers", CUDA, needed=True), start("cuBLAS", "cublas", CUDA, needed=True)]
        waiting += [start(f"step on {name}", "smoke", CUDA, needed=True, device=name)]
        for result in waiting:
            yield result()
    yield start("NCCL", "nccl", SEVERAL)()


def _why(*findings: Finding) -> str:
    return next(f.text for f in findings if f.status != OK)


def _cupy_cache() -> Path:
    return Path(os.environ.get("CUPY_CACHE_DIR") or Path.home() / ".cupy" / "kernel_cache")


def _cache(name: str, where: Callable[[], Path], variable: str, group: str) -> Finding:
    """Whether a folder can be written, or made; it is not made here."""
    place = "its folder"
    try:
        there = folder = where()
        place = str(folder)
        while not there.exists() and there != there.parent:
            there = there.parent
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"gpunn")
            file.flush()
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home folder
        fix = f"export {variable}=FOLDER, one that can be written"
        reason = getattr(error, "strerror", None) or str(error)
        return Finding(name, BROKEN, f"{place} cannot be written ({reason})", fix, group, True)
    return Finding(name, OK, f"{place} can be written", "", group, True)
