"""Machine code of the kernels: compiled by NVRTC, read by NVIDIA's disassembler, kept in a table. Needs no GPU.

What the table ``machine_code.tsv`` knows needs neither; for all else both are asked for: ``pip install 'gpunn[sass]'``.
"""

from __future__ import annotations

import functools
import importlib.metadata
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

from gpunn.bench.rates import rates_of
from gpunn.bench.resources import table_path as resources_path
from gpunn.bench.sass import COLUMNS, Part, parts_of
from gpunn.errors import GpunnError
from gpunn.gpu.launcher import NVRTC_OPTIONS, KernelSource

# CuPy adds -ftz=true to whatever it is given (and an include path, which our flattened sources do not use).
OPTIONS = (*NVRTC_OPTIONS, "-ftz=true", "--ptxas-options=-v")
COMPILER = "NVRTC is not installed: pip install 'gpunn[sass]' (Linux, x86-64; needs no GPU, driver or toolkit)"
DISASSEMBLER = "NVIDIA's disassembler is not installed: pip install 'gpunn[sass]' (Linux, x86-64; needs no GPU)"


class MachineCodeError(GpunnError, RuntimeError):
    """There is no compiler or disassembler, or it does not take what it is given."""


@functools.cache
def compiler_version() -> str:
    """The installed NVRTC.

    Raises
    ------
    MachineCodeError
        If there is none; the message says how to get one.
    """
    try:
        from cuda.bindings import nvrtc

        # The shared library is loaded by the first call, and is a package of its own.
        error, major, minor = nvrtc.nvrtcVersion()
    except (ImportError, RuntimeError) as missing:
        raise MachineCodeError(f"{COMPILER} [{missing}]") from missing
    if error != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise MachineCodeError(f"NVRTC does not tell its version: {error.name}")
    return f"NVRTC {major}.{minor}"


def compile_source(text: str, label: str, macros: Iterable[str], arch: int) -> tuple[str, bytes]:
    """Compile one source as the product would for ``sm_<arch>``: NVRTC's log, with ptxas' lines, and the machine code.

    Parameters
    ----------
    text, label : str
    macros : iterable of str
        "NAME=value".
    arch : int

    Raises
    ------
    MachineCodeError
        If it does not compile; the message is the compiler's.
    """
    compiler_version()
    from cuda.bindings import nvrtc

    def checked(result: tuple[Any, ...]) -> list[Any]:
        error, *values = result
        if error != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise MachineCodeError(f"NVRTC: {error.name}")
        return values

    options = [*OPTIONS, f"-arch=sm_{arch}", *(f"-D{macro}" for macro in macros)]
    (program,) = checked(nvrtc.nvrtcCreateProgram(text.encode(), label.encode(), 0, [], []))
    try:
        (outcome,) = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])
        (size,) = checked(nvrtc.nvrtcGetProgramLogSize(program))
        buffer = bytes(size)  # which the call below fills: the binding's own convention
        checked(nvrtc.nvrtcGetProgramLog(program, buffer))
        code = b""
        if outcome == nvrtc.nvrtcResult.NVRTC_SUCCESS:
            (size,) = checked(nvrtc.nvrtcGetCUBINSize(program))
            code = bytes(size)
            checked(nvrtc.nvrtcGetCUBIN(program, code))
    finally:
        checked(nvrtc.nvrtcDestroyProgram(program))
    log = buffer.rstrip(b"\0 \n").decode(errors="replace")
    if outcome != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise MachineCodeError(f"{label} [{' '.join(macros)}] does not compile for sm_{arch}:\n{log}")
    return log, code


def disassembler() -> str:
    """The path of ``nvdisasm``.

    Raises
    ------
    MachineCodeError
        If there is none; the message says how to get it.
    """
    try:
        for file in importlib.metadata.files("nvidia-cuda-nvdisasm") or ():
            if file.name == "nvdisasm":
                return str(file.locate())
    except importlib.metadata.PackageNotFoundError:
        pass
    found = shutil.which("nvdisasm")
    if found is None:
        raise MachineCodeError(DISASSEMBLER)
    return found


def disassemble(code: bytes) -> str:
    """The text of machine code.

    Raises
    ------
    MachineCodeError
        If there is no disassembler, or it does not take this.
    """
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(code)
        file.flush()
        done = subprocess.run([disassembler(), "-c", file.name], capture_output=True, text=True, check=False)
    if done.returncode:
        raise MachineCodeError(f"nvdisasm: {done.stderr.strip()}")
    return done.stdout


def kernels_of(text: str) -> Iterator[tuple[str, str]]:
    """(name, its lines) of each kernel in a disassembler's text."""
    for part in re.split(r"^\.text\.", text, flags=re.MULTILINE)[1:]:
        name, _, lines = part.partition(":")
        yield name, lines


# -- the table ------------------------------------------------------------------------------------

Key = tuple[str, str, str, int, str]  # file, macros, kernel, architecture, hash of the source
HEADINGS = ("file", "macros", "kernel", "arch", *COLUMNS, "source")
_TITLE = (
    "# What one warp of a kernel runs: once, and in each turn of its main loop between barriers (gpunn.bench.sass).",
    "# Made by: python -m benchmarks.predictions (no GPU needed). `source` is the hash of text and options.",
)


def table_path() -> Path:
    """Where the table is: beside the one of the kernels' resources."""
    return resources_path().with_name("machine_code.tsv")


@functools.cache
def read_table(path: Path) -> dict[Key, tuple[Part, ...]]:
    """The parts of each kernel in a table; nothing where there is none.

    Raises
    ------
    MachineCodeError
        If a line has not as many cells as there are columns.
    """
    found: dict[Key, tuple[Part, ...]] = {}
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for number, line in enumerate(lines, 1):
        cells = line.split("\t")
        if line.startswith("#") or tuple(cells) == HEADINGS:
            continue
        if len(cells) != len(HEADINGS):
            raise MachineCodeError(f"{path}:{number}: expected {len(HEADINGS)} cells; got {len(cells)}: make it anew")
        file, macros, kernel, arch, name, *numbers, source = cells
        key = file, macros, kernel, int(arch), source
        found[key] = (*found.get(key, ()), Part(name, *map(int, numbers)))
    return found


def write_table(rows: Mapping[Key, tuple[Part, ...]], path: Path) -> None:
    """Write a table, in an order that does not depend on how it was made."""
    lines = [*_TITLE, "\t".join(HEADINGS)]
    for key in sorted(rows):
        lines += ["\t".join(map(str, (*key[:4], *astuple(part), key[4]))) for part in rows[key]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def key_of(file: str, macros: Mapping[str, str], kernel: str, arch: int) -> Key:
    """The table's key of a kernel as its source is now."""
    text = " ".join(f"{name}={value}" for name, value in sorted(macros.items()))
    return file, text, kernel, arch, KernelSource.registry[file].content_hash(macros)


def parts(file: str, macros: Mapping[str, str], kernel: str, arch: int) -> tuple[Part, ...]:
    """What one warp of a kernel runs on ``sm_<arch>``: from the table, else by compiling it.

    Parameters
    ----------
    file : str
    macros : mapping of str to str
    kernel : str
    arch : int

    Raises
    ------
    MachineCodeError
        If the table does not know it, and it cannot be compiled or read here; the message says what is missing.
    """
    key = key_of(file, macros, kernel, arch)
    known = read_table(table_path()).get(key)
    return known if known is not None else compiled(*key[:2], arch, key[4])[kernel]


@functools.lru_cache(256)
def compiled(file: str, macros: str, arch: int, source: str) -> dict[str, tuple[Part, ...]]:
    """The parts of each kernel of one specialisation; ``macros`` as in the table, ``source`` tells texts apart."""
    disassembler()  # which is missing sooner than compiling takes
    _, code = compile_source(KernelSource.registry[file].text, file, macros.split(), arch)
    latencies = rates_of(arch).latencies
    return {name: tuple(parts_of(lines, latencies)) for name, lines in kernels_of(disassemble(code))}
