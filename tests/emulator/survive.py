"""Compiles and launches every bad kernel of ``survival/``, one after the other, in this one process.

``python -m tests.emulator.survive [--times N] [name ...]`` prints a line of JSON for each; the last is of a good
kernel, and of what the process holds. It is a program of its own so that a kernel which ends the process, or does
not come back, takes no test run with it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpunn.emulator import Argument, EmulatorFinding, compile_module
from gpunn.errors import KernelError
from tests.emulator.sources import read_kernels

ENDLESS = 2  # seconds for what would not end
FOLDER = Path(__file__).parent / "survival"
GOOD = """\
extern "C" __global__ void good(float* y, const float* x, int n) {
    __shared__ float tile[32];
    tile[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = tile[31 - threadIdx.x] + n;
}
"""
_KERNEL = re.compile(r'^extern "C" __global__ void (\w+)\(', re.MULTILINE)
_MARK = re.compile(r"(?://|;) (\w+): ([\w -]+)")
_SECTION = re.compile(r"^// ==== (\w+): (.*)\n", re.MULTILINE)


@dataclass(frozen=True)
class Bad:
    """A bad kernel.

    Attributes
    ----------
    name : str
    file : str
        Its file, or what stands for one.
    text : str
        What is compiled.
    places : frozenset of (int, str)
        The lines where it may be caught, and the kinds that may be reported there.
    refused : str or None
        A regular expression for what the compilation says; None for a kernel that is launched.
    """

    name: str
    file: str
    text: str
    places: frozenset[tuple[int, str]]
    refused: str | None = None


def launched() -> Iterator[Bad]:
    """Those that compile: several in a file, with ``// name: kind`` on the lines where one may be caught."""
    for path in sorted(FOLDER.glob("*.cu")):
        if path.name == "refused.cu":
            continue
        text = read_kernels(path)
        marks = [
            (name, number, kind)
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
            for name, kinds in _MARK.findall(line)
            for kind in kinds.split()
        ]
        for name in _KERNEL.findall(text):
            yield Bad(name, path.name, text, frozenset((line, kind) for owner, line, kind in marks if owner == name))


def refused() -> Iterator[Bad]:
    """Those that do not: sections of one file, each with what its error says."""
    parts = _SECTION.split((FOLDER / "refused.cu").read_text(encoding="utf-8"))[1:]
    for name, expected, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        yield Bad(name, f"{name}.cu", text, frozenset(), expected)


def processor_time() -> float:
    """Seconds of this process and of the compilers that it ran."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def run(bad: Bad) -> dict[str, Any]:
    """What is reported of one."""
    record: dict[str, Any] = {"name": bad.name, "error": None}
    begun = processor_time()
    endless = bad.refused is not None and "did not end" in bad.refused
    os.environ["GPUNN_EMULATOR_COMPILE_SECONDS"] = str(ENDLESS if endless else 60)
    try:
        module = compile_module(bad.text, bad.file, {})
        y, x = np.zeros(32, np.float32), np.arange(32, dtype=np.float32)
        arguments = [Argument(y, "out", "y"), Argument(x, "in", "x"), Argument(np.int32(64), "in", "n")]
        module.launch(bad.name, (1, 1, 1), (32, 1, 1), arguments)
    except EmulatorFinding as found:
        record |= {"kind": found.kind, "kernel": found.kernel, "file": found.file, "line": found.line}
        record |= {"block": found.block, "thread": found.thread, "error": str(found)}
    except KernelError as error:
        record["error"] = str(error)
    record["seconds"] = processor_time() - begun
    return record


def good() -> dict[str, Any]:
    """Whether a good kernel still computes what it should; bytes of memory, and file handles."""
    y, x = np.zeros(32, np.float32), np.arange(32, dtype=np.float32)
    arguments = [Argument(y, "out", "y"), Argument(x, "in", "x"), Argument(np.int32(64), "in", "n")]
    compile_module(GOOD, "good.cu", {}).launch("good", (1, 1, 1), (32, 1, 1), arguments)
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    right = bool((y == x[::-1] + 64).all())
    return {"name": "good", "right": right, "resident": resident, "files": len(os.listdir("/proc/self/fd"))}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="kernels; all of them if none is given")
    parser.add_argument("--times", type=int, default=1, help="how often each is launched")
    options = parser.parse_args()
    good()  # compiles the runtime, which is no kernel's doing
    for one in [*launched(), *refused()]:
        if not options.names or one.name in options.names:
            for _ in range(options.times):
                print("\n" + json.dumps(run(one)), flush=True)
            if options.times > 1:
                print("\n" + json.dumps(good()), flush=True)
    print("\n" + json.dumps(good()), flush=True)
