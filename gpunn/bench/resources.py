"""What kernels need of a GPU, from the compile gate's table: registers, shared memory, spills."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gpunn.gpu.launcher import KernelSource, kernel_folder


@dataclass(frozen=True)
class Resources:
    """What one kernel needs on one architecture.

    Attributes
    ----------
    registers : int
        Of a thread.
    shared, stack, spill_stores, spill_loads : int
        Bytes: static shared memory of a block; of a thread, local memory and what is moved there and back.
    """

    registers: int
    shared: int
    stack: int
    spill_stores: int
    spill_loads: int


def table_path() -> Path:
    """Where the table is: with the kernels inside the installed package, or in the checkout."""
    installed = Path(__file__).parent.parent / "_kernels" / "kernel_resources.tsv"
    if installed.is_file():
        return installed
    return Path(__file__).parent.parent.parent / "benchmarks" / "results" / "kernel_resources.tsv"


@functools.cache
def _table(path: Path) -> dict[tuple[str, str, str, int, str], Resources]:
    found: dict[tuple[str, str, str, int, str], Resources] = {}
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for line in lines:
        cells = line.split("\t")
        if line.startswith("#") or cells[0] == "file":
            continue
        file, macros, kernel, arch, *numbers, source = cells
        found[file, macros, kernel, int(arch), source] = Resources(*map(int, numbers))
    return found


def resources_of(file: str, macros: Mapping[str, str], kernel: str, arch: int) -> Resources | None:
    """What a kernel needs on ``sm_<arch>``; None where the table does not know it as its source is now."""
    text = " ".join(f"{name}={value}" for name, value in sorted(macros.items()))
    source = KernelSource.registry[file].content_hash(macros)
    return _table(table_path()).get((file, text, kernel, arch, source))


@functools.cache
def kernel_line(file: str, kernel: str) -> tuple[str, int]:
    """File and line where a kernel begins: in the ``.cu`` file, or in one of our headers."""
    name = re.compile(rf"\b{kernel}\s*\(")
    at, number = file, 0
    started = False  # a declaration may have __launch_bounds__ on a line of its own
    for line in KernelSource.registry[file].text.splitlines():
        told = re.match(r'#line (\d+) "([^"]+)"', line)
        if told:
            at, number = told[2], int(told[1]) - 1
            continue
        number += 1
        started = started or "__global__" in line
        if started and name.search(line):
            return at, number
        started = started and not line.rstrip().endswith((";", "{"))
    return file, 1


def kernel_path(file: str) -> Path:
    """The path of a kernel file."""
    return kernel_folder() / file
