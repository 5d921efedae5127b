"""The machine: what it is, its peak performance, and whether others were using it meanwhile."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.bench.sides import Clock, CupyClock, HostClock

# Above this share of the processors taken by other processes, times are not to be trusted: PyTorch's threads wait for
# each other at the end of every loop, so losing one core for a while stops them all.
DISTURBED = 0.05


@dataclass(frozen=True)
class Ceilings:
    """The peak rates seen in this run: a large float32 (or float64) product and a large copy.

    Attributes
    ----------
    gflops, gbs : float
        10⁹ multiplications and additions, and bytes read and written, per second.
    """

    gflops: float
    gbs: float

    def share(self, flop: float, traffic: float, ms: float) -> float:
        """The fraction of ``ms`` that the work would take at the ceilings: 1 is as fast as the machine allows."""
        return max(flop / self.gflops, traffic / self.gbs) / 1e6 / ms


def measure_ceilings(device: Device, dtype: str = "float32", quick: bool = False) -> Ceilings:
    """Best of several products and copies on this device; on a CPU with the current number of threads."""
    gpu = device.ordinal is not None
    clock: Clock = CupyClock(device) if gpu else HostClock()
    n = 512 if quick else 8192 if gpu else 2048
    size = 1_000_000 if quick else 1_000_000_000 if gpu else 200_000_000
    with device.active():
        rng = device.xp.random.default_rng(0)
        a, b = (rng.standard_normal((n, n)).astype(dtype) for _ in range(2))
        product = device.xp.empty_like(a)
        x, y = (device.xp.full(size // a.itemsize, i, dtype) for i in (1, 2))
        gflops = 2.0 * n**3 / _best(clock, lambda: device.xp.matmul(a, b, out=product), quick) / 1e6
        gbs = 2.0 * x.nbytes / _best(clock, lambda: _copy(device, x, y), quick) / 1e6
    return Ceilings(gflops, gbs)


def _best(clock: Clock, call: Any, quick: bool) -> float:
    best = float("inf")
    for _ in range(4 if quick else 8):
        clock.start()
        call()
        best = min(best, clock.stop())
    return best


def _copy(device: Device, x: Any, y: Any) -> None:
    if device.ordinal is not None:
        device.xp.copyto(y, x)
        return
    from gpunn.cpu.threads import get_num_threads, run, spans

    run(lambda part: np.copyto(y[part], x[part]), spans(len(x), get_num_threads()))


def processor_seconds() -> tuple[float, float, float] | None:
    """(wall, all processes', this process's) seconds of processor time; None where Linux does not report it."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    user, nice, system, _, _, irq, softirq, steal = map(int, stat.read_text().split("\n")[0].split()[1:9])
    everybody = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return time.monotonic(), everybody, time.process_time()


def share_of_others(before: tuple[float, ...] | None, after: tuple[float, ...] | None) -> float | None:
    """Other processes' share of the machine's processor time in between, from 0 to 1."""
    if before is None or after is None:
        return None
    wall, everybody, own = (b - a for a, b in zip(before, after, strict=True))
    # The kernel counts in hundredths of a second, so shorter times are meaningless.
    return max(0.0, everybody - own) / (wall * (os.cpu_count() or 1)) if wall >= 0.1 else None


def describe(device: Device) -> dict[str, Any]:
    """Machine, processor, GPU, versions and commit, for a record."""
    found: dict[str, Any] = {"machine": platform.platform(), "processor": _processor(), "gpu": None}
    if device.ordinal is not None:
        found["gpu"] = device.xp.cuda.runtime.getDeviceProperties(device.ordinal)["name"].decode()
    versions = {"python": platform.python_version()}
    for name in ("gpunn", "numpy", "torch", "cupy", "dezero"):
        version = _version(name, device)
        if version is not None:
            versions[name] = version
    return {**found, "versions": versions, "commit": _commit()}


def _version(name: str, device: Device) -> str | None:
    if name == "cupy":  # its package is called cupy-cuda12x and the like
        return None if device.ordinal is None else device.xp.__version__
    if name == "gpunn":
        return str(importlib.import_module("gpunn").__version__)
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _commit() -> str | None:
    root = Path(__file__).parent.parent.parent
    if not (root / ".git").exists():  # installed: a repository around it is not ours
        return None
    try:
        commit = _git(root, "describe", "--always")
        # Appending records does not change what is measured.
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}-dirty" if commit and changed else commit or None


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False, timeout=20)
    return done.stdout.strip()
