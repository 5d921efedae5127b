"""Delete each barrier of the kernels, one at a time, and see that the suite notices.

``python -m tests.delete_barriers [--jobs 2] [kernel.cu ...]`` copies the kernel folder, takes one
``__syncthreads()``, ``__syncwarp()`` or ``__threadfence()`` out, and runs the battery of those primitives
that can reach it on the emulator. A run that still passes is a survivor: either the barrier is not
needed, or no test looks at what it is for. Survivors, and a suite that fails on the untouched kernels,
give exit status 1.

The module is also the pytest plugin (``-p tests.delete_barriers``) that tells it what happened.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

from gpunn.launcher import KernelSource, kernel_folder
from gpunn.primitive import REGISTRY, Primitive

_ROOT = Path(__file__).parent.parent
_BARRIER = re.compile(r"\b__(?:syncthreads|syncwarp|threadfence)\s*\([^()]*\)")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
_ORDERS = ("forward", "reverse", "shuffled")
_TIMEOUT = 300
_REPORT = "GPUNN_DELETE_BARRIERS_REPORT"


# -- what there is to delete ----------------------------------------------------------------------


@dataclass(frozen=True)
class Barrier:
    """One occurrence in the text of one file."""

    file: str
    line: int
    start: int
    end: int
    call: str
    function: str  # in which it stands

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"


def barriers(folder: Path, file: str) -> Iterator[Barrier]:
    """All barriers of a file, macros included; those that a comment only mentions are none."""
    code = _code(folder / file)
    for match in _BARRIER.finditer(code):
        line = code.count("\n", 0, match.start()) + 1
        yield Barrier(file, line, *match.span(), match[0], _enclosing(code, match.start()))


def _code(path: Path) -> str:
    """The text with comments blanked out, every character where it was."""
    text = path.read_text(encoding="utf-8")
    return _COMMENT.sub(lambda comment: re.sub(r"[^\n]", " ", comment[0]), text)


def _enclosing(code: str, position: int) -> str:
    """The function, struct or macro that a position is in: the last that begins at the left margin."""
    name = ""
    for line in code[:position].splitlines():
        if defined := re.match(r"(?:#\s*define|struct)\s+(?:alignas\(.*\)\s*)?(\w+)", line):
            name = defined[1]
        elif re.match(r"[A-Za-z_]", line) and (called := re.findall(r"(\w+)\s*\(", line)):
            name = next((word for word in called if not word.startswith("__")), name)
    return name


def deleted(text: str, barrier: Barrier) -> str:
    """The text without that barrier; what stands around it still compiles."""
    return text[: barrier.start] + "((void)0)" + text[barrier.end :]


# -- which tests can notice -----------------------------------------------------------------------


@dataclass
class Reach:
    """What a kernel body can launch: source files, and the names among its string constants."""

    files: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)


def reach_of(primitive: Primitive) -> Reach:
    """Follow the names that a primitive's kernel body uses to the kernel files behind them."""
    reach = Reach()
    _follow(primitive, reach, set())
    return reach


def _follow(value: Any, reach: Reach, seen: set[int]) -> None:
    if isinstance(value, KernelSource):
        reach.files.add(value.file)
        return
    if isinstance(value, Primitive):
        value = value.kernel_body
    function = inspect.unwrap(value) if callable(value) else None
    if not isinstance(function, FunctionType) or id(function) in seen:
        return
    seen.add(id(function))
    if not function.__module__.startswith("gpunn.ops") and not function.__module__.startswith("gpunn.optim"):
        return
    for code in _code_objects(function.__code__):
        reach.words.update(constant for constant in code.co_consts if isinstance(constant, str))
        for name in code.co_names:
            found = function.__globals__.get(name)
            _follow(found, reach, seen)
            if isinstance(found, ModuleType):
                for attribute in code.co_names:
                    _follow(getattr(found, attribute, None), reach, seen)


def _code_objects(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _code_objects(constant)


def kernel_files(folder: Path, barrier: Barrier) -> set[str]:
    """The ``.cu`` files a barrier is compiled into; of a header's, those that use the function it is in."""
    if barrier.file.endswith(".cu"):
        return {barrier.file}
    texts = {path.name: _code(path) for path in folder.glob("*.cu*")}
    included = {name: _INCLUDE.findall((folder / name).read_text(encoding="utf-8")) for name in texts}

    def includes(file: str) -> set[str]:
        direct = {name for name in included[file] if name in texts}
        return direct.union(*(includes(name) for name in direct))

    names, waiting = set(), {barrier.function}
    while waiting:  # helpers of the same header may stand in between
        names.add(name := waiting.pop())
        home = texts[barrier.file]
        # To the end of the line: a function's own name stands on its first.
        users = {_enclosing(home, match.end()) for match in re.finditer(rf"\b{name}\b.*", home)}
        waiting |= users - names - {""}
    word = re.compile(rf"\b(?:{'|'.join(names)})\b")
    return {
        file
        for file in texts
        if file.endswith(".cu") and barrier.file in includes(file)
        if any(word.search(texts[name]) for name in {file, *includes(file)} - {barrier.file})
    }


def nodes_for(barrier: Barrier, files: set[str], reaches: dict[str, Reach]) -> list[str]:
    """The test ids, those first that are most likely to fail: a failure ends the run."""

    def distance(name: str) -> tuple[bool, int, str]:
        # A name that the body passes to the launcher, then the body with the fewest files of its own.
        return barrier.function not in reaches[name].words, len(reaches[name].files), name

    names = sorted((name for name, reach in reaches.items() if reach.files & files), key=distance)
    return [f"tests/test_battery.py::test_bodies_agree[{n}-emulator-{order}]" for order in _ORDERS for n in names]


# -- running --------------------------------------------------------------------------------------


@dataclass
class Outcome:
    """What one run of the suite said."""

    passed: int = 0
    skipped: int = 0
    failure: dict[str, str] | None = None
    problem: str = ""  # why it does not count
    seconds: float = 0.0


class _Plugin:
    """Notes the outcomes, and the first failure with the emulator's kind of finding, for the parent."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._said: dict[str, Any] = {"passed": 0, "skipped": 0, "failure": None}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self._said["passed"] += 1
        if report.skipped:
            self._said["skipped"] += 1

    def pytest_exception_interact(self, node: Any, call: pytest.CallInfo[Any], report: Any) -> None:
        if self._said["failure"] is None and call.excinfo is not None:
            error = call.excinfo.value
            kind = getattr(error, "kind", None) or type(error).__name__
            message = next((line for line in str(error).splitlines() if line.strip()), "")
            self._said["failure"] = {"kind": kind, "test": node.nodeid, "message": message}

    def pytest_sessionfinish(self) -> None:
        Path(self._path).write_text(json.dumps(self._said), encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """Called by pytest where this module is its plugin."""
    if _REPORT in os.environ:
        config.pluginmanager.register(_Plugin(os.environ[_REPORT]))


def run_suite(nodes: list[str], folder: Path | None, cache: Path | None) -> Outcome:
    """Run tests in a process of their own, on the kernels in ``folder`` (None: the product's)."""
    with tempfile.TemporaryDirectory(prefix="gpunn-barriers-") as work:
        report = Path(work) / "report.json"
        environment = {**os.environ, _REPORT: str(report)}
        if folder is not None:
            environment["GPUNN_KERNELS"] = str(folder)
        if cache is not None:
            environment["GPUNN_CACHE"] = str(cache)
        command = [sys.executable, "-m", "pytest", "-p", "tests.delete_barriers", "-p", "no:cacheprovider"]
        command += ["-x", "-q", *nodes]
        start = time.monotonic()
        try:
            done = subprocess.run(
                command,
                cwd=_ROOT,
                env=environment,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Outcome(problem=f"not done after {_TIMEOUT} s", seconds=_TIMEOUT)
        seconds = time.monotonic() - start
        if not report.exists():
            said_instead = done.stdout[-2000:] + done.stderr[-2000:]
            return Outcome(problem=f"pytest did not run:\n{said_instead}", seconds=seconds)
        said = json.loads(report.read_text(encoding="utf-8"))
    outcome = Outcome(**said, seconds=seconds)
    if outcome.failure is None and outcome.skipped:
        outcome.problem = f"{outcome.skipped} tests were skipped: {done.stdout.strip().splitlines()[-1]}"
    elif outcome.failure is None and done.returncode:
        outcome.problem = f"pytest ended with status {done.returncode}:\n{done.stdout[-2000:]}"
    return outcome


def try_without(barrier: Barrier, nodes: list[str], cache: Path) -> Outcome:
    """Run the tests on a copy of the kernels without ``barrier``."""
    with tempfile.TemporaryDirectory(prefix="gpunn-kernels-") as work:
        copy = Path(work) / "kernels"
        shutil.copytree(kernel_folder(), copy)
        path = copy / barrier.file
        path.write_text(deleted(path.read_text(encoding="utf-8"), barrier), encoding="utf-8")
        outcome = run_suite(nodes, copy, cache)
    # A kernel that no longer compiles, or a launch that was refused, shows nothing about the barrier.
    kind = outcome.failure["kind"] if outcome.failure else ""
    if outcome.failure and kind.endswith("Error") and kind != "AssertionError":
        outcome.problem = f"failed for another reason: {kind}: {outcome.failure['message']}"
    return outcome


def main(arguments: list[str] | None = None) -> int:
    """Try every barrier; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.delete_barriers", description=__doc__)
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes at once (default 2)")
    parser.add_argument("files", nargs="*", metavar="kernel.cu", help="only the barriers of these files")
    options = parser.parse_args(arguments)
    import gpunn.ops.all  # fills the registry of primitives

    assert gpunn.ops.all
    folder, started = kernel_folder(), time.monotonic()
    files = options.files or sorted(path.name for path in folder.glob("*.cu*"))
    for file in files:
        if not (folder / file).exists():
            parser.error(f"{file} is not in {folder}")
    reaches = {name: reach_of(p) for name, p in sorted(REGISTRY.items()) if p.kernel_body is not None}
    plan = {b: nodes_for(b, kernel_files(folder, b), reaches) for file in files for b in barriers(folder, file)}
    if not plan:
        print(f"no barriers in {', '.join(files)}")
        return 0

    baseline = run_suite(sorted({node for nodes in plan.values() for node in nodes}), None, None)
    if baseline.failure or baseline.problem or not baseline.passed:
        print(f"the suite fails on the untouched kernels: {baseline.problem or baseline.failure}")
        return 1
    print(f"untouched kernels: {baseline.passed} tests pass in {baseline.seconds:.0f} s", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="gpunn-cache-") as cache,
        ThreadPoolExecutor(options.jobs) as pool,
    ):
        futures = {
            barrier: pool.submit(try_without, barrier, nodes, Path(cache)) for barrier, nodes in plan.items() if nodes
        }
        survivors = sum(_show(b, futures[b].result() if b in futures else None) for b in plan)
    print(f"{len(plan)} barriers, {survivors} survivors, {time.monotonic() - started:.0f} s")
    return int(survivors > 0)


def _show(barrier: Barrier, outcome: Outcome | None) -> bool:
    """Print one line of the table; whether the barrier's deletion went unnoticed."""
    what = f"{barrier.place:22} {barrier.function:24}"
    if outcome is None:
        print(f"SURVIVED  {what} no kernel that a primitive launches uses it", flush=True)
    elif outcome.problem:
        print(f"SURVIVED  {what} {outcome.problem}", flush=True)
    elif outcome.failure is None:
        print(f"SURVIVED  {what} {outcome.passed} tests pass without it ({outcome.seconds:.0f} s)", flush=True)
    else:
        test = outcome.failure["test"].partition("[")[2].rstrip("]")
        said = f"{outcome.failure['kind']} in {test} ({outcome.seconds:.0f} s): {outcome.failure['message']}"
        print(f"caught    {what} {said}"[:200], flush=True)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
