"""What the emulator reports, and where in the source it happened."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Iterable

from gpunn.emulator.build import HEADERS
from gpunn.errors import KernelError

Index = tuple[int, int, int]


class EmulatorFinding(KernelError):
    """A fault that the emulator found in a running kernel; the launch was abandoned there.

    Attributes
    ----------
    kind : str
        "race", "out-of-bounds", "unwritten-read", "write-to-input", "misaligned", "address-space",
        "undelivered" (an asynchronous copy is in flight), "unwaited" (still in flight at the thread's end),
        "bad-size", "divergent-barrier", "deadlock", "bad-mask", "absent-lane", "division", "shift",
        "assert", "trap", "unreachable", "printf" (arguments that it cannot print), "host-call" (abort or exit),
        "stack-overflow", "stack-smashed" (a write past the end of a local array), "fault" (the processor stopped the
        thread: a call of no function, an instruction that there is not), "limit" (an endless loop) or "memory".
    kernel : str
        Name of the kernel.
    file, line : str, int or None
        The place in the source; the line is None where addr2line (binutils) is missing.
    block, thread : (x, y, z)
        Which block and thread did it.
    detail : str
        What happened, in words.
    """

    def __init__(
        self, kind: str, kernel: str, file: str, line: int | None, block: Index, thread: Index, detail: str
    ) -> None:
        place = _short(file) if line is None else f"{_short(file)}:{line}"
        super().__init__(f"{place} in {_short(kernel)}: {detail}")
        self.kind = kind
        self.kernel = kernel
        self.file = file
        self.line = line
        self.block = block
        self.thread = thread
        self.detail = detail


def _short(name: str) -> str:
    return name if len(name) <= 100 else f"{name[:97]}..."


@functools.lru_cache(256)
def source_places(library: str, offset: int) -> tuple[tuple[str, int], ...]:
    """Return (file, line) of an instruction, innermost inlined function first; () if unknown.

    ``offset`` is the return address of a hook, relative to the start of the library: one past the call.
    """
    return tuple(many_source_places(library, [offset]).get(offset, ())) if offset else ()


def many_source_places(library: str, offsets: Iterable[int]) -> dict[int, list[tuple[str, int]]]:
    """Return what :func:`source_places` tells of each instruction, by one call of addr2line; {} where it is missing."""
    addr2line, wanted = shutil.which("addr2line"), list(dict.fromkeys(offsets))
    if addr2line is None or not wanted:
        return {}
    command = [addr2line, "-e", library, "-i", "-a"]
    addresses = "".join(f"{offset - 1:#x}\n" for offset in wanted)
    result = subprocess.run(command, input=addresses, capture_output=True, text=True, check=False)
    found: dict[int, list[tuple[str, int]]] = {}
    places: list[tuple[str, int]] = []
    for text in result.stdout.splitlines():
        if text.startswith("0x"):  # -a: each address before its places
            places = found.setdefault(int(text, 16) + 1, [])
            continue
        file, _, line = text.partition(" ")[0].rpartition(":")
        # A fault is never in the headers that stand in for CUDA.
        if line.isdigit() and line != "0" and os.path.basename(file) not in HEADERS:
            places.append((os.path.basename(file), int(line)))
    return found
