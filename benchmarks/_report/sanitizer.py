"""The battery under NVIDIA's compute-sanitizer, where it is installed: accesses, races, barriers, unwritten memory.

Each tool runs ``benchmarks._report.sanitized``, which launches every kernel on its examples and says which one it is
at. An error leaves the tool with ``_FOUND``, and what it said is kept.
"""

from __future__ import annotations

import argparse
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks._report.book import Section

_TOOLS = {
    # CuPy asks CUDA questions that may be answered by an error, and knows what to do then.
    "memcheck": ["--report-api-errors", "no"],
    "racecheck": [],
    "synccheck": [],
    "initcheck": [],
}
_FOUND = 99
_USUAL = "/usr/local/cuda"
_LEAST = 15.0  # seconds: under a tool a process takes about that long to start
_ROOT = Path(__file__).parent.parent.parent
_SUMMARY = re.compile(r"^=+ .*SUMMARY: .*$", re.MULTILINE)
_EXCERPT = 60  # lines


def find() -> str | None:
    """The program: in $PATH, or in the CUDA toolkit that $CUDA_HOME or $CUDA_PATH names, or in its usual place."""
    found = shutil.which("compute-sanitizer")
    for folder in (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), _USUAL):
        for part in ("bin", "compute-sanitizer"):
            if found is None and folder:
                found = shutil.which("compute-sanitizer", path=str(Path(folder) / part))
    return found


def run(section: Section, options: argparse.Namespace) -> None:
    """All tools, each with an equal share of the time that is left to it."""
    program = find()
    section.value("compute-sanitizer", program or "not installed")
    if program is None:
        section.cut("compute-sanitizer is not installed (not in $PATH, $CUDA_HOME, $CUDA_PATH)")
        return
    for number, tool in enumerate(_TOOLS):
        seconds = section.remaining / (len(_TOOLS) - number)
        if seconds >= _LEAST:
            section.attempt(tool, functools.partial(_use, section, options.device, program, tool, seconds))
        elif section.start(tool):
            section.cut(f"{tool}: {section.why}")


def _use(section: Section, device: str, program: str, tool: str, seconds: float) -> None:
    """One tool, started again behind any example that breaks the context, until time is up."""
    until, first = time.monotonic() + seconds, 0
    while True:
        command = [program, "--tool", tool, "--error-exitcode", str(_FOUND), "--print-limit", "20", *_TOOLS[tool]]
        command += [sys.executable, "-m", "benchmarks._report.sanitized", "--device", device]
        command += ["--first", str(first), "--seconds", str(max(0.0, until - time.monotonic() - 2))]
        begin = time.monotonic()
        status, said = _watched(section, command, until + 5)
        reached = [int(n) for n in re.findall(r"^ITEM (\d+) ", said, re.MULTILINE)]
        finished = re.search(r"^END (\d+) of (\d+)", said, re.MULTILINE)
        section.row(
            "runs",
            tool=tool,
            examples=len(reached),
            **{"of": int(finished[2]) if finished else None, "exit status": status},
            summary="; ".join(match.strip("= ") for match in _SUMMARY.findall(said)) or said[-200:],
            seconds=time.monotonic() - begin,
        )
        if status == _FOUND:
            section.fail(f"{tool} found errors:\n{excerpt(said)}")
        elif not reached:
            section.cut(f"{tool} could not be used here (exit status {status}): {said[-300:]}")
        elif finished is None and status is not None:
            section.fail(f"{tool}: the program ended with status {status} at example {reached[-1]}:\n{said[-2000:]}")
        if finished is not None and int(finished[1]) < int(finished[2]):
            section.cut(f"{tool}: {int(finished[2]) - int(finished[1])} of {finished[2]} examples {section.why}")
        if finished is not None or not reached or time.monotonic() + _LEAST > until:
            return
        first = reached[-1] + 1


def _watched(section: Section, command: list[str], until: float) -> tuple[int | None, str]:
    """(exit status, what it said); the status is None if it was stopped when its time was up."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        child = subprocess.Popen(command, cwd=_ROOT, stdout=log, stderr=subprocess.STDOUT)
        status: int | None = None
        try:
            while status is None and time.monotonic() < until:
                try:
                    status = child.wait(timeout=1.0)
                except subprocess.TimeoutExpired:
                    section.save()  # a sign of life
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
        log.seek(0)
        return status, log.read()


def excerpt(said: str) -> str:
    """What the tool said first, and the example it said it at."""
    lines = said.splitlines()
    at = next(
        (n for n, line in enumerate(lines) if line.startswith("=========") and "COMPUTE-SANITIZER" not in line), 0
    )
    item = next((line for line in reversed(lines[:at]) if line.startswith("ITEM ")), "before the first example")
    return "\n".join([item, *lines[at : at + _EXCERPT]])
