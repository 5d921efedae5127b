"""What tries a mutant of launch code, and what says which lines of launch code each check runs.

All of this runs in forked processes, as in ``checks.py``.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import numpy as np

from gpunn.emulator import Module
from tests.mutants import checks, patched
from tests.mutants.forked import Say, allow
from tests.mutants.launch_code import PACKAGE, files

ORDER = "shuffled"  # of blocks and warps: what launches get wrong does not hang on it


class Watch:
    """Which lines of launch code run, and what is launched."""

    def __init__(self, lines: bool) -> None:
        self.lines: set[tuple[str, int]] = set()
        self.launches = hashlib.sha256()
        self._files = {str(PACKAGE / file): file for file in files()}
        self._inner: dict[str, Callable[[FrameType, str, Any], Any]] = {}
        original = getattr(Module.launch, "__wrapped__", Module.launch)

        @functools.wraps(original)
        def launch(module: Module, kernel: str, grid: Any, block: Any, arguments: Any, shared: int = 0, *rest: Any):
            self._note(module, kernel, grid, block, arguments, shared)
            original(module, kernel, grid, block, arguments, shared, *rest)

        setattr(Module, "launch", launch)  # noqa: B010 (a method of another signature)
        if lines:
            sys.settrace(self._trace)

    def _note(self, module: Module, kernel: str, grid: Any, block: Any, arguments: Any, shared: int) -> None:
        """A launch without the addresses of its arrays."""
        numbers = [a.value.tobytes() for a in arguments if isinstance(a.value, np.generic) and not _has_pointers(a)]
        self.launches.update(repr((module._path.name, kernel, grid, block, shared, numbers)).encode())

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        file = self._files.get(frame.f_code.co_filename)
        if file is None:
            return None
        self.lines.add((file, frame.f_lineno))
        inner = self._inner.get(file)
        if inner is None:
            lines = self.lines

            def inner(frame: FrameType, event: str, argument: Any) -> Any:
                lines.add((file, frame.f_lineno))
                return self._inner[file]

            self._inner[file] = inner
        return inner


def _has_pointers(argument: Any) -> bool:
    return bool(argument.value.dtype.names) and "row" in argument.value.dtype.names  # struct TensorTable


def record_battery(say: Say, examples: checks.Examples, names: Sequence[str]) -> None:
    """Say of each primitive which lines it runs, what it launches, and how long it takes; and whether it fails."""
    for name in names:
        patched.forget_launches()
        watch, start = Watch(lines=True), time.monotonic()
        try:
            examples.run(name, ORDER)
        except Exception as error:
            say({"check": name, **checks.told(error, name)})
        sys.settrace(None)
        taken, made = time.monotonic() - start, watch.launches.hexdigest()
        say({"check": name, "launched": sorted(watch.lines), "seconds": taken, "launches": made})


def record_tests(say: Say, nodes: Sequence[str]) -> None:
    """Say of each test which lines it runs."""
    checks.run_pytest(say, ["-m", "not tools", *nodes], _Recording(say))


def put_in_place(file: str, text: str, at_import: bool) -> Any:
    """Change a module in this process; the module ``checks`` that belongs to it.

    What the launch code before has worked out, plans of launches above all, is forgotten with it.
    """
    path = PACKAGE / file
    if at_import or not patched.change_functions(path, text):
        patched.import_again(path, text)
        importlib.import_module("gpunn.ops").import_all()
        return importlib.import_module("tests.mutants.checks")
    patched.forget_launches()
    return checks


def try_battery(
    say: Say,
    file: str,
    text: str,
    at_import: bool,
    examples: checks.Examples,
    names: Sequence[str],
    made: dict[str, str],
) -> None:
    """Say how the first primitive fails, if one does, and else whether all launches are as they were (``made``)."""
    try:
        there = put_in_place(file, text, at_import)
    except Exception as error:  # nobody could import it
        say(checks.told(error, file))
        return
    if there is not checks:
        examples = there.Examples(names)
        importlib.import_module("tests.mutants.launch_checks")
    other = False
    for name in names:
        say({"begin": name})
        watch = sys.modules["tests.mutants.launch_checks"].Watch(lines=False)
        try:
            examples.run(name, ORDER)
        except Exception as error:
            say(there.told(error, name))
            return
        other |= watch.launches.hexdigest() != made[name]
    say({"how": "survived", "launches": "other" if other else "same"})


def try_tests(say: Say, file: str, text: str, at_import: bool, nodes: Sequence[str]) -> None:
    """Say how the first test fails, if one does."""
    there = put_in_place(file, text, at_import)
    if not there.run_pytest(say, ["-x", *nodes], there.Plugin(say)):
        say({"how": "survived"})


class _Recording(checks.Plugin):
    """Says of each test which lines of launch code it ran."""

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        patched.forget_launches()
        super().pytest_runtest_logstart(nodeid)
        self._watch = Watch(lines=True)
        allow(10 * checks.STEP_SECONDS)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        sys.settrace(None)
        self._say(
            {"check": nodeid, "launched": sorted(self._watch.lines), "seconds": time.monotonic() - self._start}
        )  # fmt: skip
