"""What the numbers were measured on: GPU, driver, library versions, commit."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks._report.book import Section

_ROOT = Path(__file__).parent.parent.parent


def run(section: Section, options: argparse.Namespace) -> None:
    """Ask everything that can be asked; what is not there is written down as such."""
    section.value("python", f"{platform.python_version()} on {platform.platform()}")
    section.value("processor", f"{_processor()}, {os.cpu_count()} cores")
    _ask(section, "commit", _commit)
    _ask(section, "gpunn", _gpunn)
    _ask(section, "NumPy", lambda: __import__("numpy").__version__)
    _ask(section, "PyTorch", _torch)
    if options.device.startswith("cuda"):
        _ask(section, "nvidia-smi", _nvidia_smi)
        # Without these two there is nothing to report on, so they are not asked but demanded.
        for key, value in _cupy(options.device).items():
            section.value(key, value)
    from gpunn._device import device

    section.value("device", str(device(options.device)))


def _ask(section: Section, key: str, question: Callable[[], Any]) -> None:
    try:
        section.value(key, question())
    except (ImportError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        section.value(key, f"not known: {type(error).__name__}: {error}")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _output(*command: str) -> str:
    return subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=True, timeout=20).stdout.strip()


def _commit() -> str:
    changed = len(_output("git", "status", "--porcelain").splitlines())
    return _output("git", "rev-parse", "HEAD") + (f" with {changed} changed files" if changed else "")


def _gpunn() -> str:
    import gpunn

    return gpunn.__version__


def _torch() -> str:
    import torch

    usable = torch.cuda.is_available()
    cudnn = torch.backends.cudnn.version() if usable else None
    return f"{torch.__version__}, CUDA {torch.version.cuda}, cuDNN {cudnn}, GPU usable: {usable}"


def _nvidia_smi() -> str:
    fields = "name,driver_version,memory.total,clocks.max.sm,clocks.sm,power.limit,temperature.gpu"
    return _output("nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader")


def _cupy(name: str) -> dict[str, Any]:
    import cupy

    ordinal = int(name.partition(":")[2] or 0)
    properties = cupy.cuda.runtime.getDeviceProperties(ordinal)
    return {
        "CuPy": cupy.__version__,
        "CUDA runtime": cupy.cuda.runtime.runtimeGetVersion(),
        "CUDA driver": cupy.cuda.runtime.driverGetVersion(),
        "NVRTC": ".".join(map(str, cupy.cuda.nvrtc.getVersion())),
        "GPU": properties["name"].decode(),
        "compute capability": f"{properties['major']}.{properties['minor']}",
        "multiprocessors": properties["multiProcessorCount"],
        "L2 bytes": properties["l2CacheSize"],
        "memory bytes": properties["totalGlobalMem"],
    }
